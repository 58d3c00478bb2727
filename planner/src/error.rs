//! What can be wrong with what the planner is given.

use limitless_faas_core::calibration::CalibrationError;
use limitless_faas_core::graph::GraphError;
use limitless_faas_core::profile::ProfileError;
use thiserror::Error;

/// Why there is no plan at all. An SLO that can't be met is not an error: see
/// [`Infeasible`](crate::partition::Infeasible).
#[derive(Clone, Debug, PartialEq, Error)]
pub enum PlanError {
    /// The graph.
    #[error(transparent)]
    Graph(#[from] GraphError),
    /// A profile.
    #[error(transparent)]
    Profile(#[from] ProfileError),
    /// A constant.
    #[error(transparent)]
    Calibration(#[from] CalibrationError),
    /// A States Language file.
    #[error("the state `{state}` {what}")]
    States {
        /// The state's name.
        state: String,
        /// What is wrong with it, and the fix.
        what: String,
    },
    /// A target that is none.
    #[error("the target of {value} {unit} can't be planned for: ask for a positive number")]
    Target {
        /// What was asked for.
        value: f64,
        /// Of what.
        unit: &'static str,
    },
    /// A file that is not what it should be.
    #[error("{what} can't be read: {problem}")]
    Format {
        /// Which file.
        what: &'static str,
        /// What the reader says.
        problem: String,
    },
    /// Constraints that exclude each other.
    #[error("the node `{node}` can't be placed: {what}")]
    Constraint {
        /// The node.
        node: String,
        /// Which constraints, and which to change.
        what: String,
    },
    /// A plan that names what its graph does not have.
    #[error("the plan's {place} is wrong: {what}; make the plan again with `cargo faas plan`")]
    Plan {
        /// Where.
        place: String,
        /// What.
        what: String,
    },
}
