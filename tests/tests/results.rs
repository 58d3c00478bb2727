//! Results that are delivered to a database of CouchDB: one document for each execution.

#![allow(clippy::unwrap_used, clippy::panic, reason = "tests may fail, and their helpers with them")]

#[path = "../../store/tests/servers/mod.rs"]
mod servers;

use std::time::Duration;

use limitless_faas_core::ExecutionId;
use limitless_faas_core::log::{Execution, Kind};
use limitless_faas_tests::{Setting, Stage};
use reqwest::{Client, Method};
use serde_json::{Value, json};

const SUBJECT: &str = env!("CARGO_BIN_EXE_subject");
const PATIENCE: Duration = Duration::from_secs(60);

/// An execution whose result goes to `to`, once it has ended and its delivery was tried.
async fn delivered(stage: &Stage, to: &str, key: &str) -> Execution {
    let input =
        json!({ "n": 800, "pause_us": 1000, "$limitless": { "idempotency_key": key, "callback": to } });
    let path = "actions/squares?blocking=false";
    let (status, answer) = stage.request(Method::POST, path, &input).await.unwrap();
    assert!(status < 300, "{status}: {answer}");
    stage.end(&ExecutionId::derive("squares", key), PATIENCE).await.unwrap().0
}

async fn document(url: &str, execution: &ExecutionId) -> Value {
    let found = Client::new().get(format!("{url}/{execution}")).send().await.unwrap();
    serde_json::from_str(&found.text().await.unwrap()).unwrap()
}

/// Until the log says that the result was delivered.
async fn acknowledged(stage: &Stage, execution: &ExecutionId) {
    let log = stage.log(execution).unwrap();
    let has_delivered = async {
        while !log.entries(0).await.unwrap().iter().any(|entry| matches!(entry.kind, Kind::Delivered { .. }))
        {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    tokio::time::timeout(PATIENCE, has_delivered).await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_result_is_one_document() {
    let Some(server) = servers::or_skip("a_result_is_one_document", servers::couchdb()) else { return };
    let limit = Setting { time_limit: Duration::from_millis(500), ..Setting::default() };
    let stage = Stage::set(SUBJECT, "squares", limit).await.unwrap();
    let http = format!("http://127.0.0.1:{}/results", server.port);
    let couchdb = http.replace("http://", "couchdb://");

    let execution = delivered(&stage, &couchdb, "new").await;
    acknowledged(&stage, &execution.id).await;
    let sum: u64 = (0..800).map(|i| i * i).sum();
    let found = document(&http, &execution.id).await;
    assert_eq!((&found["status"], &found["result"]), (&json!("completed"), &json!(sum)), "{found}");

    // A delivery whose acknowledgement was lost comes again, and finds its document there.
    let again = ExecutionId::derive("squares", "again");
    let before = json!({ "execution": again, "status": "completed", "result": sum });
    let put = Client::new().put(format!("{http}/{again}")).body(before.to_string());
    assert_eq!(put.header("content-type", "application/json").send().await.unwrap().status(), 201);
    delivered(&stage, &couchdb, "again").await;
    acknowledged(&stage, &again).await;
    assert!(document(&http, &again).await["_rev"].as_str().unwrap().starts_with("1-"));

    // Somebody else's document is not replaced, and the execution keeps its result nevertheless.
    let taken = ExecutionId::derive("squares", "taken");
    let put = Client::new().put(format!("{http}/{taken}")).body(r#"{"mine":true}"#);
    assert_eq!(put.header("content-type", "application/json").send().await.unwrap().status(), 201);
    let execution = delivered(&stage, &couchdb, "taken").await;
    assert!(!execution.delivered);
    assert_eq!(document(&http, &taken).await["mine"], true);
    stage.platform.shutdown().await;
}
