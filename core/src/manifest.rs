//! What a function binary says of itself: `BINARY describe` prints a [`Manifest`] as JSON.

use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::graph::Graph;

/// The handlers of one binary.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Manifest {
    /// Version of this format, 1.
    pub format: u32,
    /// Version of the SDK that the binary was built with.
    pub sdk: String,
    /// The handlers in the order of `serve!`.
    pub handlers: Vec<Handler>,
}

impl Manifest {
    /// The format this version writes and reads.
    pub const FORMAT: u32 = 1;

    /// The handler of this name.
    pub fn handler(&self, name: &str) -> Option<&Handler> {
        self.handlers.iter().find(|handler| handler.name == name)
    }
}

/// One handler.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Handler {
    /// The function's name.
    pub name: String,
    /// Its doc comment.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub doc: String,
    /// Whether it is an `async fn`.
    #[serde(rename = "async")]
    pub is_async: bool,
    /// JSON Schema of the input.
    pub input: Value,
    /// JSON Schema of the result, or the Rust type where no schema can be had.
    pub output: Value,
    /// Changes with the code of the handler's body.
    pub fingerprint: String,
    /// Its checkpointed loops.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub checkpoints: Vec<CheckpointSite>,
    /// Its named state, where it has one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub state: Option<NamedState>,
    /// Its graph, where it is a workflow.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub workflow: Option<Workflow>,
}

/// What is known of a workflow before it runs.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Workflow {
    /// The latency its author wants.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub slo_ms: Option<u64>,
    /// Its nodes, each a handler of the same binary, and what runs after what.
    pub graph: Graph,
}

/// A loop under `#[checkpoint]`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct CheckpointSite {
    /// Its number within the handler, from 1.
    pub number: u32,
    /// Its line in the source file.
    pub line: u32,
    /// The head of the loop as written.
    pub source: String,
}

/// The explicit state of a handler with `Context<S>`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct NamedState {
    /// Its name.
    pub name: String,
    /// Its version.
    pub version: u32,
}
