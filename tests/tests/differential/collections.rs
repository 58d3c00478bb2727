//! Collections, structs and generic live values.

use std::collections::{BTreeMap, BTreeSet, BinaryHeap, HashMap, VecDeque};

use limitless_faas::handler;
use serde::{Deserialize, Serialize};

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
struct Order {
    id: u32,
    items: Vec<Item>,
    note: Option<String>,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
enum Item {
    Book { pages: u32 },
    Pen(String),
    Nothing,
}

#[handler]
fn price(order: Order, factor: u32) -> (u32, Order) {
    let mut total = 0;
    let mut done = Order { items: Vec::new(), ..order.clone() };
    #[checkpoint]
    for item in &order.items {
        total += match item {
            Item::Book { pages } => pages * factor,
            Item::Pen(color) => u32::try_from(color.len()).unwrap(),
            Item::Nothing => continue,
        };
        done.items.push(item.clone());
    }
    (total, done)
}

fn order() -> Order {
    let items =
        vec![Item::Book { pages: 3 }, Item::Nothing, Item::Pen("blue".into()), Item::Book { pages: 9 }];
    Order { id: 7, items, note: None }
}

#[test]
fn structs_and_enums() {
    same!(price(order = order(), factor = 2));
}

#[handler]
fn breadth_first(edges: Vec<(u32, u32)>, start: u32) -> Vec<u32> {
    let mut next = BTreeMap::<_, Vec<_>>::new();
    #[checkpoint]
    for (from, to) in edges.iter().copied() {
        next.entry(from).or_default().push(to);
    }
    let mut seen = BTreeSet::from([start]);
    let mut queue = VecDeque::from([start]);
    let mut visited = vec![];
    #[checkpoint]
    while let Some(node) = queue.pop_front() {
        visited.push(node);
        for &to in next.get(&node).into_iter().flatten() {
            if seen.insert(to) {
                queue.push_back(to);
            }
        }
    }
    visited
}

#[test]
fn two_loops_in_a_row() {
    same!(breadth_first(edges = vec![(1, 2), (1, 3), (2, 4), (3, 4), (4, 5), (9, 1)], start = 1));
}

#[handler]
fn shortest(edges: Vec<(u8, u8, u32)>) -> BTreeMap<u8, u32> {
    let mut best = BTreeMap::from([(0u8, 0u32)]);
    let mut open = BinaryHeap::from([(std::cmp::Reverse(0u32), 0u8)]);
    #[checkpoint]
    while let Some((std::cmp::Reverse(cost), node)) = open.pop() {
        if best.get(&node).is_some_and(|known| *known < cost) {
            continue;
        }
        for &(_, to, weight) in edges.iter().filter(|(from, ..)| *from == node) {
            let through = cost + weight;
            if best.get(&to).is_none_or(|known| through < *known) {
                best.insert(to, through);
                open.push((std::cmp::Reverse(through), to));
            }
        }
    }
    best
}

#[test]
fn heaps() {
    same!(shortest(edges = vec![(0, 1, 7), (0, 2, 1), (2, 1, 2), (1, 3, 1), (2, 3, 9)]));
}

#[handler]
fn inferred(n: u8) -> (Option<u8>, Vec<Vec<u8>>, HashMap<u8, u8>) {
    let mut best = None;
    let mut rows = Vec::new();
    let mut index = HashMap::new();
    #[checkpoint]
    for i in 0..n {
        rows.push((0..i).collect::<Vec<_>>());
        index.insert(i % 2, i);
        best = best.max(Some(i ^ 5));
    }
    index.remove(&1);
    (best, rows, index)
}

#[test]
fn types_known_only_from_the_loop() {
    same!(inferred(n = 9));
}

#[handler]
fn grouped(keys: Vec<u8>) -> BTreeMap<u8, u32> {
    let mut counts: HashMap<u8, u32> = HashMap::new();
    #[checkpoint]
    for key in &keys {
        *counts.entry(*key).or_default() += 1;
    }
    let mut sorted: Vec<_> = counts.keys().copied().collect();
    sorted.sort_unstable();
    let mut result = BTreeMap::new();
    #[checkpoint]
    for key in &sorted {
        result.insert(*key, counts[key]);
    }
    result
}

#[test]
fn hash_map_that_is_not_iterated() {
    same!(grouped(keys = vec![3, 1, 3, 3, 2, 1]));
}

#[derive(Clone, Serialize, Deserialize, Default)]
struct Stack<T> {
    items: Vec<T>,
}

impl<T> Stack<T> {
    fn push(&mut self, item: T) -> &mut Self {
        self.items.push(item);
        self
    }
}

#[handler]
fn generic_value(n: u16) -> Vec<(u16, bool)> {
    let mut stack = Stack::default();
    #[checkpoint]
    for i in 0..n {
        stack.push((i, i % 2 == 0)).push((i * 2, false));
    }
    let Stack { items } = stack;
    items
}

#[test]
fn generic_live_values() {
    same!(generic_value(n = 7));
}

#[handler]
fn destructured(pairs: Vec<(u32, Order)>) -> (u32, Vec<u32>) {
    let (mut sum, [mut low, mut high]) = (0, [u32::MAX, 0]);
    let Order { id, items: ref_items, .. } = pairs[0].1.clone();
    let mut ids = vec![id, u32::try_from(ref_items.len()).unwrap()];
    #[checkpoint]
    for (weight, Order { id, note, .. }) in &pairs {
        if note.is_some() {
            continue;
        }
        sum += weight * id;
        low = low.min(*id);
        high = high.max(*id);
        ids.push(*id);
    }
    (sum + low + high, ids)
}

#[test]
fn patterns_of_every_kind() {
    let noted = Order { note: Some("x".into()), id: 1, ..order() };
    same!(destructured(pairs = vec![(2, order()), (3, noted.clone()), (5, Order { id: 11, ..order() })]));
}

#[handler]
fn one_struct(order: Order) -> usize {
    let mut pages = 0;
    #[checkpoint]
    for item in &order.items {
        if let Item::Book { pages: some } = item {
            pages += *some as usize;
        }
    }
    pages
}

#[test]
fn single_struct_parameter_takes_the_whole_input() {
    let plain = one_struct(order()).to_string();
    limitless_faas_tests::resume::differ::<one_struct>(&serde_json::to_string(&order()).unwrap(), &plain, 5);
}

#[handler]
fn taken_and_given_back(n: u32) -> Vec<Vec<u32>> {
    let mut done = Vec::new();
    let mut open = Vec::new();
    #[checkpoint]
    for i in 0..n {
        open.push(i);
        if open.len() == 3 {
            done.push(open);
            open = Vec::new();
        }
    }
    done.push(open);
    done
}

#[test]
fn values_moved_and_replaced_within_an_iteration() {
    same!(taken_and_given_back(n = 11));
}

mod cells {
    use std::cell::Cell;
    use std::sync::Mutex;
    use std::sync::atomic::{AtomicU32, Ordering};

    use super::{Deserialize, Serialize, handler};

    #[derive(Serialize, Deserialize)]
    pub(super) struct Counted {
        calls: AtomicU32,
        last: Mutex<u32>,
    }

    // Changed without `mut`: parameters are saved, not decoded again.
    #[handler]
    pub(super) fn interior(counter: Counted, start: Cell<u32>, n: u32) -> (u32, u32, u32) {
        #[checkpoint]
        for i in 0..n {
            counter.calls.fetch_add(i, Ordering::Relaxed);
            *counter.last.lock().unwrap() = i;
            start.set(start.get() ^ i);
        }
        let last = *counter.last.lock().unwrap();
        (counter.calls.into_inner(), last, start.get())
    }

    #[test]
    fn parameters_that_change_without_mut() {
        let plain = interior(Counted { calls: AtomicU32::new(4), last: Mutex::new(0) }, Cell::new(9), 8);
        let plain = serde_json::to_string(&plain).unwrap();
        let input = r#"{"counter":{"calls":4,"last":0},"start":9,"n":8}"#;
        limitless_faas_tests::resume::differ::<interior>(input, &plain, 20);
    }
}
