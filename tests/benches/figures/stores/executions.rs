//! Whole executions whose store is behind a line: what a large state costs them, and how often a hand-over asks.

use std::time::{Duration, Instant};

use limitless_faas_core::ExecutionId;
use limitless_faas_core::log::{Entry, Kind, Phase, Saved, Status};
use limitless_faas_local::Config;
use limitless_faas_store::Log;
use limitless_faas_tests::{Setting, Stage};
use serde_json::{Value, json};

use super::line::{Carried, Line, ROUND_TRIP};
use super::{Figure, checkpoints, median, open_redis, redis_url};
use crate::state;

const SUBJECT: &str = env!("CARGO_BIN_EXE_subject");
const PATIENCE: Duration = Duration::from_secs(60);

/// A platform whose functions have their store behind the line.
async fn stage(line: &Line, folder: &str, handler: &str, time_limit: Duration) -> Stage {
    let mut config = Config::default();
    config.env.insert("LIMITLESS_STORE".into(), redis_url(line.port, folder));
    Stage::set(SUBJECT, handler, Setting { config, time_limit }).await.unwrap()
}

/// Begins an execution; its log is read past the line.
async fn begin(stage: &Stage, near: u16, folder: &str, handler: &str, key: &str, mut input: Value) -> Log {
    input["$limitless"] = json!({ "idempotency_key": key });
    let path = format!("actions/{handler}?blocking=false");
    let (status, answer) = stage.request(reqwest::Method::POST, &path, &input).await.unwrap();
    assert!(status < 300, "{status}: {answer}");
    Log::new(open_redis(near, folder), ExecutionId::derive(handler, key))
}

/// Looks at the log again and again until the execution has ended, and tells of each entry as it appears.
async fn follow(log: &Log, mut on_entry: impl FnMut(&Entry)) -> Vec<Entry> {
    let until = Instant::now() + PATIENCE;
    let mut seen = Vec::new();
    loop {
        let more = log.entries(seen.len() as u64).await.unwrap();
        more.iter().for_each(&mut on_entry);
        seen.extend(more);
        if log.execution().await.unwrap().is_some_and(|execution| execution.status().is_terminal()) {
            break;
        }
        assert!(Instant::now() < until, "no end within {PATIENCE:?}: {seen:#?}");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    let execution = log.execution().await.unwrap().unwrap();
    assert!(matches!(execution.phase, Phase::Completed(_)), "{:?}", execution.phase);
    assert_eq!(execution.status(), Status::Completed);
    seen
}

fn saved(entry: &Entry) -> Option<&Saved> {
    match &entry.kind {
        Kind::Checkpointed { saved } | Kind::Suspended { saved: Some(saved), .. } => Some(saved),
        Kind::Started { saved, .. } => saved.as_ref(),
        _ => None,
    }
}

/// 100 MB of which each run changes a hundredth.
pub(super) async fn large_state(near: u16, line: &Line) -> Vec<Figure> {
    let stage = stage(line, "large", "drifts", Duration::from_secs(10)).await;
    let input = json!({ "mb": checkpoints::STATE_MB, "turns": 32_000 });
    line.carried();
    let log = begin(&stage, near, "large", "drifts", "k", input).await;
    let mut saves: Vec<(f64, Carried)> = Vec::new();
    follow(&log, |entry| {
        if let Some(saved) = saved(entry) {
            saves.push((saved.cost_us as f64 / 1000.0, line.carried()));
        }
    })
    .await;
    stage.platform.shutdown().await;
    let serialising_ms = state::serialising_s((checkpoints::STATE_MB * 125_000) as u64) * 1000.0;
    for (pause_ms, carried) in &saves {
        let Carried { up_bytes, down_bytes, round_trips } = carried;
        println!(
            "a checkpoint of 100 MB: {pause_ms:.0} ms; until then {:.2} MB up, {:.2} MB down in {round_trips} round trips",
            *up_bytes as f64 / 1e6,
            *down_bytes as f64 / 1e6,
        );
    }
    let [first, waited, next @ ..] = &saves[..] else { panic!("too few checkpoints: {saves:?}") };
    let moved_mb = next.iter().map(|(_, carried)| carried.up_bytes).max().unwrap() as f64 / 1e6;
    let pause_ms = median(next.iter().map(|(pause_ms, _)| *pause_ms).collect());
    let beyond_ms = pause_ms - serialising_ms;
    vec![
        Figure::new(
            "100 MB of state of which 1 % changed: sent by the next checkpoint",
            "≤ 3 MB",
            format!("{moved_mb:.2} MB, the most of {}", next.len()),
            moved_mb <= 3.0,
        ),
        Figure::new(
            "the same: the function's pause beyond its own serialising, 20 ms and 100 MB/s",
            "≤ 120 ms",
            format!(
                "{beyond_ms:.0} ms (and {serialising_ms:.0}); one that waited for the upload before it {:.0} ms; all of it, \
                 beside the function, {:.0} ms",
                waited.0, first.0
            ),
            beyond_ms <= 120.0,
        ),
    ]
}

/// How often the store is asked for one hand-over of a state of a kilobyte, both sides together, where processes are warm.
pub(super) async fn round_trips(near: u16, line: &Line) -> Figure {
    let stage = stage(line, "small", "keeps", Duration::from_millis(800)).await;
    let mut ran = Vec::new();
    // The first one starts the processes. What beginning and ending cost is in both of the others.
    for (key, turns) in [("warm", 2000), ("short", 2000), ("long", 8000)] {
        line.carried();
        let log = begin(&stage, near, "small", "keeps", key, json!({ "turns": turns })).await;
        let entries = follow(&log, |_| {}).await;
        let hand_overs = entries.iter().filter(|entry| matches!(entry.kind, Kind::Suspended { .. })).count();
        ran.push((hand_overs as f64, line.carried().round_trips as f64));
    }
    stage.platform.shutdown().await;
    let [_, short, long] = ran[..] else { unreachable!("three of them") };
    let each = (long.1 - short.1) / (long.0 - short.0);
    Figure::new(
        "hand-over of 1 KB of state: round trips to the store, both sides together",
        "≤ 3",
        format!("{each:.2} over {} hand-overs, {} ms each", long.0 - short.0, ROUND_TRIP.as_millis()),
        each <= 3.0,
    )
}
