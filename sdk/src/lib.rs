//! To come.

pub mod checkpoint;
pub mod handler;

pub use checkpoint::{Context, Migrate, State};
pub use handler::Handler;
pub use limitless_faas_macros::{State, handler};
