//! What limitless-faas decides, and nothing it does.
//!
//! Values in, values out: this crate has no I/O, no clock, no randomness and no async. The [`log`] is an
//! execution's only truth; [`log::Execution`] is its fold; [`invocation::Invocation`] says what one invocation
//! does next, as a function from events to commands. Whoever performs the commands (the SDK, a simulation, a
//! test) brings time, nonces and bytes along.
//!
//! Users of the SDK meet these types in `cargo faas … --json` and in error values; they never need this crate
//! by name.

pub mod calibration;
pub mod callback;
pub mod checkpoint;
pub mod error;
pub mod graph;
pub mod id;
pub mod invocation;
pub mod key;
pub mod log;
pub mod manifest;
pub mod node;
pub mod pace;
pub mod placement;
pub mod plan;
pub mod profile;
pub mod program;
pub mod retention;
pub mod segment;
pub mod signature;

pub use error::{Advice, Code, Failure};
pub use id::{BadId, ExecutionId, Nonce};
