//! One function process: started with its listening socket, killed with its whole group, reaped exactly once. Or one
//! container, which an engine does all that to.

use std::collections::BTreeMap;
use std::io;
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::os::unix::process::CommandExt as _;
use std::path::PathBuf;
use std::process::{Child, ChildStderr, ChildStdout, Command, Stdio};
use std::sync::{Arc, Mutex, mpsc};

use command_fds::{CommandFdExt as _, FdMapping};
use rustix::process::{Pid, Signal, WaitId, WaitIdOptions, kill_process_group, waitid};
use tokio::sync::{oneshot, watch};

use crate::engine::{ContainerLaunch, Order, Running};
use crate::events::KillReason;
use crate::keeper::Keeper;
use crate::sync::lock;

/// What to start.
#[derive(Debug)]
pub(crate) struct Launch {
    pub(crate) program: PathBuf,
    pub(crate) args: Vec<String>,
    pub(crate) env: BTreeMap<String, String>,
}

/// A started process and the ends of its output.
#[derive(Debug)]
pub(crate) struct Started {
    pub(crate) process: Arc<Process>,
    pub(crate) stdout: ChildStdout,
    pub(crate) stderr: ChildStderr,
}

#[derive(Debug)]
pub(crate) struct Process {
    body: Body,
    address: SocketAddr,
    life: Mutex<Life>,
    exit: watch::Sender<Option<String>>,
}

/// What is killed, paused and waited for.
#[derive(Debug)]
enum Body {
    Group(Pid),
    Container { pid: u32, orders: mpsc::Sender<Order> },
}

#[derive(Debug, Default)]
struct Life {
    /// Its number may belong to another process: send no signal any more.
    reaped: bool,
    killed: Option<KillReason>,
}

impl Process {
    /// Starts a process that can be connected to at once, because its socket exists before it does.
    pub(crate) async fn start(launch: Launch, keeper: Arc<Keeper>) -> io::Result<Started> {
        let (started, start) = oneshot::channel();
        // A thread each: starting blocks for about a millisecond, and waiting blocks for the process's whole life.
        std::thread::Builder::new()
            .name("function".to_owned())
            .stack_size(128 << 10)
            .spawn(move || attend(&launch, &keeper, started))?;
        start.await.map_err(io::Error::other)?
    }

    /// Starts a container; it listens, or has ended, when this returns.
    pub(crate) async fn start_container(launch: ContainerLaunch) -> io::Result<Started> {
        let (started, start) = oneshot::channel();
        std::thread::Builder::new()
            .name("container".to_owned())
            .stack_size(256 << 10)
            .spawn(move || attend_container(&launch, started))?;
        start.await.map_err(io::Error::other)?
    }

    pub(crate) fn is_container(&self) -> bool {
        matches!(self.body, Body::Container { .. })
    }

    pub(crate) fn address(&self) -> SocketAddr {
        self.address
    }

    pub(crate) fn pid(&self) -> u32 {
        match &self.body {
            Body::Group(pid) => pid.as_raw_nonzero().get().unsigned_abs(),
            Body::Container { pid, .. } => *pid,
        }
    }

    /// Why the platform killed it, if it did.
    pub(crate) fn killed(&self) -> Option<KillReason> {
        lock(&self.life).killed
    }

    pub(crate) fn has_ended(&self) -> bool {
        self.exit.borrow().is_some()
    }

    /// Waits until it has ended and is reaped; says how it ended.
    pub(crate) async fn ended(&self) -> String {
        let mut exit = self.exit.subscribe();
        let ended = exit.wait_for(Option::is_some).await;
        ended.ok().and_then(|status| status.clone()).unwrap_or_default()
    }

    /// Kills the whole group at once. The first reason given stands.
    pub(crate) fn kill(&self, reason: KillReason) {
        let mut life = lock(&self.life);
        if !life.reaped {
            life.killed.get_or_insert(reason);
            self.send(Signal::KILL, Order::Remove);
        }
    }

    /// Stops the group where it is.
    pub(crate) fn pause(&self) {
        self.signal(Signal::STOP, Order::Pause);
    }

    /// Lets a stopped group go on.
    pub(crate) fn unpause(&self) {
        self.signal(Signal::CONT, Order::Unpause);
    }

    /// Asks the process to end.
    pub(crate) fn terminate(&self) {
        self.signal(Signal::TERM, Order::Terminate);
    }

    fn signal(&self, signal: Signal, order: Order) {
        if !lock(&self.life).reaped {
            self.send(signal, order);
        }
    }

    fn send(&self, signal: Signal, order: Order) {
        // It fails only if what it is for has ended, and then there is nobody to tell.
        let _gone = match &self.body {
            Body::Group(pid) => kill_process_group(*pid, signal).is_err(),
            Body::Container { orders, .. } => orders.send(order).is_err(),
        };
    }

    /// Waits for the end, ends what is left of the group while its number is still ours, then reaps.
    fn wait(&self, pid: Pid, mut child: Child, keeper: &Keeper) {
        let options = WaitIdOptions::EXITED | WaitIdOptions::NOWAIT;
        while let Err(error) = waitid(WaitId::Pid(pid), options) {
            if error != rustix::io::Errno::INTR {
                break;
            }
        }
        let mut life = lock(&self.life);
        // It fails only if the whole group has ended.
        let _gone = kill_process_group(pid, Signal::KILL);
        keeper.remove(pid);
        let status = child.wait();
        life.reaped = true;
        drop(life);
        let status = status.map_or_else(|error| error.to_string(), |status| status.to_string());
        self.exit.send_replace(Some(status));
    }

    /// Waits until the container's logs end, which is when it does, and removes it.
    fn wait_for_container(&self, mut logs: Child, launch: &ContainerLaunch) {
        drop(logs.wait());
        let ending = launch.conclude();
        let mut life = lock(&self.life);
        if ending.out_of_memory {
            life.killed.get_or_insert(KillReason::Memory);
        }
        life.reaped = true;
        drop(life);
        self.exit.send_replace(Some(ending.status));
    }
}

fn attend_container(launch: &ContainerLaunch, started: oneshot::Sender<io::Result<Started>>) {
    let Running { address, pid, mut logs, orders } = match launch.start() {
        Ok(running) => running,
        Err(error) => return drop(started.send(Err(error))),
    };
    let body = Body::Container { pid, orders };
    let process = Arc::new(Process { body, address, life: Mutex::default(), exit: watch::Sender::new(None) });
    hand_over(&process, &mut logs, started);
    process.wait_for_container(logs, launch);
}

/// Gives the process and the ends of its output to who wanted it.
fn hand_over(process: &Arc<Process>, child: &mut Child, started: oneshot::Sender<io::Result<Started>>) {
    let wanted = match (child.stdout.take(), child.stderr.take()) {
        (Some(stdout), Some(stderr)) => {
            started.send(Ok(Started { process: Arc::clone(process), stdout, stderr })).is_ok()
        }
        _ => false,
    };
    if !wanted {
        // Who wanted it has gone meanwhile.
        process.kill(KillReason::Shutdown);
    }
}

fn attend(launch: &Launch, keeper: &Keeper, started: oneshot::Sender<io::Result<Started>>) {
    let (process, pid, mut child) = match spawn(launch, keeper) {
        Ok(spawned) => spawned,
        Err(error) => return drop(started.send(Err(error))),
    };
    hand_over(&process, &mut child, started);
    process.wait(pid, child, keeper);
}

fn spawn(launch: &Launch, keeper: &Keeper) -> io::Result<(Arc<Process>, Pid, Child)> {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
    let address = listener.local_addr()?;
    let mut command = Command::new(&launch.program);
    command
        .args(&launch.args)
        .env_clear()
        .envs(&launch.env)
        .env("LISTEN_FDS", "1")
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .process_group(0)
        .fd_mappings(vec![FdMapping { parent_fd: listener.into(), child_fd: 3 }])
        .map_err(io::Error::other)?;
    let mut child = command.spawn()?;
    // Our copy of the socket goes with the command: when the process dies, its port must close.
    drop(command);
    let pid = i32::try_from(child.id()).ok().and_then(Pid::from_raw);
    let pid = pid.ok_or_else(|| io::Error::other("the system gave an impossible process number"))?;
    if let Err(error) = keeper.add(pid) {
        let _gone = kill_process_group(pid, Signal::KILL);
        drop(child.wait());
        return Err(error);
    }
    let exit = watch::Sender::new(None);
    let process = Process { body: Body::Group(pid), address, life: Mutex::default(), exit };
    Ok((Arc::new(process), pid, child))
}
