//! Workflows on the local platform: nodes' results are kept, and long nodes go on where they were.

#![allow(clippy::unwrap_used, clippy::panic, reason = "tests may fail, and their helpers with them")]

use std::process::Command;
use std::time::Duration;

use limitless_faas_core::graph::EdgeKind;
use limitless_faas_core::log::{Kind, Phase, Stored};
use limitless_faas_core::manifest::Manifest;
use limitless_faas_core::node::{NodeEvent, What};
use limitless_faas_core::placement::{Model, Place};
use limitless_faas_core::{Code, ExecutionId, Failure};
use limitless_faas_local::{Config, EventKind};
use limitless_faas_tests::{Setting, Stage, result};
use serde_json::{Value, json};

const SUBJECT: &str = env!("CARGO_BIN_EXE_subject");
const PATIENCE: Duration = Duration::from_secs(90);

fn squares(n: u64) -> u64 {
    (0..n).map(|i| i * i).sum()
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

fn manifest() -> Manifest {
    let output = Command::new(SUBJECT).arg("describe").output().unwrap();
    serde_json::from_slice(&output.stdout).unwrap()
}

async fn placed(workflow: &str, model: Model, setting: Setting) -> Stage {
    Stage::placed(SUBJECT, workflow, model, setting).await.unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn long_nodes_outlive_the_limit_wherever_they_run() {
    for model in Model::ALL {
        let setting = Setting { time_limit: Duration::from_secs(1), ..Setting::default() };
        let stage = placed("relay", model, setting).await;
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("noted");
        let input = json!({ "n": 2000, "pause_us": 1000, "file": file });
        let (folded, entries) = stage.see_through("relay", &input, "k", PATIENCE).await.unwrap();
        assert_eq!(result(&folded), json!(squares(2000) + squares(2001)), "{}: {entries:#?}", model.name());
        let suspended = entries.iter().filter(|entry| matches!(entry.kind, Kind::Suspended { .. })).count();
        assert!(suspended >= 1, "{}: {entries:#?}", model.name());
        let noted = std::fs::read_to_string(&file).unwrap();
        assert_eq!(noted.lines().count(), 2, "{}: a node ran again", model.name());
        stage.platform.shutdown().await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_right_result_whatever_happens_to_any_wrap() {
    for (model, seed) in Model::ALL.into_iter().zip(1..) {
        let config = Config { faults: "all".parse().unwrap(), seed, ..Config::default() };
        let setting = Setting { config, time_limit: Duration::from_millis(600) };
        let stage = placed("relay", model, setting).await;
        let file = stage.folder.path().join("noted");
        let input = json!({ "n": 300, "pause_us": 1000, "file": file });
        let (folded, entries) = stage.see_through("relay", &input, "k", PATIENCE).await.unwrap();
        assert_eq!(result(&folded), json!(squares(300) + squares(301)), "{}: {entries:#?}", model.name());
        stage.platform.shutdown().await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_node_that_fails_is_named_wherever_it_runs_and_its_sibling_stops() {
    for model in Model::ALL {
        for (how, why) in [("panic", "it was asked to"), ("hand", "broken by hand"), ("abort", "signal: 6")] {
            // Only a process of its own keeps the workflow from dying with its node.
            if how == "abort" && !matches!(model, Model::Sand | Model::Faastlane) {
                continue;
            }
            let setting = Setting { time_limit: Duration::from_secs(20), ..Setting::default() };
            let stage = placed("fragile", model, setting).await;
            let input = json!({ "how": how });
            let (folded, _) = stage.see_through("fragile", &input, "k", PATIENCE).await.unwrap();
            let Phase::Failed(failure) = &folded.phase else { panic!("{}: {folded:#?}", model.name()) };
            let message = &failure.message;
            assert!(message.contains("node `breaks` failed") && message.contains(why), "{message}");
            if model == Model::OneToOne {
                let sibling = ExecutionId::derive("ticks", &format!("{} ticks 0", folded.id));
                let (sibling, _) = stage.end(&sibling, PATIENCE).await.unwrap();
                assert!(matches!(sibling.phase, Phase::Cancelled { .. }), "{sibling:#?}");
            }
            stage.platform.shutdown().await;
        }
    }
}

/// What the workflow failed with.
async fn failed(workflow: &str, input: Value, model: Model) -> Failure {
    let setting = Setting { time_limit: Duration::from_secs(1), ..Setting::default() };
    let stage = placed(workflow, model, setting).await;
    let (folded, _) = stage.see_through(workflow, &input, "k", PATIENCE).await.unwrap();
    let Phase::Failed(failure) = folded.phase else { panic!("{workflow} {}: {folded:#?}", model.name()) };
    stage.platform.shutdown().await;
    failure
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_node_that_never_ends_is_named_wherever_it_runs() {
    let (blocking, waiting) = (json!({ "how": "blocking" }), json!({ "how": "async" }));
    let cases = [
        ("endless", blocking.clone(), Model::Ours, "stuck"),
        ("endless", waiting, Model::Ours, "hangs"),
        ("endless", blocking.clone(), Model::Sand, "stuck"),
        ("endless", blocking, Model::OneToOne, "stuck"),
        ("unequal", json!({}), Model::Ours, "stuck"),
        ("unequal", json!({}), Model::Faastlane, "stuck"),
    ];
    let ends = cases.clone().map(|(workflow, input, model, _)| failed(workflow, input, model));
    for (failure, (workflow, _, model, node)) in futures_util::future::join_all(ends).await.iter().zip(cases)
    {
        let case = format!("{workflow} {}: {failure}", model.name());
        if model == Model::OneToOne {
            let why =
                format!("node `{node}` failed: handler `{node}` made no progress: 10 invocations in a row");
            assert!(failure.message.contains(&why), "{case}");
        } else {
            assert_eq!(failure.code, Code::NoProgress, "{case}");
            let why = format!("node `{node}` made no progress: 5 invocations in a row");
            assert!(failure.message.contains(&why), "{case}");
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_result_too_large_for_an_answer_goes_by_the_store() {
    const BYTES: usize = 3 << 20;
    let setting = Setting { time_limit: Duration::from_secs(20), ..Setting::default() };
    let stage = placed("heavy", Model::OneToOne, setting).await;
    let (folded, _) = stage.see_through("heavy", &json!({ "bytes": BYTES }), "k", PATIENCE).await.unwrap();
    assert_eq!(result(&folded), json!(BYTES));
    stage.platform.shutdown().await;
}

/// 3 MB in and 6 MB out, which is more than a platform or a record takes; suspended on the way, so that it is read back.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn inputs_and_results_of_any_size_go_from_node_to_node_wherever_they_run() {
    const BYTES: usize = 3 << 20;
    for (model, seed) in [Model::OneToOne, Model::Sand, Model::Ours].into_iter().zip(1..) {
        let config = Config { faults: "kill=0.3".parse().unwrap(), seed, ..Config::default() };
        let stage = placed("weighty", model, Setting { config, time_limit: Duration::from_secs(5) }).await;
        let (folded, entries) =
            stage.see_through("weighty", &json!({ "bytes": BYTES }), "k", PATIENCE).await.unwrap();
        assert_eq!(result(&folded), json!(2 * BYTES), "{}: {entries:#?}", model.name());
        stage.platform.shutdown().await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_map_is_spread_over_the_processes_of_a_pool() {
    let setting = Setting { time_limit: Duration::from_secs(20), ..Setting::default() };
    let stage = placed("each", Model::Pool, setting).await;
    let numbers: Vec<u64> = (0..200).map(|i| (i * 7919) % 211).collect();
    let (folded, _) = stage.see_through("each", &json!({ "numbers": numbers }), "k", PATIENCE).await.unwrap();
    assert_eq!(result(&folded), json!(numbers.into_iter().map(squares).collect::<Vec<_>>()));
    stage.platform.shutdown().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nodes_are_told_as_they_run_and_no_more_at_once_than_allowed() {
    let mut config = Config::default();
    config.env.insert("LIMITLESS_NODES".to_owned(), "events".to_owned());
    config.env.insert("LIMITLESS_NODES_AT_ONCE".to_owned(), "3".to_owned());
    let setting = Setting { config, time_limit: Duration::from_secs(20) };
    let stage = placed("each", Model::Sand, setting).await;
    let mut events = stage.platform.events();
    stage.see_through("each", &json!({ "numbers": vec![9; 40] }), "k", PATIENCE).await.unwrap();
    let (mut under_way, mut ended) = (std::collections::BTreeMap::new(), 0);
    while ended < 40 {
        let event = tokio::time::timeout(PATIENCE, events.recv()).await.unwrap().unwrap();
        let EventKind::Log { line, .. } = event.kind else { continue };
        let event = NodeEvent::in_line(&line).unwrap();
        assert_eq!(event.handler, "sum");
        assert!(matches!(event.place, Place::Process { count: 1, .. }), "{event:?}");
        if event.what == What::Begun {
            under_way.insert(event.node, event.cpu_us);
            assert!(under_way.len() <= 3, "{under_way:?}");
        } else {
            assert_eq!(event.what, What::Returned);
            assert!(event.cpu_us >= under_way.remove(&event.node).unwrap());
            ended += 1;
        }
    }
    stage.platform.shutdown().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_map_of_ten_thousand_calls_runs_some_at_a_time() {
    let setting = Setting { time_limit: Duration::from_secs(60), ..Setting::default() };
    let stage = placed("each", Model::Ours, setting).await;
    let numbers: Vec<u64> = (0..10_000).map(|i| i % 50).collect();
    let input = json!({ "numbers": numbers });
    let (folded, _) = stage.see_through("each", &input, "k", Duration::from_secs(240)).await.unwrap();
    let Phase::Completed(stored) = &folded.phase else { panic!("not completed: {:?}", folded.phase) };
    let found: Vec<u64> = match stored {
        Stored::Json(json) => serde_json::from_str(json).unwrap(),
        Stored::Key(_) => {
            serde_json::from_str(&stage.log(&folded.id).unwrap().json(stored).await.unwrap()).unwrap()
        }
    };
    assert_eq!(found, numbers.into_iter().map(squares).collect::<Vec<_>>());
    stage.platform.shutdown().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_call_of_a_map_is_forgotten_where_results_are_recorded_at_once() {
    let mut config = Config::default();
    config.env.insert("LIMITLESS_STORE".to_owned(), "memory:".to_owned());
    let setting = Setting { config, time_limit: Duration::from_secs(50) };
    let stage = placed("each", Model::Ours, setting).await;
    let numbers = json!({ "numbers": vec![3; 1000] });
    for _ in 0..20 {
        let (status, answer) = stage.invoke("each", &numbers).await.unwrap();
        assert_eq!((status, &answer["result"]), (200, &json!(vec![5; 1000])), "{answer}");
    }
    stage.platform.shutdown().await;
}

#[test]
fn describe_says_the_graph() {
    let manifest = manifest();
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
