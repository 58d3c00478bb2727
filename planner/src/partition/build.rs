//! From a solution of the search to a plan that names nodes.

use limitless_faas_core::plan::{Bound, Plan, Prediction, Process, Share, Wrap};

use super::problem::Problem;
use super::search::Solution;
use super::{Goal, Request};
use crate::predict::evaluate::{memory_mb, node_numbers};

/// A plan without its prediction.
pub(crate) fn plan(problem: &Problem<'_>, request: &Request, found: &Solution) -> Plan {
    let wraps = found.shape.iter().enumerate().map(|(at, &(label, _))| Wrap {
        name: format!("wrap-{}", at + 1),
        entry: at == 0,
        runtime: problem.labels[label].runtime.clone(),
        cpus: 0,
        memory_mb: 0.0,
        stages: Vec::new(),
    });
    let mut wraps: Vec<Wrap> = wraps.collect();
    for stage in 0..found.stages.len() {
        place(problem, found, stage, &mut wraps);
    }
    complete(problem, request, wraps)
}

/// Puts the nodes of one stage into the wraps.
fn place(problem: &Problem<'_>, found: &Solution, stage: usize, wraps: &mut [Wrap]) {
    let (_, slots, assignment) = &found.stages[stage];
    let number = u32::try_from(stage).unwrap_or(u32::MAX);
    let mut left: Vec<_> = problem.nodes[stage].iter().map(|nodes| nodes.iter()).collect();
    let mut turn = 0;
    for (slot, content) in slots.iter().zip(&assignment.contents) {
        let mut threads = Vec::new();
        for (class, &count) in content.iter().enumerate() {
            let nodes = left[class].by_ref().take(usize::from(count));
            threads.extend(nodes.map(|&node| problem.workflow.graph.nodes[node].name.clone()));
        }
        let wrap = &mut wraps[slot.wrap];
        if wrap.stages.last().is_none_or(|share| share.stage != number) {
            wrap.stages.push(Share {
                stage: number,
                turn: if wrap.entry { 0 } else { turn },
                processes: Vec::new(),
            });
            turn += u32::from(!wrap.entry);
            if problem.parallel(slot.label) {
                wrap.cpus = wrap.cpus.max(slot.cpus);
            }
        }
        if let Some(share) = wrap.stages.last_mut() {
            share.processes.push(Process { start: slot.start, threads });
            wrap.cpus = wrap.cpus.max(u32::try_from(share.processes.len()).unwrap_or(u32::MAX));
        }
    }
}

/// A plan of these wraps. Wraps that run nothing are left out; their memory is what their stages need.
pub(crate) fn complete(problem: &Problem<'_>, request: &Request, mut wraps: Vec<Wrap>) -> Plan {
    let workflow = problem.workflow;
    let nodes = node_numbers(workflow);
    wraps.retain(|wrap| !wrap.stages.is_empty());
    for (at, wrap) in wraps.iter_mut().enumerate() {
        wrap.name = format!("wrap-{}", at + 1);
        wrap.memory_mb = memory_mb(workflow, wrap, &nodes);
    }
    Plan {
        version: Plan::VERSION,
        strategy: request.strategy.name().to_owned(),
        slo_ms: match request.goal {
            Goal::SloMs(ms) => Some(ms),
            Goal::Cpus(_) => None,
        },
        wraps,
        prediction: Prediction::default(),
        bound: Bound::default(),
        reason: String::new(),
        graph: workflow.graph.clone(),
        profiles: workflow.profiles.clone(),
        calibration: workflow.calibration.clone(),
        prices: request.prices,
    }
}

/// One or two sentences on why the plan is as it is.
pub(crate) fn reason(plan: &Plan, least: Option<u32>) -> String {
    let cpus = plan.prediction.cpus;
    let bound = plan.bound.latency_ms;
    match (plan.slo_ms, plan.bound.optimal) {
        (Some(slo), true) if cpus > 1 => {
            let proof = if least == Some(cpus) {
                let fewer = cpus - 1;
                format!("on {fewer} even a perfect split of the work would take longer than {slo} ms")
            } else {
                "every smaller plan was tried".to_owned()
            };
            format!("{cpus} CPUs are the fewest that meet {slo} ms: {proof}.")
        }
        (Some(slo), true) => format!("One CPU meets {slo} ms."),
        (Some(slo), false) => {
            let least = plan.bound.cpus;
            format!(
                "{cpus} CPUs meet {slo} ms; it is proved that fewer than {least} can't, and not known whether fewer than {cpus} could."
            )
        }
        (None, _) => format!("No plan of threads and forks on {cpus} CPUs can be faster than {bound:.2} ms."),
    }
}
