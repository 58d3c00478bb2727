//! What no plan can beat.
//!
//! A process that begins at `o` and must be done by `L` can give its threads `L − o` of the lock (or `c (L − o)` of
//! its CPUs). All that a stage's nodes need must fit into the sum of that, and so must, for every class, the nodes
//! that need at least as much as it: each process has room for a whole number of them. The least `L` for which
//! this holds is a lower bound of the stage's latency, whatever the assignment.

use super::problem::{Kind, Problem};
use super::slots::Slot;
use crate::predict::model::{Place, to_f64};

/// Room for threads: when it opens, and on how many CPUs.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Room {
    pub offset: f64,
    pub cpus: f64,
}

/// The work of a kind of stage, sorted so that rooms can be checked quickly.
#[derive(Clone, Debug)]
pub(crate) struct Work {
    /// CPU time with its thread's start, and how many nodes need at least as much, descending.
    needs: Vec<(f64, f64)>,
    total: f64,
    longest: f64,
    /// What a process can save: the start of a lone thread, a negative base.
    saved: f64,
}

/// How many classes are counted one by one.
const MOST_CLASSES: usize = 32;

impl Work {
    pub(crate) fn new(problem: &Problem<'_>, kind: &Kind) -> Self {
        let model = &problem.model;
        let locked = kind.classes.iter().all(|class| model.locked(class.handler));
        let start = if locked { model.constants.thread_start_ms } else { 0.0 };
        let mut needs: Vec<(f64, f64)> = kind
            .classes
            .iter()
            .map(|class| (model.work_ms(class.handler) + start, f64::from(class.count)))
            .collect();
        needs.sort_by(|a, b| b.0.total_cmp(&a.0));
        let total = needs.iter().map(|(need, count)| need * count).sum();
        let mut nodes = 0.0;
        for (_, count) in &mut needs {
            nodes += *count;
            *count = nodes;
        }
        // Every class gives a bound of its own; of very many, some are enough.
        let every = needs.len().div_ceil(MOST_CLASSES);
        let mut at = 0;
        needs.retain(|_| {
            at += 1;
            at % every == 0
        });
        let fitted = model.constants.fitted;
        let saved = start - fitted.main.base_ms.min(fitted.fork.base_ms).min(0.0);
        let longest = kind.classes.iter().map(|class| model.solo_ms(class.handler)).fold(0.0, f64::max);
        Self { needs, total, longest, saved }
    }

    fn fits(&self, rooms: &[Room], latency: f64) -> bool {
        let space = |room: &Room| {
            let open = latency - room.offset;
            if open <= 0.0 { 0.0 } else { open * room.cpus + self.saved }
        };
        if rooms.iter().map(space).sum::<f64>() < self.total {
            return false;
        }
        let holds = |&(need, nodes): &(f64, f64)| {
            need <= 0.0 || rooms.iter().map(|room| (space(room) / need).floor()).sum::<f64>() >= nodes
        };
        self.needs.iter().all(holds)
    }

    /// A latency that no assignment to these rooms can be below.
    pub(crate) fn bound(&self, rooms: &[Room]) -> f64 {
        let first = rooms.iter().map(|room| room.offset).fold(f64::INFINITY, f64::min);
        let mut low = self.longest + if first.is_finite() { first } else { 0.0 };
        if rooms.is_empty() || self.fits(rooms, low) {
            return low;
        }
        let mut high = low + self.total + rooms.iter().map(|room| room.offset).fold(0.0, f64::max);
        for _ in 0..24 {
            let middle = f64::midpoint(low, high);
            if self.fits(rooms, middle) { high = middle } else { low = middle }
        }
        low
    }
}

/// The rooms that slots are.
pub(crate) fn rooms(slots: &[Slot]) -> Vec<Room> {
    slots.iter().map(|slot| Room { offset: slot.offset, cpus: f64::from(slot.cpus) }).collect()
}

/// The best rooms that any shape with this many CPUs can offer: the earliest beginnings, each from whichever shape
/// has it first, which no single shape need have all.
pub(crate) fn best_rooms(problem: &Problem<'_>, cpus: u32, nodes: usize) -> Vec<Room> {
    let count = (cpus as usize).min(nodes).max(1);
    let locked =
        problem.workflow.handlers.iter().enumerate().all(|(handler, _)| problem.model.locked(handler));
    if !locked {
        return vec![Room { offset: 0.0, cpus: f64::from(cpus) }];
    }
    let mut offsets = Vec::new();
    earliest(problem, Place::Entry { calls: 0 }, count, &mut offsets);
    for turn in 0..count.saturating_sub(1) {
        let place = Place::Remote { turn: u32::try_from(turn).unwrap_or(u32::MAX) };
        offsets.sort_by(f64::total_cmp);
        offsets.truncate(count);
        let limit = offsets.get(count - 1).copied().unwrap_or(f64::INFINITY);
        if problem.model.place_ms(place) >= limit {
            break;
        }
        earliest(problem, place, count, &mut offsets);
    }
    offsets.sort_by(f64::total_cmp);
    offsets.truncate(count);
    offsets.into_iter().map(|offset| Room { offset, cpus: 1.0 }).collect()
}

/// The earliest `n`-th beginning in one wrap over all its sizes, for every `n`.
fn earliest(problem: &Problem<'_>, place: Place, count: usize, into: &mut Vec<f64>) {
    let constants = &problem.model.constants;
    let base = problem.model.place_ms(place);
    let collect = if matches!(place, Place::Entry { .. }) { constants.collect_ms } else { 0.0 };
    let mut best = vec![f64::INFINITY; count];
    for size in 1..=count {
        if size > 2048 {
            best[size - 1..].fill(base);
            break;
        }
        let forks = to_f64(size - 1);
        let mut offsets: Vec<f64> = (0..size - 1)
            .map(|fork| base + constants.fork_start_ms + constants.fork_block_ms * to_f64(fork))
            .collect();
        let main = base + (constants.fork_block_ms + collect) * forks;
        let at = offsets.partition_point(|&offset| offset <= main);
        offsets.insert(at, main);
        for (best, offset) in best.iter_mut().zip(offsets) {
            *best = best.min(offset);
        }
        if size > 64 && main > best[size - 1] {
            // Larger wraps only move the main process further back.
            for (fork, best) in best.iter_mut().enumerate().skip(size) {
                *best = base + constants.fork_start_ms + constants.fork_block_ms * to_f64(fork - 1);
            }
            break;
        }
    }
    into.extend(best);
}
