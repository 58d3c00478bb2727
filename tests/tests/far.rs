//! A store that is far away: what is large reaches it while the function computes on.

#![allow(clippy::unwrap_used, clippy::panic, reason = "tests may fail, and their helpers with them")]

use std::time::Duration;

use limitless_faas_core::ExecutionId;
use limitless_faas_core::log::{Entry, Kind, Phase, Stored};
use limitless_faas_local::Config;
use limitless_faas_tests::{Setting, Stage};
use serde_json::json;

const SUBJECT: &str = env!("CARGO_BIN_EXE_subject");
const PATIENCE: Duration = Duration::from_secs(120);

async fn stage(handler: &str, faults: &str, time_limit: Duration) -> Stage {
    let mut config = Config::default();
    config.env.insert("LIMITLESS_STORE_FAULTS".into(), faults.into());
    Stage::set(SUBJECT, handler, Setting { config, time_limit }).await.unwrap()
}

/// When the first checkpoint of the log was recorded, µs since 1970.
fn first_recorded_us(entries: &[Entry]) -> u64 {
    let has_saved = |entry: &&Entry| {
        matches!(entry.kind, Kind::Started { saved: Some(_), .. } | Kind::Checkpointed { .. })
    };
    entries.iter().find(has_saved).unwrap_or_else(|| panic!("no interval checkpoint: {entries:#?}")).at_us
}

/// An interval checkpoint comes after six seconds; each request to the store takes two, and three of them come one after another. The
/// handler, which takes sixteen seconds, goes on before it is recorded.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_function_computes_on_while_its_checkpoint_is_uploaded() {
    let stage = stage("drifts", "far=true,slow=2000ms", Duration::from_secs(60)).await;
    let input = json!({ "mb": 4, "turns": 16_000, "$limitless": { "idempotency_key": "k" } });
    stage.request(reqwest::Method::POST, "actions/drifts?blocking=false", &input).await.unwrap();
    let (execution, entries) = stage.end(&ExecutionId::derive("drifts", "k"), PATIENCE).await.unwrap();
    let Phase::Completed(Stored::Json(json)) = &execution.phase else { panic!("{:?}", execution.phase) };
    let runs: Vec<u64> = serde_json::from_str(json).unwrap();
    let recorded_us = first_recorded_us(&entries);
    assert!(runs[1] < recorded_us, "it waited for the store: {runs:?}, {recorded_us}");
    assert_eq!(execution.tally.invocations, 1);
    stage.platform.shutdown().await;
}

/// Large states through a store that fails now and then come to the result of a run that nothing interrupted.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_large_state_survives_a_far_store_that_fails() {
    let input = json!({ "mb": 3, "pauses": 1500 });
    let whole = stage("bulky", "far=true", Duration::from_secs(60)).await;
    let (_, expected) = whole.invoke("bulky", &input).await.unwrap();
    whole.platform.shutdown().await;
    let cut = stage("bulky", "far=true,seed=3,fail=0.05,lost-ack=0.05", Duration::from_millis(1500)).await;
    let (execution, _) = cut.see_through("bulky", &input, "k", PATIENCE).await.unwrap();
    let Phase::Completed(Stored::Json(json)) = &execution.phase else { panic!("{:?}", execution.phase) };
    assert_eq!(json!({ "result": serde_json::from_str::<serde_json::Value>(json).unwrap() }), expected);
    assert!(execution.tally.invocations > 1);
    cut.platform.shutdown().await;
}
