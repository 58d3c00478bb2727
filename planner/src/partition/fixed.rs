//! The deployment models of other systems, for comparison: nothing is searched but, for a pool, its CPUs.

use limitless_faas_core::plan::{Bound, Plan, Process, Share, Start, Wrap};

use super::bound::Work;
use super::problem::{Kind, Problem};
use super::{Answer, Goal, Infeasible, Request, Strategy, bound, build};
use crate::error::PlanError;
use crate::predict::predict;

/// Processes in one sandbox of Faastlane+.
const FAASTLANE_PLUS: usize = 5;

pub(crate) fn plan(problem: &Problem<'_>, request: &Request) -> Result<Answer, PlanError> {
    refuse_constraints(problem, request.strategy)?;
    let wraps = match request.strategy {
        Strategy::OneToOne => one_to_one(problem),
        Strategy::Sand => processes(problem, usize::MAX, true),
        Strategy::Faastlane => processes(problem, usize::MAX, false),
        Strategy::FaastlanePlus => processes(problem, FAASTLANE_PLUS, false),
        _ => return pool(problem, request),
    };
    answer(problem, request, wraps)
}

/// Models with several nodes in a sandbox ask that all can share one.
fn refuse_constraints(problem: &Problem<'_>, strategy: Strategy) -> Result<(), PlanError> {
    if strategy == Strategy::OneToOne || problem.labels.len() == 1 {
        return Ok(());
    }
    let node = problem.workflow.graph.nodes.first().map(|node| node.name.clone()).unwrap_or_default();
    let what = format!(
        "the model `{}` runs all nodes in sandboxes of one runtime, and this workflow has {} that must be apart: \
         use `fewest` or `one-to-one`",
        strategy.name(),
        problem.labels.len()
    );
    Err(PlanError::Constraint { node, what })
}

/// The answer of a model that has only one plan.
pub(crate) fn answer(
    problem: &Problem<'_>,
    request: &Request,
    wraps: Vec<Wrap>,
) -> Result<Answer, PlanError> {
    let mut plan = build::complete(problem, request, wraps);
    plan.prediction = predict(&plan)?;
    let cpus = plan.prediction.cpus;
    let of = |kind: &Kind| {
        if request.strategy == Strategy::Pool {
            return pool_bound(problem, kind, cpus);
        }
        Work::new(problem, kind).bound(&bound::best_rooms(problem, cpus, kind.nodes()))
    };
    let bounds: Vec<f64> = problem.kinds.iter().map(of).collect();
    let latency_ms = problem.kind_of.iter().map(|&kind| bounds[kind]).sum();
    plan.bound = Bound { cpus: 1, latency_ms, optimal: false, stopped_by: None };
    plan.reason = format!("The model `{}` has this one plan for the workflow.", request.strategy.name());
    match request.goal {
        Goal::SloMs(slo_ms) if plan.prediction.latency_ms > slo_ms => Ok(missed(plan, slo_ms)),
        _ => Ok(Answer::Plan(Box::new(plan))),
    }
}

/// A pool starts nothing: its stages take as long as their longest node, or as their work on its CPUs.
fn pool_bound(problem: &Problem<'_>, kind: &Kind, cpus: u32) -> f64 {
    let classes = || kind.classes.iter();
    let work =
        classes().map(|class| problem.model.work_ms(class.handler) * f64::from(class.count)).sum::<f64>();
    let longest = classes().map(|class| problem.model.solo_ms(class.handler)).fold(0.0, f64::max);
    longest.max(work / f64::from(cpus))
}

/// A fixed model proves nothing about others.
pub(crate) fn missed(fastest: Plan, slo_ms: f64) -> Answer {
    let bound_ms = fastest.bound.latency_ms;
    Answer::Infeasible(Box::new(Infeasible {
        slo_ms,
        bound_ms,
        proved: false,
        reached_ms: fastest.prediction.latency_ms,
        fastest,
        stages: Vec::new(),
        stopped_by: None,
    }))
}

fn names(problem: &Problem<'_>, stage: usize) -> Vec<String> {
    // Longest first, as the search has its classes.
    let nodes = problem.nodes[stage].iter().flatten();
    nodes.map(|&node| problem.workflow.graph.nodes[node].name.clone()).collect()
}

fn wrap(problem: &Problem<'_>, number: usize) -> Wrap {
    Wrap {
        name: format!("wrap-{}", number + 1),
        entry: number == 0,
        runtime: problem.labels[0].runtime.clone(),
        cpus: 1,
        memory_mb: 0.0,
        stages: Vec::new(),
    }
}

fn to_u32(count: usize) -> u32 {
    u32::try_from(count).unwrap_or(u32::MAX)
}

/// Every node in a sandbox of its own, called over the network; no sandbox is the entry, the platform calls all.
fn one_to_one(problem: &Problem<'_>) -> Vec<Wrap> {
    let mut wraps = Vec::new();
    for stage in 0..problem.nodes.len() {
        for (turn, &node) in problem.nodes[stage].iter().flatten().enumerate() {
            let handler = problem.workflow.handler_of[node];
            let process = Process {
                start: Start::Main,
                threads: vec![problem.workflow.graph.nodes[node].name.clone()],
            };
            let share = Share { stage: to_u32(stage), turn: to_u32(turn), processes: vec![process] };
            wraps.push(Wrap {
                entry: false,
                runtime: problem.workflow.profile(handler).runtime.name.clone(),
                stages: vec![share],
                ..wrap(problem, wraps.len())
            });
        }
    }
    wraps
}

/// A process for every node of a parallel stage, at most `most` in one sandbox; a node alone in its stage is a
/// thread of the main process unless `always` it is a process.
fn processes(problem: &Problem<'_>, most: usize, always: bool) -> Vec<Wrap> {
    let mut wraps: Vec<Wrap> = Vec::new();
    for stage in 0..problem.nodes.len() {
        let names = names(problem, stage);
        let alone = names.len() == 1 && !always;
        for (at, names) in names.chunks(most.min(names.len())).enumerate() {
            if wraps.len() == at {
                wraps.push(wrap(problem, at));
            }
            let start = if alone { Start::Main } else { Start::Fork };
            let processes: Vec<Process> =
                names.iter().map(|name| Process { start, threads: vec![name.clone()] }).collect();
            wraps[at].cpus = wraps[at].cpus.max(to_u32(processes.len()));
            let turn = to_u32(at.saturating_sub(1));
            wraps[at].stages.push(Share { stage: to_u32(stage), turn, processes });
        }
    }
    wraps
}

/// One sandbox, a pool of as many processes as the widest stage has nodes, and the fewest CPUs that meet the SLO.
fn pool(problem: &Problem<'_>, request: &Request) -> Result<Answer, PlanError> {
    let most = to_u32(problem.workflow.widest());
    let shares = (0..problem.nodes.len()).map(|stage| {
        let process = |name| Process { start: Start::Pool, threads: vec![name] };
        let processes = names(problem, stage).into_iter().map(process).collect();
        Share { stage: to_u32(stage), turn: 0, processes }
    });
    let shares: Vec<Share> = shares.collect();
    let on =
        |cpus: u32| answer(problem, request, vec![Wrap { cpus, stages: shares.clone(), ..wrap(problem, 0) }]);
    let Goal::SloMs(_) = request.goal else {
        let Goal::Cpus(cpus) = request.goal else { return on(most) };
        return on(cpus.min(most));
    };
    // Fair sharing is monotone enough for halving; the answer is checked by its own prediction either way.
    let (mut low, mut high) = (0, most);
    while high - low > 1 {
        let middle = low + (high - low) / 2;
        if matches!(on(middle)?, Answer::Plan(_)) { high = middle } else { low = middle }
    }
    on(high)
}
