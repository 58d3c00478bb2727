//! Nothing outlives the platform, even if the platform is killed.
//!
//! A parent-death signal would need unsafe code between fork and exec, is tied to the thread that forked, and spares
//! grandchildren. Instead a small shell process waits at the end of a pipe whose other end only the platform holds: when
//! the pipe closes, for whatever reason, it kills every process group it was told of, then every process that carries
//! the platform's mark in its environment, removes the containers that carry it, and removes the platform's folder.

use std::io::{self, Write as _};
use std::os::unix::process::CommandExt as _;
use std::path::Path;
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::Mutex;

use rustix::process::Pid;

use crate::engine::Engine;
use crate::sync::lock;

/// The environment variable that marks every process of one platform.
pub(crate) const MARK_VARIABLE: &str = "LIMITLESS_PLATFORM";

const SCRIPT: &str = include_str!("keeper.sh");

#[derive(Debug)]
pub(crate) struct Keeper {
    running: Mutex<Option<(Child, ChildStdin)>>,
}

impl Keeper {
    /// Starts the keeper of the platform whose files are in `folder` and whose processes carry `mark`; its containers have
    /// it as a label.
    pub(crate) fn start(folder: &Path, mark: &str, engine: Option<&Engine>) -> io::Result<Self> {
        let mut child = Command::new("/bin/sh")
            .args(["-c", SCRIPT, "limitless-keeper"])
            .arg(folder)
            .arg(format!("{MARK_VARIABLE}={mark}"))
            .args(engine.map(|engine| &engine.program))
            .env_remove(MARK_VARIABLE)
            .current_dir("/")
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            // A Ctrl-C in the terminal goes to the platform's group; the keeper must outlive it.
            .process_group(0)
            .spawn()?;
        let stdin = child.stdin.take().ok_or(io::ErrorKind::BrokenPipe)?;
        Ok(Self { running: Mutex::new(Some((child, stdin))) })
    }

    /// From now on the group of `pid` ends with the platform.
    pub(crate) fn add(&self, pid: Pid) -> io::Result<()> {
        self.tell(&format!("add {}\n", pid.as_raw_nonzero()))
    }

    /// The group of `pid` has ended; its number may soon belong to somebody else.
    pub(crate) fn remove(&self, pid: Pid) {
        // A keeper that has gone can't mistake the number for a running group either.
        drop(self.tell(&format!("remove {}\n", pid.as_raw_nonzero())));
    }

    fn tell(&self, line: &str) -> io::Result<()> {
        let gone = || io::Error::other("the process that ends the functions with the platform has gone");
        let mut running = lock(&self.running);
        let (_, stdin) = running.as_mut().ok_or_else(gone)?;
        stdin.write_all(line.as_bytes()).map_err(|_| gone())
    }

    /// Lets the keeper end what still runs and remove the platform's files. Blocks until it has (milliseconds).
    pub(crate) fn finish(&self) {
        drop(self.tell("clean\n"));
        if let Some((mut child, stdin)) = lock(&self.running).take() {
            drop(stdin);
            drop(child.wait());
        }
    }
}

impl Drop for Keeper {
    fn drop(&mut self) {
        self.finish();
    }
}
