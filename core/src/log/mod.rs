//! The execution log: numbered entries, each created once, and their fold.
//!
//! Entry n + 1 can be created once; whoever loses that race is fenced and stops. [`Entry`] is what stands under
//! one number, [`Execution`] is the state that follows from all of them. Three rules keep writers safe:
//!
//! - **W1** Write only at the folded length, and never n + 1 before the outcome of n is known.
//! - **W2** After losing to a foreign nonce an owner stops; a claimant folds again and decides anew. Nobody
//!   sends the same entry again at a higher number.
//! - **W3** After an unknown outcome send the same bytes to the same number until it is decided.

mod caller;
mod entry;
mod fold;

pub use caller::{Caller, end_of, ended_by};
pub use entry::{
    Driver, Entry, EntryError, INLINE_LIMIT, Input, Kind, Origin, Output, RESULT_INLINE_LIMIT, Saved, Stored,
    Wake,
};
pub use fold::{Applied, Execution, LogError, Owner, Phase, Segment, Status, Tally, fold};
