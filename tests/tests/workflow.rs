//! Workflows on the local platform: nodes' results are kept, and long nodes go on where they were.

#![allow(clippy::unwrap_used, clippy::panic, reason = "tests may fail, and their helpers with them")]

use std::process::Command;
use std::time::Duration;

use limitless_faas_core::ExecutionId;
use limitless_faas_core::graph::EdgeKind;
use limitless_faas_core::log::{Execution, Kind, Phase, Stored};
use limitless_faas_core::manifest::Manifest;
use limitless_faas_tests::{Setting, Stage};
use serde_json::{Value, json};

const SUBJECT: &str = env!("CARGO_BIN_EXE_subject");
const PATIENCE: Duration = Duration::from_secs(90);

fn squares(n: u64) -> u64 {
    (0..n).map(|i| i * i).sum()
}

fn result(execution: &Execution) -> Value {
    match &execution.phase {
        Phase::Completed(Stored::Json(json)) => serde_json::from_str(json).unwrap(),
        other => panic!("not completed: {other:?}"),
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn long_nodes_side_by_side_outlive_the_limit_and_short_ones_run_once() {
    let setting = Setting { time_limit: Duration::from_millis(700), ..Setting::default() };
    let stage = Stage::set(SUBJECT, "relay", setting).await.unwrap();
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("noted");
    let input = json!({ "n": 1500, "pause_us": 1000, "file": file });
    let (folded, entries) = stage.see_through("relay", &input, "k", PATIENCE).await.unwrap();
    assert_eq!(result(&folded), json!(squares(1500) + squares(1501)), "{entries:#?}");
    let suspended = entries.iter().filter(|entry| matches!(entry.kind, Kind::Suspended { .. })).count();
    assert!(suspended >= 1, "{entries:#?}");
    let noted = std::fs::read_to_string(&file).unwrap();
    assert_eq!(noted.lines().count(), 2, "a node whose result was recorded ran again");
    stage.platform.shutdown().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_map_gives_results_in_the_order_of_its_items() {
    let setting = Setting { time_limit: Duration::from_secs(20), ..Setting::default() };
    let stage = Stage::set(SUBJECT, "each", setting).await.unwrap();
    let numbers: Vec<u64> = (0..200).map(|i| (i * 7919) % 211).collect();
    let input = json!({ "numbers": numbers, "$limitless": { "idempotency_key": "k" } });
    stage.invoke("each", &input).await.unwrap();
    let execution = ExecutionId::derive("each", "k");
    let (folded, _) = stage.end(&execution, PATIENCE).await.unwrap();
    assert_eq!(result(&folded), json!(numbers.into_iter().map(squares).collect::<Vec<_>>()));
    stage.platform.shutdown().await;
}

#[test]
fn describe_says_the_graph() {
    let output = Command::new(SUBJECT).arg("describe").output().unwrap();
    let manifest: Manifest = serde_json::from_slice(&output.stdout).unwrap();
    let workflow = manifest.handler("relay").unwrap().workflow.clone().unwrap();
    assert_eq!(workflow.slo_ms, Some(60_000));
    workflow.graph.check().unwrap();
    let nodes: Vec<_> = workflow.graph.nodes.iter().map(|node| node.name.as_str()).collect();
    assert_eq!(nodes, ["noted", "squares", "squares#2", "noted#2"]);
    let edges: Vec<_> =
        workflow.graph.edges.iter().map(|e| (e.from.as_str(), e.to.as_str(), e.kind)).collect();
    let expected =
        [("noted", "squares"), ("noted", "squares#2"), ("squares", "noted#2"), ("squares#2", "noted#2")];
    assert_eq!(edges, expected.map(|(from, to)| (from, to, EdgeKind::Data)));
    assert!(manifest.handler("squares").unwrap().workflow.is_none());
}
