//! Planner.
pub mod predict;
