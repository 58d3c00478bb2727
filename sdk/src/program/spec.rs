//! What the runner and its supervisor say to each other: lines of JSON over a socket.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

/// What to start.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Launch {
    pub(super) coordinator: Coordinator,
    /// Started once the coordinator listens; [`PORT`] in its arguments stands for where to reach it.
    pub(super) program: String,
    pub(super) args: Vec<String>,
    pub(super) env: Vec<(String, String)>,
    pub(super) folder: String,
}

/// DMTCP's coordinator of one program.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Coordinator {
    pub(super) program: String,
    pub(super) args: Vec<String>,
    /// Where it writes its port.
    pub(super) port_file: PathBuf,
    pub(super) folder: PathBuf,
}

/// Stands for a port that is known later.
pub(super) const PORT: &str = "@port";

/// What the supervisor tells.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Told {
    /// The execution's work folder is ours.
    Locked,
    /// The program was started; this is its coordinator, and the port at which it reaches that.
    Started { coordinator: u32, port: u16 },
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
    /// It was ended, because it had become too many processes.
    Crowded,
}
