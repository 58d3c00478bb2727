//! Workflows: handlers that call handlers, with every node's result recorded.
//!
//! `#[workflow]` writes what stands here; [`Flow`] can be called by hand too. A node runs on a thread
//! of its own, in another process, or in another wrap: its input and its result are the JSON that a platform would carry, so
//! where it runs is nothing that the code says.

mod call;
mod crew;
mod definition;
mod far;
mod flow;
mod join;
mod late;
mod place;
mod program;
mod tell;

pub(crate) use call::input;
pub use call::{Argument, Arguments, Callable, Fallible, Plain, Returns, argument};
pub(crate) use crew::{Crew, Job};
pub use definition::{EdgeDef, NodeDef, WorkflowDef};
pub use flow::{Flow, enter};
pub use join::{both, try_both};
pub(crate) use place::{WORKER, work};
#[doc(hidden)]
pub use program::program;
