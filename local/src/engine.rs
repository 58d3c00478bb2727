//! Images run by a container engine, as OpenWhisk's invoker and faasd run them: the same limits and capabilities, paused
//! when idle, removed by force.
//!
//! The engine's command line is what OpenWhisk's invoker uses as well. Everything that is started carries the platform's
//! mark as a label, by which the keeper finds what is left.

use std::collections::BTreeMap;
use std::io;
use std::net::{IpAddr, SocketAddr, TcpStream};
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc;
use std::time::{Duration, Instant};

use crate::function::Habits;
use crate::keeper::MARK_VARIABLE;

/// Where functions listen in their containers.
const PORT: u16 = 8080;
/// How often a container that is starting is tried. Nothing tells when it listens; OpenWhisk tries every 50 ms.
const TRY_EVERY: Duration = Duration::from_millis(5);
/// How long a container may take until it listens.
const START_PATIENCE: Duration = Duration::from_secs(60);
/// How long the engine may take until it has removed a container.
const REMOVE_PATIENCE: Duration = Duration::from_secs(30);
/// Where OpenFaaS's functions find their secrets.
const SECRETS: &str = "/var/openfaas/secrets";

/// The container engine that runs the images which name a [`container`](crate::Image::container).
#[derive(Clone, Debug)]
pub struct Engine {
    /// Its command line, which takes docker's arguments.
    pub program: PathBuf,
    /// Folders of this machine that containers see at the same path, such as a store's. Where there are any, containers
    /// run as this process's user, so that what they write there is that user's.
    pub folders: Vec<PathBuf>,
}

impl Engine {
    /// The engine whose command line is `program`; its containers see no folder of this machine.
    pub fn new(program: impl Into<PathBuf>) -> Self {
        Self { program: program.into(), folders: Vec::new() }
    }

    /// This machine's address on the network that containers are attached to. Blocks.
    pub(crate) fn gateway(&self) -> io::Result<IpAddr> {
        let format = "{{(index .IPAM.Config 0).Gateway}}";
        let told = said(Command::new(&self.program).args(["network", "inspect", "bridge", "-f", format]))?;
        let no_address = |_| io::Error::other(format!("its network `bridge` has no gateway: {told:?}"));
        told.parse().map_err(no_address)
    }
}

/// One container to start.
#[derive(Debug)]
pub(crate) struct ContainerLaunch {
    pub(crate) engine: Engine,
    pub(crate) image: String,
    pub(crate) name: String,
    pub(crate) mark: String,
    pub(crate) env: BTreeMap<String, String>,
    pub(crate) memory_bytes: Option<u64>,
    pub(crate) habits: Habits,
    pub(crate) secrets: Option<PathBuf>,
}

/// What is done to a running container, one after another.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Order {
    Pause,
    Unpause,
    Terminate,
    Remove,
}

/// A container that was started, and the command that follows its output.
#[derive(Debug)]
pub(crate) struct Running {
    pub(crate) address: SocketAddr,
    pub(crate) pid: u32,
    pub(crate) logs: Child,
    pub(crate) orders: mpsc::Sender<Order>,
}

/// How a container ended.
#[derive(Debug)]
pub(crate) struct Ending {
    pub(crate) status: String,
    pub(crate) out_of_memory: bool,
}

impl ContainerLaunch {
    /// Starts the container and returns once it listens, or has ended. Blocks.
    pub(crate) fn start(&self) -> io::Result<Running> {
        said(&mut self.run())?;
        self.attach().inspect_err(|_| self.remove())
    }

    fn attach(&self) -> io::Result<Running> {
        let format = "{{.State.Pid}} {{range .NetworkSettings.Networks}}{{.IPAddress}}{{end}}";
        let told = said(self.command("inspect").args(["-f", format, &self.name]))?;
        let (pid, address) = told.split_once(' ').unwrap_or_default();
        let address: Option<IpAddr> = address.parse().ok();
        let mut logs = self
            .command("logs")
            .args(["--follow", &self.name])
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()?;
        // One that has ended already has no address, and nobody listens there.
        let address = SocketAddr::new(address.unwrap_or(IpAddr::from([127, 0, 0, 1])), PORT);
        wait_for_listener(address, &mut logs);
        let (orders, received) = mpsc::channel();
        let (program, name, mark) = (self.engine.program.clone(), self.name.clone(), self.mark.clone());
        std::thread::Builder::new().name("engine".to_owned()).stack_size(256 << 10).spawn(move || {
            for order in received {
                carry_out(order, &mut command(&program, &mark), &name);
            }
        })?;
        Ok(Running { address, pid: pid.parse().unwrap_or_default(), logs, orders })
    }

    /// Removes the container, and says how it ended. Blocks.
    pub(crate) fn conclude(&self) -> Ending {
        let format = "{{.State.ExitCode}} {{.State.OOMKilled}}";
        let told = said(self.command("inspect").args(["-f", format, &self.name]));
        self.remove();
        match told.as_deref().map(|told| told.split_once(' ')) {
            Ok(Some((code, killed))) => {
                Ending { status: format!("exit status: {code}"), out_of_memory: killed == "true" }
            }
            _ => Ending { status: "removed".to_owned(), out_of_memory: false },
        }
    }

    /// Returns once it is gone: where two remove the same container, the engine refuses the second at once, while the
    /// first is still at it.
    fn remove(&self) {
        let until = Instant::now() + REMOVE_PATIENCE;
        loop {
            // It may be gone already; the keeper looks once more for what is not.
            drop(said(self.command("rm").args(["--force", &self.name])));
            if !self.is_there() || Instant::now() >= until {
                return;
            }
            std::thread::sleep(TRY_EVERY);
        }
    }

    fn is_there(&self) -> bool {
        let name = format!("name=^{}$", self.name);
        let listed = said(self.command("ps").args(["--all", "--quiet", "--filter", &name]));
        listed.is_ok_and(|listed| !listed.is_empty())
    }

    fn command(&self, verb: &str) -> Command {
        let mut command = command(&self.engine.program, &self.mark);
        command.arg(verb);
        command
    }

    /// The command that starts it, with the flags of OpenWhisk's invoker or the limits of faasd.
    fn run(&self) -> Command {
        let mut run = self.command("run");
        run.args(["--detach", "--pull", "never", "--network", "bridge", "--name", &self.name]);
        run.arg("--label").arg(format!("{MARK_VARIABLE}={}", self.mark));
        match self.habits {
            Habits::OpenWhisk => run.args([
                "--cap-drop",
                "NET_RAW",
                "--cap-drop",
                "NET_ADMIN",
                "--ulimit",
                "nofile=1024:1024",
                "--pids-limit",
                "1024",
            ]),
            Habits::OpenFaas => run.args(["--cap-drop", "ALL"]),
        };
        if let Some(bytes) = self.memory_bytes {
            run.arg("--memory").arg(bytes.to_string()).arg("--memory-swap").arg(bytes.to_string());
        }
        for folder in &self.engine.folders {
            run.arg("--mount").arg(mount(folder, folder, false));
        }
        if !self.engine.folders.is_empty() {
            let (user, group) = (rustix::process::getuid(), rustix::process::getgid());
            run.arg("--user").arg(format!("{}:{}", user.as_raw(), group.as_raw()));
        }
        if let Some(secrets) = &self.secrets {
            run.arg("--mount").arg(mount(secrets, Path::new(SECRETS), true));
        }
        self.pass_environment(&mut run);
        run.arg(&self.image);
        run
    }

    /// Through the command's own environment: there, no value needs quoting, and none can be read from a list of
    /// processes. What the command line itself may want to know, such as `PATH`, can't go that way.
    fn pass_environment(&self, run: &mut Command) {
        for (name, value) in &self.env {
            if std::env::var_os(name).is_some() || name.starts_with("DOCKER_") {
                run.arg("--env").arg(format!("{name}={value}"));
            } else {
                run.arg("--env").arg(name).env(name, value);
            }
        }
    }
}

fn carry_out(order: Order, command: &mut Command, name: &str) {
    match order {
        Order::Pause => command.args(["pause", name]),
        Order::Unpause => command.args(["unpause", name]),
        Order::Terminate => command.args(["kill", "--signal", "TERM", name]),
        Order::Remove => command.args(["rm", "--force", name]),
    };
    // It fails only where the container has ended, and then its logs end too.
    drop(said(command));
}

fn command(program: &Path, mark: &str) -> Command {
    let mut command = Command::new(program);
    // A Ctrl-C in the terminal is for the platform, which then removes the container.
    command.env(MARK_VARIABLE, mark).process_group(0);
    command
}

/// As docker reads it: fields of a line of CSV.
fn mount(source: &Path, target: &Path, is_readonly: bool) -> String {
    let field =
        |name: &str, path: &Path| format!("\"{name}={}\"", path.to_string_lossy().replace('"', "\"\""));
    let readonly = if is_readonly { ",readonly" } else { "" };
    format!("type=bind,{},{}{readonly}", field("source", source), field("target", target))
}

fn wait_for_listener(address: SocketAddr, logs: &mut Child) {
    let until = Instant::now() + START_PATIENCE;
    // Its logs end with it.
    while Instant::now() < until && !matches!(logs.try_wait(), Ok(Some(_)) | Err(_)) {
        if TcpStream::connect_timeout(&address, Duration::from_secs(1)).is_ok() {
            return;
        }
        std::thread::sleep(TRY_EVERY);
    }
}

/// What a command of the engine says, where it succeeds. Blocks.
fn said(command: &mut Command) -> io::Result<String> {
    let output = command.stdin(Stdio::null()).output()?;
    if output.status.success() {
        return Ok(String::from_utf8_lossy(&output.stdout).trim().to_owned());
    }
    let text = String::from_utf8_lossy(&output.stderr);
    let line = text.lines().find(|line| !line.trim().is_empty()).unwrap_or("it failed and did not say why");
    Err(io::Error::other(line.chars().filter(|c| !c.is_control()).take(300).collect::<String>()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn launch(habits: Habits) -> ContainerLaunch {
        let env = [("HOME", "/h"), ("LIMITLESS_TEST_WORDS", "a=b \"c\"\nd")];
        ContainerLaunch {
            engine: Engine { program: "docker".into(), folders: vec!["/a \"b\",c".into()] },
            image: "sample:1".to_owned(),
            name: "limitless-m-1".to_owned(),
            mark: "m".to_owned(),
            env: env.map(|(name, value)| (name.to_owned(), value.to_owned())).into(),
            memory_bytes: Some(256 << 20),
            habits,
            secrets: Some("/s".into()),
        }
    }

    fn arguments(habits: Habits) -> String {
        let run = launch(habits).run();
        run.get_args().map(|argument| argument.to_string_lossy().into_owned()).collect::<Vec<_>>().join(" ")
    }

    #[test]
    fn containers_get_what_openwhisks_invoker_gives_them() {
        let told = arguments(Habits::OpenWhisk);
        for flags in [
            "--cap-drop NET_RAW --cap-drop NET_ADMIN",
            "--ulimit nofile=1024:1024",
            "--pids-limit 1024",
            "--memory 268435456 --memory-swap 268435456",
            "--label LIMITLESS_PLATFORM=m",
        ] {
            assert!(told.contains(flags), "{flags}: {told}");
        }
        assert!(told.ends_with(" sample:1"), "{told}");
        assert!(!told.contains("SYS_PTRACE") && !told.contains("privileged"), "{told}");
    }

    #[test]
    fn containers_of_openfaas_have_no_capabilities_and_no_other_limit_but_memory() {
        let told = arguments(Habits::OpenFaas);
        assert!(told.contains("--cap-drop ALL") && told.contains("--memory 268435456"), "{told}");
        assert!(!told.contains("pids") && !told.contains("ulimit"), "{told}");
        assert!(told.contains("\"source=/s\",\"target=/var/openfaas/secrets\",readonly"), "{told}");
    }

    #[test]
    fn values_are_passed_to_the_letter_and_paths_as_one_field() {
        let run = launch(Habits::OpenWhisk).run();
        let told = arguments(Habits::OpenWhisk);
        assert!(told.contains("--env LIMITLESS_TEST_WORDS ") && !told.contains("a=b"), "{told}");
        let passed = run.get_envs().find(|(name, _)| *name == "LIMITLESS_TEST_WORDS");
        assert_eq!(passed.and_then(|it| it.1), Some("a=b \"c\"\nd".as_ref()));
        assert!(told.contains(r#"type=bind,"source=/a ""b"",c","target=/a ""b"",c""#), "{told}");
    }

    #[test]
    fn a_container_that_somebody_else_removes_is_waited_for() {
        let folder = tempfile::tempdir().unwrap();
        let listed = folder.path().join("listed");
        // As an engine that is removing it already: it refuses, and lists the container twice more.
        let engine = format!(
            "#!/bin/sh\ncase $1 in\nps) echo x >> {0}; [ $(wc -l < {0}) -gt 2 ] || echo 1f2e ;;\n*) echo busy >&2; exit 1 ;;\nesac\n",
            listed.display()
        );
        let program = folder.path().join("engine");
        std::fs::write(&program, engine).unwrap();
        std::fs::set_permissions(&program, std::os::unix::fs::PermissionsExt::from_mode(0o755)).unwrap();
        let mut launch = launch(Habits::OpenWhisk);
        launch.engine.program = program;
        assert_eq!(launch.conclude().status, "removed");
        assert_eq!(std::fs::read_to_string(&listed).unwrap().lines().count(), 3);
    }
}
