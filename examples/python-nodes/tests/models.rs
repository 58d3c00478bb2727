//! The workflow runs under every deployment model, whatever happens to its sandboxes.

#![allow(clippy::unwrap_used, clippy::panic, reason = "tests may fail, and their helpers with them")]

use std::time::Duration;

use limitless_faas_core::log::{Phase, Stored};
use limitless_faas_core::placement::Model;
use limitless_faas_local::Config;
use limitless_faas_tests::{Setting, Stage};
use serde_json::json;

const PROGRAM: &str = env!("CARGO_BIN_EXE_python-nodes");
const PATIENCE: Duration = Duration::from_secs(120);

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn programs_in_python_give_one_right_result_under_every_model_and_faults() {
    for (model, seed) in Model::ALL.into_iter().zip(1..) {
        let config = Config { faults: "all".parse().unwrap(), seed, ..Config::default() };
        let setting = Setting { config, time_limit: Duration::from_secs(5) };
        let stage = Stage::placed(PROGRAM, "common", model, setting).await.unwrap();
        let input = json!({ "texts": ["to be or not to be", "To do", "be"], "most": 2 });
        let (execution, entries) = stage.see_through("common", &input, "k", PATIENCE).await.unwrap();
        let Phase::Completed(Stored::Json(json)) = &execution.phase else {
            panic!("{}: {entries:#?}", model.name())
        };
        assert_eq!(json, r#"["be","to"]"#, "{}", model.name());
        stage.platform.shutdown().await;
    }
}
