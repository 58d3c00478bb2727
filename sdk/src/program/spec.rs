//! What the runner and its supervisor say to each other: lines of JSON over a socket.

use serde::{Deserialize, Serialize};

/// What to start.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Launch {
    pub(super) program: String,
    pub(super) args: Vec<String>,
    pub(super) env: Vec<(String, String)>,
    pub(super) folder: String,
}

/// What the supervisor tells.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Told {
    /// The execution's work folder is ours.
    Locked,
    /// The program was started.
    Started,
    /// It has ended, and so has everything that it started.
    Ended(Status),
    /// It could not be started.
    Failed(String),
}

/// How a process ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Status {
    /// With this exit code.
    Code(i32),
    /// By this signal.
    Signal(i32),
}
