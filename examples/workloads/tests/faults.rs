//! Every workflow under every deployment model while deliveries are duplicated, lost and delayed, the processes of any wrap are killed,
//! and the store fails and loses acknowledgements: always one result, always the right one.
//!
//! Each pair has one seed here; `LIMITLESS_FAULT_SEEDS=20` tries so many of each.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::print_stdout,
    reason = "tests may fail, and their helpers with them"
)]

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use limitless_faas_core::log::{Execution, Phase, Stored};
use limitless_faas_core::placement::Model;
use limitless_faas_local::{Config, EventKind};
use limitless_faas_tests::{Setting, Stage, ends};
use serde_json::{Value, json};
use tokio::sync::Semaphore;
use tokio::sync::broadcast::error::TryRecvError;

const WORKLOADS: &str = env!("CARGO_BIN_EXE_workloads");
const PATIENCE: Duration = Duration::from_secs(180);
/// Most of the time of a run is waiting, so many run at once.
const AT_ONCE: usize = 5;

/// Each workflow with a small input; those that write files do so in `folder`.
fn cases(folder: &Path) -> [(&'static str, Value); 5] {
    let trades = json!({ "portfolio": 7, "count": 200 });
    let many = json!({ "rules": 8, "portfolio": 7, "count": 200 });
    let post = json!({ "author": "Bob", "text": "hello @ann", "picture": 16, "folder": folder });
    let review = json!({ "user": "bob", "title": "Solaris", "text": "slow", "stars": 9, "folder": folder });
    [
        ("finra_5", trades),
        ("finra", many),
        ("slapp", json!({ "size": 3 })),
        ("social_network", post),
        ("movie_review", review),
    ]
}

/// What the workflow came to: its result, and the file where that is one.
async fn outcome(stage: &Stage, execution: &Execution, what: &str) -> (String, Option<Vec<u8>>) {
    let Phase::Completed(stored) = &execution.phase else { panic!("{what}: {:?}", execution.phase) };
    let json = match stored {
        Stored::Json(json) => json.clone(),
        Stored::Key(_) => stage.log(&execution.id).unwrap().json(stored).await.unwrap(),
    };
    let file = serde_json::from_str::<String>(&json).ok().map(|path| std::fs::read(path).unwrap());
    (json.replace(&stage.folder.path().display().to_string(), ""), file)
}

fn is_misfortune(event: &EventKind) -> bool {
    matches!(
        event,
        EventKind::Killed { .. } | EventKind::Lost | EventKind::Duplicated | EventKind::Delayed { .. }
    )
}

/// One run, and how many misfortunes it met on the platform's side.
async fn ran(at: usize, model: Model, seed: Option<u64>) -> ((String, Option<Vec<u8>>), u32) {
    let mut config = Config::default();
    if let Some(seed) = seed {
        config = Config { faults: "all".parse().unwrap(), seed, ..config };
        // Where it only waits for other wraps the workflow leaves: that has to be right too.
        config.env.insert("LIMITLESS_STAY_MS".to_owned(), "150".to_owned());
    }
    let setting = Setting { config, time_limit: Duration::from_millis(1500) };
    let folder = tempfile::tempdir().unwrap();
    let workflow = cases(folder.path())[at].0;
    let stage = Stage::placed(WORKLOADS, workflow, model, setting).await.unwrap();
    let mut events = stage.platform.events();
    let input = &cases(stage.folder.path())[at].1;
    let what = format!("{workflow}, {}, seed {seed:?}", model.name());
    let (execution, entries) = stage
        .see_through(workflow, input, "k", PATIENCE)
        .await
        .unwrap_or_else(|error| panic!("{what}: {error}"));
    assert_eq!(ends(&entries).unwrap(), 1, "{what}: {entries:#?}");
    let outcome = outcome(&stage, &execution, &what).await;
    let mut met = 0;
    loop {
        match events.try_recv() {
            Ok(event) => met += u32::from(is_misfortune(&event.kind)),
            // What was told too long ago to be heard is not counted.
            Err(TryRecvError::Lagged(_)) => {}
            Err(_) => break,
        }
    }
    stage.platform.shutdown().await;
    (outcome, met)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_right_result_of_every_workflow_under_every_model() {
    let seeds: u64 = std::env::var("LIMITLESS_FAULT_SEEDS").map_or(1, |text| text.parse().unwrap());
    let room = Arc::new(Semaphore::new(AT_ONCE));
    let mut runs = Vec::new();
    for at in 0..cases(Path::new("")).len() {
        let (expected, _) = ran(at, Model::Ours, None).await;
        for (model, number) in Model::ALL.into_iter().zip(0..) {
            for seed in 0..seeds {
                let (room, expected) = (room.clone(), expected.clone());
                runs.push(tokio::spawn(async move {
                    let _permit = room.acquire().await.unwrap();
                    let seed = seed * 25 + at as u64 * 5 + number;
                    let (found, met) = ran(at, model, Some(seed)).await;
                    assert_eq!(
                        found,
                        expected,
                        "{}, {}, seed {seed}",
                        cases(Path::new(""))[at].0,
                        model.name()
                    );
                    met
                }));
            }
        }
    }
    let (count, mut met) = (runs.len(), 0);
    for run in runs {
        met += run.await.unwrap();
    }
    println!("{count} runs met {met} misfortunes");
    assert!(met > 0, "the faults did not reach the workflows");
}
