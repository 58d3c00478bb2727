//! The function's end of the line to its supervisor.

use std::fs::File;
use std::io::{self, Seek, SeekFrom};
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader};
use tokio::net::UnixListener;
use tokio::net::unix::{OwnedReadHalf, OwnedWriteHalf};
use tokio::process::{Child, ChildStderr, ChildStdout, Command};
use tokio::time::timeout;

use super::connections;
use super::folders::Private;
use super::spec::{Launch, Status, Told};
use super::supervisor::ROLE;

/// Starting a process takes milliseconds.
const STARTING: Duration = Duration::from_secs(20);
/// What an invocation that was killed started ends within moments of it.
const LOCKING: Duration = Duration::from_secs(20);

/// A supervisor and the program below it. Dropped, both end.
pub(super) struct Supervisor {
    process: Child,
    from: BufReader<OwnedReadHalf>,
    /// What was read of a line whose end was not.
    line: Vec<u8>,
    to: OwnedWriteHalf,
    /// The file that is the program's standard input: one description, so that its position is the program's too.
    stdin: File,
    /// The process that is DMTCP's coordinator, and where the program reaches it.
    coordinator: u32,
    relay: u16,
}

/// The program's output.
pub(super) struct Pipes {
    pub(super) stdout: ChildStdout,
    pub(super) stderr: ChildStderr,
}

impl Supervisor {
    /// Starts one that has `stdin` from `stdin_at` on, and waits until it has the lock.
    pub(super) async fn start(
        private: &Private,
        locks: &[PathBuf],
        stdin: &Path,
        stdin_at: u64,
    ) -> io::Result<(Self, Pipes)> {
        let mut stdin = File::open(stdin)?;
        stdin.seek(SeekFrom::Start(stdin_at))?;
        let control = private.path.join("control");
        let listener = UnixListener::bind(&control)?;
        let mut command = Command::new(std::env::current_exe()?);
        command.arg(ROLE).arg(&control).args(locks).env_clear();
        command.stdin(stdin.try_clone()?).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut process = command.spawn()?;
        let pipes = process.stdout.take().zip(process.stderr.take());
        let (stdout, stderr) = pipes.ok_or_else(|| io::Error::other("the supervisor has no pipes"))?;
        let (line, _) = timeout(STARTING, listener.accept()).await??;
        let (from, to) = line.into_split();
        let mut supervisor = Self {
            process,
            from: BufReader::new(from),
            line: Vec::new(),
            to,
            stdin,
            coordinator: 0,
            relay: 0,
        };
        let lost = "what an earlier invocation of this execution started still runs here";
        match timeout(LOCKING, supervisor.next()).await {
            Err(_) => Err(io::Error::other(lost)),
            Ok(told) => match told? {
                Told::Locked => Ok((supervisor, Pipes { stdout, stderr })),
                other => Err(unexpected(&other)),
            },
        }
    }

    /// Starts the program.
    pub(super) async fn launch(&mut self, launch: &Launch) -> io::Result<()> {
        let mut line = serde_json::to_vec(launch)?;
        line.push(b'\n');
        self.to.write_all(&line).await?;
        match self.next().await? {
            Told::Started { coordinator, port } => {
                (self.coordinator, self.relay) = (coordinator, port);
                Ok(())
            }
            Told::Failed(why) => Err(io::Error::other(why)),
            other => Err(unexpected(&other)),
        }
    }

    /// Waits until the program, and all that it started, has ended.
    pub(super) async fn ended(&mut self) -> io::Result<Status> {
        match self.next().await? {
            Told::Ended(status) => Ok(status),
            other => Err(unexpected(&other)),
        }
    }

    /// Ends the program at once, and waits for that.
    pub(super) async fn kill(mut self) {
        drop(self.to);
        drop(self.from);
        // It ends as soon as it sees that nobody listens any more.
        let _ = self.process.wait().await;
    }

    /// How far the program has read its standard input.
    pub(super) fn stdin_at(&mut self) -> io::Result<u64> {
        self.stdin.stream_position()
    }

    /// Bytes of memory that the program and all that it started have resident; 0 where the system does not tell.
    pub(super) fn resident_bytes(&self) -> u64 {
        self.process.id().map(below).unwrap_or_default().into_iter().map(resident_bytes).sum()
    }

    /// The other end of a connection that the program has open to somebody else, if there is one.
    pub(super) fn connected_to(&self) -> Option<String> {
        let mut pids = self.process.id().map(below).unwrap_or_default();
        pids.retain(|pid| *pid != self.coordinator);
        connections::leading_out(&pids, self.relay)
    }

    async fn next(&mut self) -> io::Result<Told> {
        if self.from.read_until(b'\n', &mut self.line).await? == 0 {
            return Err(io::Error::other("the program's supervisor is gone"));
        }
        Ok(serde_json::from_slice(&std::mem::take(&mut self.line))?)
    }
}

fn unexpected(told: &Told) -> io::Error {
    io::Error::other(format!("the supervisor said something else: {told:?}"))
}

/// All processes below this one.
fn below(pid: u32) -> Vec<u32> {
    let children = std::fs::read_to_string(format!("/proc/{pid}/task/{pid}/children")).unwrap_or_default();
    let mut all: Vec<u32> = children.split_whitespace().filter_map(|child| child.parse().ok()).collect();
    let deeper: Vec<u32> = all.iter().flat_map(|child| below(*child)).collect();
    all.extend(deeper);
    all
}

fn resident_bytes(pid: u32) -> u64 {
    const PAGE_BYTES: u64 = 4096;
    let statm = std::fs::read_to_string(format!("/proc/{pid}/statm")).unwrap_or_default();
    let pages: u64 = statm.split_whitespace().nth(1).and_then(|pages| pages.parse().ok()).unwrap_or_default();
    pages * PAGE_BYTES
}
