//! Where a loop stands. An iterator is never saved: a range as its bounds, anything else as an index.

use std::iter::Enumerate;
use std::ops::{Range, RangeFrom, RangeInclusive};

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use super::frame::Save;

/// The position of `for … in a..b`.
#[derive(Clone, Copy, Serialize, Deserialize)]
pub struct Span<T> {
    /// The next value that the loop body sees.
    pub current: T,
    /// Where the loop ends, evaluated once.
    pub end: T,
}

/// The position of `for … in a..=b`.
#[derive(Clone, Copy, Serialize, Deserialize)]
pub struct SpanInclusive<T> {
    /// The next value that the loop body sees.
    pub current: T,
    /// The last value, evaluated once.
    pub end: T,
}

/// The position of `for … in a..`.
#[derive(Clone, Copy, Serialize, Deserialize)]
pub struct SpanFrom<T> {
    /// The next value that the loop body sees.
    pub current: T,
}

/// Starts `a..b`.
#[inline(always)]
pub fn span<T>(range: Range<T>) -> Span<T> {
    Span { current: range.start, end: range.end }
}

/// Starts `a..=b`.
#[inline(always)]
pub fn span_inclusive<T>(range: RangeInclusive<T>) -> SpanInclusive<T> {
    let (current, end) = range.into_inner();
    SpanInclusive { current, end }
}

/// Starts `a..`.
#[inline(always)]
pub fn span_from<T>(range: RangeFrom<T>) -> SpanFrom<T> {
    SpanFrom { current: range.start }
}

impl<T: Copy> Span<T> {
    /// What is left.
    #[inline(always)]
    pub fn rest(&self) -> Range<T> {
        self.current..self.end
    }
}

impl<T: Copy + PartialOrd> Span<T>
where
    Range<T>: Iterator<Item = T>,
{
    /// The next at most `stride` values, or nothing at the end.
    #[inline(always)]
    pub fn block(&mut self, stride: usize) -> Option<Range<T>> {
        if self.current < self.end {
            let from = self.current;
            let to = (from..self.end).nth(stride).unwrap_or(self.end);
            Some(from..to)
        } else {
            None
        }
    }

    /// Notes that a block was worked off; true if it was the last.
    #[inline(always)]
    pub fn advance(&mut self, block_end: T) -> bool {
        self.current = block_end;
        false
    }
}

impl<T: Copy + PartialOrd> SpanInclusive<T>
where
    RangeInclusive<T>: Iterator<Item = T>,
{
    /// The next at most `stride` values, or nothing at the end.
    #[inline(always)]
    pub fn block(&mut self, stride: usize) -> Option<RangeInclusive<T>> {
        if self.current <= self.end {
            let from = self.current;
            let to = (from..=self.end).nth(stride - 1).unwrap_or(self.end);
            Some(from..=to)
        } else {
            None
        }
    }

    /// Notes that a block was worked off; true if it was the last.
    #[inline(always)]
    pub fn advance(&mut self, block_end: T) -> bool {
        match (block_end..=self.end).nth(1) {
            Some(next) => {
                self.current = next;
                false
            }
            None => true,
        }
    }
}

impl<T: Copy> SpanInclusive<T> {
    /// What is left.
    #[inline(always)]
    pub fn rest(&self) -> RangeInclusive<T> {
        self.current..=self.end
    }
}

impl<T: Copy> SpanFrom<T> {
    /// What is left.
    #[inline(always)]
    pub fn rest(&self) -> RangeFrom<T> {
        self.current..
    }
}

macro_rules! savable {
    ($($position:ident)+) => {$(
        impl<T: Serialize + DeserializeOwned> $position<T> {
            /// Saves the position.
            #[cold]
            #[inline(never)]
            pub fn put(&self, save: &mut Save, name: &'static str) {
                save.put(name, self);
            }
        }
    )+};
}

savable!(Span SpanInclusive SpanFrom);

impl Save {
    /// Saves the position of a loop that is not over a range.
    #[cold]
    pub fn put_index(&mut self, name: &'static str, index: u64) {
        self.put(name, &index);
    }
}

/// Goes on at element `index` of an iterator that was evaluated again.
#[inline]
pub fn skip_to<I: Iterator>(mut iterator: I, index: u64) -> I {
    if let Some(before) = index.checked_sub(1) {
        // An index that was saved was reached, so it fits.
        let _ = iterator.nth(usize::try_from(before).unwrap_or(usize::MAX));
    }
    iterator
}

/// The number of the next element.
#[inline]
pub fn count_from(index: u64) -> usize {
    // An index that was saved was reached, so it fits.
    usize::try_from(index).unwrap_or(usize::MAX)
}

/// Passes the standard library's numbering, which a loop in blocks does itself.
#[inline(always)]
pub fn require_enumerate<I>(_: Enumerate<I>) {}

/// Asks how many elements an iterator has at hand.
pub struct LengthProbe<'a, I>(pub &'a I);

/// Chosen for iterators that know.
pub trait ViaLength {
    /// At most `stride`, and that this many will come.
    fn at_hand(&self, stride: usize) -> (usize, bool);
}

impl<I: ExactSizeIterator> ViaLength for &LengthProbe<'_, I> {
    #[inline(always)]
    fn at_hand(&self, stride: usize) -> (usize, bool) {
        (self.0.len().min(stride), true)
    }
}

/// At most `stride`, and that this many will come: of the standard library's ranges, whose lower bound is exact.
#[inline(always)]
pub fn range_at_hand<I: Iterator>(iterator: &I, stride: usize) -> (usize, bool) {
    (iterator.size_hint().0.min(stride), true)
}

/// Chosen for those that don't: one, to be tried.
pub trait ViaOne {
    /// One, which may not come.
    #[inline(always)]
    fn at_hand(&self, _: usize) -> (usize, bool) {
        (1, false)
    }
}

impl<I> ViaOne for LengthProbe<'_, I> {}

/// Which arm of a `match` a run took: one that holds no loop and is done, or one that does.
pub enum Choice<D, A> {
    /// The value of an arm without a checkpointed loop.
    Done(D),
    /// What the arm with the loop bound; the remaining arms nest here.
    Arm(A),
}
