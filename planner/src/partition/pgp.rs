//! PGP, Algorithm 2 of the Chiron paper, as its published code does it: more and more processes, Kernighan–Lin
//! swaps between every two of them, and processes packed into wraps at the end.
//!
//! Where the published code depends on the order of a hash set, this takes classes in their order, so that the
//! same workflow always gets the same plan. Swaps of nodes of the same classes are predicted once.

use std::time::Instant;

use limitless_faas_core::plan::{Process, Share, Start, Wrap};

use super::problem::Problem;
use super::slots::{Slot, slots};
use super::stage::{Content, Stage};
use super::{Answer, Goal, Request, fixed};
use crate::error::PlanError;

/// Processes in the entry wrap, at most: `T_RPC / T_Block` rounded up in the published code.
const ENTRY_PROCESSES: usize = 6;

/// One stage's processes in their order.
type Partition = Vec<Content>;

struct Pgp<'a> {
    stages: Vec<Stage<'a>>,
    problem: &'a Problem<'a>,
}

pub(crate) fn plan(problem: &Problem<'_>, request: &Request) -> Result<Answer, PlanError> {
    if problem.labels.len() > 1 {
        return Err(PlanError::Constraint {
            node: problem.workflow.graph.nodes.first().map(|node| node.name.clone()).unwrap_or_default(),
            what: "PGP knows one runtime and no isolation: use the strategy `fewest`".to_owned(),
        });
    }
    let deadline = request.time_budget.and_then(|budget| Instant::now().checked_add(budget));
    let stages = problem.kinds.iter().map(|kind| Stage::new(problem, kind, deadline)).collect();
    let mut pgp = Pgp { stages, problem };
    let widest = problem.workflow.widest();
    let mut kept: Vec<(Partition, f64)> = (0..problem.kinds.len()).map(|kind| pgp.together(kind)).collect();
    let mut last = None;
    let most = if let Goal::Cpus(cpus) = request.goal { widest.min(cpus as usize) } else { widest };
    for processes in 1..=most {
        if processes > 1 {
            for (kind, kept) in kept.iter_mut().enumerate() {
                let count = processes.min(problem.kinds[kind].nodes());
                if count > 1 {
                    let found = pgp.partition(kind, count);
                    if found.1 < kept.1 {
                        *kept = found;
                    }
                }
            }
        }
        let slo = if let Goal::SloMs(slo) = request.goal { slo } else { f64::NEG_INFINITY };
        let total: f64 = problem.kind_of.iter().map(|&kind| kept[kind].1).sum();
        let late = pgp.stages.iter().any(Stage::late);
        if total < slo || processes == most || late {
            let wraps = pgp.wraps(&kept, (slo - total).max(0.0));
            match fixed::answer(problem, request, wraps)? {
                Answer::Plan(plan) => return Ok(Answer::Plan(plan)),
                missed @ Answer::Infeasible(_) => last = Some(missed),
            }
            if late {
                break;
            }
        }
    }
    last.map_or_else(|| fixed::answer(problem, request, Vec::new()), Ok)
}

impl Pgp<'_> {
    fn together(&mut self, kind: usize) -> (Partition, f64) {
        let all = self.problem.kinds[kind].classes.iter().map(|class| class.count).collect();
        let partition = vec![all];
        let latency = self.latency(kind, &partition);
        (partition, latency)
    }

    /// Round robin in the order of the nodes, then Kernighan–Lin between every two processes.
    fn partition(&mut self, kind: usize, processes: usize) -> (Partition, f64) {
        let mut partition = self.round_robin(kind, processes);
        for one in 0..processes {
            for other in one + 1..processes {
                self.kernighan_lin(kind, &mut partition, one, other);
            }
        }
        let latency = self.latency(kind, &partition);
        (partition, latency)
    }

    fn round_robin(&self, kind: usize, processes: usize) -> Partition {
        let stage = self.problem.kind_of.iter().position(|&of| of == kind).unwrap_or(0);
        let classes = self.problem.kinds[kind].classes.len();
        let mut partition = vec![vec![0; classes]; processes];
        let nodes = &self.problem.workflow.stages[stage];
        for (at, node) in nodes.iter().enumerate() {
            let class = self.problem.nodes[stage].iter().position(|nodes| nodes.contains(node)).unwrap_or(0);
            partition[at % processes][class] += 1;
        }
        partition
    }

    /// Swaps between two processes until no series of swaps helps.
    fn kernighan_lin(&mut self, kind: usize, partition: &mut Partition, one: usize, other: usize) {
        let mut best = self.latency(kind, partition);
        loop {
            let mut trial = partition.clone();
            let (mut here, mut there) = (trial[one].clone(), trial[other].clone());
            let mut found: Option<(f64, Partition)> = None;
            while here.iter().chain(&there).any(|&count| count > 0) && !self.stages[kind].late() {
                let Some((latency, give, back)) = self.best_swap(kind, &trial, (one, other), (&here, &there))
                else {
                    break;
                };
                swap(&mut trial, (one, other), (give, back));
                if let Some(class) = give {
                    here[class] -= 1;
                }
                if let Some(class) = back {
                    there[class] -= 1;
                }
                if found.as_ref().is_none_or(|found| latency < found.0) {
                    found = Some((latency, trial.clone()));
                }
            }
            match found {
                Some((latency, trial)) if latency < best => {
                    best = latency;
                    *partition = trial;
                }
                _ => return,
            }
        }
    }

    /// The swap with the least latency of those nodes that have not been swapped yet.
    fn best_swap(
        &mut self,
        kind: usize,
        partition: &Partition,
        (one, other): (usize, usize),
        (here, there): (&Content, &Content),
    ) -> Option<(f64, Option<usize>, Option<usize>)> {
        let left = |content: &Content| {
            let classes: Vec<_> = (0..content.len()).filter(|&class| content[class] > 0).map(Some).collect();
            if classes.is_empty() { vec![None] } else { classes }
        };
        let mut best: Option<(f64, Option<usize>, Option<usize>)> = None;
        for give in left(here) {
            if self.stages[kind].late() {
                return best;
            }
            for back in left(there) {
                let mut trial = partition.clone();
                swap(&mut trial, (one, other), (give, back));
                let latency = self.latency(kind, &trial);
                if best.as_ref().is_none_or(|(least, ..)| latency < *least) {
                    best = Some((latency, give, back));
                }
            }
        }
        best
    }

    /// The published code's stage latency while it partitions: the first six processes in the entry wrap, every
    /// other in a wrap of its own, without their turns. Empty processes still count as processes.
    fn latency(&mut self, kind: usize, partition: &Partition) -> f64 {
        let entry = partition.len().min(ENTRY_PROCESSES);
        let mut latency: f64 = 0.0;
        let used = vec![(0, u32::try_from(entry).unwrap_or(u32::MAX))];
        let shape = vec![(0, used[0].1)];
        for (slot, content) in slots(self.problem, &shape, &used).iter().zip(partition) {
            latency = latency.max(self.stages[kind].done(slot, content));
        }
        let remote: Vec<Slot> = slots(self.problem, &vec![(0, 1), (0, 1)], &vec![(1, 1)]);
        for content in &partition[entry..] {
            latency = latency.max(self.stages[kind].done(&remote[0], content));
        }
        latency
    }

    /// Packs the processes beyond the entry wrap's into as few wraps as the slack allows.
    fn wraps(&mut self, kept: &[(Partition, f64)], mut slack: f64) -> Vec<Wrap> {
        let mut wraps: Vec<Wrap> = Vec::new();
        for stage in 0..self.problem.kind_of.len() {
            let kind = self.problem.kind_of[stage];
            let (partition, latency) = &kept[kind];
            let sizes = self.sizes(kind, partition, latency + slack);
            let reached = self.packed_ms(kind, partition, &sizes);
            slack = (latency + slack - reached).max(0.0);
            self.place(stage, partition, &sizes, &mut wraps);
        }
        wraps
    }

    /// How many processes each wrap takes.
    fn sizes(&mut self, kind: usize, partition: &Partition, limit: f64) -> Vec<usize> {
        let mut sizes = vec![partition.len().min(ENTRY_PROCESSES)];
        let mut next = sizes[0];
        while next < partition.len() {
            let mut size = 1;
            while next + size < partition.len() {
                let longer = self.wrap_ms(kind, &partition[next..=next + size], sizes.len() - 1);
                if longer > limit {
                    break;
                }
                size += 1;
            }
            sizes.push(size);
            next += size;
        }
        sizes
    }

    fn wrap_ms(&mut self, kind: usize, contents: &[Content], turn: usize) -> f64 {
        let size = u32::try_from(contents.len()).unwrap_or(u32::MAX);
        let shape = vec![(0, size); turn + 2];
        let used = (1..turn + 2).map(|wrap| (wrap, size)).collect();
        let slots = slots(self.problem, &shape, &used);
        let own = &slots[turn * contents.len()..];
        own.iter()
            .zip(contents)
            .map(|(slot, content)| self.stages[kind].done(slot, content))
            .fold(0.0, f64::max)
    }

    fn packed_ms(&mut self, kind: usize, partition: &Partition, sizes: &[usize]) -> f64 {
        let entry = self.latency(kind, &partition[..sizes[0]].to_vec());
        let mut latency = entry;
        let mut next = sizes[0];
        for (turn, &size) in sizes[1..].iter().enumerate() {
            latency = latency.max(self.wrap_ms(kind, &partition[next..next + size], turn));
            next += size;
        }
        latency
    }

    fn place(&self, stage: usize, partition: &Partition, sizes: &[usize], wraps: &mut Vec<Wrap>) {
        let problem = self.problem;
        let mut left: Vec<_> = problem.nodes[stage].iter().map(|nodes| nodes.iter()).collect();
        let mut next = partition.iter();
        for (at, &size) in sizes.iter().enumerate() {
            let mut processes = Vec::new();
            for content in next.by_ref().take(size) {
                let mut threads = Vec::new();
                for (class, &count) in content.iter().enumerate() {
                    let nodes = left[class].by_ref().take(usize::from(count));
                    threads.extend(nodes.map(|&node| problem.workflow.graph.nodes[node].name.clone()));
                }
                let start = if processes.is_empty() { problem.main } else { Start::Fork };
                processes.push(Process { start, threads });
            }
            let number = u32::try_from(at).unwrap_or(u32::MAX);
            if wraps.len() == at {
                wraps.push(Wrap {
                    name: String::new(),
                    entry: at == 0,
                    runtime: problem.labels[0].runtime.clone(),
                    cpus: 1,
                    memory_mb: 0.0,
                    stages: Vec::new(),
                });
            }
            wraps[at].cpus = wraps[at].cpus.max(u32::try_from(size).unwrap_or(u32::MAX));
            let stage = u32::try_from(stage).unwrap_or(u32::MAX);
            wraps[at].stages.push(Share { stage, turn: number.saturating_sub(1), processes });
        }
    }
}

fn swap(
    partition: &mut Partition,
    (one, other): (usize, usize),
    (give, back): (Option<usize>, Option<usize>),
) {
    if let Some(class) = give {
        partition[one][class] -= 1;
        partition[other][class] += 1;
    }
    if let Some(class) = back {
        partition[other][class] -= 1;
        partition[one][class] += 1;
    }
}
