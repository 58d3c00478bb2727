//! Handlers that are programs: started for each call, with JSON on their standard input and output.

use std::any::type_name;
use std::future::poll_fn;
use std::io::{self, Write as _};
use std::pin::pin;
use std::process::{ExitStatus, Stdio};
use std::task::Poll;

use serde::de::DeserializeOwned;
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio::process::{Child, Command};

use super::call::{Arguments, input};
use super::join::both;
use crate::checkpoint::Starting;
use crate::error::{Error, Result};
use crate::handler::HandlerDef;

/// What a program may print.
const RESULT_LIMIT_BYTES: usize = 4 << 20;
/// How much of the end of what it writes to its standard error is looked at for why it failed.
const LAST_WORDS_BYTES: usize = 1 << 10;

/// What a program that ended left behind.
struct Ended {
    status: ExitStatus,
    printed: Vec<u8>,
    said: String,
}

/// Starts `command` with the arguments of `handler`, and waits for its result; what `#[program]` writes.
///
/// # Errors
/// It can't be started, ended with another status than 0, printed no `T` or more than 4 MiB, or nobody wants its result any more.
pub async fn program<T: DeserializeOwned, E: From<Error>>(
    handler: &'static HandlerDef,
    command: &[&str],
    arguments: impl Arguments,
) -> Result<T, E> {
    run(handler, command, arguments).await.map_err(E::from)
}

async fn run<T: DeserializeOwned>(
    handler: &'static HandlerDef,
    command: &[&str],
    arguments: impl Arguments,
) -> Result<T> {
    let session = Starting::take();
    let name = command.first().copied().unwrap_or_default();
    let given = input(handler, &arguments)
        .map_err(|error| Error::msg(format!("the arguments can't be written as JSON: {error}")))?;
    let mut child =
        start(command).map_err(|error| Error::msg(format!("program `{name}` can't be started: {error}")))?;
    let ended = {
        let mut ending = pin!(end(&mut child, given.get().as_bytes()));
        let mut called_off = pin!(async {
            match &session {
                Some(session) => session.called_off().await,
                None => std::future::pending().await,
            }
        });
        poll_fn(|waker| match ending.as_mut().poll(waker) {
            Poll::Ready(ended) => Poll::Ready(Some(ended)),
            Poll::Pending => called_off.as_mut().poll(waker).map(|()| None),
        })
        .await
    };
    let Some(ended) = ended else {
        // It may have ended by itself meanwhile.
        let _ = child.kill().await;
        return Err(Error::msg(format!("program `{name}` was killed: nobody wants its result any more")));
    };
    let broken = |error| Error::msg(format!("program `{name}` can't be listened to: {error}"));
    ended.map_err(broken)?.value(name)
}

fn start(command: &[&str]) -> io::Result<Child> {
    let [name, arguments @ ..] = command else { return Err(io::ErrorKind::NotFound.into()) };
    let mut command = Command::new(name);
    command.args(arguments).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    command.kill_on_drop(true).spawn()
}

async fn end(child: &mut Child, given: &[u8]) -> io::Result<Ended> {
    let piped = || io::Error::other("it has no pipes");
    let stdin = child.stdin.take().ok_or_else(piped)?;
    let stdout = child.stdout.take().ok_or_else(piped)?;
    let stderr = child.stderr.take().ok_or_else(piped)?;
    let (((), printed), said) = both(both(feed(stdin, given), printed(stdout)), relayed(stderr)).await;
    let printed = printed?;
    if printed.len() > RESULT_LIMIT_BYTES {
        return Err(io::Error::other(format!("it printed more than {} MiB", RESULT_LIMIT_BYTES >> 20)));
    }
    Ok(Ended { status: child.wait().await?, printed, said })
}

async fn feed(mut stdin: impl AsyncWrite + Unpin, given: &[u8]) {
    // A program need not read what it is given.
    let _ = stdin.write_all(given).await;
    let _ = stdin.shutdown().await;
}

async fn printed(stdout: impl AsyncRead + Unpin) -> io::Result<Vec<u8>> {
    let mut printed = Vec::new();
    stdout.take(RESULT_LIMIT_BYTES as u64 + 1).read_to_end(&mut printed).await?;
    Ok(printed)
}

/// Passes on what it says; answers its last line.
async fn relayed(mut stderr: impl AsyncRead + Unpin) -> String {
    let (mut chunk, mut last) = (vec![0; 8 << 10], Vec::new());
    while let Ok(count @ 1..) = stderr.read(&mut chunk).await {
        // Whoever closed our own does not want to know.
        let _ = io::stderr().write_all(&chunk[..count]);
        last.extend_from_slice(&chunk[..count]);
        drop(last.drain(..last.len().saturating_sub(LAST_WORDS_BYTES)));
    }
    let last = String::from_utf8_lossy(&last);
    last.lines().rev().map(str::trim).find(|line| !line.is_empty()).unwrap_or_default().to_owned()
}

impl Ended {
    fn value<T: DeserializeOwned>(&self, name: &str) -> Result<T> {
        if !self.status.success() {
            let said = if self.said.is_empty() { String::new() } else { format!(": {}", self.said) };
            return Err(Error::msg(format!("program `{name}` ended with {}{said}", self.status)));
        }
        serde_json::from_slice(&self.printed).map_err(|error| {
            Error::msg(format!("program `{name}` printed what is no JSON of `{}`: {error}", type_name::<T>()))
        })
    }
}
