//! The fold: from entries to the state of an execution.

use serde::{Deserialize, Serialize};

use super::entry::{Driver, Entry, Kind, Origin, Output, Saved, Wake};
use crate::{ExecutionId, Failure, Nonce};

/// How many checkpoints a resume can choose from: the newest, and the one before should it be damaged.
const KEPT: usize = 2;

/// The state of one execution: the fold of its log.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Execution {
    /// Its id.
    pub id: ExecutionId,
    /// Its handler.
    pub handler: String,
    /// How many entries were folded; the next one gets this number.
    pub length: u64,
    /// What was asked for. None only where the log begins with a cancellation.
    pub origin: Option<Origin>,
    /// The epoch of the latest owner.
    pub epoch: u64,
    /// Where it stands.
    pub phase: Phase,
    /// The checkpoints a resume can go on from, with the number of their entry, newest last.
    pub saved: Vec<(u64, Saved)>,
    /// The segments that hold results of steps, oldest first.
    pub segments: Vec<Segment>,
    /// What was counted.
    pub tally: Tally,
    /// Whether the receiver acknowledged the result.
    pub delivered: bool,
}

/// Where an execution stands.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Phase {
    /// An invocation drives it.
    Owned(Owner),
    /// It waits for its successor.
    Suspended {
        /// A successor that has not claimed by then was lost.
        successor_by_ms: u64,
        /// When that was written, by the writer's clock in µs since 1970.
        at_us: u64,
        /// What it waits for, where it is not to go on at once.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        wake: Option<Wake>,
    },
    /// It has its result.
    Completed(Output),
    /// It failed for good.
    Failed(Failure),
    /// It was called off.
    Cancelled {
        /// By whom.
        by: String,
    },
}

/// The invocation that drives an execution.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Owner {
    /// Its delivery.
    pub nonce: Nonce,
    /// Nobody else may claim before this.
    pub lease_until_ms: u64,
    /// What the platform calls it.
    pub driver: Driver,
    /// How much of its time limit was left when it began to own the execution, by its own clock.
    #[serde(default)]
    pub left_ms: u64,
}

/// One owner's results of steps.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Segment {
    /// The owner's epoch.
    pub epoch: u64,
    /// The owner's delivery.
    pub nonce: Nonce,
    /// Its sealed length in bytes; none while its owner may still append.
    pub length: Option<u64>,
}

/// Counts that limits apply to.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Tally {
    /// Invocations that owned the execution so far.
    pub invocations: u64,
    /// Suspensions in a row whose state had not moved although the handler had computed.
    pub idle: u32,
    /// Owners in a row that had no time to compute: cold starts or a busy machine had eaten it.
    #[serde(default)]
    pub starved: u32,
    /// Owners in a row that were lost without progress, although they had time.
    pub crashes: u32,
    /// Owners that were lost, ever.
    pub crashes_ever: u32,
    /// Checkpoints in the log.
    pub checkpoints: u64,
    /// Progress of the newest checkpoint.
    pub progress: u64,
}

/// A phase as one word, for people and `--json`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Status {
    /// An invocation drives it.
    Running,
    /// It waits for its successor.
    Suspended,
    /// It has its result.
    Completed,
    /// It failed for good.
    Failed,
    /// It was called off.
    Cancelled,
}

impl Status {
    /// The word itself.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Running => "running",
            Self::Suspended => "suspended",
            Self::Completed => "completed",
            Self::Failed => "failed",
            Self::Cancelled => "cancelled",
        }
    }

    /// Whether nothing more will happen but the delivery of the result.
    pub fn is_terminal(self) -> bool {
        matches!(self, Self::Completed | Self::Failed | Self::Cancelled)
    }
}

/// What became of an entry in the fold.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Applied {
    /// It changed the execution.
    Counted,
    /// Its writer had no right to it, or it came after the end: it takes a number and means nothing.
    Ignored,
}

/// A log that no writer of ours makes.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum LogError {
    /// The first entry is not one that can begin a log.
    #[error("the log begins with `{0}`, which can't begin one")]
    Beginning(&'static str),
    /// An entry of another execution.
    #[error("entry {number} belongs to execution {found}")]
    Foreign {
        /// Its number.
        number: u64,
        /// The execution that it names.
        found: ExecutionId,
    },
}

/// The fold of all entries in order, or none where there are none.
///
/// # Errors
/// Where the entries are not those of one execution from its beginning.
pub fn fold(entries: &[Entry]) -> Result<Option<Execution>, LogError> {
    let Some((first, rest)) = entries.split_first() else { return Ok(None) };
    let mut execution = Execution::begin(first)?;
    for entry in rest {
        execution.apply(entry)?;
    }
    Ok(Some(execution))
}

impl Execution {
    /// The state after entry 0.
    ///
    /// # Errors
    /// Where this entry can't begin a log.
    pub fn begin(entry: &Entry) -> Result<Self, LogError> {
        let (origin, phase) = match &entry.kind {
            Kind::Started { origin, lease_until_ms, driver, .. } => {
                let owner = Owner {
                    nonce: entry.nonce,
                    lease_until_ms: *lease_until_ms,
                    // It had computed before there was anything to write.
                    left_ms: driver.limit_ms,
                    driver: driver.clone(),
                };
                (Some(origin.clone()), Phase::Owned(owner))
            }
            Kind::Completed { output, origin, .. } => (origin.clone(), Phase::Completed(output.clone())),
            Kind::Failed { failure, origin, .. } => (origin.clone(), Phase::Failed(failure.clone())),
            Kind::Cancelled { by } => (None, Phase::Cancelled { by: by.clone() }),
            other => return Err(LogError::Beginning(other.name())),
        };
        let mut execution = Self {
            id: entry.execution.clone(),
            handler: entry.handler.clone(),
            length: 1,
            origin,
            epoch: 1,
            phase,
            saved: Vec::new(),
            segments: Vec::new(),
            tally: Tally { invocations: 1, ..Tally::default() },
            delivered: false,
        };
        if let Kind::Started { saved, .. } = &entry.kind {
            execution.open_segment(entry.nonce);
            if let Some(saved) = saved {
                execution.keep(0, saved);
            }
        }
        Ok(execution)
    }

    /// Folds the next entry.
    ///
    /// # Errors
    /// Where it belongs to another execution.
    pub fn apply(&mut self, entry: &Entry) -> Result<Applied, LogError> {
        let number = self.length;
        if entry.execution != self.id {
            return Err(LogError::Foreign { number, found: entry.execution.clone() });
        }
        self.length += 1;
        if !self.may(entry) {
            return Ok(Applied::Ignored);
        }
        match &entry.kind {
            Kind::Started { .. } => {}
            Kind::Claimed { lease_until_ms, driver, from, seal } => {
                self.claimed(*from, *seal);
                self.epoch = entry.epoch;
                self.open_segment(entry.nonce);
                self.phase = Phase::Owned(Owner {
                    nonce: entry.nonce,
                    lease_until_ms: *lease_until_ms,
                    left_ms: driver.left_ms(entry.at_us),
                    driver: driver.clone(),
                });
            }
            Kind::Checkpointed { saved } => self.keep(number, saved),
            Kind::Suspended { saved, steps, successor_by_ms, wake, .. } => {
                self.suspended(number, saved.as_ref(), *steps);
                self.phase = Phase::Suspended {
                    successor_by_ms: *successor_by_ms,
                    at_us: entry.at_us,
                    wake: wake.clone(),
                };
            }
            Kind::Completed { output, .. } => self.phase = Phase::Completed(output.clone()),
            Kind::Failed { failure, .. } => self.phase = Phase::Failed(failure.clone()),
            Kind::Cancelled { by } => self.phase = Phase::Cancelled { by: by.clone() },
            Kind::Delivered { .. } => self.delivered = true,
        }
        Ok(Applied::Counted)
    }

    /// Whether this entry's writer had the right to it: the table of the protocol.
    fn may(&self, entry: &Entry) -> bool {
        let is_owner = self.is_owned_by(entry.epoch, entry.nonce);
        match &entry.kind {
            Kind::Started { .. } => false,
            // Whether the lease had run out is the claimant's to judge: the fold has no clock, and needs none,
            // since creating this number is what decides.
            Kind::Claimed { .. } => !self.status().is_terminal() && entry.epoch == self.epoch + 1,
            Kind::Checkpointed { .. } | Kind::Suspended { .. } | Kind::Completed { .. } => is_owner,
            Kind::Failed { .. } => {
                is_owner || (!self.status().is_terminal() && entry.epoch == self.epoch + 1)
            }
            Kind::Cancelled { .. } => !self.status().is_terminal(),
            Kind::Delivered { .. } => self.status().is_terminal() && !self.delivered,
        }
    }

    /// Whether this delivery drives the execution now.
    pub fn is_owned_by(&self, epoch: u64, nonce: Nonce) -> bool {
        matches!(&self.phase, Phase::Owned(owner) if owner.nonce == nonce) && self.epoch == epoch
    }

    /// The newest checkpoint and the number of its entry.
    pub fn newest(&self) -> Option<(u64, &Saved)> {
        self.saved.last().map(|(number, saved)| (*number, saved))
    }

    /// The phase as one word.
    pub fn status(&self) -> Status {
        match self.phase {
            Phase::Owned(_) => Status::Running,
            Phase::Suspended { .. } => Status::Suspended,
            Phase::Completed(_) => Status::Completed,
            Phase::Failed(_) => Status::Failed,
            Phase::Cancelled { .. } => Status::Cancelled,
        }
    }

    /// The counts once somebody claims, and seals a lost owner's steps at this length.
    ///
    /// Whoever recorded a step got further: it is not taken again. Whoever was left no time for a turn of its loop is not
    /// to blame.
    pub fn tally_after_claim(&self, seal: Option<u64>) -> Tally {
        let mut tally = Tally { invocations: self.tally.invocations + 1, ..self.tally };
        let Phase::Owned(owner) = &self.phase else { return tally };
        tally.crashes_ever += 1;
        if seal.unwrap_or(0) > 0 {
            (tally.idle, tally.starved, tally.crashes) = (0, 0, 0);
        } else if self.was_starved(owner) {
            tally.starved += 1;
        } else {
            tally.crashes += 1;
        }
        tally
    }

    /// Whether this owner had less time left than two turns of its loop take, or than a quarter of what it was given: a
    /// cold start or a busy machine had eaten it.
    fn was_starved(&self, owner: &Owner) -> bool {
        let turn_ms = self.newest().map_or(0, |(_, saved)| saved.hook_gap_us / 1000);
        owner.left_ms < (2 * turn_ms).max(owner.driver.limit_ms / 4)
    }

    fn claimed(&mut self, from: Option<u64>, seal: Option<u64>) {
        // A checkpoint that the claimant passed over was damaged: nobody tries it again.
        self.saved.retain(|(number, _)| from.is_some_and(|from| *number <= from));
        self.tally = self.tally_after_claim(seal);
        self.close_segment(seal.unwrap_or(0));
    }

    fn suspended(&mut self, number: u64, saved: Option<&Saved>, steps: u64) {
        // An owner that gave the execution back without having run says nothing about progress.
        if let Some(saved) = saved {
            let moved = saved.progress > self.tally.progress;
            self.keep(number, saved);
            match (moved, saved.is_first_hook) {
                (true, _) => {}
                (false, true) => self.tally.starved += 1,
                (false, false) => self.tally.idle += 1,
            }
        }
        self.close_segment(steps);
    }

    fn keep(&mut self, number: u64, saved: &Saved) {
        if saved.progress > self.tally.progress {
            self.tally.idle = 0;
            self.tally.starved = 0;
            self.tally.crashes = 0;
        }
        self.tally.progress = saved.progress;
        self.tally.checkpoints += 1;
        self.saved.push((number, saved.clone()));
        let surplus = self.saved.len().saturating_sub(KEPT);
        self.saved.drain(..surplus);
    }

    fn open_segment(&mut self, nonce: Nonce) {
        self.segments.push(Segment { epoch: self.epoch, nonce, length: None });
    }

    fn close_segment(&mut self, length: u64) {
        let Some(open) = self.segments.last_mut().filter(|segment| segment.length.is_none()) else { return };
        open.length = Some(length);
        if length == 0 {
            self.segments.pop();
        }
    }
}
