//! A function outlives its time limit on the local platform.

use std::time::Duration;

use limitless_faas_core::ExecutionId;
use limitless_faas_core::log::{Kind, Phase, Stored};
use limitless_faas_tests::{Setting, Stage};
use serde_json::json;

const SUBJECT: &str = env!("CARGO_BIN_EXE_subject");

fn expected(n: u64) -> u64 {
    (0..n).fold(0, |sum, i| sum + i * i)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_function_that_ends_in_time_is_an_ordinary_function() {
    let stage = Stage::set(SUBJECT, "squares", Setting::default()).await.unwrap();
    let (status, answer) = stage.invoke("squares", &json!({ "n": 10 })).await.unwrap();
    assert_eq!((status, answer), (200, json!({ "result": expected(10) })));
    // Nothing was written to the store.
    assert_eq!(std::fs::read_dir(stage.folder.path()).unwrap().count(), 0);
    stage.platform.shutdown().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_function_outlives_its_limit_over_several_invocations() {
    let setting = Setting { time_limit: Duration::from_millis(500), ..Setting::default() };
    let stage = Stage::set(SUBJECT, "squares", setting).await.unwrap();
    let input = json!({ "n": 1500, "pause_us": 1000, "$limitless": { "idempotency_key": "k" } });
    let (status, answer) = stage.invoke("squares", &input).await.unwrap();
    let execution = ExecutionId::derive("squares", "k");
    assert_eq!((status, answer), (200, json!({ "execution": execution, "status": "running" })));
    let (folded, entries) = stage.end(&execution, Duration::from_secs(20)).await.unwrap();
    assert_eq!(folded.phase, Phase::Completed(Stored::Json(expected(1500).to_string())));
    let suspended = entries.iter().filter(|entry| matches!(entry.kind, Kind::Suspended { .. })).count();
    assert!(suspended >= 3, "{entries:#?}");
    // Asked again under the same key, it answers what the log says.
    let (status, answer) = stage.invoke("squares", &input).await.unwrap();
    assert_eq!((status, answer), (200, json!({ "result": expected(1500) })));
    stage.platform.shutdown().await;
}
