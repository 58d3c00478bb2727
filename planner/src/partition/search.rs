//! The search over shapes: how many CPUs, in which wraps.
//!
//! What is found for a number of CPUs and wraps does not depend on the SLO. So a looser SLO can only accept more of
//! the same answers, and never gets a worse one; and more CPUs only add answers.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use rustc_hash::FxHashMap;

use super::bound::{Work, best_rooms, rooms};
use super::problem::Problem;
use super::slots::{Shape, Slot, Use, shapes, slots, uses};
use super::stage::{Assignment, Stage};

/// A plan in the terms of the search.
#[derive(Clone, Debug)]
pub(crate) struct Solution {
    pub latency: f64,
    pub shape: Shape,
    /// For each stage.
    pub stages: Vec<(Use, Vec<Slot>, Assignment)>,
}

/// A search that remembers what it has found.
pub(crate) struct Search<'a> {
    pub problem: &'a Problem<'a>,
    pub work: Vec<Work>,
    stages: Vec<Stage<'a>>,
    solved: Vec<FxHashMap<Vec<Key>, Option<Assignment>>>,
    bounds: Vec<FxHashMap<Vec<Key>, f64>>,
    best: BTreeMap<(u32, usize), Option<Solution>>,
    deadline: Option<Instant>,
    /// Whether the time was over before the search was.
    pub stopped: bool,
}

/// What the solution for a slot depends on.
type Key = (u64, u8, bool, u32, usize);

/// Stages of more nodes than this are not searched over all shapes.
const SMALL_NODES: usize = 6;

/// How many of the most promising shapes, and uses of one, are solved when there are too many for all.
const SOLVED_SHAPES: usize = 4;
const SOLVED_USES: usize = 2;

/// How many threads are predicted to polish a plan.
const POLISH_EFFORT: u64 = 1_500;

impl<'a> Search<'a> {
    pub(crate) fn new(problem: &'a Problem<'a>, budget: Option<Duration>) -> Self {
        let kinds = &problem.kinds;
        let deadline = budget.and_then(|budget| Instant::now().checked_add(budget));
        Self {
            problem,
            work: kinds.iter().map(|kind| Work::new(problem, kind)).collect(),
            stages: kinds.iter().map(|kind| Stage::new(problem, kind, deadline)).collect(),
            solved: kinds.iter().map(|_| FxHashMap::default()).collect(),
            bounds: kinds.iter().map(|_| FxHashMap::default()).collect(),
            best: BTreeMap::new(),
            deadline,
            stopped: false,
        }
    }

    /// Whether every answer is the best there is.
    pub(crate) fn exact(&self) -> bool {
        self.small() && self.stages.iter().all(Stage::exact)
    }

    fn small(&self) -> bool {
        self.problem.workflow.widest() <= SMALL_NODES
    }

    /// Whether the time is over.
    pub(crate) fn late(&mut self) -> bool {
        self.stopped = self.stopped || self.deadline.is_some_and(|deadline| Instant::now() >= deadline);
        self.stopped
    }

    /// The numbers of CPUs that are tried: each of the first `dense`, then fewer and fewer. The list does not depend
    /// on what is asked for, so that more CPUs or a looser SLO only add to it.
    pub(crate) fn cpus(most: u32, dense: u32) -> Vec<u32> {
        let mut cpus = Vec::new();
        let mut next = 1;
        while next <= most {
            cpus.push(next);
            next += if next < dense { 1 } else { (next * 5 / (dense * 4)).max(1) };
        }
        cpus
    }

    /// The numbers of wraps that are tried for a number of CPUs.
    pub(crate) fn wraps(&self, cpus: u32) -> Vec<usize> {
        let most = cpus as usize;
        let fewest = self.problem.fewest_wraps();
        let mut wraps = Vec::new();
        let mut next = fewest;
        while next <= most {
            wraps.push(next);
            next = if self.small() || next < fewest + 8 { next + 1 } else { next + next / 4 };
        }
        wraps
    }

    /// The best plan found with exactly this many CPUs and wraps.
    pub(crate) fn best(&mut self, cpus: u32, wraps: usize) -> Option<Solution> {
        if let Some(known) = self.best.get(&(cpus, wraps)) {
            return known.clone();
        }
        let mut ranked: Vec<(f64, Shape)> = Vec::new();
        for shape in shapes(self.problem, cpus, wraps, self.small()) {
            let bound = self.shape_bound(&shape);
            if bound.is_finite() {
                ranked.push((bound, shape));
            }
        }
        ranked.sort_by(|a, b| a.0.total_cmp(&b.0));
        if !self.small() {
            ranked.truncate(if self.problem.workflow.widest() > 200 { 1 } else { SOLVED_SHAPES });
        }
        let mut best: Option<Solution> = None;
        for (bound, shape) in ranked {
            // Late or not, there must be one plan.
            if best.as_ref().is_some_and(|best| best.latency <= bound) || (best.is_some() && self.late()) {
                break;
            }
            let limit = best.as_ref().map_or(f64::INFINITY, |best| best.latency);
            if let Some(found) = self.solve(&shape, limit) {
                best = Some(found);
            }
        }
        if let Some(best) = &mut best {
            self.polish(best);
        }
        if !self.stopped {
            self.best.insert((cpus, wraps), best.clone());
        }
        best
    }

    /// Spends a fixed effort on making the best plan of a number of CPUs and wraps better.
    fn polish(&mut self, best: &mut Solution) {
        let mut done: FxHashMap<usize, Assignment> = FxHashMap::default();
        let kinds = self.problem.kinds.len();
        let effort = POLISH_EFFORT / u64::try_from(kinds).unwrap_or(1).max(1);
        for (at, (_, slots, assignment)) in best.stages.iter_mut().enumerate() {
            let kind = self.problem.kind_of[at];
            let polished = done.entry(kind).or_insert_with(|| {
                let bound = self.work[kind].bound(&rooms(slots));
                self.stages[kind].polish(slots, assignment.clone(), bound, effort)
            });
            *assignment = polished.clone();
        }
        best.latency = best.stages.iter().map(|stage| stage.2.latency).sum();
    }

    /// What no plan with this many CPUs and wraps can beat, of those that [`Search::best`] looks at.
    pub(crate) fn bound(&mut self, cpus: u32, wraps: usize) -> f64 {
        let shapes = shapes(self.problem, cpus, wraps, self.small());
        shapes.iter().map(|shape| self.shape_bound(shape)).fold(f64::INFINITY, f64::min)
    }

    fn shape_bound(&mut self, shape: &Shape) -> f64 {
        let kinds = self.kind_bounds(shape);
        self.problem.kind_of.iter().map(|&kind| kinds[kind]).sum()
    }

    fn kind_bounds(&mut self, shape: &Shape) -> Vec<f64> {
        (0..self.problem.kinds.len())
            .map(|kind| {
                let uses = self.ranked_uses(kind, shape);
                uses.first().map_or(f64::INFINITY, |first| first.0)
            })
            .collect()
    }

    /// What a stage may use of a shape, most promising first.
    fn ranked_uses(&mut self, kind: usize, shape: &Shape) -> Vec<(f64, Use, Vec<Slot>)> {
        let problem = self.problem;
        let mut ranked = Vec::new();
        for used in uses(problem, shape, &problem.kinds[kind], self.small()) {
            let slots = slots(problem, shape, &used);
            if slots.is_empty() || slots.len() > problem.kinds[kind].nodes() {
                continue;
            }
            let key = signature(&slots, false);
            let work = &self.work[kind];
            let bound = *self.bounds[kind].entry(key).or_insert_with(|| work.bound(&rooms(&slots)));
            ranked.push((bound, used, slots));
        }
        ranked.sort_by(|a, b| a.0.total_cmp(&b.0));
        ranked
    }

    /// The best plan of a shape, if it is below the limit.
    fn solve(&mut self, shape: &Shape, limit: f64) -> Option<Solution> {
        let kinds = self.kind_bounds(shape);
        let mut left: f64 = self.problem.kind_of.iter().map(|&kind| kinds[kind]).sum();
        let mut found: Vec<Option<(Use, Vec<Slot>, Assignment)>> = vec![None; kinds.len()];
        for (kind, bound) in kinds.iter().enumerate() {
            let best = self.solve_stage(kind, shape)?;
            let times = self.problem.kind_of.iter().filter(|&&of| of == kind).count();
            left += (best.2.latency - bound) * crate::predict::model::to_f64(times);
            found[kind] = Some(best);
            if left >= limit {
                return None;
            }
        }
        let stages: Vec<_> = self.problem.kind_of.iter().filter_map(|&kind| found[kind].clone()).collect();
        let latency: f64 = stages.iter().map(|stage| stage.2.latency).sum();
        (latency < limit).then(|| Solution { latency, shape: shape.clone(), stages })
    }

    fn solve_stage(&mut self, kind: usize, shape: &Shape) -> Option<(Use, Vec<Slot>, Assignment)> {
        let mut ranked = self.ranked_uses(kind, shape);
        if !self.small() {
            ranked.truncate(SOLVED_USES);
        }
        let mut best: Option<(Use, Vec<Slot>, Assignment)> = None;
        for (bound, used, slots) in ranked {
            if best.as_ref().is_some_and(|best| best.2.latency <= bound) {
                break;
            }
            let key = signature(&slots, self.problem.kinds[kind].constrained);
            let stage = &mut self.stages[kind];
            let solved = self.solved[kind].entry(key).or_insert_with(|| stage.solve(&slots)).clone();
            if let Some(solved) = solved
                && best.as_ref().is_none_or(|best| solved.latency < best.2.latency)
            {
                best = Some((used, slots, solved));
            }
        }
        best
    }

    /// What no plan with at most this many CPUs can beat.
    pub(crate) fn workflow_bound(&self, cpus: u32) -> f64 {
        let bounds: Vec<f64> = self
            .problem
            .kinds
            .iter()
            .zip(&self.work)
            .map(|(kind, work)| work.bound(&best_rooms(self.problem, cpus, kind.nodes())))
            .collect();
        self.problem.kind_of.iter().map(|&kind| bounds[kind]).sum()
    }
}

/// Slots of one signature have one solution. Which wrap they are in matters only where nodes are kept apart.
fn signature(slots: &[Slot], constrained: bool) -> Vec<Key> {
    let key = |slot: &Slot| {
        let remote = u8::from(matches!(slot.place, crate::predict::Place::Remote { .. }));
        let start = slot.start as u8;
        let wrap = if constrained { slot.wrap } else { slot.label };
        (slot.offset.to_bits(), remote * 8 + start, slot.alone, slot.cpus, wrap)
    };
    slots.iter().map(key).collect()
}
