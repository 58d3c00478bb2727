//! What counts as progress, and what an execution does that makes none.

#![allow(clippy::unwrap_used, reason = "helper functions of a test")]

use limitless_faas_core::invocation::{
    Answer, Call, Command, Delivery, Event, Invocation, Snapshot, Verdict, Written,
};
use limitless_faas_core::log::{Driver, Entry, Execution, Input, Kind, Origin, Saved, Stored, fold};
use limitless_faas_core::pace::Policy;
use limitless_faas_core::{Code, ExecutionId, Nonce};

const START_US: u64 = 1_000_000_000_000;
const LIMIT_MS: u64 = 1_000;

fn id() -> ExecutionId {
    ExecutionId::derive("h", "call")
}

fn entry(epoch: u64, kind: Kind) -> Entry {
    Entry {
        execution: id(),
        handler: "h".into(),
        epoch,
        nonce: Nonce::from_random(epoch.to_be_bytes()),
        at_us: 0,
        kind,
    }
}

/// Entries are written at 0, so that whoever writes one has the whole limit left.
fn limited() -> Driver {
    Driver { limit_ms: LIMIT_MS, ..Driver::default() }
}

fn started() -> Entry {
    let origin = Origin {
        input: Input { digest: "d".into(), stored: Stored::Json("{}".into()) },
        callback: None,
        caller: None,
        keep_ms: None,
    };
    entry(1, Kind::Started { origin, lease_until_ms: 1, driver: limited(), saved: None })
}

fn claimed(epoch: u64, seal: Option<u64>) -> Entry {
    entry(epoch, Kind::Claimed { lease_until_ms: 1, driver: limited(), from: None, seal })
}

fn suspended(log: &Execution, state: &str, progress: u64, is_first_hook: bool) -> Entry {
    let saved = Saved {
        checkpoint: state.into(),
        state: state.into(),
        progress,
        epoch: log.epoch,
        is_first_hook,
        ..Saved::default()
    };
    let so_far = Box::new(log.clone());
    entry(log.epoch, Kind::Suspended { saved: Some(saved), steps: 0, successor_by_ms: 0, wake: None, so_far })
}

/// A log in which each invocation suspended with the state that it began from.
fn standing_still(times: u32, is_first_hook: bool) -> Vec<Entry> {
    let mut entries = vec![started()];
    let mut log = Execution::begin(&entries[0]).unwrap();
    for epoch in 1..=u64::from(times) + 1 {
        if epoch > 1 {
            let from = log.newest().map(|(number, _)| number);
            let kind = Kind::Claimed { lease_until_ms: 1, driver: limited(), from, seal: None };
            entries.push(entry(epoch, kind));
            log.apply(entries.last().unwrap()).unwrap();
        }
        entries.push(suspended(&log, "same", 1, is_first_hook));
        log.apply(entries.last().unwrap()).unwrap();
    }
    entries
}

/// A log of owners that were lost one after the other, and recorded so many bytes of steps each.
fn lost(owners: u64, steps: Option<u64>) -> Vec<Entry> {
    let claims = (2..=owners).map(|epoch| claimed(epoch, steps));
    std::iter::once(started()).chain(claims).collect()
}

/// A successor that is told what stands in the log, until it runs the handler or answers.
fn arrive(entries: &[Entry], sealed: u64) -> (Invocation, Vec<Command>) {
    arrive_with(entries, sealed, None, false)
}

fn arrive_with(
    entries: &[Entry],
    sealed: u64,
    entry: Option<u64>,
    is_signed: bool,
) -> (Invocation, Vec<Command>) {
    let delivery = Delivery {
        execution: id(),
        handler: "h".into(),
        nonce: Nonce::from_random([99; 8]),
        call: Call::Resume { entry },
        deadline_ms: START_US / 1000 + LIMIT_MS,
        driver: Driver { limit_ms: LIMIT_MS, ..Driver::default() },
        is_owner_dead: false,
        is_signed,
        has_store: true,
        policy: Policy::default(),
    };
    let mut invocation = Invocation::new(delivery);
    let mut commands = invocation.on(START_US, Event::Arrived);
    loop {
        let event = match commands.first() {
            Some(Command::Read { from, .. }) => {
                Event::Read(Ok(entries[usize::try_from(*from).unwrap()..].to_vec()))
            }
            Some(Command::Measure { .. }) => Event::Measured(Ok(sealed)),
            Some(Command::Verify { .. }) => Event::Verified(Verdict::Good),
            Some(Command::Create { .. }) => Event::Wrote(Written::New),
            _ => return (invocation, commands),
        };
        commands = invocation.on(START_US, event);
    }
}

fn failure(entries: &[Entry]) -> Option<String> {
    let (_, commands) = arrive(entries, 0);
    commands.iter().find_map(|command| match command {
        Command::Answer(Answer::Failed(failure)) if failure.code == Code::NoProgress => {
            Some(failure.message.clone())
        }
        _ => None,
    })
}

#[test]
fn a_handler_that_computes_and_does_not_move_is_stopped_soon() {
    assert_eq!(failure(&standing_still(2, false)), None);
    let message = failure(&standing_still(3, false)).unwrap();
    assert!(message.contains("3 invocations in a row suspended where they began"), "{message}");
}

#[test]
fn a_handler_that_was_left_no_time_to_compute_is_not_blamed_for_it() {
    assert_eq!(failure(&standing_still(49, true)), None);
    let message = failure(&standing_still(50, true)).unwrap();
    assert!(message.contains("50 invocations in a row had no time left"), "{message}");
}

#[test]
fn lost_owners_count_unless_they_recorded_a_step() {
    assert_eq!(fold(&lost(8, None)).unwrap().unwrap().tally.crashes, 7);
    let recorded = fold(&lost(8, Some(68))).unwrap().unwrap().tally;
    assert_eq!((recorded.crashes, recorded.crashes_ever), (0, 7));
    assert_eq!(failure(&lost(9, None)), None);
    let message = failure(&lost(10, None)).unwrap();
    assert!(message.contains("10 invocations in a row were lost"), "{message}");
    // The last owner's own steps count too, which only whoever claims has measured.
    let (_, commands) = arrive(&lost(10, None), 68);
    assert!(matches!(commands[0], Command::Run(_)), "{commands:?}");
}

/// A process that came up so slowly that the claim stood with this much time left.
fn late(epoch: u64, left_ms: u64) -> Entry {
    let kind = Kind::Claimed { lease_until_ms: 1, driver: limited(), from: Some(1), seal: None };
    Entry { at_us: (LIMIT_MS - left_ms) * 1000, ..entry(epoch, kind) }
}

#[test]
fn an_owner_that_had_no_time_for_a_turn_is_starved_and_not_crashed() {
    let mut entries = vec![started()];
    let mut log = Execution::begin(&entries[0]).unwrap();
    let mut entry = suspended(&log, "one", 1, false);
    let Kind::Suspended { saved: Some(saved), .. } = &mut entry.kind else { return };
    saved.hook_gap_us = 200_000;
    log.apply(&entry).unwrap();
    entries.push(entry);
    let counts = |left_ms| {
        let mut log = log.clone();
        log.apply(&late(2, left_ms)).unwrap();
        let tally = log.tally_after_claim(None);
        (tally.starved, tally.crashes)
    };
    assert_eq!(counts(0), (1, 0));
    assert_eq!(counts(399), (1, 0));
    assert_eq!(counts(400), (0, 1));
}

/// When a handler that passes a hook each millisecond is asked to save.
fn asked_after_ms(owners_lost: u64) -> u64 {
    let (mut invocation, mut commands) = arrive(&lost(owners_lost, None), 0);
    let mut now_us = START_US;
    loop {
        if commands.iter().any(|command| matches!(command, Command::Suspend { .. })) {
            return (now_us - START_US) / 1000;
        }
        let reports = commands.iter().any(|command| matches!(command, Command::Report));
        let alarm = commands.iter().rev().find_map(|command| match command {
            Command::Alarm { at_us } => Some(*at_us),
            _ => None,
        });
        commands = if reports {
            now_us += 1_000;
            let mut more = invocation.on(now_us, Event::HookPassed);
            more.splice(0..0, alarm.map(|at_us| Command::Alarm { at_us }));
            more
        } else {
            now_us = now_us.max(alarm.unwrap());
            invocation.on(now_us, Event::Alarm)
        };
    }
}

#[test]
fn after_each_loss_less_is_risked() {
    let asked: Vec<u64> = (1..=9).map(asked_after_ms).collect();
    assert!(asked.windows(2).all(|pair| pair[1] <= pair[0]), "{asked:?}");
    assert!((400..500).contains(&asked[0]), "half of the time after the first loss: {asked:?}");
    assert!(*asked.last().unwrap() < 20, "in the end a turn or two of the loop: {asked:?}");
}

#[test]
fn whoever_saved_early_goes_on_and_does_not_save_early_again() {
    let (mut invocation, _) = arrive(&lost(9, None), 0);
    let mut now_us = START_US + 6_000;
    invocation.on(now_us, Event::Alarm);
    invocation.on(now_us + 1_000, Event::HookPassed);
    now_us += 10_000;
    let commands = invocation.on(now_us, Event::Alarm);
    assert!(commands.iter().any(|command| matches!(command, Command::Suspend { .. })), "{commands:?}");
    // Nothing moved, as in a loop that waits for something: it must not save again and again.
    let snapshot = Snapshot { saved: Saved { cost_us: 500, ..Saved::default() }, is_on_its_way: false };
    let commands = invocation.on(now_us, Event::Suspended(snapshot));
    assert!(matches!(&commands[0], Command::Create { .. }), "{commands:?}");
    let commands = invocation.on(now_us, Event::Wrote(Written::New));
    assert!(matches!(commands[0], Command::Run(_)), "{commands:?}");
    for _ in 0..20 {
        now_us += 6_000;
        let mut commands = invocation.on(now_us, Event::Alarm);
        commands.extend(invocation.on(now_us, Event::HookPassed));
        assert!(!commands.iter().any(|command| matches!(command, Command::Suspend { .. })), "{commands:?}");
    }
}

#[test]
fn a_signed_call_that_is_repeated_after_the_next_suspension_does_nothing() {
    // Started, suspended, claimed, suspended, claimed, suspended.
    let entries = standing_still(2, true);
    let goes_on = |entry: u64, length: usize, is_signed: bool| {
        let (_, commands) = arrive_with(&entries[..length], 0, Some(entry), is_signed);
        let is_running = matches!(commands[..], [Command::Answer(Answer::Running { note: None })]);
        let runs = commands.iter().any(|command| matches!(command, Command::Run(_)));
        assert!(runs != is_running, "{commands:?}");
        runs
    };
    for (entry, length, expected) in
        [(1, 2, true), (1, 3, true), (1, 4, false), (1, 5, false), (3, 4, true), (3, 6, false)]
    {
        assert_eq!(goes_on(entry, length, true), expected, "entry {entry} of {length}");
        assert!(goes_on(entry, length, false), "without a signature it rescues what nobody drives");
    }
}
