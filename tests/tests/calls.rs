//! Handlers that call handlers: each an execution of its own, whose end goes on into the one that called it.

#![allow(clippy::unwrap_used, clippy::panic, reason = "tests may fail, and their helpers with them")]

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::time::Duration;

use limitless_faas_core::log::{Entry, Kind, Phase, Status, Wake, end_of};
use limitless_faas_core::{Code, ExecutionId, Nonce};
use limitless_faas_local::Config;
use limitless_faas_tests::{Setting, Stage, ends, result, until};
use reqwest::Method;
use serde_json::{Value, json};
use tokio::sync::Semaphore;

const SUBJECT: &str = env!("CARGO_BIN_EXE_subject");
const PATIENCE: Duration = Duration::from_secs(120);
const LIMIT: Duration = Duration::from_secs(30);

async fn stage(handler: &str, stay_ms: u64) -> Stage {
    let mut config = Config::default();
    config.env.insert("LIMITLESS_STAY_MS".to_owned(), stay_ms.to_string());
    Stage::set(SUBJECT, handler, Setting { config, time_limit: LIMIT }).await.unwrap()
}

fn file(stage: &Stage) -> PathBuf {
    stage.folder.path().join("lines.txt")
}

fn lines(file: &Path) -> usize {
    std::fs::read_to_string(file).map_or(0, |text| text.lines().count())
}

/// The execution that a call is.
fn called(caller: &ExecutionId, handler: &str, key: &str) -> ExecutionId {
    ExecutionId::derive(handler, &format!("{caller}/{key}"))
}

/// Begins it, and waits for no answer.
async fn begin(stage: &Stage, handler: &str, mut input: Value) -> ExecutionId {
    input["$limitless"] = json!({ "idempotency_key": "k" });
    stage.request(Method::POST, &format!("actions/{handler}?blocking=false"), &input).await.unwrap();
    ExecutionId::derive(handler, "k")
}

/// What it waits for, once it has suspended for that.
async fn left(stage: &Stage, id: &ExecutionId) -> Wake {
    let log = stage.log(id).unwrap();
    until("it leaves", PATIENCE, async || match log.execution().await.unwrap()?.phase {
        Phase::Suspended { wake, .. } => wake,
        _ => None,
    })
    .await
}

/// All executions of the store.
fn executions(stage: &Stage) -> BTreeSet<ExecutionId> {
    let folder = std::fs::read_dir(stage.folder.path().join("executions")).unwrap();
    folder.map(|entry| entry.unwrap().file_name().to_str().unwrap().parse().unwrap()).collect()
}

fn suspensions(entries: &[Entry]) -> usize {
    entries.iter().filter(|entry| matches!(entry.kind, Kind::Suspended { .. })).count()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn short_calls_are_waited_for() {
    let stage = stage("asks", 60_000).await;
    let id = begin(&stage, "asks", json!({ "n": 20, "file": file(&stage) })).await;
    let (caller, entries) = stage.end(&id, PATIENCE).await.unwrap();
    assert_eq!(result(&caller), json!(40));
    assert_eq!(suspensions(&entries), 0, "{entries:#?}");
    for (handler, key) in [("noted", "short"), ("ticks", "long")] {
        let (child, _) = stage.end(&called(&id, handler, key), PATIENCE).await.unwrap();
        assert_eq!(result(&child), json!(20));
    }
    assert_eq!(lines(&file(&stage)), 2);
    stage.platform.shutdown().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nobody_waits_for_a_long_call_and_its_end_lets_the_caller_go_on() {
    let stage = stage("asks", 300).await;
    let id = begin(&stage, "asks", json!({ "n": 3000, "file": file(&stage) })).await;
    let child = called(&id, "ticks", "long");
    assert_eq!(left(&stage, &id).await.events, [end_of(&child)]);
    // Nobody asks for it from here on.
    let (caller, entries) = stage.end(&id, PATIENCE).await.unwrap();
    assert_eq!(result(&caller), json!(6000), "{entries:#?}");
    let (child, _) = stage.end(&child, PATIENCE).await.unwrap();
    assert_eq!((result(&child), child.tally.invocations), (json!(3000), 1));
    assert_eq!(lines(&file(&stage)), 2, "the short call and the step ran once");
    stage.platform.shutdown().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_handler_that_is_not_async_calls_too() {
    let stage = stage("bids", 200).await;
    let id = begin(&stage, "bids", json!({ "n": 900, "times": 3 })).await;
    let (caller, entries) = stage.end(&id, PATIENCE).await.unwrap();
    assert_eq!(result(&caller), json!(900 + 901 + 902));
    assert_eq!(suspensions(&entries), 3, "{entries:#?}");
    assert_eq!(executions(&stage).len(), 4);
    stage.platform.shutdown().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_is_called_may_call_and_suspend_too() {
    let stage = stage("passes_on", 200).await;
    let id = begin(&stage, "passes_on", json!({ "n": 1000, "file": file(&stage) })).await;
    let (caller, _) = stage.end(&id, PATIENCE).await.unwrap();
    assert_eq!(result(&caller), json!(2000));
    let asks = called(&id, "asks", "asks");
    let expected =
        [called(&asks, "noted", "short"), called(&asks, "ticks", "long"), asks.clone(), id.clone()];
    assert_eq!(executions(&stage), BTreeSet::from(expected));
    stage.platform.shutdown().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_failed_call_says_which_execution_failed_and_how() {
    for (how, failure) in
        [("hand", "broken by hand (LF002)"), ("panic", "the handler panicked: it was asked to")]
    {
        let stage = stage("trusts", 5000).await;
        let id = begin(&stage, "trusts", json!({ "how": how })).await;
        let (caller, _) = stage.end(&id, PATIENCE).await.unwrap();
        let (child, text): (ExecutionId, String) = serde_json::from_value(result(&caller)).unwrap();
        assert_eq!(child, called(&id, "breaks", "breaks"));
        assert!(text.starts_with(failure), "{text}");
        let (child, _) = stage.end(&child, PATIENCE).await.unwrap();
        assert_eq!(child.status(), Status::Failed);
        stage.platform.shutdown().await;
    }
}

async fn called_off(stay_ms: u64, is_left: bool) {
    let stage = stage("follows", stay_ms).await;
    let id = begin(&stage, "follows", json!({ "file": file(&stage) })).await;
    until("the call runs", PATIENCE, async || (lines(&file(&stage)) > 0).then_some(())).await;
    if is_left {
        left(&stage, &id).await;
    }
    let log = stage.log(&id).unwrap();
    let open = log.open_calls(&log.execution().await.unwrap().unwrap()).await.unwrap();
    let child = called(&id, "beats", "beats");
    assert_eq!(open, [(child.clone(), "beats".to_owned())]);
    let cancelled = log.cancel("a test", Nonce::from_random([7; 8]), 1).await.unwrap();
    assert_eq!(cancelled.status(), Status::Cancelled);
    let (child, _) = stage.end(&child, PATIENCE).await.unwrap();
    assert_eq!(child.status(), Status::Cancelled);
    stage.platform.shutdown().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_is_called_off_takes_its_calls_along_also_where_nobody_drives_it() {
    called_off(60_000, false).await;
    called_off(200, true).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_call_that_sleeps_keeps_nobody_running() {
    // Long enough for the other one to fall asleep on a busy machine.
    let stage = stage("lulls", 6000).await;
    let id = begin(&stage, "lulls", json!({ "ms": 3_600_000, "file": file(&stage) })).await;
    let wake = left(&stage, &id).await;
    let child = called(&id, "naps", "naps");
    assert_eq!(wake.events, [end_of(&child)]);
    // The caller is not asked again before the other one goes on.
    assert!(wake.at_ms >= left(&stage, &child).await.at_ms, "{wake:?}");
    stage.platform.shutdown().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_call_that_is_long_still_ends_in_a_race() {
    let stage = stage("hurries", 100).await;
    let id = begin(&stage, "hurries", json!({ "n": 1500 })).await;
    let (caller, entries) = stage.end(&id, PATIENCE).await.unwrap();
    assert_eq!(result(&caller), json!(1500));
    assert_eq!(suspensions(&entries), 0, "the step beside it keeps the invocation: {entries:#?}");
    stage.platform.shutdown().await;
}

/// Calls of calls while deliveries are duplicated, lost and late, processes are killed and the store fails.
async fn one_result(seed: u64) -> u64 {
    let mut config = Config { faults: "all,kill=80%".parse().unwrap(), seed, ..Config::default() };
    config.env.insert("LIMITLESS_STAY_MS".to_owned(), "150".to_owned());
    let handler = ["passes_on", "asks", "bids"][usize::try_from(seed % 3).unwrap()];
    let setting = Setting { config, time_limit: Duration::from_millis(800) };
    let stage = Stage::set(SUBJECT, handler, setting).await.unwrap();
    let key = format!("seed-{seed}");
    let (input, expected, others) = match handler {
        "passes_on" => (json!({ "n": 300, "file": file(&stage) }), 600, 3),
        "asks" => (json!({ "n": 500, "file": file(&stage) }), 1000, 2),
        _ => (json!({ "n": 250, "times": 3 }), 753, 3),
    };
    let seen = stage.see_through(handler, &input, &key, PATIENCE).await;
    let (caller, entries) = seen.unwrap_or_else(|error| panic!("seed {seed}: {error}"));
    assert_eq!(result(&caller), json!(expected), "seed {seed}");
    assert_eq!(ends(&entries).unwrap(), 1, "seed {seed}: {entries:#?}");
    let all = executions(&stage);
    assert_eq!(all.len(), others + 1, "seed {seed}: a call was made twice");
    let mut crashes = 0;
    for other in &all {
        let (other, entries) = stage.end(other, PATIENCE).await.unwrap();
        assert_eq!((other.status(), ends(&entries).unwrap()), (Status::Completed, 1), "seed {seed}");
        crashes += u64::from(other.tally.crashes_ever);
    }
    stage.platform.shutdown().await;
    crashes
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_call_has_one_result_whatever_happens() {
    static ROOM: Semaphore = Semaphore::const_new(4);
    let seeds: u64 = std::env::var("LIMITLESS_FAULT_SEEDS").map_or(24, |seeds| seeds.parse().unwrap());
    let runs: Vec<_> = (0..seeds)
        .map(|seed| {
            tokio::spawn(async move {
                let _permit = ROOM.acquire().await.unwrap();
                one_result(seed).await
            })
        })
        .collect();
    let mut crashes = 0;
    for run in runs {
        crashes += run.await.unwrap();
    }
    println!("{crashes} invocations lost");
    assert!(crashes > 0, "the faults did not reach the functions");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_call_with_other_arguments_under_the_same_key_is_refused() {
    let stage = stage("asks", 60_000).await;
    // Somebody else, or an earlier version of the handler, made this call with another input.
    let id = ExecutionId::derive("asks", "k");
    let other = json!({
        "n": 4, "file": file(&stage),
        "$limitless": { "idempotency_key": format!("{id}/short"), "node": "noted" },
    });
    let (_, answer) = stage.invoke("asks", &other).await.unwrap();
    assert_eq!(answer, json!({ "result": 4 }));
    begin(&stage, "asks", json!({ "n": 5, "file": file(&stage) })).await;
    let (caller, _) = stage.end(&id, PATIENCE).await.unwrap();
    let Phase::Failed(failure) = caller.phase else { panic!("{:?}", caller.phase) };
    assert_eq!(failure.code, Code::Application);
    assert!(failure.message.contains("LF012"), "{failure}");
    stage.platform.shutdown().await;
}
