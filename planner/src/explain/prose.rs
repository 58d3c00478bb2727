//! What a person wants to know of a plan, in sentences.

use std::fmt::Write as _;

use limitless_faas_core::plan::{Plan, Start};

use super::{counted, handlers, list, plural, word};
use crate::error::PlanError;
use crate::partition::{Answer, Goal, Infeasible, Request, Strategy, plan as search};
use crate::predict::{Schedule, schedule};
use crate::workflow::Workflow;

/// Stages described one by one, at most; wraps and processes likewise.
const MOST: usize = 8;

/// Which wrap holds what and why, where the time goes, how far from the bound, what one CPU less would cost under
/// the same request.
///
/// # Errors
///
/// [`PlanError`] where the plan contradicts itself.
pub fn prose(plan: &Plan, request: &Request) -> Result<String, PlanError> {
    let drawn = schedule(plan)?;
    let mut text = headline(plan);
    text.push_str(&wraps(plan));
    text.push_str(&stages(plan, &drawn));
    text.push_str(&distance(plan));
    if plan.strategy == Strategy::Fewest.name() {
        text.push_str(&one_less(plan, request)?);
    }
    Ok(text)
}

fn headline(plan: &Plan) -> String {
    let prediction = &plan.prediction;
    let cpus = plural(prediction.cpus as usize, "CPU", "CPUs");
    let wraps = plural(plan.wraps.len(), "wrap", "wraps");
    let name = &plan.graph.name;
    let mut text =
        format!("`{name}` on {cpus} in {wraps} is predicted to take {:.2} ms", prediction.latency_ms);
    match plan.slo_ms {
        Some(slo) if prediction.latency_ms <= slo => {
            let left = (1.0 - prediction.latency_ms / slo) * 100.0;
            let _ = write!(text, ", within its SLO of {slo} ms with {left:.1} % to spare");
        }
        Some(slo) => {
            let _ = write!(text, ", which misses its SLO of {slo} ms");
        }
        None => {}
    }
    let _ = writeln!(text, ". {}", plan.reason);
    if let [(_, p50), (_, p95), (_, p99), ..] = prediction.quantiles[..] {
        let _ = writeln!(
            text,
            "Half of the requests take at most {p50:.1} ms, 95 % at most {p95:.1} ms, 99 % at most {p99:.1} ms."
        );
    }
    let _ = writeln!(
        text,
        "It needs {:.0} MB and costs ${:.2} for a million requests. With every sandbox cold it takes {:.0} ms.",
        prediction.memory_mb, prediction.usd_per_million, prediction.cold_ms
    );
    text
}

fn wraps(plan: &Plan) -> String {
    let handlers = handlers(plan);
    let mut text = String::new();
    for wrap in plan.wraps.iter().take(MOST) {
        let role = if wrap.entry { "drives the workflow" } else { "is called by the entry wrap" };
        let cpus = plural(wrap.cpus as usize, "CPU", "CPUs");
        let _ =
            writeln!(text, "\n{} ({cpus}, {:.0} MB, {}) {role}.", wrap.name, wrap.memory_mb, wrap.runtime);
        for share in wrap.stages.iter().take(MOST) {
            let _ = write!(text, "  In stage {}, ", share.stage + 1);
            let each = share.processes.iter().take(MOST).map(|process| {
                let names = counted(process.threads.iter().map(|name| handlers[name.as_str()]));
                format!("its {} runs {}", word(process.start), list(&names))
            });
            text.push_str(&each.collect::<Vec<_>>().join("; "));
            text.push_str(&rest(share.processes.len(), "process", "processes"));
            text.push_str(".\n");
        }
        if wrap.stages.len() > MOST {
            let _ = writeln!(text, "  And so on, in {} stages.", wrap.stages.len());
        }
    }
    if plan.wraps.len() > MOST {
        let _ = writeln!(text, "\nFurther wraps: {}.", plan.wraps.len() - MOST);
    }
    text
}

fn rest(count: usize, one: &str, many: &str) -> String {
    if count <= MOST { String::new() } else { format!("; and {} more", plural(count - MOST, one, many)) }
}

/// Where the time of each stage goes.
fn stages(plan: &Plan, drawn: &Schedule) -> String {
    let mut text = "\n".to_owned();
    let mut begin = 0.0;
    let mut order: Vec<usize> = (0..drawn.stages_ms.len()).collect();
    order.sort_by(|&a, &b| drawn.stages_ms[b].total_cmp(&drawn.stages_ms[a]).then(a.cmp(&b)));
    order.truncate(MOST);
    for (stage, latency) in drawn.stages_ms.iter().enumerate() {
        if order.contains(&stage) {
            text.push_str(&stage_sentence(plan, drawn, stage, begin));
        }
        begin += latency;
    }
    if drawn.stages_ms.len() > MOST {
        let _ = writeln!(text, "These are the longest of {} stages.", drawn.stages_ms.len());
    }
    text
}

fn stage_sentence(plan: &Plan, drawn: &Schedule, stage: usize, begin: f64) -> String {
    let own = drawn.threads.iter().filter(|thread| thread.stage == stage);
    let Some(last) = own.clone().max_by(|a, b| a.span.1.total_cmp(&b.span.1)) else { return String::new() };
    let process = || own.clone().filter(|thread| thread.wrap == last.wrap && thread.process == last.process);
    let first = process().map(|thread| thread.span.0).fold(f64::INFINITY, f64::min);
    let threads = process().count();
    let share = plan.wraps[last.wrap].stages.iter().find(|share| share.stage as usize == stage);
    let start = share.and_then(|share| share.processes.get(last.process)).map_or(Start::Main, |p| p.start);
    let latency = drawn.stages_ms[stage];
    let waits = first - begin;
    let mut text = format!("Stage {} takes {latency:.2} ms: ", stage + 1);
    let who = format!("the {} of {}", word(start), plan.wraps[last.wrap].name);
    if threads == 1 {
        let handler = &plan.graph.nodes[last.node].handler;
        let _ = write!(text, "`{handler}` in {who} is last");
    } else {
        let _ = write!(text, "{who}, with {threads} threads, is last");
    }
    if waits > 0.005 {
        let _ = write!(text, "; it begins after {waits:.1} ms of starting and calling");
    }
    let _ = writeln!(text, " and computes and waits for {:.1} ms.", latency - waits);
    text
}

fn distance(plan: &Plan) -> String {
    let (bound, latency) = (plan.bound.latency_ms, plan.prediction.latency_ms);
    let above = (latency / bound - 1.0) * 100.0;
    let cpus = plural(plan.prediction.cpus as usize, "CPU", "CPUs");
    let of = if plan.strategy == Strategy::Pool.name() { "pool" } else { "plan of threads and forks" };
    let mut text = format!(
        "\nNo {of} on {cpus} can take less than {bound:.2} ms; this one is {above:.1} % above that bound.\n"
    );
    if let Some(by) = &plan.bound.stopped_by {
        let _ = writeln!(text, "The search was stopped by {by}: more time may find a better plan.");
    }
    text
}

fn one_less(plan: &Plan, request: &Request) -> Result<String, PlanError> {
    let Some(fewer) = plan.prediction.cpus.checked_sub(1).filter(|&cpus| cpus > 0) else {
        return Ok(String::new());
    };
    let workflow = Workflow::new(&plan.graph, &plan.profiles, &plan.calibration)?;
    let request = Request { goal: Goal::Cpus(fewer), quantile: None, ..request.clone() };
    // Constraints that one CPU less can't satisfy are an answer too.
    let Ok(Answer::Plan(other)) = search(&workflow, &request) else {
        return Ok("One CPU less is not possible with these constraints.\n".to_owned());
    };
    let (here, there) = (plan.prediction.latency_ms, other.prediction.latency_ms);
    let cpus = plural(other.prediction.cpus as usize, "CPU", "CPUs");
    if there <= here {
        return Ok(format!("A plan on {cpus} takes {there:.2} ms and is as good.\n"));
    }
    let more = there - here;
    let slo = plan.slo_ms.filter(|slo| there > *slo);
    let misses = slo.map_or(String::new(), |slo| format!(", {:.2} ms over the SLO", there - slo));
    Ok(format!(
        "One CPU less would cost {more:.2} ms: the fastest plan found on {cpus} takes {there:.2} ms{misses}.\n"
    ))
}

/// Why there is no plan, and what would have to change.
pub fn infeasible(answer: &Infeasible) -> String {
    let (slo, bound) = (answer.slo_ms, answer.bound_ms);
    let fastest = &answer.fastest.prediction;
    let mut text = if answer.proved {
        format!(
            "No plan of threads and forks can meet {slo} ms: on any number of CPUs the workflow takes at least {bound:.2} ms.\n"
        )
    } else {
        format!(
            "No plan was found that meets {slo} ms. It is proved only that none takes less than {bound:.2} ms.\n"
        )
    };
    for (stage, (bound, handler)) in answer.stages.iter().enumerate().take(MOST) {
        let _ = writeln!(
            text,
            "  Stage {} takes at least {bound:.2} ms; its longest handler is `{handler}`.",
            stage + 1
        );
    }
    let cpus = plural(fastest.cpus as usize, "CPU", "CPUs");
    let _ = writeln!(text, "What would have to change:");
    // Rounded up, so that what is promised holds.
    let _ = writeln!(
        text,
        "  - an SLO of {:.2} ms can be met, on {cpus}; or",
        (answer.reached_ms * 100.0).ceil() / 100.0
    );
    let longest = answer.stages.iter().max_by(|a, b| a.0.total_cmp(&b.0));
    let more = answer.reached_ms - slo;
    match longest {
        Some((_, handler)) => {
            let _ = writeln!(
                text,
                "  - the stages must become {more:.2} ms faster in all; `{handler}` is where most time goes."
            );
        }
        None => {
            let _ = writeln!(
                text,
                "  - the workflow must become {more:.2} ms faster, or another strategy be used."
            );
        }
    }
    if let Some(by) = &answer.stopped_by {
        let _ = writeln!(text, "The search was stopped by {by}: more time may find a plan.");
    }
    text
}
