//! `cargo faas plan`: from a graph, profiles and a target to the plan that meets it with the fewest CPUs.

use std::path::Path;

use limitless_faas_core::calibration::Calibration;
use limitless_faas_core::graph::Graph;
use limitless_faas_core::plan::{Plan as Made, Prices};
use limitless_faas_planner::predict::quantiles;
use limitless_faas_planner::{
    Answer, Goal, Request, Strategy, Workflow, explain, front, partition::DRAWS, plan as search, read,
};
use serde_json::{Value, json};

use super::Session;
use super::graph::named;
use crate::args::Plan;
use crate::error::{Context as _, Error, Result};
use crate::exit::Exit;

pub(super) async fn plan(session: &Session, args: &Plan) -> Result<()> {
    let named = named(session, &args.workflow, &args.pick).await?;
    let workflow = open(session, args, &named.graph)?;
    if args.front {
        return show_front(session, args, &workflow);
    }
    let request = request(args, named.slo_ms)?;
    if request.quantile.is_some() && !workflow.knows_quantiles() {
        session.ui.warn(
            "the profiles know means alone, so every percentile is the mean: `cargo faas profile` records quantiles",
        );
    }
    if args.compare {
        return compare(session, &workflow, &request);
    }
    let mut found = match search(&workflow, &request).map_err(bad)? {
        Answer::Plan(plan) => *plan,
        Answer::Infeasible(proof) => {
            let text = explain::infeasible(&proof);
            let fastest = &proof.fastest;
            if session.ui.is_json() {
                let mut value = summary(fastest);
                value["status"] = json!("infeasible");
                value["proved"] = json!(proof.proved);
                value["bound_ms"] = json!(proof.bound_ms);
                session.ui.print_json(&value)?;
            }
            let mut lines = text.lines();
            let error = Error::new(Exit::Infeasible, lines.next().unwrap_or_default().trim_end_matches('.'));
            let error = lines.fold(error, |error, line| error.help(line.trim()));
            return Err(error.printed_if(session.ui.is_json()));
        }
    };
    if found.prediction.quantiles.is_empty() && workflow.knows_quantiles() {
        found.prediction.quantiles = quantiles(&found, &[0.5, 0.95, 0.99], DRAWS).map_err(bad)?;
    }
    write_files(args, &found)?;
    if session.ui.is_json() {
        return session.ui.print_json(&summary(&found));
    }
    let prose = explain::prose(&found, &request).map_err(bad)?;
    let table = explain::table(&found).map_err(bad)?;
    session.ui.print(&format!("{prose}\n{}", table.trim_end()))
}

fn open(session: &Session, args: &Plan, graph: &Graph) -> Result<Workflow> {
    workflow(session, &args.profiles, args.calibration.as_deref(), graph)
}

/// A graph with the files that say what its nodes cost; maps are as wide as they were when they were measured.
pub(super) fn workflow(
    session: &Session,
    path: &Path,
    calibration: Option<&Path>,
    graph: &Graph,
) -> Result<Workflow> {
    let profiles = read::profiles(&text_of(path, "the profiles")?).map_err(|error| bad_in(path, error))?;
    let calibration = if let Some(path) = calibration {
        read::calibration(&text_of(path, "the calibration")?).map_err(|error| bad_in(path, error))?
    } else {
        session.ui.warn("no --calibration: costs are those of the Chiron paper's cluster, not of yours");
        Calibration::chiron()
    };
    let widths = profiles.widths.get(&graph.name).cloned().unwrap_or_default();
    Workflow::new(&graph.widened(&widths), &profiles, &calibration).map_err(bad)
}

pub(super) fn text_of(path: &Path, what: &str) -> Result<String> {
    std::fs::read_to_string(path)
        .context(Exit::Usage, || format!("failed to read {what} from {}", path.display()))
}

pub(super) fn bad(error: impl std::error::Error) -> Error {
    Error::usage(error.to_string())
}

/// As [`bad`], where a file is to blame.
pub(super) fn bad_in(path: &Path, error: impl std::error::Error) -> Error {
    Error::usage(format!("{}: {error}", path.display()))
}

/// What is asked for; where nothing is, the latency that the workflow's author wants.
fn request(args: &Plan, wanted_ms: Option<u64>) -> Result<Request> {
    #[expect(clippy::cast_precision_loss, reason = "no latency target has 2^53 milliseconds")]
    let wanted_ms = wanted_ms.filter(|_| args.cpus.is_none()).map(|ms| ms as f64);
    let goal = match (args.slo_ms.or(wanted_ms), args.cpus) {
        (Some(ms), _) => Goal::SloMs(ms),
        (None, Some(cpus)) => Goal::Cpus(cpus),
        (None, None) => {
            return Err(Error::usage("no target to plan for").help("give --slo-ms, --cpus or --front"));
        }
    };
    Ok(Request {
        goal,
        strategy: args.strategy,
        sandbox_mb: args.memory,
        quantile: args.percentile.map(|percent| percent / 100.0),
        keys: args.keys,
        time_budget: Some(args.time_budget),
        prices: prices(args)?,
    })
}

fn prices(args: &Plan) -> Result<Prices> {
    let Some(path) = &args.prices else { return Ok(Prices::default()) };
    read::prices(&text_of(path, "the price table")?).map_err(|error| bad_in(path, error))
}

fn summary(plan: &Made) -> Value {
    let prediction = &plan.prediction;
    json!({
        "status": "planned",
        "workflow": plan.graph.name,
        "strategy": plan.strategy,
        "slo_ms": plan.slo_ms,
        "processes": prediction.processes,
        "cpus": prediction.cpus,
        "wraps": plan.wraps.len(),
        "memory_mb": prediction.memory_mb,
        "predicted_ms": prediction.latency_ms,
        "quantiles_ms": prediction.quantiles,
        "usd_per_million": prediction.usd_per_million,
        "lower_bound": { "cpus": plan.bound.cpus, "latency_ms": plan.bound.latency_ms },
        "optimal": plan.bound.optimal,
        "stopped_by": plan.bound.stopped_by,
        "reason": plan.reason,
        "plan": plan.wraps,
    })
}

fn write_files(args: &Plan, plan: &Made) -> Result<()> {
    if let Some(path) = &args.out {
        let text =
            serde_json::to_string_pretty(plan).map_err(|error| Error::bug("no JSON").because(error))?;
        write(path, &text)?;
    }
    if let Some(path) = &args.svg {
        write(path, &explain::picture(plan).map_err(bad)?)?;
    }
    Ok(())
}

pub(super) fn write(path: &Path, text: &str) -> Result<()> {
    std::fs::write(path, text).context(Exit::Usage, || format!("failed to write {}", path.display()))
}

/// Every strategy's plan, also where it misses the target.
fn compare(session: &Session, workflow: &Workflow, request: &Request) -> Result<()> {
    let mut plans = Vec::new();
    for strategy in Strategy::ALL {
        match search(workflow, &request.clone().with(strategy)) {
            Ok(Answer::Plan(plan)) => plans.push(*plan),
            Ok(Answer::Infeasible(proof)) => plans.push(proof.fastest),
            Err(error) => session.ui.warn(&format!("{}: {error}", strategy.name())),
        }
    }
    listed(session, &plans)
}

fn show_front(session: &Session, args: &Plan, workflow: &Workflow) -> Result<()> {
    let request = Request {
        sandbox_mb: args.memory,
        keys: args.keys,
        time_budget: Some(args.time_budget),
        prices: prices(args)?,
        ..Request::slo(1.0)
    };
    let mut plans = front(workflow, &request).map_err(bad)?;
    for plan in &mut plans {
        // Nobody asked for an SLO.
        plan.slo_ms = None;
    }
    if let Some(path) = &args.out {
        let text =
            serde_json::to_string_pretty(&plans).map_err(|error| Error::bug("no JSON").because(error))?;
        write(path, &text)?;
    }
    listed(session, &plans)
}

fn listed(session: &Session, plans: &[Made]) -> Result<()> {
    if session.ui.is_json() {
        let all: Vec<Value> = plans.iter().map(summary).collect();
        return session.ui.print_json(&json!({ "plans": all }));
    }
    session.ui.print(explain::compare(plans).trim_end())
}
