//! Programs as nodes of workflows.

#![allow(clippy::unwrap_used, clippy::panic, reason = "tests may fail, and their helpers with them")]

use std::path::{Path, PathBuf};
use std::time::Duration;

use limitless_faas_core::log::{Execution, Phase};
use limitless_faas_core::placement::Model;
use limitless_faas_tests::{Setting, Stage, result, until};
use serde_json::json;

const SUBJECT: &str = env!("CARGO_BIN_EXE_subject");
const PATIENCE: Duration = Duration::from_secs(90);

async fn staged(workflow: &str, model: Model, time_limit: Duration) -> (Stage, PathBuf) {
    let setting = Setting { time_limit, ..Setting::default() };
    let stage = Stage::placed(SUBJECT, workflow, model, setting).await.unwrap();
    let file = stage.folder.path().join("began");
    (stage, file)
}

/// What became of an execution of this input.
async fn ended(workflow: &str, model: Model, time_limit: Duration, how: &str) -> (Execution, Vec<String>) {
    let (stage, file) = staged(workflow, model, time_limit).await;
    let input = match workflow {
        "doomed" => json!({ "file": file }),
        _ => json!({ "how": how, "file": file }),
    };
    let (execution, _) = stage.see_through(workflow, &input, "k", PATIENCE).await.unwrap();
    let pids: Vec<String> = std::fs::read_to_string(&file).unwrap().lines().map(str::to_owned).collect();
    for pid in &pids {
        let process = Path::new("/proc").join(pid);
        until("the program has ended", PATIENCE, async || (!process.exists()).then_some(())).await;
    }
    stage.platform.shutdown().await;
    (execution, pids)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_program_is_a_node_wherever_it_runs() {
    for model in Model::ALL {
        let (execution, pids) = ended("scripts", model, Duration::from_secs(20), "well").await;
        assert_eq!((result(&execution), pids.len()), (json!(42), 1), "{}", model.name());
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn how_a_program_failed_is_told() {
    let cases = [
        ("fail", "ended with exit status: 3: no luck today"),
        ("kill", "ended with signal: 9 (SIGKILL)"),
        ("mumble", "printed what is no JSON of `u64`"),
    ];
    for (model, (how, why)) in [Model::Ours, Model::Sand, Model::OneToOne].into_iter().zip(cases) {
        let (execution, _) = ended("scripts", model, Duration::from_secs(20), how).await;
        let Phase::Failed(failure) = &execution.phase else { panic!("{execution:#?}") };
        let said = format!("node `scripted` failed: program `/bin/sh` {why}");
        assert!(failure.message.contains(&said), "{}: {failure}", model.name());
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_program_that_nobody_waits_for_any_more_is_killed() {
    for model in [Model::Ours, Model::Sand, Model::OneToOne] {
        let (execution, pids) = ended("doomed", model, Duration::from_secs(60), "hang").await;
        let Phase::Failed(failure) = &execution.phase else { panic!("{execution:#?}") };
        assert!(failure.message.contains("node `breaks_once` failed: broken by hand"), "{failure}");
        assert_eq!(pids.len(), 1, "{}", model.name());
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_program_that_a_time_limit_cuts_off_starts_again() {
    for model in [Model::Ours, Model::Sand] {
        let (execution, pids) = ended("scripts", model, Duration::from_secs(1), "once").await;
        assert_eq!((result(&execution), pids.len()), (json!(42), 2), "{}", model.name());
        assert_eq!(execution.tally.crashes_ever, 1);
    }
}
