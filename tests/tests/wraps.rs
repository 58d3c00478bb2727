//! Wraps that stand and fall for themselves: a workflow that is called off, and one that leaves its nodes to themselves.

#![allow(clippy::unwrap_used, clippy::panic, reason = "tests may fail, and their helpers with them")]

use std::path::Path;
use std::time::Duration;

use limitless_faas_core::log::{Execution, Kind, Phase, Status, Wake, end_of};
use limitless_faas_core::placement::Model;
use limitless_faas_core::{ExecutionId, Nonce};
use limitless_faas_local::Config;
use limitless_faas_tests::{Setting, Stage, result, until};
use reqwest::Method;
use serde_json::json;

const SUBJECT: &str = env!("CARGO_BIN_EXE_subject");
const PATIENCE: Duration = Duration::from_secs(90);
const LIMIT: Duration = Duration::from_secs(30);
/// For ever, for a workflow.
const STAY: u64 = 3_600_000;

async fn staged(workflow: &str, model: Model, stay_ms: u64) -> Stage {
    let mut config = Config::default();
    config.env.insert("LIMITLESS_STAY_MS".to_owned(), stay_ms.to_string());
    let setting = Setting { config, time_limit: LIMIT };
    Stage::placed(SUBJECT, workflow, model, setting).await.unwrap()
}

/// The execution of a node in another wrap.
fn node(workflow: &ExecutionId, handler: &str, name: &str) -> ExecutionId {
    ExecutionId::derive(handler, &format!("{workflow} {name} 0"))
}

async fn folded(stage: &Stage, id: &ExecutionId) -> Option<Execution> {
    stage.log(id).unwrap().execution().await.unwrap()
}

/// What the workflow waits for, once it has left its nodes to themselves.
async fn left(stage: &Stage, workflow: &ExecutionId) -> Wake {
    until("the workflow leaves", PATIENCE, async || match folded(stage, workflow).await?.phase {
        Phase::Suspended { wake, .. } => wake,
        _ => None,
    })
    .await
}

fn length(file: &Path) -> u64 {
    std::fs::metadata(file).map_or(0, |found| found.len())
}

/// Nobody appends to it any more.
async fn is_still(file: &Path) {
    until("nobody appends any more", PATIENCE, async || {
        let before = length(file);
        tokio::time::sleep(Duration::from_millis(400)).await;
        (length(file) == before).then_some(())
    })
    .await;
}

async fn called_off(model: Model, stay_ms: u64) {
    let stage = staged("twins", model, stay_ms).await;
    let files = ["one", "other"].map(|name| stage.folder.path().join(name));
    let input = json!({ "one": files[0], "other": files[1], "$limitless": { "idempotency_key": "k" } });
    stage.request(Method::POST, "actions/twins?blocking=false", &input).await.unwrap();
    let id = ExecutionId::derive("twins", "k");
    for file in &files {
        until("the nodes run", PATIENCE, async || (length(file) > 0).then_some(())).await;
    }
    if model == Model::OneToOne && stay_ms < STAY {
        left(&stage, &id).await;
    }
    let log = stage.log(&id).unwrap();
    let cancelled = log.cancel("a test", Nonce::from_random([7; 8]), 1).await.unwrap();
    assert_eq!(cancelled.status(), Status::Cancelled);
    if model == Model::OneToOne {
        for name in ["beats", "beats#2"] {
            let (child, _) = stage.end(&node(&id, "beats", name), PATIENCE).await.unwrap();
            assert_eq!(child.status(), Status::Cancelled, "{name}");
        }
    }
    for file in &files {
        is_still(file).await;
    }
    stage.platform.shutdown().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn calling_a_workflow_off_stops_its_nodes_wherever_they_run() {
    for model in [Model::OneToOne, Model::Sand, Model::Ours] {
        called_off(model, STAY).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn calling_it_off_while_nobody_drives_it_stops_them_too() {
    called_off(Model::OneToOne, 200).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nobody_waits_for_a_long_node_and_its_end_lets_the_workflow_go_on() {
    let stage = staged("patient", Model::OneToOne, 300).await;
    let file = stage.folder.path().join("noted");
    let input = json!({ "n": 3000, "file": file, "$limitless": { "idempotency_key": "k" } });
    // The answer is the end of its invocation.
    let (_, answer) = stage.invoke("patient", &input).await.unwrap();
    assert_eq!(answer["status"], "running", "{answer}");
    let id = ExecutionId::derive("patient", "k");
    let nodes = ["ticks", "ticks#2"].map(|name| node(&id, "ticks", name));
    let wake = left(&stage, &id).await;
    let mut events = wake.events.clone();
    events.sort();
    let mut expected: Vec<_> = nodes.iter().map(end_of).collect();
    expected.sort();
    assert_eq!(events, expected);
    // Nobody asks for it from here on.
    let (execution, entries) = stage.end(&id, PATIENCE).await.unwrap();
    assert_eq!(result(&execution), json!(6001), "{entries:#?}");
    let suspended_us =
        entries.iter().find(|entry| matches!(entry.kind, Kind::Suspended { .. })).unwrap().at_us;
    for node in &nodes {
        let (node, entries) = stage.end(node, PATIENCE).await.unwrap();
        assert!(entries.last().unwrap().at_us > suspended_us, "{node:#?}");
        assert_eq!(node.tally.invocations, 1);
    }
    assert_eq!(std::fs::read_to_string(&file).unwrap().lines().count(), 1);
    stage.platform.shutdown().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_node_whose_word_is_lost_is_found_to_have_ended_by_whoever_asks() {
    let stage = staged("patient", Model::OneToOne, 300).await;
    let file = stage.folder.path().join("noted");
    let input = json!({ "n": 2000, "file": file });
    let mut first = input.clone();
    first["$limitless"] = json!({ "idempotency_key": "k" });
    stage.invoke("patient", &first).await.unwrap();
    let id = ExecutionId::derive("patient", "k");
    left(&stage, &id).await;
    // There is no function any more that its nodes could tell.
    let (status, _) = stage.request(Method::DELETE, "actions/patient", &json!({})).await.unwrap();
    assert_eq!(status, 200);
    for name in ["ticks", "ticks#2"] {
        stage.end(&node(&id, "ticks", name), PATIENCE).await.unwrap();
    }
    assert_eq!(folded(&stage, &id).await.unwrap().status(), Status::Suspended);
    stage.redeploy("patient", LIMIT).await.unwrap();
    let (execution, entries) = stage.see_through("patient", &input, "k", PATIENCE).await.unwrap();
    assert_eq!(result(&execution), json!(4001), "{entries:#?}");
    assert_eq!(std::fs::read_to_string(&file).unwrap().lines().count(), 1);
    stage.platform.shutdown().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_wrap_that_was_removed_ends_the_workflow_with_its_name_and_its_nodes() {
    let stage = staged("patient", Model::OneToOne, STAY).await;
    let file = stage.folder.path().join("noted");
    let (status, _) = stage.request(Method::DELETE, "actions/patient-w3", &json!({})).await.unwrap();
    assert_eq!(status, 200);
    let input = json!({ "n": 1_000_000_000_u64, "file": file });
    let (execution, _) = stage.see_through("patient", &input, "k", PATIENCE).await.unwrap();
    let Phase::Failed(failure) = &execution.phase else { panic!("{execution:#?}") };
    for word in ["node `ticks", "`patient-w3`", "404"] {
        assert!(failure.message.contains(word), "{failure}");
    }
    // Its sibling in a wrap that is there is called off.
    let id = ExecutionId::derive("patient", "k");
    for name in ["ticks", "ticks#2"] {
        if folded(&stage, &node(&id, "ticks", name)).await.is_some() {
            let (node, _) = stage.end(&node(&id, "ticks", name), PATIENCE).await.unwrap();
            assert!(matches!(node.phase, Phase::Cancelled { .. }), "{node:#?}");
        }
    }
    stage.platform.shutdown().await;
}
