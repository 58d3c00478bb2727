//! Latency from profiles: threads, processes, wraps, stages, workflow.

pub mod evaluate;
pub mod lock;
pub mod model;
pub mod placed;
pub mod share;
pub mod timeline;

pub use evaluate::{Schedule, Scheduled, predict, quantiles, schedule};
pub use model::{Model, Place};
