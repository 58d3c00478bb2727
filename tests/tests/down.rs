//! A wrap that is down: it ends no workflow, and whoever is told of it is told its name.

#![allow(clippy::unwrap_used, clippy::panic, reason = "tests may fail, and their helpers with them")]

use std::path::Path;
use std::time::Duration;

use limitless_faas_core::ExecutionId;
use limitless_faas_core::log::{Execution, Kind, Phase, Status, Stored};
use limitless_faas_core::placement::Model;
use limitless_faas_local::{Config, Event, EventKind, Image};
use limitless_faas_tests::{Setting, Stage};
use reqwest::Method;
use serde_json::{Value, json};
use tokio::sync::broadcast::Receiver;

const SUBJECT: &str = env!("CARGO_BIN_EXE_subject");
const PATIENCE: Duration = Duration::from_secs(90);
/// The wrap of the second node of `patient`.
const WRAP: &str = "patient-w3";

/// The workflow `patient`, one wrap for each node, of which one runs the program of this name in `folder`.
async fn staged(folder: &Path, program: &str, time_limit: Duration) -> Stage {
    let mut config = Config::default();
    config.images.insert("wrap".to_owned(), Image::new(folder.join(program)));
    let stage =
        Stage::placed(SUBJECT, "patient", Model::OneToOne, Setting { config, time_limit }).await.unwrap();
    let timeout = u64::try_from(time_limit.as_millis()).unwrap();
    let action = json!({
        "exec": { "kind": "blackbox", "image": "wrap" },
        "limits": { "timeout": timeout },
        "annotations": [{ "key": "provide-api-key", "value": true }],
    });
    let path = format!("actions/{WRAP}?overwrite=true");
    assert_eq!(stage.request(Method::PUT, &path, &action).await.unwrap().0, 200);
    stage
}

fn input(stage: &Stage) -> Value {
    json!({ "n": 20, "file": stage.folder.path().join("noted"), "$limitless": { "idempotency_key": "k" } })
}

fn workflow() -> ExecutionId {
    ExecutionId::derive("patient", "k")
}

fn node(name: &str) -> ExecutionId {
    ExecutionId::derive("ticks", &format!("{} {name} 0", workflow()))
}

async fn folded(stage: &Stage, id: &ExecutionId) -> Execution {
    stage.log(id).unwrap().execution().await.unwrap().unwrap()
}

/// The error that whoever called is told.
fn error(answer: &Value) -> &str {
    assert_eq!(answer["code"], "LF010", "{answer}");
    answer["error"].as_str().unwrap()
}

/// It came to its one result, and no node ran twice.
async fn is_right(stage: &Stage, execution: &Execution) {
    let Phase::Completed(Stored::Json(json)) = &execution.phase else { panic!("{execution:#?}") };
    assert_eq!(json, "41");
    for name in ["ticks", "ticks#2"] {
        let node = folded(stage, &node(name)).await;
        assert_eq!((node.status(), node.tally.invocations), (Status::Completed, 1), "{name}");
    }
    assert_eq!(std::fs::read_to_string(stage.folder.path().join("noted")).unwrap().lines().count(), 1);
}

/// A call of the wrap came to nothing.
async fn is_called_in_vain(events: &mut Receiver<Event>) {
    let is_vain = |event: &Event| event.function == WRAP && matches!(event.kind, EventKind::Died { .. });
    while !is_vain(&tokio::time::timeout(PATIENCE, events.recv()).await.unwrap().unwrap()) {}
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_wrap_that_stays_down_is_named_and_leaves_the_workflow_to_be_resumed() {
    let programs = tempfile::tempdir().unwrap();
    let stage = staged(programs.path(), "missing", Duration::from_secs(3)).await;
    // Its limit ends before anybody's patience: no successor is called, which could only wait too.
    let (_, answer) = stage.invoke("patient", &input(&stage)).await.unwrap();
    for word in ["node `ticks", WRAP, "has not answered for", "resume the workflow"] {
        assert!(error(&answer).contains(word), "{word}: {answer}");
    }
    let left = folded(&stage, &workflow()).await;
    assert!(matches!(&left.phase, Phase::Suspended { wake: None, .. }), "{left:#?}");
    // Its sibling was left alone, and has its result.
    let sibling = if error(&answer).contains("`ticks#2`") { "ticks" } else { "ticks#2" };
    let (sibling, _) = stage.end(&node(sibling), PATIENCE).await.unwrap();
    assert_eq!(sibling.status(), Status::Completed, "{sibling:#?}");
    // Whoever resumes it is told the same, as long as it is so.
    let resume = json!({ "$limitless": { "resume": workflow() } });
    let (_, answer) = stage.invoke("patient", &resume).await.unwrap();
    assert!(error(&answer).contains(WRAP), "{answer}");
    std::os::unix::fs::symlink(SUBJECT, programs.path().join("missing")).unwrap();
    let (_, answer) = stage.invoke("patient", &resume).await.unwrap();
    assert_eq!(answer["result"], 41, "{answer}");
    let execution = folded(&stage, &workflow()).await;
    assert_eq!(execution.tally.invocations, 3);
    is_right(&stage, &execution).await;
    stage.platform.shutdown().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nobody_pays_long_for_waiting_for_a_wrap_that_is_down() {
    let programs = tempfile::tempdir().unwrap();
    let limit = Duration::from_secs(60);
    let stage = staged(programs.path(), "missing", limit).await;
    let begun = std::time::Instant::now();
    let (_, answer) = stage.invoke("patient", &input(&stage)).await.unwrap();
    assert!(error(&answer).contains(WRAP), "{answer}");
    assert!(begun.elapsed() < limit / 2, "{:?}", begun.elapsed());
    assert_eq!(folded(&stage, &workflow()).await.status(), Status::Suspended);
    stage.platform.shutdown().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_wrap_that_comes_back_is_called_again_in_the_same_invocation() {
    let programs = tempfile::tempdir().unwrap();
    let stage = staged(programs.path(), "later", Duration::from_secs(60)).await;
    let mut events = stage.platform.events();
    stage.request(Method::POST, "actions/patient?blocking=false", &input(&stage)).await.unwrap();
    is_called_in_vain(&mut events).await;
    is_called_in_vain(&mut events).await;
    std::os::unix::fs::symlink(SUBJECT, programs.path().join("later")).unwrap();
    let (execution, entries) = stage.end(&workflow(), PATIENCE).await.unwrap();
    assert!(!entries.iter().any(|entry| matches!(entry.kind, Kind::Suspended { .. })), "{entries:#?}");
    is_right(&stage, &execution).await;
    stage.platform.shutdown().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_wrap_whose_process_ends_with_every_call_ends_the_workflow_with_its_name() {
    let stage = staged(Path::new("/bin"), "false", Duration::from_secs(60)).await;
    let (_, answer) = stage.invoke("patient", &input(&stage)).await.unwrap();
    for word in ["node `ticks", WRAP, "ended 10 times in a row", "exit status: 1"] {
        assert!(answer["error"].as_str().unwrap().contains(word), "{word}: {answer}");
    }
    assert_eq!(folded(&stage, &workflow()).await.status(), Status::Failed);
    stage.platform.shutdown().await;
}
