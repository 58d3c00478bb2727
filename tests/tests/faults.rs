//! Many seeds of misfortune: duplicate, lost and delayed deliveries, kills at random moments, a store that fails and loses
//! acknowledgements. Always one result, always the right one.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::print_stdout,
    reason = "tests may fail, and their helpers with them"
)]

use std::collections::BTreeSet;
use std::time::Duration;

use limitless_faas_core::log::{Execution, Phase, Stored};
use limitless_faas_local::Config;
use limitless_faas_tests::{Setting, Stage, ends};
use serde_json::{Value, json};
use tokio::sync::Semaphore;

const SUBJECT: &str = env!("CARGO_BIN_EXE_subject");
const SEEDS: u64 = 200;
/// Most of the time of a run is waiting, so many run at once.
const AT_ONCE: usize = 5;
/// Shared by the tests of this file, so that together they are no more.
static ROOM: Semaphore = Semaphore::const_new(AT_ONCE);
const PATIENCE: Duration = Duration::from_secs(300);

fn expected(n: u64) -> String {
    (0..n).fold(0, |sum: u64, i| sum + i * i).to_string()
}

async fn seen_through(
    handler: &str,
    seed: u64,
    limit_ms: u64,
    input: impl Fn(&Stage) -> Value,
) -> (Stage, Execution) {
    let config = Config { faults: "all".parse().unwrap(), seed, ..Config::default() };
    let setting = Setting { config, time_limit: Duration::from_millis(limit_ms) };
    let stage = Stage::set(SUBJECT, handler, setting).await.unwrap();
    let (folded, entries) = stage
        .see_through(handler, &input(&stage), &format!("seed-{seed}"), PATIENCE)
        .await
        .unwrap_or_else(|error| panic!("seed {seed}: {error}"));
    assert_eq!(ends(&entries).unwrap(), 1, "seed {seed}: {entries:#?}");
    (stage, folded)
}

async fn sum(seed: u64) -> (u64, u32) {
    let (stage, folded) =
        seen_through("squares", seed, 400, |_| json!({ "n": 1200, "pause_us": 1000 })).await;
    assert_eq!(folded.phase, Phase::Completed(Stored::Json(expected(1200))), "seed {seed}");
    stage.platform.shutdown().await;
    (folded.tally.invocations, folded.tally.crashes_ever)
}

/// Every step's effect happens; again only where a process died between the effect and its record.
async fn climb(seed: u64) -> (u64, u32) {
    let handler = ["stairs", "ladder", "visits"][usize::try_from(seed % 3).unwrap()];
    let file = |stage: &Stage| stage.folder.path().join("steps.txt");
    let (stage, folded) =
        seen_through(handler, seed, 400, |stage| json!({ "n": 30, "pause_ms": 40, "file": file(stage) }))
            .await;
    assert_eq!(folded.phase, Phase::Completed(Stored::Json("30".to_owned())), "{handler}, seed {seed}");
    let text = std::fs::read_to_string(file(&stage)).unwrap();
    let steps: BTreeSet<&str> = text.lines().collect();
    assert!(steps.len() >= 30, "{handler}, seed {seed}: {text}");
    stage.platform.shutdown().await;
    (folded.tally.invocations, folded.tally.crashes_ever)
}

/// Runs many seeds, several at once; answers how many invocations there were, and how many of them were lost.
async fn all<F: Future<Output = (u64, u32)> + Send + 'static>(seeds: u64, one: fn(u64) -> F) -> (u64, u64) {
    let runs: Vec<_> = (0..seeds)
        .map(|seed| {
            tokio::spawn(async move {
                let _permit = ROOM.acquire().await.unwrap();
                one(seed).await
            })
        })
        .collect();
    let (mut invocations, mut crashes) = (0, 0);
    for run in runs {
        let (more_invocations, more_crashes) = run.await.unwrap();
        invocations += more_invocations;
        crashes += u64::from(more_crashes);
    }
    println!("{seeds} seeds: {invocations} invocations, {crashes} of them lost");
    (invocations, crashes)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_right_result_whatever_happens() {
    let (_, crashes) = all(SEEDS, sum).await;
    assert!(crashes > SEEDS / 10, "only {crashes} crashes: the faults did not reach the function");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_step_is_lost_whatever_happens() {
    let (_, crashes) = all(SEEDS / 2, climb).await;
    assert!(crashes > SEEDS / 20, "only {crashes} crashes: the faults did not reach the function");
}
