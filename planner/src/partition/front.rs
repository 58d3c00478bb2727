//! Plans of which none is better than another in everything.

use limitless_faas_core::plan::Plan;

use super::problem::Problem;
use super::search::Search;
use super::{Request, finish, most_cpus};
use crate::error::PlanError;
use crate::workflow::Workflow;
use limitless_faas_core::plan::Start;

/// The Pareto front over latency, CPUs, memory, wraps and cost, by ascending CPUs, then wraps.
///
/// # Errors
///
/// As [`plan`](super::plan).
pub fn front(workflow: &Workflow, request: &Request) -> Result<Vec<Plan>, PlanError> {
    request.check()?;
    let main = if request.keys { Start::Keys } else { Start::Main };
    let problem = Problem::new(workflow, request.sandbox_mb, main)?;
    let mut search = Search::new(&problem, request.time_budget);
    let most = most_cpus(&search);
    let floor = search.workflow_bound(most);
    let mut plans: Vec<Plan> = Vec::new();
    let mut fastest = f64::INFINITY;
    for cpus in 1..=most {
        for wraps in search.wraps(cpus) {
            // More CPUs in as many wraps must be faster to be worth a plan.
            let seen = plans.iter().filter(|plan| plan.wraps.len() <= wraps);
            let limit = seen.map(|plan| plan.prediction.latency_ms).fold(f64::INFINITY, f64::min);
            if search.late() || search.bound(cpus, wraps) >= limit {
                continue;
            }
            if let Some(found) = search.best(cpus, wraps) {
                if found.latency < limit {
                    plans.push(finish(&mut search, request, &found, None)?);
                }
                fastest = fastest.min(found.latency);
            }
        }
        if search.late() || fastest <= floor + 1e-6 {
            break;
        }
    }
    let measures: Vec<[f64; 5]> = plans.iter().map(measures).collect();
    let beaten = |at: usize| {
        (0..plans.len()).any(|other| other != at && dominates(&measures[other], &measures[at], other < at))
    };
    let keep: Vec<bool> = (0..plans.len()).map(|at| !beaten(at)).collect();
    let mut keep = keep.into_iter();
    plans.retain(|_| keep.next().unwrap_or(false));
    Ok(plans)
}

fn measures(plan: &Plan) -> [f64; 5] {
    let prediction = &plan.prediction;
    let wraps = u32::try_from(plan.wraps.len()).unwrap_or(u32::MAX);
    [
        prediction.latency_ms,
        f64::from(prediction.cpus),
        prediction.memory_mb,
        f64::from(wraps),
        prediction.usd_per_million,
    ]
}

/// At least as good in everything, and better in something or `first` among equals.
fn dominates(one: &[f64; 5], other: &[f64; 5], first: bool) -> bool {
    let pairs = || one.iter().zip(other);
    pairs().all(|(a, b)| a <= b) && (first || pairs().any(|(a, b)| a < b))
}
