//! Brute force: every way to put the nodes of a stage into processes, in every order, cut into wraps everywhere.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

use std::collections::BTreeMap;

use limitless_faas_core::plan::Start;
use limitless_faas_planner::Workflow;
use limitless_faas_planner::predict::{Model, Place};

/// For one stage: processes of the entry wrap and of the remote ones, descending, and the least latency with them.
pub(crate) type Options = BTreeMap<(usize, Vec<usize>), f64>;

/// The options of every stage.
pub(crate) fn options(workflow: &Workflow) -> Vec<Options> {
    let model = Model::new(workflow);
    let stage = |nodes: &Vec<usize>| {
        let handlers: Vec<usize> = nodes.iter().map(|&node| workflow.handler_of[node]).collect();
        let mut found = Options::new();
        for mut processes in partitions(&handlers) {
            for process in &mut processes {
                let latency = |handler: usize| model.timeline(handler, Start::Main).latency_ms;
                process.sort_by(|&a, &b| latency(b).total_cmp(&latency(a)).then(a.cmp(&b)));
            }
            for order in orders(&processes) {
                cuts(&model, &order, &mut found);
            }
        }
        found
    };
    workflow.stages.iter().map(stage).collect()
}

/// The least latency of a workflow on at most this many CPUs.
pub(crate) fn fastest(stages: &[Options], cpus: usize) -> Option<f64> {
    descend(stages, &(0, Vec::new()), 0.0, cpus)
}

fn descend(stages: &[Options], shape: &(usize, Vec<usize>), latency: f64, cpus: usize) -> Option<f64> {
    if shape.0 + shape.1.iter().sum::<usize>() > cpus {
        return None;
    }
    let Some((stage, rest)) = stages.split_first() else { return Some(latency) };
    let mut best: Option<f64> = None;
    for ((entry, remotes), ms) in stage {
        let longer = remotes.len().max(shape.1.len());
        let size = |sizes: &[usize], at: usize| sizes.get(at).copied().unwrap_or(0);
        let merged = (0..longer).map(|at| size(remotes, at).max(size(&shape.1, at))).collect();
        let found = descend(rest, &(shape.0.max(*entry), merged), latency + ms, cpus);
        best = match (best, found) {
            (Some(a), Some(b)) => Some(a.min(b)),
            (a, b) => a.or(b),
        };
    }
    best
}

fn partitions(nodes: &[usize]) -> Vec<Vec<Vec<usize>>> {
    let Some((&first, rest)) = nodes.split_first() else { return vec![Vec::new()] };
    let mut all = Vec::new();
    for partition in partitions(rest) {
        for at in 0..partition.len() {
            let mut with = partition.clone();
            with[at].push(first);
            all.push(with);
        }
        let mut alone = partition;
        alone.push(vec![first]);
        all.push(alone);
    }
    all
}

fn orders(processes: &[Vec<usize>]) -> Vec<Vec<Vec<usize>>> {
    if processes.is_empty() {
        return vec![Vec::new()];
    }
    let mut all = Vec::new();
    for at in 0..processes.len() {
        let mut rest = processes.to_vec();
        let first = rest.remove(at);
        for mut order in orders(&rest) {
            order.insert(0, first.clone());
            all.push(order);
        }
    }
    all
}

fn cuts(model: &Model, order: &[Vec<usize>], found: &mut Options) {
    for cut in 0..1_u32 << (order.len() - 1) {
        let mut wraps: Vec<Vec<(Start, Vec<usize>)>> = vec![vec![(Start::Main, order[0].clone())]];
        for (at, process) in order[1..].iter().enumerate() {
            if cut >> at & 1 == 1 {
                wraps.push(vec![(Start::Main, process.clone())]);
            } else {
                wraps.last_mut().unwrap().push((Start::Fork, process.clone()));
            }
        }
        let calls = u32::try_from(wraps.len() - 1).unwrap();
        let mut latency = model.wrap_ms(&wraps[0], Place::Entry { calls }, 99);
        for (turn, wrap) in wraps[1..].iter().enumerate() {
            let place = Place::Remote { turn: u32::try_from(turn).unwrap() };
            latency = latency.max(model.wrap_ms(wrap, place, 99));
        }
        let mut remotes: Vec<usize> = wraps[1..].iter().map(Vec::len).collect();
        remotes.sort_unstable_by(|a, b| b.cmp(a));
        let best = found.entry((wraps[0].len(), remotes)).or_insert(f64::INFINITY);
        *best = best.min(latency);
    }
}
