//! What a recorded step costs, beside what appending and syncing costs this machine in turns with it.

use std::fs::File;
use std::io::Write;
use std::path::Path;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use limitless_faas_core::ExecutionId;
use limitless_faas_core::log::{Execution, Phase};
use limitless_faas_local::{Config, EventKind};
use limitless_faas_tests::{Setting, Stage};
use serde_json::json;

use super::{Figure, median, ms};

const SUBJECT: &str = env!("CARGO_BIN_EXE_subject");
pub(super) const PATIENCE: Duration = Duration::from_secs(120);
const ROUNDS: u32 = 5;
const STEPS: u32 = 256;
/// Of one among many executions.
const MANY: u32 = 1500;
const AT_ONCE: u32 = 32;
/// What one of the subject's records takes.
const RECORD_BYTES: usize = 36;

/// When each step began and ended, in µs since 1970.
pub(super) type Times = Vec<(u64, u64)>;

pub(super) async fn stage(handler: &str, limit: Duration) -> Stage {
    let setting = Setting { config: Config::default(), time_limit: limit };
    Stage::set(SUBJECT, handler, setting).await.unwrap()
}

/// The execution at its end, and its result, which is large.
async fn completed(stage: &Stage, execution: &ExecutionId) -> (Execution, String) {
    let (ended, _) = stage.end(execution, PATIENCE).await.unwrap();
    let Phase::Completed(stored) = &ended.phase else { panic!("not completed: {ended:?}") };
    let json = stage.log(execution).unwrap().json(stored).await.unwrap();
    (ended, json)
}

/// One execution that records `n` steps.
pub(super) async fn record(stage: &Stage, n: u32, at_once: u32, key: &str) -> (Execution, Times) {
    let input = json!({ "n": n, "at_once": at_once, "$limitless": { "idempotency_key": key } });
    // Nobody looks into the log meanwhile: whoever reads a young entry syncs its folder, on the disk that is measured.
    stage.request(reqwest::Method::POST, "actions/records?blocking=true", &input).await.unwrap();
    let (ended, json) = completed(stage, &ExecutionId::derive("records", key)).await;
    let times: Times = serde_json::from_str(&json).unwrap();
    assert_eq!(times.len(), n as usize);
    (ended, times)
}

/// Steps a second from the first step's begin to the last one's end.
pub(super) fn rate(times: &[(u64, u64)]) -> f64 {
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
            scope.spawn(move || append_plainly(&folder.join(format!("plain-{i}")), MANY));
        }
    });
    f64::from(AT_ONCE * MANY) / started.elapsed().as_secs_f64()
}

pub(super) async fn figures() -> Vec<Figure> {
    let stage = stage("records", Duration::from_secs(60)).await;
    let mut figures = alone(&stage).await;
    figures.push(together(&stage).await);
    stage.platform.shutdown().await;
    figures.extend(limited().await);
    figures.push(killed().await);
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
        // So many that it does not count when each process began.
        let running = keys.iter().map(|key| record(stage, MANY, 1, key));
        let ended = futures_util::future::join_all(running).await;
        ours.push(rate(&ended.into_iter().flat_map(|(_, times)| times).collect::<Times>()));
    }
    let (plain, ours) = (median(plain), median(ours));
    let measured = format!("{ours:.0}; {AT_ONCE} threads that append and sync plainly {plain:.0}");
    Figure::new("steps a second, 32 executions", "≥ 40,000", measured, ours >= 40_000.0)
}

/// So many steps, one after another, where an invocation may take half a second: seconds, invocations, and how long as many plain
/// appends take.
pub(super) async fn within_limits(stage: &Stage, n: u32) -> (f64, f64, f64) {
    let (mut plain, mut ours, mut invocations) = (Vec::new(), Vec::new(), Vec::new());
    for round in 0..ROUNDS {
        plain.push(append_plainly(&stage.folder.path().join("plain"), n).iter().sum::<f64>() / 1e6);
        let started = Instant::now();
        let (ended, _) = record(stage, n, 1, &format!("limited-{n}-{round}")).await;
        ours.push(started.elapsed().as_secs_f64());
        invocations.push(ended.tally.invocations as f64);
    }
    (median(ours), median(invocations), median(plain))
}

async fn limited() -> Vec<Figure> {
    let stage = stage("records", Duration::from_millis(500)).await;
    let (one, invocations, plain) = within_limits(&stage, 1000).await;
    let (four, more_invocations, more_plain) = within_limits(&stage, 4000).await;
    stage.platform.shutdown().await;
    let measured = format!("{one:.2} s in {invocations} invocations; as many plain appends {plain:.2} s");
    let more =
        format!("{four:.2} s in {more_invocations} invocations; as many plain appends {more_plain:.2} s");
    let is_linear = four <= 5.0 * one && more_invocations <= 20.0;
    vec![
        Figure::new(
            "1,000 steps with a limit of 0.5 s",
            "≤ 0.4 s, ≤ 5 invocations",
            measured,
            one <= 0.4 && invocations <= 5.0,
        ),
        Figure::new("4,000 steps with a limit of 0.5 s", "linear", more, is_linear),
    ]
}

async fn killed() -> Figure {
    let delay = kill_delay_ms().await;
    let measured = format!("{delay:.1} ms");
    Figure::new("kill -9 to the first new step", "≤ 100 ms", measured, delay <= 100.0)
}

/// From `kill -9` in the middle of steps to the first effect that follows.
pub(super) async fn kill_delay_ms() -> f64 {
    let mut delays = Vec::new();
    for round in 0..ROUNDS {
        let stage = stage("stamps", Duration::from_secs(60)).await;
        let mut events = stage.platform.events();
        let input = json!({ "n": 20_000, "$limitless": { "idempotency_key": "k" } });
        stage.request(reqwest::Method::POST, "actions/stamps?blocking=false", &input).await.unwrap();
        let pid = loop {
            if let EventKind::Started { pid, .. } = events.recv().await.unwrap().kind {
                break pid.to_string();
            }
        };
        tokio::time::sleep(Duration::from_millis(700 + u64::from(round) * 50)).await;
        let killed = SystemTime::now();
        tokio::process::Command::new("kill").args(["-9", &pid]).status().await.unwrap();
        let (ended, json) = completed(&stage, &ExecutionId::derive("stamps", "k")).await;
        stage.platform.shutdown().await;
        assert_eq!(ended.tally.crashes_ever, 1, "it was over before it was killed");
        let times: Vec<u64> = serde_json::from_str(&json).unwrap();
        delays.push(gap_ms(&times, killed.duration_since(UNIX_EPOCH).unwrap()));
    }
    median(delays)
}

/// How long nobody worked around this moment. The process may do some steps more until the signal reaches it; the gap is after them.
pub(super) fn gap_ms(times_us: &[u64], killed: Duration) -> f64 {
    let killed_us = killed.as_micros() as u64;
    let gaps = times_us.windows(2).filter(|pair| pair[1] >= killed_us).map(|pair| pair[1] - pair[0]);
    ms(Duration::from_micros(gaps.max().unwrap()))
}
