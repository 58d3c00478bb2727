//! Shapes of plans, and the places (slots) that a shape offers to the nodes of a stage.

use limitless_faas_core::plan::Start;

use super::problem::{Class, Kind, Problem};
use crate::predict::model::Place;

/// The wraps of a plan: a label and a number of CPUs each, the entry wrap first.
pub(crate) type Shape = Vec<(usize, u32)>;

/// What a stage uses of a shape: wraps by number and processes (or CPUs of a parallel one) in each, in the order in
/// which they are invoked, the entry wrap first if it takes part.
pub(crate) type Use = Vec<(usize, u32)>;

/// One process that nodes can be put into.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Slot {
    /// Its wrap, by its number in the shape.
    pub wrap: usize,
    pub label: usize,
    pub start: Start,
    pub place: Place,
    /// Whether it is the only process of its wrap.
    pub alone: bool,
    /// More than one only where threads are parallel.
    pub cpus: u32,
    /// When it begins.
    pub offset: f64,
}

/// The slots that a stage has when it uses this of a shape.
pub(crate) fn slots(problem: &Problem<'_>, shape: &Shape, used: &Use) -> Vec<Slot> {
    let calls = used.iter().filter(|(wrap, _)| *wrap != 0).count();
    let mut turn = 0;
    let mut slots = Vec::new();
    for &(wrap, size) in used {
        let place = if wrap == 0 {
            Place::Entry { calls: u32::try_from(calls).unwrap_or(u32::MAX) }
        } else {
            turn += 1;
            Place::Remote { turn: turn - 1 }
        };
        let label = shape[wrap].0;
        let parallel = problem.parallel(label);
        let processes = if parallel { 1 } else { size };
        let mut starts = vec![Start::Fork; processes as usize];
        starts[0] = problem.main;
        let cpus = if parallel { size } else { 1 };
        for (start, offset) in starts.iter().zip(problem.model.offsets(&starts, place)) {
            slots.push(Slot { wrap, label, start: *start, place, alone: processes == 1, cpus, offset });
        }
    }
    slots
}

/// Shapes with this many CPUs and wraps. All of them while there are few (`all`); else those with remote wraps of
/// equal size.
pub(crate) fn shapes(problem: &Problem<'_>, cpus: u32, wraps: usize, all: bool) -> Vec<Shape> {
    let labels = problem.labels.len();
    if wraps < problem.fewest_wraps() || (cpus as usize) < wraps {
        return Vec::new();
    }
    // Each label has one wrap; further ones belong to the entry wrap's label.
    let mut shapes = Vec::new();
    let others = labels - 1;
    let extra = wraps - labels;
    let mut fixed = vec![1; others];
    loop {
        let taken: u32 = fixed.iter().sum();
        if taken < cpus {
            for entry in sizes(cpus - taken, all) {
                let rest = cpus - taken - entry;
                for sizes in split(rest, extra, all) {
                    let mut shape = vec![(0, entry)];
                    shape.extend(fixed.iter().enumerate().map(|(at, &size)| (at + 1, size)));
                    shape.extend(sizes.into_iter().map(|size| (0, size)));
                    shapes.push(shape);
                }
            }
        }
        if shapes.len() > MOST_SHAPES || !count_up(&mut fixed, cpus) {
            return shapes;
        }
    }
}

const MOST_SHAPES: usize = 2_000;

/// Sizes from 1 to `most`: all of them, or all small ones and then fewer and fewer. Every fork delays the main
/// process, so that large wraps differ little.
fn sizes(most: u32, all: bool) -> Vec<u32> {
    if all || most <= 8 {
        return (1..=most).collect();
    }
    let mut sizes = vec![most];
    let mut next = 1;
    while next < most {
        sizes.push(next);
        next += if next < 8 { 1 } else { next / 4 };
    }
    sizes
}

/// The next vector of sizes, or `false` after the last.
fn count_up(sizes: &mut [u32], most: u32) -> bool {
    for size in sizes {
        if *size < most {
            *size += 1;
            return true;
        }
        *size = 1;
    }
    false
}

/// `total` in `parts` parts of at least one, descending.
fn split(total: u32, parts: usize, all: bool) -> Vec<Vec<u32>> {
    let count = u32::try_from(parts).unwrap_or(u32::MAX);
    if parts == 0 {
        return if total == 0 { vec![Vec::new()] } else { Vec::new() };
    }
    if total < count {
        return Vec::new();
    }
    if !all {
        let (each, more) = (total / count, total % count);
        return vec![(0..count).map(|at| each + u32::from(at < more)).collect()];
    }
    let mut splits = Vec::new();
    descend(total, parts, total, &mut Vec::new(), &mut splits);
    splits
}

fn descend(total: u32, parts: usize, most: u32, made: &mut Vec<u32>, splits: &mut Vec<Vec<u32>>) {
    if parts == 0 {
        if total == 0 {
            splits.push(made.clone());
        }
        return;
    }
    for size in (1..=most.min(total)).rev() {
        made.push(size);
        descend(total - size, parts - 1, size, made, splits);
        made.pop();
    }
}

/// What a stage of this kind may use of a shape: any part of the entry wrap, and of the others any number (`all`:
/// in any size and order; else each whole).
pub(crate) fn uses(problem: &Problem<'_>, shape: &Shape, kind: &Kind, all: bool) -> Vec<Use> {
    let present = |label: usize| {
        kind.classes.iter().filter(|c| c.label == label).map(|c| u32::from(c.count)).sum::<u32>()
    };
    let entry = present(0);
    let mut forced: Use = Vec::new();
    let mut free = Vec::new();
    for (wrap, &(label, size)) in shape.iter().enumerate().skip(1) {
        let nodes = present(label);
        let pinned = kind.classes.iter().any(|class| class.wrap == Some(wrap));
        if nodes == 0 {
            continue;
        }
        let size = if problem.parallel(label) { size } else { size.min(nodes) };
        if label == 0 && !pinned { free.push((wrap, size)) } else { forced.push((wrap, size)) }
    }
    let mut uses = Vec::new();
    let pinned_away = |class: &Class| class.wrap.is_some_and(|wrap| wrap != 0);
    if kind.classes.iter().filter(|class| class.label == 0).all(pinned_away) {
        return vec![forced];
    }
    let most = if problem.parallel(0) { shape[0].1 } else { shape[0].1.min(entry) };
    let fewest = if problem.parallel(0) { most } else { 1 };
    for size in sizes(most, all).into_iter().filter(|&size| size >= fewest) {
        let left = if problem.parallel(0) { u32::MAX } else { entry - size };
        for remote in remotes(&free, left, all) {
            let mut taken = vec![(0, size)];
            taken.extend(&forced);
            taken.extend(remote);
            uses.push(taken);
        }
    }
    uses
}

/// Ways to use remote wraps of the entry's label, for at most `left` more processes.
fn remotes(free: &[(usize, u32)], left: u32, all: bool) -> Vec<Use> {
    let mut found = vec![Vec::new()];
    if all {
        arrange(free, left, &mut Vec::new(), &mut found);
        return found;
    }
    let mut taken = 0;
    let fitting = free.iter().take_while(|&&(_, size)| {
        taken += size;
        taken <= left
    });
    let most = fitting.count();
    if most == 0 {
        return found;
    }
    for count in sizes(u32::try_from(most).unwrap_or(u32::MAX), false) {
        found.push(free[..count as usize].to_vec());
    }
    found
}

/// Every order of every choice of sizes; wraps of equal size are taken in their order.
fn arrange(free: &[(usize, u32)], left: u32, made: &mut Use, found: &mut Vec<Use>) {
    for (at, &(wrap, most)) in free.iter().enumerate() {
        let taken = made.iter().any(|&(other, _)| other == wrap);
        let twin = free[..at].iter().any(|&(other, size)| size == most && !made.iter().any(|m| m.0 == other));
        if taken || twin {
            continue;
        }
        for size in 1..=most.min(left) {
            made.push((wrap, size));
            found.push(made.clone());
            arrange(free, left - size, made, found);
            made.pop();
        }
    }
}
