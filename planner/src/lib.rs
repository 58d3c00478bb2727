//! Planner.
pub mod error;
pub mod predict;
pub mod states;
pub mod workflow;

pub use error::PlanError;
pub use workflow::Workflow;
