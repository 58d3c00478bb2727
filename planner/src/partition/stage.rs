//! The assignment of one stage's nodes to slots: exact where it is small, longest-first with local search where not.

use std::time::Instant;

use limitless_faas_core::plan::Start;
use rustc_hash::FxHashMap;

use super::problem::{Kind, Problem};
use super::slots::Slot;
use crate::predict::model::Place;

/// How many nodes of each class a process runs.
pub(crate) type Content = Vec<u16>;

/// An assignment and its latency.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Assignment {
    pub latency: f64,
    /// For each slot.
    pub contents: Vec<Content>,
}

/// What a process of some content costs from its beginning on, remembered: for a start, in the entry wrap or not,
/// alone or not, on a number of CPUs.
type Memo = FxHashMap<(Start, bool, bool, u32), FxHashMap<Content, f64>>;

/// A kind of stage with all that is known of it.
pub(crate) struct Stage<'a> {
    pub problem: &'a Problem<'a>,
    pub kind: &'a Kind,
    memo: Memo,
    deadline: Option<Instant>,
    /// Predictions made, a measure of effort that does not depend on the machine.
    pub effort: u64,
}

/// Stages with at most this many ways to take some of their nodes are solved exactly.
pub(crate) const EXACT_SUBSETS: usize = 1_024;

/// Constrained stages with at most this many nodes are solved exactly.
const EXACT_NODES: usize = 6;

impl<'a> Stage<'a> {
    pub(crate) fn new(problem: &'a Problem<'a>, kind: &'a Kind, deadline: Option<Instant>) -> Self {
        Self { problem, kind, memo: Memo::default(), deadline, effort: 0 }
    }

    /// Whether the time is over.
    pub(crate) fn late(&self) -> bool {
        self.deadline.is_some_and(|deadline| Instant::now() >= deadline)
    }

    /// Whether [`Stage::solve`] finds the best there is.
    pub(crate) fn exact(&self) -> bool {
        if self.kind.constrained || self.labels() > 1 {
            self.kind.nodes() <= EXACT_NODES
        } else {
            self.kind.subsets() <= EXACT_SUBSETS
        }
    }

    fn labels(&self) -> usize {
        let mut labels: Vec<_> = self.kind.classes.iter().map(|class| class.label).collect();
        labels.sort_unstable();
        labels.dedup();
        labels.len()
    }

    /// The best assignment found that uses every slot, if there is any.
    pub(crate) fn solve(&mut self, slots: &[Slot]) -> Option<Assignment> {
        if slots.is_empty() || slots.len() > self.kind.nodes() {
            return None;
        }
        if !self.exact() {
            return self.longest_first(slots).map(|start| self.improve(slots, start));
        }
        if self.kind.constrained || self.labels() > 1 {
            return self.enumerate(slots);
        }
        self.subsets(slots)
    }

    /// When a slot with this content is done.
    pub(crate) fn done(&mut self, slot: &Slot, content: &Content) -> f64 {
        if content.iter().all(|&count| count == 0) {
            return 0.0;
        }
        slot.offset + self.cost(slot, content)
    }

    fn cost(&mut self, slot: &Slot, content: &Content) -> f64 {
        let lone = slot.alone && content.iter().sum::<u16>() == 1;
        let remote = matches!(slot.place, Place::Remote { .. });
        let kind = (slot.start, remote, lone, slot.cpus);
        if let Some(&known) = self.memo.get(&kind).and_then(|memo| memo.get(content)) {
            return known;
        }
        let handlers = self.handlers(content);
        self.effort += u64::try_from(handlers.len()).unwrap_or(u64::MAX);
        let model = &self.problem.model;
        let cost = model.payload_ms(slot.start, slot.place, &handlers)
            + model.exec_on(slot.start, &handlers, slot.alone, slot.cpus);
        self.memo.entry(kind).or_default().insert(content.clone(), cost);
        cost
    }

    /// The handlers of a content in the order in which their threads start.
    pub(crate) fn handlers(&self, content: &Content) -> Vec<usize> {
        let mut handlers = Vec::new();
        for (class, &count) in self.kind.classes.iter().zip(content) {
            handlers.extend(std::iter::repeat_n(class.handler, usize::from(count)));
        }
        handlers
    }

    /// Exact: the best way to put each subset of the nodes into the slots from the `j`-th on, from the last slot to
    /// the first. It assumes nothing of the predictor, not even that more threads take longer.
    fn subsets(&mut self, slots: &[Slot]) -> Option<Assignment> {
        let counts: Vec<usize> = self.kind.classes.iter().map(|class| usize::from(class.count) + 1).collect();
        let total = self.kind.subsets();
        let content = |mut code: usize| -> Content {
            let digit = |&base: &usize| {
                let digit = code % base;
                code /= base;
                u16::try_from(digit).unwrap_or(u16::MAX)
            };
            counts.iter().map(digit).collect()
        };
        let contents: Vec<Content> = (0..total).map(content).collect();
        let mut costs: Vec<f64> = Vec::new();
        let mut best = vec![f64::INFINITY; total];
        best[0] = 0.0;
        let mut choices: Vec<Vec<u32>> = Vec::new();
        for slot in slots.iter().rev() {
            costs.clear();
            costs.extend(contents.iter().map(|content| self.done(slot, content)));
            let mut next = vec![f64::INFINITY; total];
            let mut choice = vec![0; total];
            for (whole, content) in contents.iter().enumerate() {
                // Walks the parts of `whole` in the mixed radix of its counts.
                for part in Parts::new(content, &counts) {
                    let cost = costs[part].max(best[whole - part]);
                    if part > 0 && cost < next[whole] {
                        next[whole] = cost;
                        choice[whole] = u32::try_from(part).unwrap_or(u32::MAX);
                    }
                }
            }
            best = next;
            choices.push(choice);
        }
        let mut left = total - 1;
        let latency = best[left];
        let mut assigned = Vec::new();
        for choice in choices.iter().rev() {
            let part = choice[left] as usize;
            assigned.push(contents[part].clone());
            left -= part;
        }
        latency.is_finite().then_some(Assignment { latency, contents: assigned })
    }

    /// Exact for few nodes with constraints: every assignment, cut where the work alone exceeds the best so far.
    fn enumerate(&mut self, slots: &[Slot]) -> Option<Assignment> {
        let mut contents = vec![vec![0; self.kind.classes.len()]; slots.len()];
        let mut best = None;
        let units = self.units();
        self.descend(slots, &units, 0, &mut contents, &mut best);
        best
    }

    fn descend(
        &mut self,
        slots: &[Slot],
        units: &[usize],
        least: usize,
        contents: &mut Vec<Content>,
        best: &mut Option<Assignment>,
    ) {
        let Some((&class, rest)) = units.split_first() else {
            if contents.iter().any(|content| content.iter().all(|&count| count == 0)) {
                return;
            }
            let done = slots.iter().zip(contents.iter()).map(|(slot, content)| self.done(slot, content));
            let latency = done.fold(0.0, f64::max);
            if best.as_ref().is_none_or(|best| latency < best.latency) {
                *best = Some(Assignment { latency, contents: contents.clone() });
            }
            return;
        };
        for at in least..slots.len() {
            if !self.fits(slots, contents, at, class) {
                continue;
            }
            contents[at][class] += 1;
            // Nodes of one class are interchangeable: the next goes no further forward.
            let next = if rest.first() == Some(&class) { at } else { 0 };
            self.descend(slots, rest, next, contents, best);
            contents[at][class] -= 1;
        }
    }

    /// The class of every node, longest first.
    fn units(&self) -> Vec<usize> {
        let each = self.kind.classes.iter().enumerate();
        each.flat_map(|(at, class)| std::iter::repeat_n(at, usize::from(class.count))).collect()
    }

    /// Whether one more node of a class may be put into a slot.
    pub(crate) fn fits(&self, slots: &[Slot], contents: &[Content], at: usize, class: usize) -> bool {
        let (slot, wanted) = (&slots[at], &self.kind.classes[class]);
        if wanted.label != slot.label || wanted.wrap.is_some_and(|wrap| wrap != slot.wrap) {
            return false;
        }
        if !self.kind.constrained {
            return true;
        }
        let present =
            |at: usize| contents[at].iter().enumerate().filter(|(_, count)| **count > 0).map(|(c, _)| c);
        let own = |class: usize| self.kind.classes[class].own_process;
        if (wanted.own_process && present(at).next().is_some()) || present(at).any(own) {
            return false;
        }
        let same_wrap = || (0..slots.len()).filter(|&other| slots[other].wrap == slot.wrap);
        let same_file =
            |other: usize| self.problem.writers.contains(&(wanted.handler, self.kind.classes[other].handler));
        if same_wrap().any(|other| present(other).any(same_file)) {
            return false;
        }
        let Some(limit) = self.problem.sandbox_mb else { return true };
        let memory = self.problem.workflow.calibration.memory;
        let mut need = memory.sandbox_mb + self.memory_mb(class);
        for other in same_wrap() {
            need += if slots[other].start == Start::Fork { memory.process_mb } else { 0.0 };
            let classes = contents[other].iter().enumerate();
            need += classes.map(|(class, &count)| self.memory_mb(class) * f64::from(count)).sum::<f64>();
        }
        need <= limit
    }

    fn memory_mb(&self, class: usize) -> f64 {
        let handler = self.kind.classes[class].handler;
        let workflow = self.problem.workflow;
        workflow.profile(handler).memory_mb + workflow.calibration.memory.thread_mb
    }

    /// Longest first, each node to where it would be done first by a quick estimate.
    fn longest_first(&mut self, slots: &[Slot]) -> Option<Vec<Content>> {
        let mut contents = vec![vec![0; self.kind.classes.len()]; slots.len()];
        let mut loads = vec![Load::default(); slots.len()];
        let mut empty = slots.len();
        let units = self.units();
        for (placed, &class) in units.iter().enumerate() {
            let must_open = units.len() - placed <= empty;
            let mut best: Option<(f64, usize)> = None;
            for (at, slot) in slots.iter().enumerate() {
                if must_open && loads[at].threads > 0 {
                    continue;
                }
                let done = slot.offset + loads[at].with(self.load(slot, class)).estimate();
                let better = best.is_none_or(|(other, _)| done < other);
                if better && self.fits(slots, &contents, at, class) {
                    best = Some((done, at));
                }
            }
            let (_, at) = best?;
            empty -= usize::from(loads[at].threads == 0);
            loads[at] = loads[at].with(self.load(&slots[at], class));
            contents[at][class] += 1;
        }
        (empty == 0).then_some(contents)
    }

    fn load(&self, slot: &Slot, class: usize) -> Load {
        let handler = self.kind.classes[class].handler;
        let timeline = self.problem.model.timeline(handler, slot.start);
        let start = self.problem.model.constants.thread_start_ms;
        Load {
            work: (timeline.cpu_ms + if slot.cpus == 1 { start } else { 0.0 }) / f64::from(slot.cpus),
            longest: timeline.latency_ms + start,
            threads: 1,
        }
    }

    fn total_load(&self, slot: &Slot, content: &Content) -> Load {
        let mut load = Load::default();
        for (class, &count) in content.iter().enumerate().filter(|(_, count)| **count > 0) {
            let one = self.load(slot, class);
            load = load.with(Load { work: one.work * f64::from(count), ..one });
        }
        load
    }

    /// Goes on from a solution: shakes it, improves it again, keeps the best. The random numbers are always the
    /// same, and so is the result. Stops when this many threads were predicted or the bound is reached.
    pub(crate) fn polish(
        &mut self,
        slots: &[Slot],
        start: Assignment,
        bound: f64,
        effort: u64,
    ) -> Assignment {
        if self.exact() || slots.len() < 2 {
            return start;
        }
        let mut random = fastrand::Rng::with_seed(0x5ac5);
        let end = self.effort.saturating_add(effort);
        let mut best = start;
        let mut rounds = 0;
        while self.effort < end && rounds < MOST_ROUNDS && best.latency > bound + GAIN_MS {
            rounds += 1;
            let mut contents = best.contents.clone();
            for _ in 0..2 + rounds % 3 {
                self.shake(slots, &mut contents, &mut random);
            }
            let found = self.improve(slots, contents);
            if found.latency < best.latency {
                best = found;
            }
        }
        best
    }

    /// Exchanges two random nodes of different slots, or moves one.
    fn shake(&self, slots: &[Slot], contents: &mut [Content], random: &mut fastrand::Rng) {
        let (from, to) = (random.usize(..slots.len()), random.usize(..slots.len()));
        let pick = |content: &Content, random: &mut fastrand::Rng| {
            let held: Vec<usize> = (0..content.len()).filter(|&class| content[class] > 0).collect();
            held.get(random.usize(..held.len().max(1))).copied()
        };
        let (Some(give), Some(back)) = (pick(&contents[from], random), pick(&contents[to], random)) else {
            return;
        };
        let threads = contents[from].iter().map(|&count| u32::from(count)).sum::<u32>();
        let back = (threads < 2 || random.bool()).then_some(back);
        if from == to || back == Some(give) {
            return;
        }
        let change = Change { to, give, back };
        // Any latency will do: the point is to be elsewhere.
        self.exchange(slots, contents, from, &change);
    }

    /// Makes a change if everything may be where it then is; `false` leaves all as it was.
    fn exchange(&self, slots: &[Slot], contents: &mut [Content], from: usize, change: &Change) -> bool {
        contents[from][change.give] -= 1;
        if let Some(back) = change.back {
            contents[change.to][back] -= 1;
        }
        let mut fits = self.fits(slots, contents, change.to, change.give);
        contents[change.to][change.give] += 1;
        if let Some(back) = change.back {
            fits = fits && self.fits(slots, contents, from, back);
            contents[from][back] += 1;
        }
        if !fits {
            change.undo(contents, from);
        }
        fits
    }

    /// Moves and swaps out of the slot that is done last, as long as that helps.
    fn improve(&mut self, slots: &[Slot], mut contents: Vec<Content>) -> Assignment {
        let mut done: Vec<f64> = slots.iter().zip(&contents).map(|(s, c)| self.done(s, c)).collect();
        let most = 64 + 2 * self.kind.nodes();
        for _ in 0..most {
            if self.late() {
                break;
            }
            let Some(worst) = (0..done.len()).max_by(|&a, &b| done[a].total_cmp(&done[b]).then(b.cmp(&a)))
            else {
                break;
            };
            let mut better = false;
            for change in self.changes(slots, &contents, &done, worst) {
                if let Some((here, there)) =
                    self.try_change(slots, &mut contents, worst, &change, done[worst])
                {
                    (done[worst], done[change.to]) = (here, there);
                    better = true;
                    break;
                }
            }
            if !better {
                break;
            }
        }
        Assignment { latency: done.into_iter().fold(0.0, f64::max), contents }
    }

    /// The most promising changes by estimate, best first.
    fn changes(&self, slots: &[Slot], contents: &[Content], done: &[f64], worst: usize) -> Vec<Change> {
        let estimate =
            |at: usize, content: &Content| slots[at].offset + self.total_load(&slots[at], content).estimate();
        let bias = |at: usize| done[at] - estimate(at, &contents[at]);
        let here_bias = bias(worst);
        let here = self.total_load(&slots[worst], &contents[worst]);
        let mut changes = Vec::new();
        let classes = self.kind.classes.len();
        let held = |at: usize| (0..classes).filter(move |&class| contents[at][class] > 0);
        let keeps_one = contents[worst].iter().map(|&count| u32::from(count)).sum::<u32>() > 1;
        let mut roomy: Vec<usize> = (0..slots.len()).filter(|&to| to != worst).collect();
        roomy.sort_by(|&a, &b| done[a].total_cmp(&done[b]).then(a.cmp(&b)));
        roomy.truncate(ROOMY);
        for to in roomy {
            let there_bias = bias(to);
            let there = self.total_load(&slots[to], &contents[to]);
            for give in held(worst) {
                let swaps = held(to).filter(|&back| back > give).map(Some);
                for back in swaps.chain(keeps_one.then_some(None)) {
                    let mut left_here = here.work - self.load(&slots[worst], give).work;
                    let mut moved_to = there.work + self.load(&slots[to], give).work;
                    if let Some(back) = back {
                        left_here += self.load(&slots[worst], back).work;
                        moved_to -= self.load(&slots[to], back).work;
                    }
                    let after = (slots[worst].offset + left_here + here_bias)
                        .max(slots[to].offset + moved_to + there_bias);
                    if after < done[worst] {
                        changes.push((after, Change { to, give, back }));
                    }
                }
            }
        }
        changes.sort_by(|a, b| a.0.total_cmp(&b.0));
        changes.into_iter().take(TRIES).map(|(_, change)| change).collect()
    }

    /// Keeps a change if both slots are then done before `limit`.
    fn try_change(
        &mut self,
        slots: &[Slot],
        contents: &mut [Content],
        from: usize,
        change: &Change,
        limit: f64,
    ) -> Option<(f64, f64)> {
        if self.exchange(slots, contents, from, change) {
            let here = self.done(&slots[from], &contents[from]);
            let there = if here + GAIN_MS < limit {
                self.done(&slots[change.to], &contents[change.to])
            } else {
                limit
            };
            if here.max(there) + GAIN_MS < limit {
                return Some((here, there));
            }
            change.undo(contents, from);
        }
        None
    }
}

/// How many of the slots that are done first are looked at for a change.
const ROOMY: usize = 24;

/// How many changes are predicted before the search gives up on a slot.
const TRIES: usize = 24;

/// How often a solution is shaken, at most.
const MOST_ROUNDS: u32 = 400;

/// A change must gain this much to be made.
const GAIN_MS: f64 = 1e-6;

/// One node out of the worst slot, and perhaps one back.
struct Change {
    to: usize,
    give: usize,
    back: Option<usize>,
}

impl Change {
    fn undo(&self, contents: &mut [Content], from: usize) {
        contents[self.to][self.give] -= 1;
        contents[from][self.give] += 1;
        if let Some(back) = self.back {
            contents[from][back] -= 1;
            contents[self.to][back] += 1;
        }
    }
}

/// A quick estimate of a process: its work, or its longest thread.
#[derive(Clone, Copy, Default)]
struct Load {
    work: f64,
    longest: f64,
    threads: u32,
}

impl Load {
    fn with(self, more: Self) -> Self {
        Self {
            work: self.work + more.work,
            longest: self.longest.max(more.longest),
            threads: self.threads + more.threads,
        }
    }

    fn estimate(self) -> f64 {
        self.work.max(self.longest)
    }
}

/// The codes of all parts of a content.
struct Parts {
    digits: Vec<(usize, usize, usize)>,
    next: Option<usize>,
}

impl Parts {
    fn new(content: &Content, counts: &[usize]) -> Self {
        let mut weight = 1;
        let mut digits = Vec::with_capacity(content.len());
        for (&most, &base) in content.iter().zip(counts) {
            if most > 0 {
                digits.push((0, usize::from(most), weight));
            }
            weight *= base;
        }
        Self { digits, next: Some(0) }
    }
}

impl Iterator for Parts {
    type Item = usize;

    fn next(&mut self) -> Option<usize> {
        let code = self.next?;
        let mut next = code;
        for (digit, most, weight) in &mut self.digits {
            if *digit < *most {
                *digit += 1;
                self.next = Some(next + *weight);
                return Some(code);
            }
            next -= *digit * *weight;
            *digit = 0;
        }
        self.next = None;
        Some(code)
    }
}
