//! The table of the protocol: in every phase, what each kind of entry by each kind of writer does.

#![allow(clippy::unwrap_used, reason = "helper functions of a test")]

use limitless_faas_core::log::{
    Applied, Driver, Entry, Execution, Input, Kind, LogError, Origin, Saved, Status, Stored,
};
use limitless_faas_core::{Code, ExecutionId, Failure, Nonce};

/// Who writes.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Writer {
    /// The owner, or the last one.
    Owner,
    /// Somebody with the owner's epoch and another nonce: a second delivery.
    Twin,
    /// Somebody with the next epoch: a claimant.
    Next,
    /// Somebody two epochs ahead.
    Far,
}

const WRITERS: [Writer; 4] = [Writer::Owner, Writer::Twin, Writer::Next, Writer::Far];
const PHASES: [Status; 5] =
    [Status::Running, Status::Suspended, Status::Completed, Status::Failed, Status::Cancelled];
const KINDS: [&str; 8] =
    ["started", "claimed", "checkpointed", "suspended", "completed", "failed", "cancelled", "delivered"];

fn id() -> ExecutionId {
    ExecutionId::derive("h", "call")
}

fn origin() -> Origin {
    Origin {
        input: Input { digest: "d".into(), stored: Stored::Json("{}".into()) },
        callback: None,
        caller: None,
        keep_ms: None,
    }
}

fn entry(writer: Writer, kind: Kind) -> Entry {
    let (epoch, nonce) = match writer {
        Writer::Owner => (1, 1),
        Writer::Twin => (1, 2),
        Writer::Next => (2, 3),
        Writer::Far => (3, 4),
    };
    Entry {
        execution: id(),
        handler: "h".into(),
        epoch,
        nonce: Nonce::from_random([nonce; 8]),
        at_us: 0,
        kind,
    }
}

fn begun() -> Execution {
    let kind = Kind::Started { origin: origin(), lease_until_ms: 10, driver: Driver::default(), saved: None };
    Execution::begin(&entry(Writer::Owner, kind)).unwrap()
}

fn kind(name: &str) -> Kind {
    let saved = Saved { progress: 1, epoch: 1, ..Saved::default() };
    match name {
        "started" => {
            Kind::Started { origin: origin(), lease_until_ms: 9, driver: Driver::default(), saved: None }
        }
        "claimed" => Kind::Claimed { lease_until_ms: 20, driver: Driver::default(), from: None, seal: None },
        "checkpointed" => Kind::Checkpointed { saved },
        "suspended" => Kind::Suspended {
            saved: Some(saved),
            steps: 0,
            successor_by_ms: 5,
            wake: None,
            so_far: Box::new(begun()),
        },
        "completed" => Kind::Completed { output: Stored::Json("1".into()), origin: None, driver: None },
        "failed" => {
            Kind::Failed { failure: Failure::new(Code::NoProgress, "stuck"), origin: None, driver: None }
        }
        "cancelled" => Kind::Cancelled { by: "somebody".into() },
        _ => Kind::Delivered { to: "http://receiver/".into() },
    }
}

fn in_phase(phase: Status) -> Execution {
    let mut execution = begun();
    let name = match phase {
        Status::Running => return execution,
        Status::Suspended => "suspended",
        Status::Completed => "completed",
        Status::Failed => "failed",
        Status::Cancelled => "cancelled",
    };
    assert_eq!(execution.apply(&entry(Writer::Owner, kind(name))), Ok(Applied::Counted));
    assert_eq!(execution.status(), phase);
    execution
}

/// The protocol's table, written once more by hand: what follows, or none where the entry means nothing.
fn expected(phase: Status, writer: Writer, kind: &str) -> Option<Status> {
    use Status::{Cancelled, Completed, Failed, Running, Suspended};
    match (phase, writer, kind) {
        (Running, Writer::Owner, "checkpointed") | (Running | Suspended, Writer::Next, "claimed") => {
            Some(Running)
        }
        (Running, Writer::Owner, "suspended") => Some(Suspended),
        (Running, Writer::Owner, "completed") => Some(Completed),
        // The owner's own end, or "no progress" by whoever could claim.
        (Running, Writer::Owner | Writer::Next, "failed") | (Suspended, Writer::Next, "failed") => {
            Some(Failed)
        }
        (Running | Suspended, _, "cancelled") => Some(Cancelled),
        (Completed | Failed | Cancelled, _, "delivered") => Some(phase),
        _ => None,
    }
}

#[test]
fn every_entry_in_every_phase_by_every_writer() {
    let mut counted = 0;
    for phase in PHASES {
        for writer in WRITERS {
            for name in KINDS {
                let mut execution = in_phase(phase);
                let before = execution.clone();
                let applied = execution.apply(&entry(writer, kind(name))).unwrap();
                let row = format!("{phase:?}: {name} by {writer:?}");
                assert_eq!(execution.length, before.length + 1, "{row}: every entry takes its number");
                if let Some(follows) = expected(phase, writer, name) {
                    assert_eq!((applied, execution.status()), (Applied::Counted, follows), "{row}");
                    counted += 1;
                } else {
                    assert_eq!(applied, Applied::Ignored, "{row}");
                    execution.length = before.length;
                    assert_eq!(execution, before, "{row}: an ignored entry changes nothing");
                }
            }
        }
    }
    assert_eq!(counted, 28);
}

#[test]
fn only_four_kinds_begin_a_log() {
    for name in KINDS {
        let begins = Execution::begin(&entry(Writer::Owner, kind(name)));
        let may = matches!(name, "started" | "completed" | "failed" | "cancelled");
        assert_eq!(begins.is_ok(), may, "{name}");
        if !may {
            assert_eq!(begins.unwrap_err(), LogError::Beginning(kind(name).name()));
        }
    }
}

#[test]
fn an_entry_of_another_execution_is_an_error() {
    let mut foreign = entry(Writer::Owner, kind("completed"));
    foreign.execution = ExecutionId::derive("h", "another");
    let found = foreign.execution.clone();
    assert_eq!(begun().apply(&foreign), Err(LogError::Foreign { number: 1, found }));
}

#[test]
fn a_result_is_delivered_once() {
    let mut execution = in_phase(Status::Completed);
    let delivered = entry(Writer::Twin, kind("delivered"));
    assert_eq!(execution.apply(&delivered), Ok(Applied::Counted));
    assert!(execution.delivered);
    assert_eq!(execution.apply(&delivered), Ok(Applied::Ignored));
}

#[test]
fn a_late_background_checkpoint_does_not_take_a_resume_backward() {
    let mut execution = in_phase(Status::Suspended);
    let newest = execution.newest().map(|(number, _)| number);
    execution.apply(&entry(Writer::Owner, kind("checkpointed"))).unwrap();
    assert_eq!(execution.newest().map(|(number, _)| number), newest);
}

#[test]
fn a_claim_that_passed_over_a_checkpoint_forgets_it() {
    let mut execution = begun();
    for progress in 1..=3 {
        let saved = Saved { progress, ..Saved::default() };
        execution.apply(&entry(Writer::Owner, Kind::Checkpointed { saved })).unwrap();
    }
    assert_eq!(execution.saved.iter().map(|(number, _)| *number).collect::<Vec<_>>(), [2, 3], "two are kept");
    let claim = Kind::Claimed { lease_until_ms: 20, driver: Driver::default(), from: Some(2), seal: Some(0) };
    execution.apply(&entry(Writer::Next, claim)).unwrap();
    assert_eq!(execution.newest().map(|(number, _)| number), Some(2));
}

#[test]
fn crashes_and_idle_suspensions_are_counted_apart_and_forgotten_with_progress() {
    let mut execution = begun();
    let mut epoch = 1;
    let mut write = |execution: &mut Execution, is_claim: bool, kind: Kind| {
        epoch += u64::from(is_claim);
        let nonce = Nonce::from_random([u8::try_from(epoch).unwrap(); 8]);
        let entry = Entry { execution: id(), handler: "h".into(), epoch, nonce, at_us: 0, kind };
        assert_eq!(execution.apply(&entry), Ok(Applied::Counted));
    };
    let claim = || kind("claimed");
    let suspend = |progress| Kind::Suspended {
        wake: None,
        saved: Some(Saved { progress, ..Saved::default() }),
        steps: 0,
        successor_by_ms: 0,
        so_far: Box::new(begun()),
    };
    for crashes in 1..=3 {
        write(&mut execution, true, claim());
        assert_eq!((execution.tally.crashes, execution.tally.idle), (crashes, 0));
    }
    write(&mut execution, false, suspend(1));
    assert_eq!((execution.tally.crashes, execution.tally.idle), (0, 0), "progress");
    for idle in 1..=2 {
        write(&mut execution, true, claim());
        write(&mut execution, false, suspend(1));
        assert_eq!((execution.tally.crashes, execution.tally.idle), (0, idle));
    }
    write(&mut execution, true, claim());
    write(&mut execution, false, suspend(2));
    assert_eq!(execution.tally.idle, 0);
    assert_eq!((execution.tally.crashes_ever, execution.tally.invocations), (3, 7));
}
