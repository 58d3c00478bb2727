//! One function process: started with its listening socket, killed with its whole group, reaped exactly once.

use std::collections::BTreeMap;
use std::io;
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::os::unix::process::CommandExt as _;
use std::path::PathBuf;
use std::process::{Child, ChildStderr, ChildStdout, Command, Stdio};
use std::sync::{Arc, Mutex};

use command_fds::{CommandFdExt as _, FdMapping};
use rustix::process::{Pid, Signal, WaitId, WaitIdOptions, kill_process_group, waitid};
use tokio::sync::{oneshot, watch};

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
    pid: Pid,
    address: SocketAddr,
    life: Mutex<Life>,
    exit: watch::Sender<Option<String>>,
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

    pub(crate) fn address(&self) -> SocketAddr {
        self.address
    }

    pub(crate) fn pid(&self) -> u32 {
        self.pid.as_raw_nonzero().get().unsigned_abs()
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
            self.signal_group(Signal::KILL);
        }
    }

    /// Stops the group where it is.
    pub(crate) fn pause(&self) {
        self.signal(Signal::STOP);
    }

    /// Lets a stopped group go on.
    pub(crate) fn unpause(&self) {
        self.signal(Signal::CONT);
    }

    /// Asks the process to end.
    pub(crate) fn terminate(&self) {
        self.signal(Signal::TERM);
    }

    fn signal(&self, signal: Signal) {
        if !lock(&self.life).reaped {
            self.signal_group(signal);
        }
    }

    fn signal_group(&self, signal: Signal) {
        // It fails only if the whole group has ended, and then there is nobody to tell.
        let _gone = kill_process_group(self.pid, signal);
    }

    /// Waits for the end, ends what is left of the group while its number is still ours, then reaps.
    fn wait(&self, mut child: Child, keeper: &Keeper) {
        let options = WaitIdOptions::EXITED | WaitIdOptions::NOWAIT;
        while let Err(error) = waitid(WaitId::Pid(self.pid), options) {
            if error != rustix::io::Errno::INTR {
                break;
            }
        }
        let mut life = lock(&self.life);
        self.signal_group(Signal::KILL);
        keeper.remove(self.pid);
        let status = child.wait();
        life.reaped = true;
        drop(life);
        let status = status.map_or_else(|error| error.to_string(), |status| status.to_string());
        self.exit.send_replace(Some(status));
    }
}

fn attend(launch: &Launch, keeper: &Keeper, started: oneshot::Sender<io::Result<Started>>) {
    let (process, mut child) = match spawn(launch, keeper) {
        Ok(spawned) => spawned,
        Err(error) => return drop(started.send(Err(error))),
    };
    match (child.stdout.take(), child.stderr.take()) {
        (Some(stdout), Some(stderr)) => {
            let start = Started { process: Arc::clone(&process), stdout, stderr };
            if started.send(Ok(start)).is_err() {
                // Who wanted it has gone meanwhile.
                process.kill(KillReason::Shutdown);
            }
        }
        _ => process.kill(KillReason::Shutdown),
    }
    process.wait(child, keeper);
}

fn spawn(launch: &Launch, keeper: &Keeper) -> io::Result<(Arc<Process>, Child)> {
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
    Ok((Arc::new(Process { pid, address, life: Mutex::default(), exit }), child))
}
