//! The workflow that called an execution as one of its nodes, and what it waits for.

use serde::{Deserialize, Serialize};

use super::{Execution, Phase};
use crate::ExecutionId;

/// Who called an execution as a node of a workflow in another wrap. The node stops once its workflow has ended, and tells it of its own
/// end where the workflow may have suspended meanwhile.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Caller {
    /// The workflow's execution.
    pub execution: ExecutionId,
    /// The function that drives it, beside this one.
    pub function: String,
    /// The workflow's handler, where that function is a wrap and runs several.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub node: Option<String>,
    /// Until then the workflow waits for the answer in any case, ms since 1970.
    pub stays_until_ms: u64,
}

const END_OF: &str = "end of ";

/// The event that an execution waits for which left another one to itself.
pub fn end_of(execution: &ExecutionId) -> String {
    format!("{END_OF}{execution}")
}

/// The execution whose end this event is, where it is one.
pub fn ended_by(event: &str) -> Option<ExecutionId> {
    event.strip_prefix(END_OF)?.parse().ok()
}

impl Execution {
    /// Whether it does not need to be waited for any more: it has ended, or nobody drives it, so that whoever wants its end has to call it
    /// again. A claim on an expired lease waits for `skew_ms` more.
    pub fn is_left(&self, now_ms: u64, skew_ms: u64) -> bool {
        match &self.phase {
            Phase::Owned(owner) => now_ms >= owner.lease_until_ms.saturating_add(skew_ms),
            Phase::Suspended { wake: Some(wake), .. } => wake.is_due(now_ms),
            Phase::Suspended { successor_by_ms, .. } => now_ms >= *successor_by_ms,
            Phase::Completed(_) | Phase::Failed(_) | Phase::Cancelled { .. } => true,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_end_of_an_execution_is_an_event() {
        let id = ExecutionId::derive("count", "k");
        assert_eq!(ended_by(&end_of(&id)), Some(id));
        assert_eq!(ended_by("end of the world"), None);
        assert_eq!(ended_by("approval"), None);
    }
}
