//! Every history within bounds keeps every promise, and no guard can be taken away.

#![allow(clippy::print_stdout, reason = "how many states there were is worth reading")]

use std::collections::BTreeSet;

use limitless_faas_proof::{Bounds, Guard, Protocol};
use stateright::{Checker, HasDiscoveries, Model};

/// Tries every history within the bounds.
fn holds(bounds: &Bounds) {
    let checked = Protocol::new(bounds.clone()).checker().threads(2).spawn_dfs().join();
    println!("{} states, up to {} steps deep: {bounds:?}", checked.unique_state_count(), checked.max_depth());
    checked.assert_properties();
}

/// Looks for the history that the guard prevents, which breaks this promise.
fn breaks(guard: Guard, promise: &'static str, bounds: Bounds) {
    let wanted = HasDiscoveries::AllOf(BTreeSet::from([promise]));
    let checked =
        Protocol::without(bounds, guard).checker().threads(2).finish_when(wanted).spawn_bfs().join();
    let history = checked.discovery(promise);
    assert!(history.is_some(), "without {guard:?} it still holds that {promise}");
    println!(
        "without {guard:?} it does not hold that {promise}: found in {} states",
        checked.unique_state_count()
    );
}

const ONE_RESULT: &str = "one result, as the log says";
const KEPT_CHECKPOINT: &str = "no acknowledged checkpoint is lost";
const KEPT_STEP: &str = "no acknowledged step is lost";
const LEASE_HELD: &str = "a live lease is respected";
const NEXT_NUMBER: &str = "entries are written one after the other";
const NO_FALSE_FAILURE: &str = "nobody is failed who could go on";
const ENDS_BY_ITSELF: &str = "without faults it ends by itself";
const WHOLE_CHECKPOINT: &str = "nobody goes on from a damaged checkpoint";
const SLEPT_OUT: &str = "a sleep lasts until its end";
const CAN_END: &str = "it can always come to its end";

#[test]
fn a_crash_and_always_an_end() {
    let bounds = Bounds { deliveries: 2, ticks: 4, crashes: 1, recoveries: 1, ..Bounds::default() };
    holds(&Bounds { tries_endings: true, ..bounds.clone() });
    holds(&Bounds { has_receiver: true, tries_endings: true, ..bounds.clone() });
    holds(&Bounds { has_intervals: true, tries_endings: true, ..bounds });
}

#[test]
fn three_invocations_and_two_crashes() {
    holds(&Bounds { deliveries: 3, ticks: 3, crashes: 2, recoveries: 2, ..Bounds::default() });
    let stepless = Bounds { has_no_step: true, ..Bounds::default() };
    holds(&Bounds { deliveries: 3, ticks: 4, crashes: 2, recoveries: 2, ..stepless });
}

#[test]
fn answers_are_lost() {
    holds(&Bounds { deliveries: 2, ticks: 2, losses: 2, recoveries: 1, ..Bounds::default() });
}

#[test]
fn deliveries_come_twice() {
    holds(&Bounds { deliveries: 3, ticks: 2, duplicates: 1, ..Bounds::default() });
}

#[test]
fn somebody_cancels() {
    holds(&Bounds { deliveries: 2, ticks: 2, duplicates: 1, cancels: 1, losses: 1, ..Bounds::default() });
}

#[test]
fn clocks_differ() {
    holds(&Bounds {
        deliveries: 2,
        ticks: 4,
        crashes: 1,
        recoveries: 1,
        has_skew: true,
        ..Bounds::default()
    });
}

#[test]
fn an_event_is_awaited() {
    let bounds = Bounds { deliveries: 3, ticks: 2, has_wait: true, ..Bounds::default() };
    holds(&Bounds { tries_endings: true, ..bounds.clone() });
    holds(&Bounds { duplicates: 1, ..bounds.clone() });
    holds(&Bounds { crashes: 1, recoveries: 1, tries_endings: true, ..bounds });
}

#[test]
fn a_sleep_is_slept_out() {
    let bounds = Bounds { deliveries: 3, ticks: 4, has_sleep: true, ..Bounds::default() };
    holds(&Bounds { tries_endings: true, ..bounds.clone() });
    holds(&Bounds { duplicates: 1, ticks: 3, ..bounds.clone() });
    holds(&Bounds { crashes: 1, recoveries: 1, tries_endings: true, ..bounds });
}

/// A checkpoint lies still where the successor's invocation is lost.
fn damaged() -> Bounds {
    Bounds { deliveries: 2, ticks: 4, losses: 1, recoveries: 1, damages: 1, ..Bounds::default() }
}

#[test]
fn a_checkpoint_is_damaged() {
    holds(&Bounds { has_intervals: true, ..damaged() });
}

/// Who claims late has read the log before the last checkpoint came.
fn late() -> Bounds {
    Bounds {
        deliveries: 2,
        ticks: 5,
        recoveries: 1,
        has_intervals: true,
        has_no_step: true,
        ..Bounds::default()
    }
}

#[test]
fn no_guard_of_checkpoints_and_events_can_be_taken_away() {
    breaks(Guard::DecideAnew, KEPT_CHECKPOINT, late());
    let awaited = Bounds { deliveries: 2, ticks: 1, has_wait: true, ..Bounds::default() };
    breaks(Guard::RecordBeforeWaking, ENDS_BY_ITSELF, awaited.clone());
    breaks(Guard::LookAfterWriting, ENDS_BY_ITSELF, awaited);
    breaks(Guard::VerifyBeforeClaiming, WHOLE_CHECKPOINT, damaged());
    let sleeps = Bounds { deliveries: 2, ticks: 1, has_sleep: true, ..Bounds::default() };
    breaks(Guard::SleepUntilDue, SLEPT_OUT, sleeps);
}

#[test]
fn no_guard_can_be_taken_away() {
    let twice = Bounds { deliveries: 2, ticks: 1, duplicates: 1, ..Bounds::default() };
    let recovered = Bounds { deliveries: 2, ticks: 4, recoveries: 1, ..Bounds::default() };
    let stepless = Bounds { has_no_step: true, ..twice.clone() };
    breaks(Guard::CreateIfAbsent, KEPT_STEP, twice.clone());
    breaks(Guard::CreateIfAbsent, ONE_RESULT, stepless.clone());
    breaks(Guard::NoncePerDelivery, KEPT_STEP, Bounds { losses: 1, ..twice.clone() });
    breaks(Guard::RecordEarlyEnds, ONE_RESULT, stepless.clone());
    breaks(Guard::RecordEarlyEnds, ONE_RESULT, Bounds { duplicates: 0, cancels: 1, ..stepless.clone() });
    breaks(Guard::DecideAnew, KEPT_STEP, Bounds { ticks: 2, ..twice.clone() });
    breaks(Guard::DecideAnew, LEASE_HELD, Bounds { deliveries: 3, ..twice.clone() });
    breaks(Guard::AwaitOutcome, ONE_RESULT, Bounds { losses: 1, ..stepless });
    breaks(Guard::AwaitOutcome, NEXT_NUMBER, Bounds { losses: 1, ..twice.clone() });
    breaks(Guard::AnswerFromLog, ONE_RESULT, recovered.clone());
    breaks(Guard::SuspendBeforeInvoking, ENDS_BY_ITSELF, Bounds { duplicates: 0, ..twice.clone() });
    breaks(Guard::AcknowledgeWithinLease, KEPT_STEP, recovered.clone());
    breaks(Guard::AllowForSkew, KEPT_STEP, Bounds { has_skew: true, ..recovered.clone() });
    breaks(Guard::WaitForLease, LEASE_HELD, Bounds { recoveries: 1, ..twice.clone() });
    breaks(Guard::Patience, NO_FALSE_FAILURE, Bounds { deliveries: 3, ticks: 3, ..Bounds::default() });
    breaks(
        Guard::DeliverLater,
        CAN_END,
        Bounds { crashes: 1, has_receiver: true, tries_endings: true, ..twice },
    );
}
