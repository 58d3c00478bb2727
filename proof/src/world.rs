//! Everything outside the state machine: store, platform, clocks, and what was promised to whom.

use std::collections::{BTreeMap, BTreeSet};

use limitless_faas_core::invocation::{Answer, Call};
use limitless_faas_core::log::{Entry, Execution, Input, Kind, Origin, Phase, Saved, Status, Stored, fold};
use limitless_faas_core::pace::Policy;
use limitless_faas_core::{Code, ExecutionId, Failure, Nonce};

use crate::actor::Actor;
use crate::guard::Guard;
use crate::model::Protocol;

/// One tick of the world's clock. Clocks of processes are behind it by up to one.
pub const TICK_MS: u64 = 1000;
/// The world's clock at tick 0, ms since 1970.
const START_MS: u64 = 1_000_000_000_000;
/// How much later than a deadline a lease ends.
const GRACE_MS: u64 = 100;

/// A promise that did not hold.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Broken {
    /// Two results were answered or delivered, or one that the log does not say.
    OneResult,
    /// A claim went back behind an acknowledged checkpoint.
    KeptCheckpoint,
    /// A claim goes on from a checkpoint that was damaged before.
    WholeCheckpoint,
    /// An acknowledged step is not, or not alone, among those a resumed run finds.
    KeptStep,
    /// Somebody claimed from an owner whose lease still ran.
    LeaseHeld,
    /// An entry was sent to a number beyond the log's end.
    NextNumberOnly,
    /// An execution that could have gone on was failed.
    NoFalseFailure,
    /// A sleep was over before its end, by the clock of whoever woke.
    SleptOut,
    /// Without faults the execution stopped short of its end.
    EndsByItself,
}

/// How many faults of each kind have happened.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct Spent {
    pub(crate) deliveries: u8,
    pub(crate) crashes: u8,
    pub(crate) losses: u8,
    pub(crate) duplicates: u8,
    pub(crate) recoveries: u8,
    pub(crate) cancels: u8,
    pub(crate) damages: u8,
    /// Triggers that woke an execution, or tried to.
    pub(crate) wakings: u8,
    /// Deliveries that could do nothing, as when a process was given no time before its deadline.
    pub(crate) refusals: u8,
}

impl Spent {
    fn is_calm(&self) -> bool {
        self.crashes + self.losses + self.duplicates + self.cancels + self.damages + self.refusals == 0
    }
}

/// How far somebody is who makes the event happen.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Waker {
    /// Nothing has been done.
    Idle,
    /// One of recording and invoking has.
    Between,
    /// Both have.
    Done,
}

/// A state of the model.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct World {
    /// Ticks since the beginning.
    pub now: u8,
    /// The entries in the store.
    pub log: Vec<Entry>,
    /// The appended steps by epoch and delivery; a step's value is the delivery that ran its effect.
    pub(crate) segments: BTreeMap<(u64, Nonce), Vec<u8>>,
    /// The deliveries under way.
    pub(crate) actors: Vec<Actor>,
    /// Creates whose sender listens no longer, and which may yet land.
    pub(crate) strays: Vec<(u64, Entry)>,
    /// What was answered and delivered.
    pub(crate) results: BTreeSet<String>,
    pub(crate) is_delivered: bool,
    /// Acknowledged steps: epoch, delivery, place in the segment.
    pub(crate) acknowledged: BTreeSet<(u64, Nonce, usize)>,
    /// Values of acknowledged steps: there is one step.
    pub(crate) effects: BTreeSet<u8>,
    /// When the handler's sleep ends: recorded when it was first met, as a step is.
    pub(crate) sleeps_until_ms: Option<u64>,
    /// Numbers of entries whose checkpoint is damaged.
    pub(crate) damaged: BTreeSet<u64>,
    pub(crate) waker: Waker,
    /// Whether the event is recorded.
    pub(crate) has_happened: bool,
    pub(crate) spent: Spent,
    /// The first promise that did not hold.
    pub broken: Option<Broken>,
}

pub(crate) fn id() -> ExecutionId {
    ExecutionId::derive("squares", "call")
}

pub(crate) fn away() -> Failure {
    Failure::new(Code::StoreAway, "the store did not answer")
}

pub(crate) fn nonce(number: u8) -> Nonce {
    Nonce::from_random([number; 8])
}

pub(crate) fn clock_ms(tick: u8) -> u64 {
    START_MS + u64::from(tick) * TICK_MS
}

impl World {
    pub(crate) fn new(protocol: &Protocol, is_behind: bool) -> Self {
        let mut world = Self {
            // Clocks may be behind by a tick.
            now: 1,
            log: Vec::new(),
            segments: BTreeMap::new(),
            actors: Vec::new(),
            strays: Vec::new(),
            results: BTreeSet::new(),
            is_delivered: false,
            acknowledged: BTreeSet::new(),
            effects: BTreeSet::new(),
            sleeps_until_ms: None,
            damaged: BTreeSet::new(),
            waker: Waker::Idle,
            has_happened: false,
            spent: Spent::default(),
            broken: None,
        };
        world.arrive(protocol, protocol.first_call(), is_behind);
        world
    }

    /// The fold of the log, if it has begun. The model writes no log that can't be folded.
    pub fn folded(&self) -> Option<Execution> {
        fold(&self.log).ok().flatten()
    }

    /// Where the execution stands.
    pub fn status(&self) -> Option<Status> {
        self.folded().map(|execution| execution.status())
    }

    pub(crate) fn break_promise(&mut self, broken: Broken) {
        self.broken.get_or_insert(broken);
    }

    /// The platform calls a function process whose clock may be behind.
    pub(crate) fn arrive(&mut self, protocol: &Protocol, call: Call, is_behind: bool) {
        let is_over = self.status().is_some_and(Status::is_terminal);
        if protocol.lacks(Guard::DeliverLater) && is_over && matches!(call, Call::Resume { .. }) {
            return;
        }
        let number = self.spent.deliveries;
        self.spent.deliveries += 1;
        let actor = Actor::new(protocol, number, call, self.now, is_behind);
        self.actors.push(actor);
        let newest = self.actors.len() - 1;
        self.settle(protocol, newest);
    }

    /// Whether the entry was created.
    pub(crate) fn try_create(&mut self, protocol: &Protocol, number: u64, entry: &Entry) -> bool {
        let length = self.log.len() as u64;
        if number > length {
            self.break_promise(Broken::NextNumberOnly);
            return false;
        }
        let is_absent = number == length;
        if !is_absent && !protocol.lacks(Guard::CreateIfAbsent) {
            return false;
        }
        if is_absent {
            self.check_claim(entry);
            self.log.push(entry.clone());
        } else if let Some(there) = self.log.get_mut(usize::try_from(number).unwrap_or(usize::MAX)) {
            *there = entry.clone();
        }
        self.check_log();
        true
    }

    fn check_claim(&mut self, entry: &Entry) {
        let Kind::Claimed { from, .. } = &entry.kind else { return };
        let Some(log) = self.folded() else { return };
        if *from < self.newest_whole(&log) {
            self.break_promise(Broken::KeptCheckpoint);
        }
        if from.is_some_and(|from| self.damaged.contains(&from)) {
            self.break_promise(Broken::WholeCheckpoint);
        }
        match &log.phase {
            Phase::Owned(owner) if clock_ms(self.now) < owner.lease_until_ms => {
                self.break_promise(Broken::LeaseHeld);
            }
            Phase::Suspended { wake: Some(wake), .. }
                if wake.events.is_empty() && !wake.is_due(clock_ms(self.now)) =>
            {
                self.break_promise(Broken::SleptOut);
            }
            _ => {}
        }
    }

    /// The entry with the newest checkpoint that is not damaged.
    fn newest_whole(&self, log: &Execution) -> Option<u64> {
        let numbers = log.saved.iter().rev().map(|(number, _)| *number);
        numbers.into_iter().find(|number| !self.damaged.contains(number))
    }

    pub(crate) fn can_be_damaged(&self) -> bool {
        self.folded().is_some_and(|log| self.newest_whole(&log).is_some())
    }

    pub(crate) fn damage(&mut self) {
        let Some(log) = self.folded() else { return };
        let newest = self.newest_whole(&log);
        let Some((_, damaged)) = log.saved.iter().find(|(number, _)| Some(*number) == newest) else { return };
        // A checkpoint is known by its content here: what is the same is damaged together.
        self.damaged.extend(log.saved.iter().filter(|(_, saved)| saved == damaged).map(|(number, _)| number));
    }

    /// Whether this is the content of a damaged checkpoint.
    pub(crate) fn is_damaged(&self, saved: &Saved) -> bool {
        let Some(log) = self.folded() else { return false };
        log.saved.iter().any(|(number, other)| other == saved && self.damaged.contains(number))
    }

    /// Who makes the event happen does the next of recording and invoking.
    pub(crate) fn happen(&mut self, protocol: &Protocol) {
        let records_first = !protocol.lacks(Guard::RecordBeforeWaking);
        let is_first = self.waker == Waker::Idle;
        self.waker = if is_first { Waker::Between } else { Waker::Done };
        if is_first == records_first {
            self.has_happened = true;
        } else {
            self.arrive(protocol, Call::Resume { entry: None }, false);
        }
        self.check_left(protocol);
    }

    /// Whether the execution sleeps and a trigger may look after it: too early too, but once for nothing.
    pub(crate) fn can_be_woken(&self, protocol: &Protocol) -> bool {
        let sleeps = self.folded().and_then(|log| match log.phase {
            Phase::Suspended { wake, .. } => wake.and_then(|wake| wake.at_ms),
            _ => None,
        });
        protocol.bounds.has_sleep
            && self.actors.is_empty()
            && sleeps.is_some_and(|until_ms| clock_ms(self.now) >= until_ms || self.spent.wakings == 0)
    }

    /// Whether a trigger is still to come.
    fn sleeps(&self) -> bool {
        self.folded().is_some_and(
            |log| matches!(&log.phase, Phase::Suspended { wake: Some(wake), .. } if wake.at_ms.is_some()),
        )
    }

    /// Whether somebody has still to make an event happen.
    fn is_awaited(&self, protocol: &Protocol) -> bool {
        protocol.bounds.has_wait && self.waker != Waker::Done
    }

    /// Holds the log against what was promised before.
    pub(crate) fn check_log(&mut self) {
        let Some(log) = self.folded() else { return };
        let is_lost = |(epoch, nonce, place): &(u64, Nonce, usize)| {
            let segment =
                log.segments.iter().find(|segment| (segment.epoch, segment.nonce) == (*epoch, *nonce));
            match segment {
                Some(segment) => segment.length.is_some_and(|length| *place as u64 >= length),
                // A segment that was sealed at nothing is not kept.
                None => true,
            }
        };
        if self.effects.len() > 1 || self.acknowledged.iter().any(is_lost) {
            self.break_promise(Broken::KeptStep);
        }
        match &log.phase {
            Phase::Failed(failure) if failure.code == Code::NoProgress => {
                self.break_promise(Broken::NoFalseFailure);
            }
            Phase::Completed(Stored::Json(result)) => {
                let is_of_effect = self.effects.iter().all(|by| result.starts_with(&format!("{by},")));
                if !is_of_effect {
                    self.break_promise(Broken::KeptStep);
                }
                if self.results.iter().any(|told| told != result) {
                    self.break_promise(Broken::OneResult);
                }
            }
            _ if !self.results.is_empty() => self.break_promise(Broken::OneResult),
            _ => {}
        }
    }

    /// A caller or receiver is told.
    pub(crate) fn told(&mut self, answer: &Answer) {
        let Answer::Result(Stored::Json(result)) = answer else { return };
        self.results.insert(result.clone());
        if self.results.len() > 1 {
            self.break_promise(Broken::OneResult);
        }
        self.check_log();
    }

    /// One delivery has answered.
    pub(crate) fn answered(&mut self, protocol: &Protocol, answer: &Answer) {
        self.told(answer);
        self.spent.refusals += u8::from(is_fault(protocol, answer));
        self.check_left(protocol);
    }

    /// Whether the execution was left behind: nobody has anything to do, and it has not ended.
    fn check_left(&mut self, protocol: &Protocol) {
        let is_over = self.status().is_none_or(Status::is_terminal);
        let is_left = self.actors.is_empty() && !self.is_awaited(protocol) && !self.sleeps();
        if is_left && self.spent.is_calm() && !is_over {
            self.break_promise(Broken::EndsByItself);
        }
    }

    pub(crate) fn cancel(&mut self, protocol: &Protocol) {
        let entry = Entry {
            execution: id(),
            handler: "squares".to_owned(),
            epoch: self.folded().map_or(1, |log| log.epoch),
            nonce: nonce(u8::MAX),
            at_us: 0,
            kind: Kind::Cancelled { by: "somebody".to_owned() },
        };
        self.try_create(protocol, self.log.len() as u64, &entry);
    }
}

/// Whether a delivery could do nothing. Not one that finds somebody at work: that is how a waker learns that it was not needed.
fn is_fault(protocol: &Protocol, answer: &Answer) -> bool {
    let Answer::Refused(failure) = answer else { return false };
    let is_early = matches!(failure.code, Code::AlreadyClaimed | Code::UnknownExecution);
    !((protocol.bounds.has_wait || protocol.bounds.has_sleep) && is_early)
}

pub(crate) fn origin(has_receiver: bool) -> Origin {
    Origin {
        input: Input { digest: "digest".to_owned(), stored: Stored::Json("{}".to_owned()) },
        callback: has_receiver.then(|| "http://receiver/".to_owned()),
        caller: None,
        keep_ms: None,
    }
}

pub(crate) fn policy(protocol: &Protocol) -> Policy {
    let bounds = &protocol.bounds;
    Policy {
        grace_ms: GRACE_MS,
        skew_ms: if protocol.lacks(Guard::AllowForSkew) { 0 } else { TICK_MS },
        idle_limit: if protocol.lacks(Guard::Patience) { 1 } else { u32::from(bounds.deliveries) + 1 },
        crash_limit: u32::from(bounds.deliveries) + 1,
        mtbf_ms: 1,
        // Looking at the log in between only saves work.
        peek_ms: u64::MAX / 1_000_000,
        ..Policy::default()
    }
}
