//! The runtime as it is, in worlds that follow from a seed: store, clock, chance, threads and platform are simulated, and
//! nothing else is.
//!
//! Time is tokio's, which jumps to the next moment at which something is due. A history is a client that wants one result, a
//! platform that delivers twice, loses and kills, processes that die or freeze at any boundary between them and the world, and
//! a store that fails, forgets its answers, and writes late. What must hold is looked at as it happens and at the end.
//!
//! ```text
//! cargo test -p limitless-faas simulation                                        # 2,000 histories
//! LIMITLESS_SIMULATE=1000000 cargo test --release -p limitless-faas simulation   # a million
//! LIMITLESS_SIMULATE_SEED=17 cargo test -p limitless-faas simulation::replay -- --nocapture
//! ```

mod baton;
mod handlers;
mod platform;
mod store;
mod world;

use std::sync::atomic::{AtomicU64, Ordering};

use crate::Handler;
use crate::handler::HandlerDef;

use handlers::{climb, tour, walk};
use platform::{Case, Report};
use world::{Faults, Lie};

fn said(name: &str) -> Option<u64> {
    std::env::var(name).ok().map(|text| text.parse().unwrap())
}

/// Each handler, as a process serves it alone.
fn handlers() -> [&'static [&'static HandlerDef]; 3] {
    use std::sync::LazyLock;
    static ALL: LazyLock<[[&HandlerDef; 1]; 3]> =
        LazyLock::new(|| [[tour::definition()], [climb::definition()], [walk::definition()]]);
    [&ALL[0], &ALL[1], &ALL[2]]
}

/// The history that a seed stands for.
fn case(seed: u64) -> Case {
    let handlers = handlers()[usize::try_from(seed % 3).unwrap()];
    // Some have few faults, so that they come far before the first.
    let few = Faults { kill: 30, freeze: 20, fail: 50, lose_answer: 50, ..Faults::ALL };
    let faults = if seed % 5 < 2 { few } else { Faults::ALL };
    Case { handlers, seed, faults, kill_at: None }
}

fn check(case: Case, report: &Report) {
    if report.violations.is_empty() {
        return;
    }
    for line in report.trace.iter().rev().take(150).rev() {
        println!("{line}");
    }
    panic!(
        "{:?} with seed {} and kill_at {:?}; LIMITLESS_SIMULATE_SEED={} replays a seed",
        report.violations, case.seed, case.kill_at, case.seed
    );
}

#[test]
fn one_result_whatever_happens() {
    let count = said("LIMITLESS_SIMULATE").unwrap_or(2_000);
    let (next, invocations) = (AtomicU64::new(0), AtomicU64::new(0));
    std::thread::scope(|scope| {
        for _ in 0..std::thread::available_parallelism().map_or(1, Into::into) {
            scope.spawn(|| {
                loop {
                    let seed = next.fetch_add(1, Ordering::Relaxed);
                    if seed >= count {
                        break;
                    }
                    let case = case(seed);
                    let report = case.run();
                    invocations.fetch_add(report.invocations, Ordering::Relaxed);
                    check(case, &report);
                }
            });
        }
    });
    let invocations = invocations.into_inner();
    println!("{count} executions, {invocations} invocations");
    assert!(invocations > 2 * count, "they ended before anything happened");
}

#[test]
fn a_process_may_die_at_every_boundary() {
    for handlers in handlers() {
        for seed in [0, 1] {
            let case = Case { handlers, seed, faults: Faults::NONE, kill_at: None };
            let whole = case.run();
            check(case, &whole);
            assert!(whole.boundaries > 30, "{} boundaries", whole.boundaries);
            for kill_at in 0..whole.boundaries {
                let case = Case { kill_at: Some(kill_at), ..case };
                let report = case.run();
                assert!(report.trace.iter().any(|line| line.contains(" dies: ")), "nobody died at {kill_at}");
                check(case, &report);
            }
        }
    }
}

#[test]
fn the_same_seed_gives_the_same_history() {
    for seed in 0..150 {
        let (once, again) = (case(seed).run(), case(seed).run());
        let differs = once.trace.iter().zip(&again.trace).position(|(once, again)| once != again);
        if let Some(at) = differs {
            panic!("seed {seed}, line {at}: {:?} and then {:?}", once.trace[at], again.trace[at]);
        }
        assert_eq!(once.trace.len(), again.trace.len());
    }
    assert_ne!(case(0).run().trace, case(3).run().trace);
}

/// What is assumed of the world is needed: without it, promises break, and that is noticed.
#[test]
fn a_world_that_breaks_its_word_is_found_out() {
    let lies = [Lie::CreateTwice, Lie::ForgetCreate, Lie::ForgetAppend];
    let lying = lies.map(|lie| (format!("{lie:?}"), Faults { lie: Some(lie), ..Faults::ALL }));
    let skewed = ("clocks".to_owned(), Faults { skew_ms: 60_000, ..Faults::ALL });
    for (what, faults) in lying.into_iter().chain([skewed]) {
        let found = (0..600).find(|seed| {
            let report = Case { faults, ..case(*seed) }.run();
            !report.violations.is_empty()
        });
        assert!(found.is_some(), "600 histories were right although the world broke its word: {what}");
        println!("{what}: found with seed {found:?}");
    }
}

/// Prints one history, where `LIMITLESS_SIMULATE_SEED` asks for it.
#[test]
fn replay() {
    let Some(seed) = said("LIMITLESS_SIMULATE_SEED") else { return };
    let report = case(seed).run();
    for line in &report.trace {
        println!("{line}");
    }
    assert!(report.violations.is_empty(), "{:?}", report.violations);
}
