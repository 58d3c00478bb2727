//! What one invocation does next: a pure function from events to commands.
//!
//! [`Invocation::on`] takes what happened and says what to do. Whoever performs the commands reports back with
//! events, in any order they happen; crashes are simply events that never come. The files are the state diagram:
//!
//! ```text
//! arrive ──► run ◄──► save ──► hand over ──► answer
//!    │        ├─────► wait ──► answer, or hand over
//!    │        └─────► finish ──► deliver ──► answer
//!    └── already claimed, finished, incompatible … ──► answer
//! ```

mod arrive;
mod finish;
mod message;
mod run;
mod save;
mod wait;
mod write;

use std::collections::VecDeque;

pub use message::{Answer, Call, Command, Delivery, Event, Finished, Given, Snapshot, Verdict, Written};

use self::write::Pending;
use crate::log::{Entry, Execution, Kind, Saved, Segment};
use crate::pace::Pace;
use crate::{Code, Failure};

/// One delivery's way through the protocol.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Invocation {
    delivery: Delivery,
    stage: Stage,
    /// The fold of what this delivery knows of the log; none before it was read or begun.
    log: Option<Execution>,
    /// The entry whose outcome is not known yet: there is never more than one.
    pending: Option<Pending>,
    /// What the handler did while an entry was in flight.
    deferred: VecDeque<Event>,
    pace: Pace,
    running: run::Running,
    /// A checkpoint was not where the log said, and the log was read again for it.
    looked_again: bool,
    /// The entry that a signed call names was gone on from, and the execution has suspended since.
    is_replay: bool,
    /// How long our segment was at the last checkpoint.
    steps_saved: u64,
    /// How long the hand-over took that brought this delivery, in µs.
    way_here_us: Option<u64>,
    /// What the present run of the handler began from.
    running_from: Option<Saved>,
    /// A checkpoint that the process has, and the store not yet.
    uploading: Option<save::Uploading>,
    /// How often the store was asked in vain for what the present stage needs.
    tries: u32,
    answered: bool,
}

/// Where a delivery is on its way.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
enum Stage {
    /// It reads the log, to decide what it may do.
    Judging,
    /// It looks how far a lost owner's steps reach.
    Sealing { segment: Segment },
    /// It checks a checkpoint before claiming from it.
    Verifying { seal: Option<u64>, passed_over: usize },
    /// It looks whether an event has happened that the execution waits for: before claiming it, or after leaving it.
    Looking { events: Vec<String>, is_leaving: bool },
    /// It writes the entry that makes it the owner.
    Claiming { from: Option<(u64, Saved)> },
    /// The handler computes.
    Running,
    /// It saved and stopped; its successor is being invoked.
    HandingOver { attempts: u32 },
    /// The handler has returned; the result is being recorded.
    Finishing,
    /// The recorded result is being posted to its receiver.
    Delivering { attempts: u32 },
    /// It lost the execution, and reads what became of it.
    Explaining,
    /// It has answered.
    Done,
}

impl Invocation {
    /// A delivery that just arrived.
    pub fn new(delivery: Delivery) -> Self {
        Self {
            delivery,
            stage: Stage::Judging,
            log: None,
            pending: None,
            deferred: VecDeque::new(),
            pace: Pace::default(),
            running: run::Running::default(),
            looked_again: false,
            is_replay: false,
            steps_saved: 0,
            way_here_us: None,
            running_from: None,
            uploading: None,
            tries: 0,
            answered: false,
        }
    }

    /// Takes what happened at `now_us` (µs since 1970) and says what to do.
    pub fn on(&mut self, now_us: u64, event: Event) -> Vec<Command> {
        let mut commands = Vec::new();
        self.step(now_us, event, &mut commands);
        // What the handler did while an entry was in flight takes effect once the entry is decided.
        while self.pending.is_none() {
            let Some(event) = self.deferred.pop_front() else { break };
            self.step(now_us, event, &mut commands);
        }
        commands
    }

    fn step(&mut self, now_us: u64, event: Event, out: &mut Vec<Command>) {
        if self.answered {
            return;
        }
        match event {
            Event::Arrived => self.arrived(now_us, out),
            Event::Read(result) => self.read(now_us, result, out),
            Event::Measured(result) => self.measured(now_us, result, out),
            Event::Verified(verdict) => self.verified(now_us, verdict, out),
            Event::Happened(result) => self.happened(now_us, result, out),
            Event::Wrote(written) => self.wrote(now_us, written, out),
            Event::Alarm => self.alarm(now_us, out),
            Event::HookPassed => self.hook_passed(now_us, out),
            Event::SaveExpected { cost_us } => self.save_expected(now_us, cost_us, out),
            Event::Grown { bytes } => self.grown(now_us, bytes, out),
            Event::Stopping => self.stopping(now_us, out),
            Event::LogMoved => self.log_moved(now_us, out),
            Event::OutputStored(result) => self.output_stored(now_us, result, out),
            Event::Invoked(result) => self.invoked(now_us, result, out),
            Event::Delivered(result) => self.delivered(now_us, result, out),
            of_handler if self.pending.is_some() => self.deferred.push_back(of_handler),
            Event::Waiting { wake, steps } => self.waiting(now_us, wake, steps, out),
            Event::StepWanted => self.step_wanted(now_us, out),
            Event::Suspended(snapshot) => self.suspended(now_us, snapshot, out),
            Event::Uploaded { checkpoint, result } => self.uploaded(now_us, &checkpoint, result, out),
            Event::SaveFailed(why) => self.save_failed(now_us, why, out),
            Event::Finished(finished) => self.finished(now_us, finished, out),
        }
    }

    /// The delivery this is about.
    pub fn delivery(&self) -> &Delivery {
        &self.delivery
    }

    /// What this delivery knows of the log.
    pub fn log(&self) -> Option<&Execution> {
        self.log.as_ref()
    }

    fn answer(&mut self, answer: Answer, out: &mut Vec<Command>) {
        self.stage = Stage::Done;
        self.answered = true;
        self.deferred.clear();
        out.push(Command::Answer(answer));
    }

    fn refuse(&mut self, code: Code, message: impl Into<String>, out: &mut Vec<Command>) {
        self.answer(Answer::Refused(Failure::new(code, message)), out);
    }

    /// How long to wait before the store is asked again, where another try may help and there is time for it.
    fn wait_for_store(&mut self, now_us: u64, failure: &Failure) -> Option<u64> {
        let wait_ms = backoff_ms(self.tries);
        self.tries += 1;
        let helps = failure.code.advice() == crate::Advice::Retry;
        (helps && !self.is_too_late(now_us, wait_ms)).then_some(wait_ms)
    }

    /// An entry of ours, for the epoch given.
    fn entry(&self, now_us: u64, epoch: u64, kind: Kind) -> Entry {
        Entry {
            execution: self.delivery.execution.clone(),
            handler: self.delivery.handler.clone(),
            epoch,
            nonce: self.delivery.nonce,
            at_us: now_us,
            kind,
        }
    }

    /// The epoch in which this delivery owns the execution, or will.
    fn epoch(&self) -> u64 {
        self.log.as_ref().map_or(1, |log| log.epoch)
    }

    fn length(&self) -> u64 {
        self.log.as_ref().map_or(0, |log| log.length)
    }

    fn lease_until_ms(&self) -> u64 {
        self.delivery.deadline_ms.saturating_add(self.delivery.policy.grace_ms)
    }

    /// Whether there is no time for another try after waiting so long.
    fn is_too_late(&self, now_us: u64, wait_ms: u64) -> bool {
        now_us / 1000 + wait_ms >= self.delivery.deadline_ms
    }
}

/// How long to wait before try number `attempts` + 1: 10 ms, doubled each time, up to a second.
fn backoff_ms(attempts: u32) -> u64 {
    (10 << attempts.min(7)).min(1000)
}
