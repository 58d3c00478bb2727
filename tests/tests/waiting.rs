//! Waiting that costs nothing: sleeps and events, races, and steps that are tried again, given up, or begun once.

#![allow(clippy::unwrap_used, clippy::panic, reason = "tests may fail, and their helpers with them")]

use std::path::PathBuf;
use std::time::Duration;

use limitless_faas_core::ExecutionId;
use limitless_faas_core::log::{Entry, Kind, Status, Wake};
use limitless_faas_tests::{Setting, Stage, result};
use serde_json::{Value, json};

const SUBJECT: &str = env!("CARGO_BIN_EXE_subject");
const PATIENCE: Duration = Duration::from_secs(60);
const LONG_MS: u64 = 3_600_000;

async fn stage(handler: &str, limit_ms: u64) -> Stage {
    let setting = Setting { time_limit: Duration::from_millis(limit_ms), ..Setting::default() };
    Stage::set(SUBJECT, handler, setting).await.unwrap()
}

fn file(stage: &Stage) -> PathBuf {
    stage.folder.path().join("steps.txt")
}

fn lines(stage: &Stage) -> Vec<String> {
    std::fs::read_to_string(file(stage)).unwrap().lines().map(str::to_owned).collect()
}

/// Calls the handler and waits for its answer, which is that it goes on.
async fn begin(stage: &Stage, handler: &str, mut input: Value) -> ExecutionId {
    input["$limitless"] = json!({ "idempotency_key": "k" });
    let (_, answer) = stage.invoke(handler, &input).await.unwrap();
    assert_eq!(answer["status"], "running", "{answer}");
    ExecutionId::derive(handler, "k")
}

async fn resume(stage: &Stage, handler: &str, execution: &ExecutionId) -> Value {
    stage.invoke(handler, &json!({ "$limitless": { "resume": execution } })).await.unwrap().1
}

async fn entries(stage: &Stage, execution: &ExecutionId) -> Vec<Entry> {
    stage.log(execution).unwrap().entries(0).await.unwrap()
}

fn wake(entries: &[Entry]) -> Wake {
    match &entries.last().unwrap().kind {
        Kind::Suspended { wake: Some(wake), saved: None, .. } => wake.clone(),
        other => panic!("it does not wait: {other:?}"),
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_sleeps_is_not_kept_running_and_nobody_wakes_it_early() {
    let stage = stage("naps", 2000).await;
    let execution = begin(&stage, "naps", json!({ "ms": LONG_MS, "file": file(&stage) })).await;
    let before = entries(&stage, &execution).await;
    assert!(wake(&before).at_ms.is_some() && wake(&before).events.is_empty());
    // However often it is invoked: it sleeps on, and nothing is written.
    for _ in 0..5 {
        assert_eq!(resume(&stage, "naps", &execution).await["status"], "running");
    }
    assert_eq!(entries(&stage, &execution).await, before);
    assert_eq!(lines(&stage), ["1"]);
    stage.platform.shutdown().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_slept_goes_on_where_it_was() {
    let stage = stage("naps", 2000).await;
    let input = json!({ "ms": 1500, "file": file(&stage) });
    let (folded, entries) = stage.see_through("naps", &input, "k", PATIENCE).await.unwrap();
    assert_eq!(result(&folded), json!(1500));
    assert_eq!(lines(&stage), ["1", "2"]);
    assert_eq!(folded.tally.invocations, 2, "{entries:#?}");
    stage.platform.shutdown().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn sleeps_in_a_loop_each_end_once() {
    let stage = stage("dozes", 2000).await;
    let input = json!({ "times": 4, "ms": 600, "file": file(&stage) });
    let (folded, _) = stage.see_through("dozes", &input, "k", PATIENCE).await.unwrap();
    assert_eq!(result(&folded), json!(4));
    assert_eq!(lines(&stage), ["0", "1", "2", "3"]);
    assert_eq!(folded.tally.invocations, 5);
    stage.platform.shutdown().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_event_wakes_whoever_waits_for_it_with_its_data() {
    let stage = stage("awaits", 2000).await;
    let execution = begin(&stage, "awaits", json!({})).await;
    assert_eq!(wake(&entries(&stage, &execution).await).events, ["word"]);
    assert_eq!(resume(&stage, "awaits", &execution).await["status"], "running");
    let log = stage.log(&execution).unwrap();
    assert!(log.record_event("word", json!("go").to_string()).await.unwrap());
    assert!(!log.record_event("word", json!("stop").to_string()).await.unwrap(), "an event happens once");
    assert_eq!(resume(&stage, "awaits", &execution).await, json!({ "result": "go" }));
    stage.platform.shutdown().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_event_that_came_first_is_not_waited_for() {
    let stage = stage("awaits", 2000).await;
    let log = stage.log(&ExecutionId::derive("awaits", "k")).unwrap();
    log.record_event("word", json!("early").to_string()).await.unwrap();
    let input = json!({ "$limitless": { "idempotency_key": "k" } });
    assert_eq!(stage.invoke("awaits", &input).await.unwrap().1, json!({ "result": "early" }));
    stage.platform.shutdown().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_event_that_does_not_come_in_time_comes_too_late() {
    let stage = stage("awaits", 2000).await;
    let input = json!({ "within_ms": 600 });
    let (folded, _) = stage.see_through("awaits", &input, "k", PATIENCE).await.unwrap();
    assert_eq!(result(&folded), json!("silence"));
    stage.platform.shutdown().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn of_two_waits_the_one_that_is_over_first_wins_for_good() {
    let stage = stage("races", 2000).await;
    let execution = begin(&stage, "races", json!({ "ms": LONG_MS })).await;
    let both = wake(&entries(&stage, &execution).await);
    assert!(both.at_ms.is_some() && both.events == ["word"], "{both:?}");
    stage.log(&execution).unwrap().record_event("word", json!("go").to_string()).await.unwrap();
    assert_eq!(resume(&stage, "races", &execution).await["status"], "running");
    let afterwards = wake(&entries(&stage, &execution).await);
    assert!(afterwards.events.is_empty(), "the race is over: {afterwards:?}");
    stage.platform.shutdown().await;
    // The other way round, and the event that comes later changes nothing.
    let stage = self::stage("races", 2000).await;
    let (folded, _) = stage.see_through("races", &json!({ "ms": 700 }), "k", PATIENCE).await.unwrap();
    assert_eq!(result(&folded), json!("silence"));
    stage.platform.shutdown().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn of_many_the_one_that_is_over_first_wins_for_good() {
    // What computes keeps the invocation, though the others only wait.
    let stage = stage("contends", 4000).await;
    let input = json!({ "sleep_ms": LONG_MS, "step_ms": 300 });
    let (folded, _) = stage.see_through("contends", &input, "step", PATIENCE).await.unwrap();
    assert_eq!(result(&folded), json!([2, "work"]));
    let input = json!({ "sleep_ms": 100, "step_ms": 2000 });
    let (folded, _) = stage.see_through("contends", &input, "sleep", PATIENCE).await.unwrap();
    assert_eq!(result(&folded), json!([1, "silence"]));
    assert_eq!(folded.tally.invocations, 2, "it did not come this way again");
    let log = stage.log(&ExecutionId::derive("contends", "word")).unwrap();
    log.record_event("word", json!("go").to_string()).await.unwrap();
    let input = json!({ "sleep_ms": LONG_MS, "step_ms": 2000 });
    let (folded, _) = stage.see_through("contends", &input, "word", PATIENCE).await.unwrap();
    assert_eq!(result(&folded), json!([0, "go"]));
    stage.platform.shutdown().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_step_that_fails_is_tried_again_over_invocations() {
    let stage = stage("insists", 2000).await;
    let input = json!({ "wait_ms": 800, "file": file(&stage) });
    let (folded, _) = stage.see_through("insists", &input, "k", PATIENCE).await.unwrap();
    assert_eq!(result(&folded), json!(3));
    assert_eq!(lines(&stage), ["1", "2", "3"]);
    assert_eq!(folded.tally.invocations, 3);
    stage.platform.shutdown().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_step_that_may_run_once_at_most_does() {
    // Its effect takes longer than an invocation: it is killed in the middle, and not begun again.
    let stage = stage("dares", 600).await;
    let input = json!({ "ms": 5000, "file": file(&stage) });
    let (folded, _) = stage.see_through("dares", &input, "k", PATIENCE).await.unwrap();
    assert_eq!(result(&folded), json!(0));
    assert_eq!(lines(&stage), ["1"]);
    assert_eq!(folded.status(), Status::Completed);
    stage.platform.shutdown().await;
}
