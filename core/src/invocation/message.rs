//! What goes in and out of an [`Invocation`](super::Invocation).

use crate::log::{Driver, Entry, Origin, Output, Saved, Segment, Wake};
use crate::pace::Policy;
use crate::{ExecutionId, Failure, Nonce};

/// One call by the platform, as it reached the function process.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Delivery {
    /// The execution it is about.
    pub execution: ExecutionId,
    /// The handler it asks for.
    pub handler: String,
    /// Drawn at random for this delivery alone.
    pub nonce: Nonce,
    /// First call, or successor.
    pub call: Call,
    /// When the platform kills, ms since 1970.
    pub deadline_ms: u64,
    /// What the platform calls it, and its time limit.
    pub driver: Driver,
    /// The platform vouches that whoever worked on this very delivery before is dead.
    pub is_owner_dead: bool,
    /// Its call was signed by who wrote the entry that it names. Such a call counts once: repeated after the execution has suspended
    /// again it does nothing, whoever repeats it.
    pub is_signed: bool,
    /// Whether there is a store at all: without one nothing is saved, and what ends in time works nevertheless.
    pub has_store: bool,
    /// Limits and margins.
    pub policy: Policy,
}

/// First call, or successor.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Call {
    /// A caller's call.
    First {
        /// What is asked for.
        origin: Origin,
        /// Whether the platform or the caller may deliver it twice, or wants its result kept: then even a result
        /// in the first invocation is recorded.
        is_durable: bool,
    },
    /// Go on with an execution that exists.
    Resume {
        /// The number of the `Suspended` entry, where the predecessor named it.
        entry: Option<u64>,
    },
}

/// What happened.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Event {
    /// The delivery arrived: the first event, always.
    Arrived,
    /// The entries from the number asked for, in order; or why they can't be had.
    Read(Result<Vec<Entry>, Failure>),
    /// How long a segment is.
    Measured(Result<u64, Failure>),
    /// What a checkpoint is worth.
    Verified(Verdict),
    /// What became of the entry in flight.
    Wrote(Written),
    /// The time asked for has come.
    Alarm,
    /// The hook answered a report.
    HookPassed,
    /// What the handler expects saving to cost now, where it can tell before it was measured.
    SaveExpected {
        /// Microseconds.
        cost_us: u64,
    },
    /// The state may be larger than when it was last saved, or the handler began: the process holds so much more.
    Grown {
        /// Bytes.
        bytes: u64,
    },
    /// The process was asked to stop.
    Stopping,
    /// Somebody else wrote into the log, which may be that the execution is called off.
    LogMoved,
    /// The handler wants to record a step.
    StepWanted,
    /// The handler saved its state durably, and stopped.
    Suspended(Snapshot),
    /// What a snapshot said was on its way is durable, or will not be.
    Uploaded {
        /// The checkpoint's name.
        checkpoint: String,
        /// Why it is not there.
        result: Result<(), Failure>,
    },
    /// The handler waits for something that is far off, and has stopped; its steps so far tell where it was.
    Waiting {
        /// What for.
        wake: Wake,
        /// Length of the owner's segment of steps.
        steps: u64,
    },
    /// Whether one of the events has happened that were asked for.
    Happened(Result<bool, Failure>),
    /// The store did not take the state; the handler has stopped.
    SaveFailed(Failure),
    /// The handler came to its end.
    Finished(Finished),
    /// A large result was stored under this key.
    OutputStored(Result<Output, Failure>),
    /// The successor was accepted, or not.
    Invoked(Result<(), Failure>),
    /// The receiver acknowledged the result, or not.
    Delivered(Result<(), Failure>),
}

/// How a handler came to its end.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Finished {
    /// It returned this JSON.
    Returned(String),
    /// It returned `Err`, panicked, or can't run with this input.
    Failed(Failure),
    /// It can't go on from this checkpoint, or not now: other code wrote it, the state can't be read although its envelope is
    /// whole, the store is away. The execution is given back as it was.
    Unable {
        /// Why.
        failure: Failure,
        /// Length of the owner's segment of steps.
        steps: u64,
    },
}

/// A state that was saved.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Snapshot {
    /// All that the performer knows; `progress`, `epoch` and `hook_gap_us` are filled in here.
    pub saved: Saved,
    /// The process has it, the store not yet → [`Event::Uploaded`]. Only where [`Command::Suspend`] allowed that.
    pub is_on_its_way: bool,
}

/// What a checkpoint is worth.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Verdict {
    /// It is whole, and this code can go on from it.
    Good,
    /// It is not there.
    Missing,
    /// It is not what was written.
    Damaged(String),
    /// Other code wrote it.
    Incompatible(Failure),
    /// The store did not answer.
    Away(Failure),
}

/// What became of an entry.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Written {
    /// It was created.
    New,
    /// The number is taken by this entry, which may be our own, created by an attempt whose answer was lost.
    Taken(Box<Entry>),
    /// It may or may not stand there.
    Unknown(Failure),
}

/// What to do. Commands are performed in order; those that wait for something report with an event.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Command {
    /// Read the log from this number on, to its end → [`Event::Read`].
    Read {
        /// The first entry wanted.
        from: u64,
        /// Wait so long first.
        wait_ms: u64,
    },
    /// Look how long this segment is → [`Event::Measured`].
    Measure {
        /// The segment.
        segment: Segment,
        /// Wait so long first.
        wait_ms: u64,
    },
    /// Check this checkpoint: whole, of this execution, by this code → [`Event::Verified`].
    Verify {
        /// The checkpoint.
        saved: Box<Saved>,
        /// Wait so long first.
        wait_ms: u64,
    },
    /// Create this entry if it is absent → [`Event::Wrote`].
    Create {
        /// Its number.
        number: u64,
        /// The entry.
        entry: Box<Entry>,
        /// Wait so long first.
        wait_ms: u64,
    },
    /// Look whether one of these events has happened → [`Event::Happened`].
    Look {
        /// Their names.
        events: Vec<String>,
        /// Wait so long first.
        wait_ms: u64,
    },
    /// Run the handler → [`Event::Suspended`], [`Event::Finished`], [`Event::StepWanted`].
    Run(Box<Given>),
    /// Ask the handler's hook to tell that it was passed → [`Event::HookPassed`].
    Report,
    /// Ask the handler's hook to save and stop. A store that does not take the state is offered it again until then; replaces
    /// a time given before.
    Suspend {
        /// When to give up, µs since 1970.
        offer_until_us: u64,
        /// The handler may stop before the state is durable, since it goes on from what the process has.
        may_follow: bool,
    },
    /// The handler may record steps: the log has begun. Acknowledge a step only while the clock is before this.
    AllowSteps {
        /// The end of the lease.
        lease_until_ms: u64,
    },
    /// The execution is somebody else's: stop the handler as soon as it can be stopped; whatever it does from now
    /// on is not reported.
    Abandon,
    /// Store a result too large for an entry → [`Event::OutputStored`].
    StoreOutput(String),
    /// Invoke the successor → [`Event::Invoked`].
    Invoke {
        /// The number of our `Suspended` entry.
        entry: u64,
        /// Wait so long first.
        wait_ms: u64,
        /// Give it up after so long.
        within_ms: u64,
    },
    /// Post the result to the receiver → [`Event::Delivered`].
    Deliver {
        /// Where to.
        to: String,
        /// What was recorded.
        answer: Box<Answer>,
        /// Wait so long first.
        wait_ms: u64,
    },
    /// Come back at this time, µs since 1970 → [`Event::Alarm`]. Replaces an alarm set before.
    Alarm {
        /// When.
        at_us: u64,
    },
    /// Tell the person who reads the logs.
    Note(String),
    /// Answer the platform: the last command, exactly once.
    Answer(Answer),
}

/// What a run of the handler begins with.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Given {
    /// What was asked for.
    pub origin: Origin,
    /// The checkpoint to go on from; none: from the beginning.
    pub from: Option<Saved>,
    /// The epoch it runs in.
    pub epoch: u64,
    /// The segments whose steps count, the owner's own included.
    pub segments: Vec<Segment>,
    /// Wait so long first.
    pub wait_ms: u64,
}

/// What the platform is answered.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Answer {
    /// The result.
    Result(Output),
    /// The execution failed for good.
    Failed(Failure),
    /// The execution goes on in another invocation, or waits for one.
    Running {
        /// Why it may need help: the successor could not be invoked.
        note: Option<Failure>,
    },
    /// This delivery could do nothing; the execution is as it was.
    Refused(Failure),
}
