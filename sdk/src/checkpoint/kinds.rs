//! Tells a borrowed live value from an owned one, so that the error names the borrow.
//!
//! `&str` implements `Deserialize` for one lifetime, so asking for all of them fails only in the
//! borrow checker, which says "not general enough". The choice is made by autoref where the types
//! are known: at the end of the handler.

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::marker::PhantomData;
use std::path::Path;

use super::keep::Encoder;

/// Asks whether what an encoder saves is borrowed.
pub struct BorrowProbe<T>(PhantomData<fn() -> T>);

impl<T> BorrowProbe<T> {
    /// A question about a type that is known later.
    #[inline(always)]
    #[allow(clippy::new_without_default, reason = "its type is inferred")]
    pub fn new() -> BorrowProbe<T> {
        BorrowProbe(PhantomData)
    }

    /// The type is that of this encoder's binding.
    #[inline(always)]
    pub fn is_of(&self, _: &Encoder<T>) {}
}

/// It is owned.
pub struct Owned;

/// It is a borrow, or holds one.
pub struct Borrow<T>(PhantomData<fn() -> T>);

/// A value that owns all of itself.
#[diagnostic::on_unimplemented(
    message = "a borrow lives across a checkpointed loop: it can't be saved",
    label = "borrows, and is used after a checkpointed loop begins",
    note = "help: write `#[rebuild] let` to borrow again after a resume, or own the value"
)]
pub trait Owning {}

impl Owning for Owned {}

/// Passes what is owned.
#[inline(always)]
pub fn require_owned<O: Owning>(_: O) {}

/// Chosen for borrows.
pub trait ViaBorrow {
    /// What it is.
    type Kind;
    /// Chooses.
    fn kind(&self) -> Self::Kind;
}

impl<T: Borrowing> ViaBorrow for &BorrowProbe<T> {
    type Kind = Borrow<T>;
    #[inline(always)]
    fn kind(&self) -> Self::Kind {
        Borrow(PhantomData)
    }
}

/// Chosen for anything else.
pub trait ViaOwned {
    /// Chooses.
    #[inline(always)]
    fn kind(&self) -> Owned {
        Owned
    }
}

impl<T> ViaOwned for BorrowProbe<T> {}

/// The borrows that serde can deserialise, and what may hold them.
#[doc(hidden)]
pub trait Borrowing {}

impl Borrowing for &str {}
impl Borrowing for &[u8] {}
impl Borrowing for &Path {}
impl<T: Borrowing> Borrowing for Option<T> {}
impl<T: Borrowing> Borrowing for Vec<T> {}
impl<T: Borrowing> Borrowing for VecDeque<T> {}
impl<T: Borrowing> Borrowing for Box<[T]> {}
impl<T: Borrowing, const N: usize> Borrowing for [T; N] {}
impl<K: Borrowing, V> Borrowing for BTreeMap<K, V> {}
impl<K: Borrowing, V, S> Borrowing for HashMap<K, V, S> {}
impl<A: Borrowing, B> Borrowing for (A, B) {}
impl<A: Borrowing, B, C> Borrowing for (A, B, C) {}
