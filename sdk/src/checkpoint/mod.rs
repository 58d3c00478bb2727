//! What `#[handler]` and `#[checkpoint]` expand to, and what the runtime drives them with.
//!
//! A [`Session`] is one run of a handler. The runtime holds one end and asks for a checkpoint with
//! [`Session::request`]; the handler's thread holds the other and answers at its next hook, the
//! relaxed load that stands at the top of every checkpointed loop.

#![allow(
    clippy::inline_always,
    reason = "hooks stand in the hottest loops, also in builds without optimisation"
)]

mod codec;
mod context;
mod frame;
mod keep;
mod kinds;
mod order;

mod outcome;
mod position;
mod run;
mod session;
mod sink;
mod state;

pub use codec::{Incompatible, type_fingerprint};
pub use context::Context;
pub use frame::{Due, Flag, Frame, Parked, Save, Taken, enter};
pub use keep::{Encoder, Keep, Seen, keep, plain_cost, stride};

pub use kinds::{Borrow, BorrowProbe, Owned, Owning, ViaBorrow, ViaOwned, require_owned};
pub use order::{AnyOrder, FixedOrder, InOrder, OrderProbe, RandomOrder, ShuffledOrder, require_order};
pub use outcome::{ApplicationError, Outcome, Point};
pub use position::{
    Choice, LengthProbe, Span, SpanFrom, SpanInclusive, ViaLength, ViaOne, count_from, range_at_hand,
    require_enumerate, skip_to, span, span_from, span_inclusive,
};
pub(crate) use session::Starting;
pub use session::{Reports, Request, Services, Session};
#[cfg(feature = "programs")]
pub(crate) use sink::offer;
pub use sink::{Sink, Target};
pub use state::{Migrate, SavedState, State, StateCodec, older};

/// Takes references and does nothing: a use that keeps a borrow alive up to here.
#[inline(always)]
pub fn touch<T: ?Sized>(_: &T) {}
