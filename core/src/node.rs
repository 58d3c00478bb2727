//! What a workflow tells of its nodes while it runs: a line each on its standard output, for whoever watches.

use serde::{Deserialize, Serialize};

use crate::placement::Place;

/// Something happened to one call of a node.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct NodeEvent {
    /// The node: `count`, or `audit[3]` within a `map`.
    pub node: String,
    /// The handler it calls.
    pub handler: String,
    /// Where the call runs; of processes, the one that it runs in.
    pub place: Place,
    /// When, µs since 1970.
    pub at_us: u64,
    /// CPU time that the process which drives the workflow has spent until then, in µs.
    pub cpu_us: u64,
    /// What happened.
    pub what: What,
}

/// What happens to a call of a node.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum What {
    /// It was started.
    Begun,
    /// It gave a result.
    Returned,
    /// It ended without one.
    Failed,
    /// It stopped, and goes on in another invocation.
    Suspended,
    /// Nobody wants its result any more.
    CalledOff,
}

/// Begins each line, so that nothing a handler prints by itself is taken for one: a control character that text has not.
const MARK: &str = "\u{1e}node ";

impl NodeEvent {
    /// The variable that asks for these lines, where it is `events`.
    pub const VARIABLE: &'static str = "LIMITLESS_NODES";

    /// The line, without its end.
    ///
    /// # Errors
    /// None that is known: the type has nothing that JSON lacks.
    pub fn to_line(&self) -> serde_json::Result<String> {
        Ok(format!("{MARK}{}", serde_json::to_string(self)?))
    }

    /// The event in a line that a function printed, if it is one.
    pub fn in_line(line: &str) -> Option<Self> {
        serde_json::from_str(line.strip_prefix(MARK)?).ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_is_read_back_and_nothing_else_is() {
        let event = NodeEvent {
            node: "audit[3]".to_owned(),
            handler: "audit".to_owned(),
            place: Place::Process { first: 2, count: 1 },
            at_us: 7,
            cpu_us: 5,
            what: What::Begun,
        };
        let line = event.to_line().unwrap();
        assert_eq!(NodeEvent::in_line(&line), Some(event));
        assert_eq!(NodeEvent::in_line(&line[1..]), None);
        assert_eq!(NodeEvent::in_line("\u{1e}node of ours"), None);
    }
}
