//! Refuses iterators that come in another order after a resume.
//!
//! A hash map that was saved and restored iterates in another order, so "element 17" is another
//! element. The standard library's own are refused by the compiler, also below adapters; what hides
//! behind `impl Iterator` or another crate's type is refused by its name in the first run.

use std::collections::{hash_map, hash_set};
use std::iter::{
    Chain, Cloned, Copied, Cycle, Enumerate, Filter, FilterMap, FlatMap, Flatten, Fuse, Inspect, Map,
    MapWhile, Peekable, Scan, Skip, SkipWhile, StepBy, Take, TakeWhile, Zip,
};
use std::marker::PhantomData;

/// Asks whether the iterator's order is the same again.
pub struct OrderProbe<'a, I>(pub &'a I);

/// The order is the same again, as far as the type tells.
pub struct FixedOrder;

/// The order is another one.
pub struct ShuffledOrder<I>(PhantomData<fn() -> I>);

/// An iterator that comes in the same order when it is evaluated again.
#[diagnostic::on_unimplemented(
    message = "this loop iterates over a hash map or set, which comes in another order after a resume",
    label = "the order of a hash map or set is not kept",
    note = "help: use a `BTreeMap` or `BTreeSet`, or collect the keys into a `Vec` before the loop"
)]
pub trait InOrder {}

impl InOrder for FixedOrder {}

/// Passes what is in order.
#[inline(always)]
pub fn require_order<O: InOrder>(_: O) {}

/// Chosen for hash maps and sets.
pub trait RandomOrder {
    /// Which iterator.
    type Order;
    /// Chooses.
    fn order(&self) -> Self::Order;
}

impl<I: Shuffled> RandomOrder for &OrderProbe<'_, I> {
    type Order = ShuffledOrder<I>;
    #[inline(always)]
    fn order(&self) -> Self::Order {
        ShuffledOrder(PhantomData)
    }
}

/// Chosen for anything else.
pub trait AnyOrder {
    /// Chooses.
    #[inline(always)]
    fn order(&self) -> FixedOrder {
        FixedOrder
    }
}

impl<I> AnyOrder for OrderProbe<'_, I> {}

/// Iterators over hash maps and sets, and adapters on them.
#[doc(hidden)]
pub trait Shuffled {}

macro_rules! shuffled {
    ($($iterator:ty: [$($generic:tt)*]),+ $(,)?) => {$( impl<$($generic)*> Shuffled for $iterator {} )+};
}

shuffled! {
    hash_map::Iter<'_, K, V>: [K, V],
    hash_map::IterMut<'_, K, V>: [K, V],
    hash_map::IntoIter<K, V>: [K, V],
    hash_map::Keys<'_, K, V>: [K, V],
    hash_map::Values<'_, K, V>: [K, V],
    hash_map::ValuesMut<'_, K, V>: [K, V],
    hash_map::IntoKeys<K, V>: [K, V],
    hash_map::IntoValues<K, V>: [K, V],
    hash_map::Drain<'_, K, V>: [K, V],
    hash_set::Iter<'_, T>: [T],
    hash_set::IntoIter<T>: [T],
    hash_set::Drain<'_, T>: [T],
    hash_set::Union<'_, T, S>: [T, S],
    hash_set::Intersection<'_, T, S>: [T, S],
    hash_set::Difference<'_, T, S>: [T, S],
    hash_set::SymmetricDifference<'_, T, S>: [T, S],
    Cloned<I>: [I: Shuffled],
    Copied<I>: [I: Shuffled],
    Cycle<I>: [I: Shuffled],
    Enumerate<I>: [I: Shuffled],
    Filter<I, F>: [I: Shuffled, F],
    FilterMap<I, F>: [I: Shuffled, F],
    Flatten<I>: [I: Shuffled + Iterator<Item: IntoIterator>],
    FlatMap<I, U, F>: [I: Shuffled, U: IntoIterator, F],
    Fuse<I>: [I: Shuffled],
    Inspect<I, F>: [I: Shuffled, F],
    Map<I, F>: [I: Shuffled, F],
    MapWhile<I, F>: [I: Shuffled, F],
    Peekable<I>: [I: Shuffled + Iterator],
    Scan<I, A, F>: [I: Shuffled, A, F],
    Skip<I>: [I: Shuffled],
    SkipWhile<I, F>: [I: Shuffled, F],
    StepBy<I>: [I: Shuffled],
    Take<I>: [I: Shuffled],
    TakeWhile<I, F>: [I: Shuffled, F],
    Zip<I, J>: [I: Shuffled, J],
    Chain<I, J>: [I: Shuffled, J],
}

/// Whether the type's name shows an iterator over a hash table, or one behind `dyn` that could be.
pub(crate) fn is_random(name: &str) -> bool {
    const ITERATORS: [&str; 12] = [
        "Iter<",
        "IterMut<",
        "IntoIter<",
        "Keys<",
        "Values<",
        "ValuesMut<",
        "IntoKeys<",
        "IntoValues<",
        "Drain<",
        "Union<",
        "Intersection<",
        "Difference<",
    ];
    let tables =
        ["hash::map::", "hash::set::", "hash_map::", "hash_set::", "hashbrown::map::", "hashbrown::set::"];
    let found = |table: &str| {
        name.match_indices(table).any(|(at, _)| {
            let rest = &name[at + table.len()..];
            ITERATORS.iter().any(|iterator| rest.starts_with(iterator))
        })
    };
    tables.iter().any(|table| found(table)) || name.contains("dyn core::iter::traits::iterator::Iterator")
}

#[cfg(test)]
mod tests {
    use std::any::type_name_of_val;
    use std::collections::{BTreeMap, HashMap, HashSet};

    use super::*;

    #[test]
    fn names_show_hash_tables() {
        let (map, set) = (HashMap::from([(1, 2)]), HashSet::from([1]));
        assert!(is_random(type_name_of_val(&map.iter())));
        assert!(is_random(type_name_of_val(&map.keys().map(|key| key + 1))));
        assert!(is_random(type_name_of_val(&set.iter().enumerate())));
        assert!(is_random(type_name_of_val(&(Box::new(0..3u8) as Box<dyn Iterator<Item = u8>>))));
        assert!(is_random(type_name_of_val(&(0..3).flat_map(|_| map.values()))));
    }

    #[test]
    fn names_show_what_is_in_order() {
        let (map, maps) = (BTreeMap::from([(1, 2)]), vec![HashMap::from([(1, 2)])]);
        assert!(!is_random(type_name_of_val(&map.iter())));
        assert!(!is_random(type_name_of_val(&maps.iter())), "a vector of hash maps is in order");
        assert!(!is_random(type_name_of_val(&maps.into_iter())));
    }
}
