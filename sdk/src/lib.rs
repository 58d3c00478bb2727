//! Serverless functions in Rust that outlive their platform's time limit.
//!
//! `#[handler]` makes a function deployable, `#[checkpoint]` on a loop lets it go on in another invocation: it saves its
//! state before the limit, invokes itself again, continues at the next iteration, and gives one result.
//!
//! ```no_run
//! use limitless_faas::handler;
//!
//! /// The prime factors of `n`, smallest first.
//! #[handler]
//! fn factors(n: u64) -> Vec<u64> {
//!     let mut rest = n;
//!     let mut found = Vec::new();
//!     #[checkpoint]
//!     for d in 2..=n.isqrt() {
//!         while rest % d == 0 {
//!             found.push(d);
//!             rest /= d;
//!         }
//!     }
//!     if rest > 1 {
//!         found.push(rest);
//!     }
//!     found
//! }
//!
//! fn main() {
//!     limitless_faas::serve!(factors);
//! }
//! ```
//!
//! `cargo faas run factors --input '{"n": 360}' --time-limit 2s` runs it on this machine. [`Context`] gives a handler
//! recorded steps and named state.

#[cfg(test)]
extern crate self as limitless_faas;

mod call;
pub mod checkpoint;
mod child;
mod config;
#[cfg(feature = "dmtcp")]
pub mod dmtcp;
mod engine;
mod error;
pub mod handler;
mod large;
#[cfg(feature = "programs")]
pub mod program;
mod retry;
mod runtime;
mod serve;
pub mod shape;
mod step;
mod wait;
pub mod workflow;

pub use call::CallError;
pub use checkpoint::{Context, Migrate, State};
pub use error::{Error, Result};
pub use handler::Handler;
pub use limitless_faas_core::{Advice, Code, ExecutionId, Failure};
pub use limitless_faas_macros::{State, checkpoint, handler, program, rebuild, workflow};
pub use retry::{Retry, StepOptions};
pub use wait::Race;

/// What the macros' expansions call.
#[doc(hidden)]
pub mod __private {
    pub use crate::serve::serve;
}
