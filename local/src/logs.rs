//! What a function process prints, cut into the logs of its activations.

use std::sync::{Arc, Mutex};
use std::time::{Duration, SystemTime};

use tokio::io::{AsyncRead, AsyncReadExt as _};
use tokio::sync::Notify;

use crate::events::{EventKind, Events, Stream};
use crate::sync::lock;

/// Ends the log of one activation on each stream.
const SENTINEL: &str = "XXX_THE_END_OF_A_WHISK_ACTIVATION_XXX";

/// A longer line is cut, so that a process that prints no line ends can't fill our memory.
const LINE_MAX: usize = 64 << 10;

/// The log of one process.
#[derive(Debug)]
pub(crate) struct Logs {
    events: Events,
    function: String,
    /// How many bytes of log an activation keeps.
    max: usize,
    current: Mutex<Current>,
    progress: Notify,
}

#[derive(Debug, Default)]
struct Current {
    activation: String,
    lines: Vec<String>,
    bytes: usize,
    truncated: bool,
    /// Per stream: the activation's part has ended.
    ended: [bool; 2],
    /// Per stream: nothing will ever come again.
    closed: [bool; 2],
}

impl Logs {
    pub(crate) fn new(events: Events, function: String, max: usize) -> Arc<Self> {
        let (current, progress) = (Mutex::default(), Notify::new());
        Arc::new(Self { events, function, max, current, progress })
    }

    /// What comes from now on belongs to `activation`; lines printed before, while starting, do too.
    pub(crate) fn begin(&self, activation: &str) {
        let mut current = lock(&self.current);
        activation.clone_into(&mut current.activation);
        current.ended = current.closed;
    }

    /// Takes the activation's lines once both streams have ended it, or after `patience`.
    pub(crate) async fn finish(&self, patience: Duration) -> Vec<String> {
        // Even a timeout of nothing would take a tick of the timer, and keep the process from its next call.
        let ended = patience.is_zero() || tokio::time::timeout(patience, self.wait_for_ends()).await.is_ok();
        let mut current = lock(&self.current);
        let mut lines = std::mem::take(&mut current.lines);
        if !ended {
            let note = "There was an issue while collecting your logs. Data might be missing.";
            lines.push(stamped(Stream::Stderr, note));
        }
        if current.truncated {
            let note = format!(
                "Logs were truncated because the total bytes size exceeds the limit of {} bytes.",
                self.max
            );
            lines.push(stamped(Stream::Stderr, &note));
        }
        (current.bytes, current.truncated) = (0, false);
        lines
    }

    async fn wait_for_ends(&self) {
        loop {
            let progress = self.progress.notified();
            if lock(&self.current).ended == [true, true] {
                return;
            }
            progress.await;
        }
    }

    /// Reads a stream to its end.
    pub(crate) async fn read(self: Arc<Self>, stream: Stream, mut from: impl AsyncRead + Unpin) {
        let mut rest = Vec::new();
        let mut buffer = vec![0; 8 << 10];
        while let Ok(length @ 1..) = from.read(&mut buffer).await {
            for &byte in buffer.get(..length).unwrap_or_default() {
                if byte == b'\n' || rest.len() >= LINE_MAX {
                    self.line(stream, &rest);
                    rest.clear();
                }
                if byte != b'\n' {
                    rest.push(byte);
                }
            }
        }
        if !rest.is_empty() {
            self.line(stream, &rest);
        }
        let mut current = lock(&self.current);
        current.closed[index(stream)] = true;
        current.ended[index(stream)] = true;
        drop(current);
        self.progress.notify_waiters();
    }

    fn line(&self, stream: Stream, bytes: &[u8]) {
        let line = String::from_utf8_lossy(bytes);
        let line = line.strip_suffix('\r').unwrap_or(&line);
        let mut current = lock(&self.current);
        // The last line before a sentinel may lack its end.
        let (text, ends) = line.strip_suffix(SENTINEL).map_or((line, false), |text| (text, true));
        if !text.is_empty() || !ends {
            let activation = current.activation.clone();
            let kind = EventKind::Log { stream, line: text.to_owned() };
            self.events.emit(&activation, &self.function, kind);
            if current.bytes + text.len() <= self.max {
                current.bytes += text.len() + 1;
                current.lines.push(stamped(stream, text));
            } else {
                current.truncated = true;
            }
        }
        if ends {
            current.ended[index(stream)] = true;
            self.progress.notify_waiters();
        }
    }
}

fn index(stream: Stream) -> usize {
    match stream {
        Stream::Stdout => 0,
        Stream::Stderr => 1,
    }
}

fn stamped(stream: Stream, line: &str) -> String {
    let name = match stream {
        Stream::Stdout => "stdout",
        Stream::Stderr => "stderr",
    };
    format!("{} {name}: {line}", humantime::format_rfc3339_nanos(SystemTime::now()))
}
