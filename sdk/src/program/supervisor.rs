//! The process between a function and its program.
//!
//! A program must not be a direct child of process 1: restarted from an image it would detach itself. And whatever it starts, and
//! DMTCP's coordinator, which makes itself a daemon, must end with it. So the function starts itself once more, in this role: it adopts
//! every orphan below it, and ends them all when the program has ended or when the function is gone.

use std::ffi::OsString;
use std::io::{self, BufRead, BufReader, Write};
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, channel};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use rustix::process::{
    Pid, WaitId, WaitIdOptions, WaitOptions, getpid, set_child_subreaper, setsid, wait, waitid,
};

use super::spec::{Coordinator, Launch, PORT, Status, Told};
use super::{descendants, folders, relay};
use crate::engine::note;

/// How long the coordinator may take to listen.
const PATIENCE: Duration = Duration::from_secs(20);
/// Between two looks at whether it does: it tells nobody.
const LOOK_AGAIN: Duration = Duration::from_millis(1);

/// The word that asks for this role. Nobody types it.
pub(super) const ROLE: &str = "limitless-supervise-program";

/// Plays the supervisor where this process was started as one, and says whether it was. The first thing that a binary which serves
/// programs calls.
pub fn supervise_if_asked() -> bool {
    let mut arguments = std::env::args_os().skip(1);
    if arguments.next().is_none_or(|first| first != ROLE) {
        return false;
    }
    let Some(control) = arguments.next() else { return true };
    if let Err(error) = supervise(&control, arguments) {
        note(&format!("the supervisor of a program failed: {error}"));
    }
    true
}

fn supervise(control: &OsString, locks: impl Iterator<Item = OsString>) -> io::Result<()> {
    set_child_subreaper(Some(getpid()))?;
    // A restarted program tries to join the process group that it was saved in, whoever has that number now. In a session of its own
    // it can't, and what a platform does to the function's group does not reach it but through this process.
    setsid()?;
    let control = UnixStream::connect(control)?;
    let family = Arc::new(Family::default());
    let launches = listen(BufReader::new(control.try_clone()?), family.clone())?;
    let tell = |told: &Told| say(&control, told);
    // Held until all that this process started has ended: two invocations never have one work folder.
    let locks: Vec<PathBuf> = locks.map(PathBuf::from).collect();
    let _held = locks.iter().map(|lock| folders::Locked::wait(lock)).collect::<io::Result<Vec<_>>>()?;
    tell(&Told::Locked)?;
    let Ok(launch) = launches.recv() else { return Ok(()) };
    match family.start(&launch) {
        Ok((root, coordinator, port)) => {
            tell(&Told::Started { coordinator, port })?;
            let status = family.outlive(Some(root))?;
            for lock in &locks {
                // Whoever waits for it looks whether it is still there.
                drop(std::fs::remove_file(lock));
            }
            tell(&Told::Ended(status))
        }
        Err(error) => {
            // The coordinator may run already.
            family.end();
            family.outlive(None)?;
            tell(&Told::Failed(format!("{} could not be started: {error}", launch.program)))
        }
    }
}

fn say(mut control: &UnixStream, told: &Told) -> io::Result<()> {
    let mut line = serde_json::to_string(told)?;
    line.push('\n');
    control.write_all(line.as_bytes())
}

/// Hears the function, and its end.
fn listen(control: BufReader<UnixStream>, family: Arc<Family>) -> io::Result<Receiver<Launch>> {
    let (to, launches) = channel();
    std::thread::Builder::new().name("control".to_owned()).spawn(move || {
        for line in control.lines().map_while(Result::ok) {
            if let Ok(launch) = serde_json::from_str(&line) {
                // Nobody waits for a second one.
                let _ = to.send(launch);
            }
        }
        drop(to);
        family.end();
    })?;
    Ok(launches)
}

/// All processes below this one.
#[derive(Default)]
struct Family {
    is_ending: AtomicBool,
    /// It is ending because it became too many.
    is_crowded: AtomicBool,
    /// Held while a child is reaped or signalled: a number that was reaped may be another process's.
    children: Mutex<()>,
}

impl Family {
    fn start(self: &Arc<Self>, launch: &Launch) -> io::Result<(Pid, u32, u16)> {
        let (coordinator, port) = self.coordinator(&launch.coordinator)?;
        let family = self.clone();
        let port = relay::start(port, move || {
            family.is_crowded.store(true, Ordering::SeqCst);
            family.end();
        })?;
        let word_for_port = port.to_string();
        let mut command = Command::new(&launch.program);
        command
            .args(launch.args.iter().map(|word| if word == PORT { &word_for_port } else { word }))
            .env_clear()
            .envs(launch.env.iter().map(|(name, value)| (name, value)));
        command.current_dir(&launch.folder).stdin(Stdio::inherit());
        let child = command.spawn()?;
        if self.is_ending.load(Ordering::SeqCst) {
            self.end();
        }
        Ok((Pid::from_child(&child), coordinator, port))
    }

    /// Starts DMTCP's coordinator; answers its number and its port.
    fn coordinator(&self, wanted: &Coordinator) -> io::Result<(u32, u16)> {
        let mut command = Command::new(&wanted.program);
        command.args(&wanted.args).env_clear().current_dir(&wanted.folder);
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        let mut child = command.spawn()?;
        let until = Instant::now() + PATIENCE;
        loop {
            let text = std::fs::read_to_string(&wanted.port_file).unwrap_or_default();
            // Written in one go, with the line's end.
            if let Some(port) =
                text.strip_suffix('\n').or(Some(&text)).and_then(|text| text.trim().parse().ok())
            {
                return Ok((child.id(), port));
            }
            if self.is_ending.load(Ordering::SeqCst) || Instant::now() >= until || child.try_wait()?.is_some()
            {
                return Err(io::Error::other("DMTCP's coordinator did not start"));
            }
            std::thread::sleep(LOOK_AGAIN);
        }
    }

    /// Waits for the program, ends what it left behind, and waits for that too.
    fn outlive(&self, root: Option<Pid>) -> io::Result<Status> {
        let mut status = Status::Code(0);
        loop {
            match waitid(WaitId::All, WaitIdOptions::EXITED | WaitIdOptions::NOWAIT) {
                Err(rustix::io::Errno::CHILD) if self.is_crowded.load(Ordering::SeqCst) => {
                    return Ok(Status::Crowded);
                }
                Err(rustix::io::Errno::CHILD) => return Ok(status),
                Err(rustix::io::Errno::INTR) => continue,
                other => other?,
            };
            let _children = self.children.lock();
            while let Ok(Some((pid, ended))) = wait(WaitOptions::NOHANG) {
                if Some(pid) == root {
                    status = match (ended.exit_status(), ended.terminating_signal()) {
                        (Some(code), _) => Status::Code(code),
                        (None, signal) => Status::Signal(signal.unwrap_or_default()),
                    };
                    self.is_ending.store(true, Ordering::SeqCst);
                }
            }
            if self.is_ending.load(Ordering::SeqCst) {
                descendants::kill_all();
            }
        }
    }

    fn end(&self) {
        self.is_ending.store(true, Ordering::SeqCst);
        let _children = self.children.lock();
        descendants::kill_all();
    }
}
