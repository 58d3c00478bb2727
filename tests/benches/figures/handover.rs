//! What handing over costs, and coming back after a kill.

use std::time::{Duration, Instant};

use limitless_faas_core::ExecutionId;
use limitless_faas_core::log::{Execution, Phase, Stored};
use limitless_faas_local::{Config, EventKind};
use limitless_faas_tests::{Setting, Stage};
use serde_json::{Value, json};

use super::{Figure, median, ms};

const SUBJECT: &str = env!("CARGO_BIN_EXE_subject");
const PATIENCE: Duration = Duration::from_secs(120);

fn result(execution: &Execution) -> Value {
    match &execution.phase {
        Phase::Completed(Stored::Json(json)) => serde_json::from_str(json).unwrap(),
        other => panic!("not completed: {other:?}"),
    }
}

async fn stage(handler: &str, limit: Duration, config: Config) -> Stage {
    Stage::set(SUBJECT, handler, Setting { config, time_limit: limit }).await.unwrap()
}

/// One execution under this key, asked for once.
///
/// The log is read when no call is left, and not while there is one: reading it every few milliseconds would take from the
/// platform and from the other core what is measured here.
async fn once(stage: &Stage, handler: &str, input: &Value, key: &str) -> Execution {
    let mut events = stage.platform.events();
    let mut input = input.clone();
    input["$limitless"] = json!({ "idempotency_key": key });
    let path = format!("actions/{handler}?blocking=false");
    stage.request(reqwest::Method::POST, &path, &input).await.unwrap();
    // A successor is accepted before its predecessor answers.
    let mut calls = 0;
    let answered = async {
        loop {
            match events.recv().await.unwrap().kind {
                EventKind::Queued => calls += 1,
                EventKind::Answered { .. } if calls == 1 => return,
                EventKind::Answered { .. } => calls -= 1,
                _ => {}
            }
        }
    };
    tokio::time::timeout(PATIENCE, answered).await.unwrap();
    stage.end(&ExecutionId::derive(handler, key), PATIENCE).await.unwrap().0
}

/// How many rounds of the subject's arithmetic this machine does in a second.
async fn rounds_a_second() -> f64 {
    let stage = stage("grinds", Duration::from_secs(60), Config::default()).await;
    let rounds = 200_000;
    let started = Instant::now();
    stage.invoke("grinds", &json!({ "rounds": rounds })).await.unwrap();
    let rate = f64::from(rounds) / started.elapsed().as_secs_f64();
    stage.platform.shutdown().await;
    rate
}

#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a number of rounds")]
fn rounds(rate: f64, seconds: f64) -> u64 {
    (rate * seconds) as u64
}

/// Ten or more invocations against one that is not interrupted.
pub(super) async fn wall() -> Vec<Figure> {
    let rate = rounds_a_second().await;
    let input = json!({ "rounds": rounds(rate, 8.0) });
    let whole = stage("grinds", Duration::from_secs(60), Config::default()).await;
    let cut = stage("grinds", Duration::from_millis(450), Config::default()).await;
    let (mut ratios, mut invocations) = (Vec::new(), Vec::new());
    for round in 0..5 {
        let key = format!("round-{round}");
        let mut elapsed = [0.0; 2];
        for (stage, elapsed) in [&whole, &cut].into_iter().zip(&mut elapsed) {
            let started = Instant::now();
            let folded = once(stage, "grinds", &input, &key).await;
            *elapsed = started.elapsed().as_secs_f64();
            invocations.push(folded.tally.invocations as f64);
        }
        ratios.push(elapsed[1] / elapsed[0]);
    }
    whole.platform.shutdown().await;
    cut.platform.shutdown().await;
    let (ratio, most) = (median(ratios), invocations.into_iter().fold(0.0, f64::max));
    let measured = format!("{ratio:.3} × over {most} invocations");
    vec![Figure::new(
        "wall time, 10 or more invocations, folder with fsync",
        "≤ 1.03 ×",
        measured,
        ratio <= 1.03 && most >= 10.0,
    )]
}

/// From the last useful instruction of an invocation to the first of the next.
pub(super) async fn gaps() -> Vec<Figure> {
    let rate = rounds_a_second().await;
    let warm = gap(rate, false).await;
    let cold = gap(rate, true).await;
    vec![
        Figure::new("hand-over gap, warm, p50", "≤ 5 ms", format!("{warm:.2} ms"), warm <= 5.0),
        Figure::new("hand-over gap, cold, p50", "≤ 40 ms", format!("{cold:.2} ms"), cold <= 40.0),
    ]
}

async fn gap(rate: f64, is_cold: bool) -> f64 {
    let mut config = Config::default();
    if is_cold {
        config.limits.idle_after = Duration::ZERO;
    }
    let stage = stage("gaps", Duration::from_millis(250), config).await;
    let mut events = stage.platform.events();
    let input = json!({ "rounds": rounds(rate, 8.0) });
    let folded = once(&stage, "gaps", &input, "k").await;
    let gaps: Vec<(u64, u64)> = serde_json::from_value(result(&folded)).unwrap();
    let mut cold_starts = 0;
    while let Ok(event) = events.try_recv() {
        cold_starts += usize::from(matches!(event.kind, EventKind::Started { cold: true, .. }));
    }
    stage.platform.shutdown().await;
    assert!(is_cold == (cold_starts > gaps.len() / 2), "{cold_starts} cold starts, {} gaps", gaps.len());
    // The first two successors start their processes; from then on two processes take turns.
    let skipped = if is_cold { 0 } else { 2 };
    median(gaps.iter().skip(skipped).map(|(_, gap_us)| *gap_us as f64 / 1000.0).collect())
}

/// From the platform's noticing that a function was killed to the next useful work.
pub(super) async fn crashes() -> Vec<Figure> {
    let rate = rounds_a_second().await;
    let mut delays = Vec::new();
    for round in 0..5 {
        delays.push(crash(rate, round).await);
    }
    let delay = median(delays);
    vec![Figure::new("first useful work after kill -9", "≤ 150 ms", format!("{delay:.1} ms"), delay <= 150.0)]
}

async fn crash(rate: f64, round: u32) -> f64 {
    let stage = stage("gaps", Duration::from_secs(30), Config::default()).await;
    let mut events = stage.platform.events();
    let input = json!({ "rounds": rounds(rate, 9.0) });
    let watch = async {
        let mut pid = None;
        loop {
            let event = events.recv().await.unwrap();
            match event.kind {
                EventKind::Started { pid: started, .. } if pid.is_none() => {
                    pid = Some(started);
                    // Late enough for a first interval checkpoint.
                    tokio::time::sleep(Duration::from_millis(7500 + u64::from(round) * 50)).await;
                    let pid = started.to_string();
                    tokio::process::Command::new("kill").args(["-9", &pid]).status().await.unwrap();
                }
                EventKind::Died { .. } => return event.at_us,
                _ => {}
            }
        }
    };
    let (ended, died_us) = tokio::join!(once(&stage, "gaps", &input, "k"), watch);
    let folded = ended;
    assert_eq!(folded.tally.crashes_ever, 1);
    // An interval checkpoint is a change of run too; the first one after the kill is the resume.
    let gaps: Vec<(u64, u64)> = serde_json::from_value(result(&folded)).unwrap();
    let (at_us, _) = gaps.into_iter().find(|(at_us, _)| *at_us >= died_us).unwrap();
    stage.platform.shutdown().await;
    ms(Duration::from_micros(at_us.saturating_sub(died_us)))
}
