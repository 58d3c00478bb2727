//! Predict.
pub mod lock;
