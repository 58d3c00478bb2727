//! What the platform tells about its work while it does it.

use std::time::{SystemTime, UNIX_EPOCH};

use serde::Serialize;
use tokio::sync::broadcast;

/// What the platform does, as it does it.
#[derive(Clone, Debug, Serialize)]
pub struct Event {
    /// When it happened, in microseconds since the epoch.
    pub at_us: u64,
    /// The activation id (OpenWhisk) or call id (OpenFaaS) it belongs to; empty for what happens to an idle process.
    pub activation: String,
    /// The action or function: `name` or `package/name`.
    pub function: String,
    /// What happened.
    #[serde(flatten)]
    pub kind: EventKind,
}

/// The kinds of [`Event`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
#[non_exhaustive]
pub enum EventKind {
    /// The call was accepted.
    Queued,
    /// A process got the call.
    Started {
        /// Whether the process was started for it.
        cold: bool,
        /// From the decision to run the call to the moment its request was sent: spawn and `/init`, or unpausing.
        start_us: u64,
        /// The process that got it.
        pid: u32,
    },
    /// The function answered.
    Answered {
        /// The HTTP status of the function's answer.
        status: u16,
        /// From the request to the whole answer.
        elapsed_us: u64,
    },
    /// The platform killed the process that worked on the call.
    Killed {
        /// Why.
        reason: KillReason,
        /// From the request to the death.
        elapsed_us: u64,
    },
    /// The process that worked on the call ended by itself, or its connection was lost.
    Died {
        /// How, for example `exit status: 3`.
        status: String,
        /// From the request to the death.
        elapsed_us: u64,
    },
    /// The watchdog delivers the call again because the process that worked on it is dead.
    Redelivered {
        /// 1 for the first redelivery.
        attempt: u32,
    },
    /// A fault on demand: the call is delivered twice. Also an asynchronous call not acknowledged in time.
    Duplicated,
    /// A fault on demand: the call was accepted and will never run.
    Lost,
    /// A fault on demand: the call waits before it runs.
    Delayed {
        /// For how long.
        by_ms: u64,
    },
    /// The answer of an asynchronous OpenFaaS call was posted to its callback.
    CalledBack {
        /// What the receiver answered.
        status: u16,
    },
    /// The answer of an asynchronous OpenFaaS call could not be posted; it is not tried again.
    CallbackFailed {
        /// Why.
        error: String,
    },
    /// An idle process was stopped (SIGSTOP).
    Paused,
    /// A stopped process goes on (SIGCONT).
    Unpaused,
    /// A process left the pool and has ended.
    Removed,
    /// A line that the function printed.
    Log {
        /// Where it was printed.
        stream: Stream,
        /// The line without its end.
        line: String,
    },
}

/// Why the platform killed a process.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum KillReason {
    /// The call took longer than its limit.
    TimeLimit,
    /// The process used more memory than its limit.
    Memory,
    /// A fault on demand.
    Fault,
    /// The platform ends, or the process is not needed any more.
    Shutdown,
}

/// An output stream of a function process.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Stream {
    /// Standard output.
    Stdout,
    /// Standard error.
    Stderr,
}

/// Hands events to whoever subscribed.
#[derive(Clone, Debug)]
pub(crate) struct Events(broadcast::Sender<Event>);

impl Events {
    pub(crate) fn new(capacity: usize) -> Self {
        Self(broadcast::Sender::new(capacity.max(1)))
    }

    pub(crate) fn subscribe(&self) -> broadcast::Receiver<Event> {
        self.0.subscribe()
    }

    pub(crate) fn emit(&self, activation: &str, function: &str, kind: EventKind) {
        // Without a subscriber nobody wants the event: that is no failure.
        if self.0.receiver_count() > 0 {
            let event = Event {
                at_us: epoch_us(SystemTime::now()),
                activation: activation.to_owned(),
                function: function.to_owned(),
                kind,
            };
            drop(self.0.send(event));
        }
    }
}

pub(crate) fn epoch_us(at: SystemTime) -> u64 {
    let since = at.duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_micros()).unwrap_or(u64::MAX)
}

pub(crate) fn epoch_ms(at: SystemTime) -> u64 {
    epoch_us(at) / 1000
}

pub(crate) fn micros(duration: std::time::Duration) -> u64 {
    u64::try_from(duration.as_micros()).unwrap_or(u64::MAX)
}

pub(crate) fn millis(duration: std::time::Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}
