//! What a recorded step costs, beside what appending and syncing costs this machine in turns with it.

use std::fs::File;
use std::io::Write;
use std::path::Path;
use std::time::{Duration, Instant};

use limitless_faas_core::ExecutionId;
use limitless_faas_core::log::{Execution, Phase, Stored};
use limitless_faas_local::Config;
use limitless_faas_tests::{Setting, Stage};
use serde_json::json;

use super::{Figure, median};

const SUBJECT: &str = env!("CARGO_BIN_EXE_subject");
const PATIENCE: Duration = Duration::from_secs(120);
const ROUNDS: u32 = 5;
const STEPS: u32 = 256;
const AT_ONCE: u32 = 32;
/// What one of the subject's records takes.
const RECORD_BYTES: usize = 36;

/// When each step began and ended, in µs since 1970.
type Times = Vec<(u64, u64)>;

async fn stage(limit: Duration) -> Stage {
    let setting = Setting { config: Config::default(), time_limit: limit };
    Stage::set(SUBJECT, "records", setting).await.unwrap()
}

/// One execution that records `n` steps.
async fn record(stage: &Stage, n: u32, at_once: u32, key: &str) -> (Execution, Times) {
    let input = json!({ "n": n, "at_once": at_once, "$limitless": { "idempotency_key": key } });
    stage.request(reqwest::Method::POST, "actions/records?blocking=false", &input).await.unwrap();
    let (ended, _) = stage.end(&ExecutionId::derive("records", key), PATIENCE).await.unwrap();
    let Phase::Completed(Stored::Json(json)) = &ended.phase else { panic!("not completed: {ended:?}") };
    let times: Times = serde_json::from_str(json).unwrap();
    assert_eq!(times.len(), n as usize);
    (ended, times)
}

/// Steps a second from the first step's begin to the last one's end.
fn rate(times: &[(u64, u64)]) -> f64 {
    let began_us = times.iter().map(|(began_us, _)| *began_us).min().unwrap();
    let ended_us = times.iter().map(|(_, ended_us)| *ended_us).max().unwrap();
    times.len() as f64 * 1e6 / (ended_us - began_us) as f64
}

/// Appends and syncs `n` times, as plainly as can be; answers what each took, in µs.
fn append_plainly(path: &Path, n: u32) -> Vec<f64> {
    let mut file = File::create(path).unwrap();
    let append = |_| {
        let started = Instant::now();
        file.write_all(&[7; RECORD_BYTES]).unwrap();
        file.sync_data().unwrap();
        started.elapsed().as_secs_f64() * 1e6
    };
    (0..n).map(append).collect()
}

/// Appends a second where as many threads as executions each have a file of their own.
fn plain_rate(folder: &Path) -> f64 {
    let started = Instant::now();
    std::thread::scope(|scope| {
        for i in 0..AT_ONCE {
            scope.spawn(move || append_plainly(&folder.join(format!("plain-{i}")), STEPS));
        }
    });
    f64::from(AT_ONCE * STEPS) / started.elapsed().as_secs_f64()
}

pub(super) async fn figures() -> Vec<Figure> {
    let stage = stage(Duration::from_secs(60)).await;
    let mut figures = alone(&stage).await;
    figures.push(together(&stage).await);
    stage.platform.shutdown().await;
    figures.push(limited().await);
    figures
}

/// One execution: one step after another, and 32 side by side.
async fn alone(stage: &Stage) -> Vec<Figure> {
    let (mut plain, mut ours, mut rates, mut joined) = (vec![], vec![], vec![], vec![]);
    for round in 0..ROUNDS {
        plain.extend(append_plainly(&stage.folder.path().join("plain"), STEPS));
        let (_, times) = record(stage, STEPS, 1, &format!("alone-{round}")).await;
        ours.extend(times.iter().map(|(began_us, ended_us)| (ended_us - began_us) as f64));
        rates.push(rate(&times));
        let (_, times) = record(stage, STEPS * 8, AT_ONCE, &format!("joined-{round}")).await;
        joined.push(rate(&times));
    }
    let (plain, ours, rate, joined) = (median(plain), median(ours), median(rates), median(joined));
    let step = format!("{ours:.0} µs; appending and syncing plainly {plain:.0} µs: {:.2} ×", ours / plain);
    let rates = format!("{rate:.0} in turn, {joined:.0} with {AT_ONCE} side by side");
    vec![
        Figure::new("recorded step, folder with fsync, p50", "≤ 100 µs", step, ours <= 100.0),
        Figure::new("steps a second, one execution", "≥ 10,000", rates, rate.max(joined) >= 10_000.0),
    ]
}

/// 32 executions in as many processes.
async fn together(stage: &Stage) -> Figure {
    let (mut plain, mut ours) = (Vec::new(), Vec::new());
    for round in 0..3 {
        plain.push(plain_rate(stage.folder.path()));
        let keys: Vec<_> = (0..AT_ONCE).map(|i| format!("together-{round}-{i}")).collect();
        let running = keys.iter().map(|key| record(stage, STEPS, 1, key));
        let ended = futures_util::future::join_all(running).await;
        ours.push(rate(&ended.into_iter().flat_map(|(_, times)| times).collect::<Times>()));
    }
    let (plain, ours) = (median(plain), median(ours));
    let measured = format!("{ours:.0}; {AT_ONCE} threads that append and sync plainly {plain:.0}");
    Figure::new("steps a second, 32 executions", "≥ 40,000", measured, ours >= 40_000.0)
}

/// A thousand steps, one after another, where an invocation may take half a second.
async fn limited() -> Figure {
    let stage = stage(Duration::from_millis(500)).await;
    let (mut plain, mut ours, mut invocations) = (Vec::new(), Vec::new(), Vec::new());
    for round in 0..ROUNDS {
        plain.push(append_plainly(&stage.folder.path().join("plain"), 1000).iter().sum::<f64>() / 1e6);
        let started = Instant::now();
        let (ended, _) = record(&stage, 1000, 1, &format!("limited-{round}")).await;
        ours.push(started.elapsed().as_secs_f64());
        invocations.push(ended.tally.invocations as f64);
    }
    stage.platform.shutdown().await;
    let (plain, ours, invocations) = (median(plain), median(ours), median(invocations));
    let measured = format!("{ours:.2} s in {invocations} invocations; 1,000 plain appends {plain:.2} s");
    let is_met = ours <= 0.4 && invocations <= 5.0;
    Figure::new("1,000 steps with a limit of 0.5 s", "≤ 0.4 s, ≤ 5 invocations", measured, is_met)
}
