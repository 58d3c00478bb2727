//! The execution log's protocol under a model checker.
//!
//! [`Protocol`] is a [`stateright::Model`] whose actors are [`limitless_faas_core::invocation::Invocation`] itself: the
//! state machine that the SDK performs, not a copy of it. Around it stand a store, a platform, clocks and a handler so
//! small that every interleaving can be tried: deliveries come twice, late or never; processes die at any moment; a
//! write's answer is lost, and the write lands at once, later or never; clocks differ; somebody cancels.
//!
//! In every state that can be reached, the [promises](world::Broken) hold. A promise that nothing could break proves
//! nothing, so each [`Guard`] of the protocol can be taken away, and the checker must then find the history that the
//! guard prevents.
//!
//! ```
//! use limitless_faas_proof::{Bounds, Protocol};
//! use stateright::{Checker, Model};
//!
//! let tiny = Bounds { deliveries: 2, ticks: 2, duplicates: 1, ..Bounds::default() };
//! let checked = Protocol::new(tiny).checker().spawn_bfs().join();
//! checked.assert_properties();
//! ```

mod actor;
mod ending;
mod guard;
mod model;
pub mod world;

pub use actor::Fate;
pub use guard::Guard;
pub use model::{Bounds, Protocol, Step};
