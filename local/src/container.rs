//! A function process in the pool: what it is for, and whether it works.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use tokio::sync::watch;
use tokio_util::task::TaskTracker;

use crate::events::{Events, Stream};
use crate::function::Function;
use crate::logs::Logs;
use crate::process::{Process, Started};

/// What a container does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Usage {
    /// It works on a call.
    Busy,
    /// It has answered, and its logs are being collected.
    Finishing,
    /// It waits for a call; `turn` grows with every time any container becomes idle.
    Idle { turn: u64, paused: bool },
    /// It takes no further call.
    Leaving,
}

#[derive(Debug)]
pub(crate) struct Container {
    pub(crate) number: u64,
    /// Which version of its image it runs.
    pub(crate) generation: u64,
    pub(crate) function: Arc<Function>,
    pub(crate) process: Arc<Process>,
    pub(crate) logs: Arc<Logs>,
    /// Its lock also orders the signals that pause and unpause.
    usage: watch::Sender<Usage>,
}

static TURNS: AtomicU64 = AtomicU64::new(0);

impl Container {
    /// A container at work whose output is read by tasks among `tasks`.
    pub(crate) fn new(
        number: u64,
        generation: u64,
        function: Arc<Function>,
        started: Started,
        events: &Events,
        tasks: &TaskTracker,
    ) -> io::Result<Arc<Self>> {
        let Started { process, stdout, stderr } = started;
        let logs = Logs::new(events.clone(), function.name.clone(), function.log_bytes);
        let read = || -> io::Result<()> {
            let stdout = tokio::net::unix::pipe::Receiver::from_owned_fd(stdout.into())?;
            let stderr = tokio::net::unix::pipe::Receiver::from_owned_fd(stderr.into())?;
            tasks.spawn(Arc::clone(&logs).read(Stream::Stdout, stdout));
            tasks.spawn(Arc::clone(&logs).read(Stream::Stderr, stderr));
            Ok(())
        };
        if let Err(error) = read() {
            process.kill(crate::KillReason::Shutdown);
            return Err(error);
        }
        let usage = watch::Sender::new(Usage::Busy);
        Ok(Arc::new(Self { number, generation, function, process, logs, usage }))
    }

    pub(crate) fn usage(&self) -> Usage {
        *self.usage.borrow()
    }

    pub(crate) fn watch(&self) -> watch::Receiver<Usage> {
        self.usage.subscribe()
    }

    /// When it became idle, if it is and still lives.
    pub(crate) fn idle_turn(&self) -> Option<u64> {
        match self.usage() {
            Usage::Idle { turn, .. } if !self.process.has_ended() => Some(turn),
            _ => None,
        }
    }

    /// Takes it for a call if it is idle, and lets it go on if it is paused; says whether it was.
    pub(crate) fn claim(&self) -> Option<bool> {
        let mut was_paused = false;
        let claimed = self.change(|usage| {
            let Usage::Idle { paused, .. } = *usage else { return None };
            if paused {
                self.process.unpause();
            }
            was_paused = paused;
            Some(Usage::Busy)
        });
        claimed.then_some(was_paused)
    }

    /// Takes it out of use if it is idle.
    pub(crate) fn leave(&self) -> bool {
        self.change(|usage| matches!(usage, Usage::Idle { .. }).then_some(Usage::Leaving))
    }

    pub(crate) fn set(&self, usage: Usage) {
        self.usage.send_replace(usage);
    }

    pub(crate) fn set_idle(&self) {
        self.set(Usage::Idle { turn: TURNS.fetch_add(1, Ordering::Relaxed), paused: false });
    }

    /// Stops it if it has been idle since `turn`.
    pub(crate) fn pause(&self, turn: u64) -> bool {
        self.change(|usage| {
            let is_meant = *usage == Usage::Idle { turn, paused: false };
            is_meant.then(|| {
                self.process.pause();
                Usage::Idle { turn, paused: true }
            })
        })
    }

    fn change(&self, next: impl FnOnce(&Usage) -> Option<Usage>) -> bool {
        self.usage.send_if_modified(|usage| match next(usage) {
            Some(changed) => {
                *usage = changed;
                true
            }
            None => false,
        })
    }
}
