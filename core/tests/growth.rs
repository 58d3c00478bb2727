//! The reserve before the deadline follows the store and the state: a state that grows tenfold between two checkpoints is still saved in
//! time, whatever the store's latency and bandwidth; and memory that is no state costs one checkpoint, not the rest of the limit.

#![allow(clippy::unwrap_used, reason = "helper functions of a test")]

use limitless_faas_core::invocation::{Call, Command, Delivery, Event, Invocation, Snapshot, Written};
use limitless_faas_core::log::{Driver, Input, Origin, Saved, Stored};
use limitless_faas_core::pace::{Pace, Policy};
use limitless_faas_core::{ExecutionId, Nonce};
use proptest::prelude::*;

const START_US: u64 = 1_000_000_000_000;
const LIMIT_US: u64 = 60_000_000;
const DEADLINE_US: u64 = START_US + LIMIT_US;
const MIB: u64 = 1 << 20;

/// A store, as it is in truth.
#[derive(Clone, Copy, Debug)]
struct Line {
    latency_us: u64,
    us_per_mib: u64,
}

impl Line {
    fn save_us(self, bytes: u64) -> u64 {
        self.latency_us + bytes * self.us_per_mib / MIB
    }
}

/// What the process holds, and how much of that is state, from a time on.
#[derive(Clone, Copy, Debug)]
struct Growth {
    at_us: u64,
    state_bytes: u64,
    more_state_bytes: u64,
    more_memory_bytes: u64,
}

impl Growth {
    fn state_bytes(self, now_us: u64) -> u64 {
        self.state_bytes + if now_us >= self.at_us { self.more_state_bytes } else { 0 }
    }

    fn memory_bytes(self, now_us: u64) -> u64 {
        self.state_bytes + if now_us >= self.at_us { self.more_memory_bytes } else { 0 }
    }
}

/// What became of an invocation.
#[derive(Debug)]
struct Told {
    /// When the handler stopped for good.
    stopped_us: u64,
    /// When the successor was invoked; none where the platform killed it before.
    invoked_us: Option<u64>,
    saves: u32,
}

/// One invocation whose handler passes a hook each millisecond and never ends by itself.
struct Play {
    invocation: Invocation,
    now_us: u64,
    line: Line,
    growth: Growth,
    /// What the process held when the run began.
    base_bytes: u64,
    alarm_us: u64,
    told: Told,
}

fn delivery() -> Delivery {
    let input = Input { digest: "d".into(), stored: Stored::Json("{}".into()) };
    Delivery {
        execution: ExecutionId::derive("h", "call"),
        handler: "h".into(),
        nonce: Nonce::from_random([1; 8]),
        call: Call::First {
            origin: Origin { input, callback: None, caller: None, keep_ms: None },
            is_durable: true,
        },
        deadline_ms: DEADLINE_US / 1000,
        driver: Driver { limit_ms: LIMIT_US / 1000, ..Driver::default() },
        is_owner_dead: false,
        is_signed: false,
        has_store: true,
        policy: Policy::default(),
    }
}

impl Play {
    fn of(line: Line, growth: Growth) -> Told {
        let invocation = Invocation::new(delivery());
        let told = Told { stopped_us: START_US, invoked_us: None, saves: 0 };
        let mut play = Self { invocation, now_us: START_US, line, growth, base_bytes: 0, alarm_us: 0, told };
        let mut commands = play.invocation.on(START_US, Event::Arrived);
        while play.now_us < DEADLINE_US && play.told.invoked_us.is_none() {
            let event = play.perform(&commands);
            commands = play.invocation.on(play.now_us, event);
        }
        play.told
    }

    /// Performs the command that matters most, and tells what comes of it.
    fn perform(&mut self, commands: &[Command]) -> Event {
        self.alarm_us = commands.iter().rev().find_map(alarm).unwrap_or(self.alarm_us);
        for command in commands {
            match command {
                Command::Read { .. } => return Event::Read(Ok(Vec::new())),
                Command::Create { .. } => {
                    self.now_us += self.line.latency_us;
                    return Event::Wrote(Written::New);
                }
                Command::Invoke { .. } => {
                    self.told.invoked_us = Some(self.now_us);
                    return Event::Invoked(Ok(()));
                }
                Command::Suspend { .. } => return self.save(),
                Command::Report => return self.passed(),
                _ => {}
            }
        }
        self.now_us = self.now_us.max(self.alarm_us);
        Event::Alarm
    }

    /// A hook was passed; what the process holds was told just before.
    fn passed(&mut self) -> Event {
        self.now_us += 1_000;
        let bytes = self.growth.memory_bytes(self.now_us).saturating_sub(self.base_bytes);
        let commands = self.invocation.on(self.now_us, Event::Grown { bytes });
        self.alarm_us = commands.iter().rev().find_map(alarm).unwrap_or(self.alarm_us);
        Event::HookPassed
    }

    fn save(&mut self) -> Event {
        self.told.stopped_us = self.now_us;
        self.told.saves += 1;
        let bytes = self.growth.state_bytes(self.now_us);
        self.base_bytes = self.growth.memory_bytes(self.now_us);
        let cost_us = self.line.save_us(bytes);
        self.now_us += cost_us;
        let state = self.told.saves.to_string();
        let saved = Saved { bytes, state_bytes: bytes, new_bytes: bytes, cost_us, state, ..Saved::default() };
        Event::Suspended(Snapshot { saved, is_on_its_way: false })
    }
}

fn alarm(command: &Command) -> Option<u64> {
    match command {
        Command::Alarm { at_us } => Some(*at_us),
        _ => None,
    }
}

fn line() -> impl Strategy<Value = Line> {
    (0..100_000_u64, 5_000..200_000_u64).prop_map(|(latency_us, us_per_mib)| Line { latency_us, us_per_mib })
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn a_state_that_grows_tenfold_between_two_checkpoints_is_saved_in_time(
        line in line(),
        mib in 1..6_u64,
        at_ms in 8_000..20_000_u64,
    ) {
        let state_bytes = mib * MIB;
        let more = 9 * state_bytes;
        let growth = Growth {
            at_us: START_US + at_ms * 1000, state_bytes, more_state_bytes: more, more_memory_bytes: more,
        };
        let needed_us = line.save_us(10 * state_bytes) + 3 * line.latency_us;
        let told = Play::of(line, growth);
        prop_assert!(told.invoked_us.is_some(), "killed: {told:?}");
        prop_assert!(told.saves >= 2, "{told:?}");
        // Nor is more of the limit given away than its safety asks for.
        let spare_us = (DEADLINE_US - told.stopped_us).saturating_sub(needed_us);
        prop_assert!(spare_us <= needed_us + needed_us / 2 + 1_000_000, "{needed_us} needed: {told:?}");
    }

    #[test]
    fn memory_that_is_no_state_costs_one_checkpoint(line in line(), mib in 1..4_u64, more in 100..1000_u64) {
        let state_bytes = mib * MIB;
        let at_us = START_US + 10_000_000;
        let growth = Growth { at_us, state_bytes, more_state_bytes: 0, more_memory_bytes: more * MIB };
        let none = Growth { more_memory_bytes: 0, ..growth };
        let (told, otherwise) = (Play::of(line, growth), Play::of(line, none));
        prop_assert!(told.invoked_us.is_some());
        prop_assert!(told.saves <= otherwise.saves + 1, "{told:?} {otherwise:?}");
        let earlier_us = otherwise.stopped_us.saturating_sub(told.stopped_us);
        prop_assert!(earlier_us <= 2_000_000, "stopped {earlier_us} µs earlier: {told:?} {otherwise:?}");
    }

    #[test]
    fn the_margin_grows_with_the_state_and_never_shrinks_with_it(
        line in line(), bytes in MIB..200 * MIB, grown in 0..4_000 * MIB, more in 0..4_000 * MIB,
    ) {
        let mut pace = Pace::default();
        pace.stored(line.latency_us);
        pace.saved(line.save_us(bytes));
        pace.moved(bytes, bytes, line.save_us(bytes));
        let (limit_ms, all_us) = (u64::MAX / 4_000_000, line.save_us(bytes + grown));
        pace.grown(grown);
        let margin_ms = pace.margin_ms(limit_ms);
        // What is measured in whole µs per MiB may be one short.
        let rounding_us = grown / MIB + 1;
        prop_assert!(margin_ms * 1000 + 2 * rounding_us >= 2 * (all_us + line.latency_us), "{pace:?}");
        pace.grown(grown + more);
        prop_assert!(pace.margin_ms(limit_ms) >= margin_ms);
        // What moved little of a large state tells nothing.
        let before = pace;
        pace.moved(bytes / 5, bytes, 1);
        prop_assert_eq!(before, pace);
    }
}

#[test]
fn the_next_invocation_knows_the_store_from_the_checkpoint() {
    let mut pace = Pace::default();
    pace.moved(10 * MIB, 10 * MIB, 2_000_000);
    assert_eq!(pace.us_per_mib(), 200_000);
    let mut carried = Pace::carried_over(100_000, 0, pace.us_per_mib());
    carried.grown(90 * MIB);
    assert!(carried.margin_ms(600_000) >= 2 * 18_100);
}
