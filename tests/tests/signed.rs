//! With a key set, only who has it can let an execution go on.

#![allow(clippy::unwrap_used, clippy::panic, reason = "tests may fail, and their helpers with them")]

use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use limitless_faas_core::ExecutionId;
use limitless_faas_core::log::{Entry, Kind, Phase, Stored};
use limitless_faas_core::signature::{Resumption, SecretKeys, Signature};
use limitless_faas_local::Config;
use limitless_faas_store::{KEY_VARIABLE, Log, Settings, open_with};
use limitless_faas_tests::{Setting, Stage};
use serde_json::{Value, json};

const SUBJECT: &str = env!("CARGO_BIN_EXE_subject");
const HANDLER: &str = "squares";
const KEY: &str = "5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a";
const OTHER_KEY: &str = "a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5";

async fn stage(limit: Duration, more: &[(&str, &str)]) -> Stage {
    let mut config = Config::default();
    for (name, value) in [(KEY_VARIABLE, KEY)].iter().chain(more) {
        config.env.insert((*name).to_owned(), (*value).to_owned());
    }
    Stage::set(SUBJECT, HANDLER, Setting { config, time_limit: limit }).await.unwrap()
}

fn log(stage: &Stage, execution: &ExecutionId) -> Log {
    let settings = Settings::new(|name| (name == KEY_VARIABLE).then(|| KEY.to_owned()));
    let store = open_with(&format!("file:{}", stage.folder.path().display()), &settings).unwrap();
    Log::new(Arc::clone(&store), execution.clone())
}

fn sign(key: &str, execution: &ExecutionId, entry: Option<u64>) -> Signature {
    let now_ms = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_millis();
    let asked = Resumption { execution, entry, node: None };
    SecretKeys::parse(key).unwrap().sign(&asked, u64::try_from(now_ms).unwrap())
}

fn successor(execution: &ExecutionId, entry: u64, signature: &Signature) -> Value {
    json!({ "$limitless": { "resume": execution, "entry": entry, "signature": signature } })
}

fn input(n: u64, key: &str) -> Value {
    json!({ "n": n, "pause_us": 1000, "$limitless": { "idempotency_key": key } })
}

async fn length(log: &Log) -> usize {
    log.entries(0).await.unwrap().len()
}

/// Waits until the log ends with a suspension; answers its entries.
async fn suspended(log: &Log, more_than: usize) -> Vec<Entry> {
    loop {
        let entries = log.entries(0).await.unwrap();
        if entries.len() > more_than && matches!(entries.last().unwrap().kind, Kind::Suspended { .. }) {
            return entries;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn signed_successors_bring_an_execution_to_its_end() {
    let stage = stage(Duration::from_millis(500), &[]).await;
    stage.invoke(HANDLER, &input(1500, "k")).await.unwrap();
    let log = log(&stage, &ExecutionId::derive(HANDLER, "k"));
    let end = tokio::time::timeout(Duration::from_secs(60), async {
        loop {
            match log.execution().await.unwrap() {
                Some(execution) if execution.status().is_terminal() => return execution,
                _ => tokio::time::sleep(Duration::from_millis(10)).await,
            }
        }
    });
    let end = end.await.unwrap();
    assert!(end.tally.invocations >= 3, "{end:#?}");
    let expected = (0..1500_u64).map(|i| i * i).sum::<u64>();
    assert!(matches!(&end.phase, Phase::Completed(Stored::Json(json)) if *json == expected.to_string()));
    stage.platform.shutdown().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_forged_an_altered_and_a_replayed_successor_are_refused() {
    // Nothing goes on by itself: successors are invoked under a name that is not deployed.
    let stage = stage(Duration::from_millis(500), &[("LIMITLESS_FUNCTION", "elsewhere")]).await;
    let id = ExecutionId::derive(HANDLER, "k");
    stage.invoke(HANDLER, &input(100_000, "k")).await.unwrap();
    let log = log(&stage, &id);
    let before = suspended(&log, 0).await.len();
    let entry = u64::try_from(before).unwrap() - 1;

    let genuine = sign(KEY, &id, Some(entry));
    let other = ExecutionId::derive(HANDLER, "another");
    let unsigned = json!({ "$limitless": { "resume": id, "entry": entry } });
    let refused = [
        ("without a signature", unsigned),
        ("without an entry and a signature", json!({ "$limitless": { "resume": id } })),
        ("forged with another key", successor(&id, entry, &sign(OTHER_KEY, &id, Some(entry)))),
        ("signed for another execution", successor(&id, entry, &sign(KEY, &other, Some(entry)))),
        ("altered in its entry", successor(&id, entry - 1, &genuine)),
        (
            "altered in its execution",
            json!({ "$limitless": { "resume": other, "entry": entry, "signature": genuine } }),
        ),
        ("stripped of its entry", json!({ "$limitless": { "resume": id, "signature": genuine } })),
        (
            "given another handler",
            json!({ "$limitless": { "resume": id, "entry": entry, "node": "waves", "signature": genuine } }),
        ),
    ];
    for (how, call) in refused {
        let (_, answer) = stage.invoke(HANDLER, &call).await.unwrap();
        assert_eq!(answer["code"], "LF021", "{how}: {answer}");
        let text = answer.to_string();
        assert!(!text.contains(KEY) && !text.contains(&genuine.to_string()), "{text}");
    }
    assert_eq!(length(&log).await, before, "a refused call wrote to the log");

    let call = successor(&id, entry, &genuine);
    stage.invoke(HANDLER, &call).await.unwrap();
    let after = suspended(&log, before).await.len();
    let (_, answer) = stage.invoke(HANDLER, &call).await.unwrap();
    assert_eq!(answer["status"], "running", "{answer}");
    assert_eq!(length(&log).await, after, "a replayed call went on with the execution");
    stage.platform.shutdown().await;
}
