//! Workflows: what a node costs wherever it runs, and the paper's workflows under every deployment model.

mod cost;
mod memory;
mod models;

use std::time::Instant;

use limitless_faas_tests::Stage;
use serde_json::Value;

use super::{Figure, ms};

/// What a node costs.
pub(super) async fn nodes() -> Vec<Figure> {
    cost::figures().await
}

/// The paper's workflows.
pub(super) async fn models() -> Vec<Figure> {
    models::figures().await
}

/// One call of a workflow through the platform, to its result; answers milliseconds.
async fn call(stage: &Stage, function: &str, input: &Value) -> f64 {
    let begun = Instant::now();
    let (status, answer) = stage.invoke(function, input).await.unwrap();
    let elapsed = ms(begun.elapsed());
    let is_result = status == 200 && answer.get("error").is_none() && answer.get("status").is_none();
    assert!(is_result, "{function}: {status} {answer}");
    elapsed
}
