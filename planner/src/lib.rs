//! Planner.
pub mod error;
pub mod explain;
pub mod fit;
pub mod partition;
pub mod predict;
pub mod states;
pub mod workflow;

pub use error::PlanError;
pub use partition::{Answer, Goal, Request, Strategy, front, plan};
pub use workflow::Workflow;
