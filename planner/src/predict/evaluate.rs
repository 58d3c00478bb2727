//! The prediction of a whole plan, from nothing but the plan.

use std::collections::BTreeMap;

use limitless_faas_core::plan::{Plan, Prediction, Process, Start, Wrap};

use super::model::{Model, Place, Run, Span, last, to_f64};
use crate::error::PlanError;
use crate::workflow::Workflow;

/// When every thread of a plan runs.
#[derive(Clone, Debug, PartialEq)]
pub struct Schedule {
    /// The latency of each stage.
    pub stages_ms: Vec<f64>,
    /// Every thread.
    pub threads: Vec<Scheduled>,
}

/// When one thread of a plan runs.
#[derive(Clone, Debug, PartialEq)]
pub struct Scheduled {
    /// The node, by its number in the graph.
    pub node: usize,
    /// Its wrap, by its number in the plan.
    pub wrap: usize,
    /// Its process within the wrap and stage.
    pub process: usize,
    /// Its stage.
    pub stage: usize,
    /// Begin and end since the request.
    pub span: Span,
}

/// A wrap's part in a stage, ready for the model.
struct Part {
    wrap: usize,
    place: Place,
    cpus: u32,
    runs: Vec<Run>,
    nodes: Vec<Vec<usize>>,
}

/// The prediction that belongs to a plan. Everything comes from the plan itself, so that anybody can check one.
///
/// # Errors
///
/// [`PlanError`] where the plan contradicts its own graph and profiles.
pub fn predict(plan: &Plan) -> Result<Prediction, PlanError> {
    let workflow = Workflow::new(&plan.graph, &plan.profiles, &plan.calibration)?;
    let parts = parts(plan, &workflow)?;
    Ok(prediction(plan, &workflow, &parts))
}

/// When every thread runs.
///
/// # Errors
///
/// As [`predict`].
pub fn schedule(plan: &Plan) -> Result<Schedule, PlanError> {
    let workflow = Workflow::new(&plan.graph, &plan.profiles, &plan.calibration)?;
    let model = Model::new(&workflow);
    let mut schedule = Schedule { stages_ms: Vec::new(), threads: Vec::new() };
    let mut begin = 0.0;
    for (stage, parts) in parts(plan, &workflow)?.iter().enumerate() {
        let mut latency: f64 = 0.0;
        for part in parts {
            let spans = model.wrap_spans(&part.runs, part.place, part.cpus);
            latency = latency.max(last(&spans) + model.collection_ms(&part.runs, part.place));
            for (process, (spans, nodes)) in spans.iter().zip(&part.nodes).enumerate() {
                schedule.threads.extend(spans.iter().zip(nodes).map(|(span, &node)| Scheduled {
                    node,
                    wrap: part.wrap,
                    process,
                    stage,
                    span: (begin + span.0, begin + span.1),
                }));
            }
        }
        begin += latency;
        schedule.stages_ms.push(latency);
    }
    Ok(schedule)
}

/// Quantiles of the latency at these shares, from `draws` runs in which every handler takes a time drawn from its
/// own quantiles (piecewise linear), every node for itself. The seed is fixed, so the answer is too.
///
/// # Errors
///
/// As [`predict`].
pub fn quantiles(plan: &Plan, shares: &[f64], draws: usize) -> Result<Vec<(f64, f64)>, PlanError> {
    let workflow = Workflow::new(&plan.graph, &plan.profiles, &plan.calibration)?;
    let mut parts = parts(plan, &workflow)?;
    for part in parts.iter_mut().flatten() {
        // In the models drawn below every node is a handler of its own.
        part.runs = part.runs.iter().zip(&part.nodes).map(|(run, nodes)| (run.0, nodes.clone())).collect();
    }
    let mut random = fastrand::Rng::with_seed(0x11_5eed);
    let mut latencies: Vec<f64> = Vec::with_capacity(draws);
    for _ in 0..draws.max(1) {
        let nodes = workflow.handler_of.iter().map(|&node| (node, draw(&workflow, node, random.f64())));
        let model = Model::scaled(&workflow, &nodes.collect::<Vec<_>>());
        latencies.push(parts.iter().map(|parts| stage_ms(&model, parts)).sum());
    }
    latencies.sort_by(f64::total_cmp);
    Ok(shares.iter().map(|&share| (share, at_share(&latencies, share))).collect())
}

/// The value at a share of a sorted list.
fn at_share(sorted: &[f64], share: f64) -> f64 {
    let most = sorted.len() - 1;
    let wanted = share.clamp(0.0, 1.0) * to_f64(most);
    let at = (0..most).rev().find(|&at| to_f64(at) <= wanted).unwrap_or(0);
    let above = sorted[(at + 1).min(most)];
    sorted[at] + (above - sorted[at]) * (wanted - to_f64(at)).min(1.0)
}

/// How many times its mean a handler takes at a share of its distribution.
fn draw(workflow: &Workflow, handler: usize, share: f64) -> f64 {
    let latency = &workflow.profile(handler).latency;
    let quantiles = &latency.quantiles;
    let (Some(first), Some(end)) = (quantiles.first(), quantiles.last()) else { return 1.0 };
    let ms = match quantiles.windows(2).find(|pair| share <= pair[1].0 && share >= pair[0].0) {
        Some(pair) if pair[1].0 > pair[0].0 => {
            pair[0].1 + (pair[1].1 - pair[0].1) * (share - pair[0].0) / (pair[1].0 - pair[0].0)
        }
        Some(pair) => pair[1].1,
        None if share < first.0 => first.1,
        None => end.1,
    };
    (ms / latency.mean_ms).max(1e-6)
}

fn stage_ms(model: &Model, parts: &[Part]) -> f64 {
    parts.iter().map(|part| model.wrap_ms(&part.runs, part.place, part.cpus)).fold(0.0, f64::max)
}

fn prediction(plan: &Plan, workflow: &Workflow, parts: &[Vec<Part>]) -> Prediction {
    let model = Model::new(workflow);
    let stages_ms: Vec<f64> = parts.iter().map(|parts| stage_ms(&model, parts)).collect();
    let latency_ms = stages_ms.iter().sum();
    let processes = |parts: &Vec<Part>| parts.iter().map(|part| part.runs.len()).sum::<usize>();
    let cpus = plan.wraps.iter().map(|wrap| wrap.cpus).sum();
    let memory_mb = plan.wraps.iter().map(|wrap| wrap.memory_mb).sum();
    let calls = parts.iter().flatten().filter(|part| matches!(part.place, Place::Remote { .. })).count() + 1;
    let prices = &plan.prices;
    let second = memory_mb / 1024.0 * prices.gb_second + f64::from(cpus) * prices.ghz * prices.ghz_second;
    let usd = second * latency_ms / 1000.0 + prices.call * to_f64(calls);
    Prediction {
        latency_ms,
        cold_ms: cold_ms(&model, parts),
        stages_ms,
        quantiles: Vec::new(),
        processes: u32::try_from(parts.iter().map(processes).max().unwrap_or(0)).unwrap_or(u32::MAX),
        cpus,
        memory_mb,
        usd_per_million: usd * 1e6,
    }
}

/// The latency when every sandbox starts at its first use: the entry wrap's at the request, the others' when they
/// are first called.
fn cold_ms(model: &Model, parts: &[Vec<Part>]) -> f64 {
    let cold = model.constants.cold_start_ms;
    let mut started = vec![];
    let mut total = cold;
    for parts in parts {
        let mut stage: f64 = 0.0;
        for part in parts {
            let first = matches!(part.place, Place::Remote { .. }) && !started.contains(&part.wrap);
            let extra = if first { cold } else { 0.0 };
            stage = stage.max(extra + model.wrap_ms(&part.runs, part.place, part.cpus));
            started.push(part.wrap);
        }
        total += stage;
    }
    total
}

/// The memory of a wrap: its sandbox, and its fullest stage. Processes of a pool stay.
pub(crate) fn memory_mb(workflow: &Workflow, wrap: &Wrap, nodes: &BTreeMap<&str, usize>) -> f64 {
    let memory = workflow.calibration.memory;
    let process = |process: &Process| {
        let own = match process.start {
            Start::Fork => memory.process_mb,
            Start::Pool => memory.pool_process_mb,
            Start::Main | Start::Keys => 0.0,
        };
        let handler = |name: &String| {
            let node = nodes.get(name.as_str()).copied().unwrap_or(0);
            workflow.profile(workflow.handler_of[node]).memory_mb + memory.thread_mb
        };
        own + process.threads.iter().map(handler).sum::<f64>()
    };
    let stages = wrap.stages.iter().map(|share| share.processes.iter().map(process).sum::<f64>());
    memory.sandbox_mb + stages.fold(0.0, f64::max)
}

/// The nodes of a workflow by name.
pub(crate) fn node_numbers(workflow: &Workflow) -> BTreeMap<&str, usize> {
    workflow.graph.nodes.iter().enumerate().map(|(at, node)| (node.name.as_str(), at)).collect()
}

/// The parts of each stage, and that they are the graph's, each node once and in its stage.
fn parts(plan: &Plan, workflow: &Workflow) -> Result<Vec<Vec<Part>>, PlanError> {
    let wrong = |place: &str, what: String| Err(PlanError::Plan { place: place.to_owned(), what });
    if plan.version != Plan::VERSION {
        return wrong("version", format!("it is {}, and this program reads {}", plan.version, Plan::VERSION));
    }
    let numbers = node_numbers(workflow);
    let mut stage_of = vec![0; workflow.graph.nodes.len()];
    for (stage, nodes) in workflow.stages.iter().enumerate() {
        for &node in nodes {
            stage_of[node] = stage;
        }
    }
    let mut seen = vec![false; stage_of.len()];
    let mut parts: Vec<Vec<Part>> = workflow.stages.iter().map(|_| Vec::new()).collect();
    for (at, wrap) in plan.wraps.iter().enumerate() {
        for share in &wrap.stages {
            let stage = share.stage as usize;
            if stage >= parts.len() || wrap.cpus == 0 {
                return wrong(&wrap.name, format!("stage {stage} on {} CPUs", wrap.cpus));
            }
            let mut part = Part {
                wrap: at,
                place: Place::Remote { turn: share.turn },
                cpus: wrap.cpus,
                runs: Vec::new(),
                nodes: Vec::new(),
            };
            if wrap.entry {
                part.place = Place::Entry { calls: 0 };
            }
            for process in &share.processes {
                let mut nodes = Vec::new();
                for name in &process.threads {
                    match numbers.get(name.as_str()) {
                        Some(&node) if stage_of[node] == stage && !seen[node] => {
                            seen[node] = true;
                            nodes.push(node);
                        }
                        _ => {
                            return wrong(
                                &wrap.name,
                                format!("`{name}` is not a node of stage {stage}, or runs twice"),
                            );
                        }
                    }
                }
                let handlers = nodes.iter().map(|&node| workflow.handler_of[node]).collect();
                part.runs.push((process.start, handlers));
                part.nodes.push(nodes);
            }
            parts[stage].push(part);
        }
    }
    if let Some(node) = seen.iter().position(|seen| !seen) {
        return wrong("wraps", format!("`{}` runs nowhere", workflow.graph.nodes[node].name));
    }
    for parts in &mut parts {
        count_calls(parts);
    }
    Ok(parts)
}

fn count_calls(parts: &mut [Part]) {
    let remote = parts.iter().filter(|part| matches!(part.place, Place::Remote { .. })).count();
    for part in parts {
        if let Place::Entry { calls } = &mut part.place {
            *calls = u32::try_from(remote).unwrap_or(u32::MAX);
        }
    }
}
