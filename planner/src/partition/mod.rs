//! Search for the plan that meets an SLO with the fewest CPUs, and plans of fixed models to compare with.

mod bound;
mod build;
mod fixed;
mod front;
mod pgp;
mod problem;
mod search;
mod slots;
mod stage;

use std::time::Duration;

use limitless_faas_core::plan::{Bound, Plan, Prices, Start};

pub use front::front;

use crate::error::PlanError;
use crate::predict::{predict, quantiles};
use crate::workflow::Workflow;
use problem::Problem;
use search::{Search, Solution};

/// What a plan is asked for.
#[derive(Clone, Debug)]
pub struct Request {
    /// What it should reach.
    pub goal: Goal,
    /// How it is made.
    pub strategy: Strategy,
    /// Memory of one sandbox, at most, in MB.
    pub sandbox_mb: Option<f64>,
    /// The share of requests that must meet the SLO (0.95 for the 95th percentile); the mean where there is none.
    pub quantile: Option<f64>,
    /// Memory of threads is kept apart by protection keys.
    pub keys: bool,
    /// What the platform charges.
    pub prices: Prices,
    /// How long the search may take; no limit where there is none.
    pub time_budget: Option<Duration>,
}

/// What a plan should reach.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Goal {
    /// This latency, with the fewest CPUs.
    SloMs(f64),
    /// The least latency on at most this many CPUs.
    Cpus(u32),
}

/// How a plan is made.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Strategy {
    /// This planner's own search.
    Fewest,
    /// Algorithm 2 of the Chiron paper, PGP.
    Pgp,
    /// A sandbox for every node.
    OneToOne,
    /// One sandbox, a process for every node.
    Sand,
    /// One sandbox, threads in sequence, processes in parallel.
    Faastlane,
    /// As Faastlane, with five processes in a sandbox.
    FaastlanePlus,
    /// One sandbox with a pool of processes, as many CPUs as the SLO needs.
    Pool,
}

impl Strategy {
    /// All of them, this planner's own first.
    pub const ALL: [Self; 7] = [
        Self::Fewest,
        Self::Pgp,
        Self::OneToOne,
        Self::Sand,
        Self::Faastlane,
        Self::FaastlanePlus,
        Self::Pool,
    ];

    /// Its name on the command line.
    pub fn name(self) -> &'static str {
        match self {
            Self::Fewest => "fewest",
            Self::Pgp => "pgp",
            Self::OneToOne => "one-to-one",
            Self::Sand => "sand",
            Self::Faastlane => "faastlane",
            Self::FaastlanePlus => "faastlane-plus",
            Self::Pool => "pool",
        }
    }
}

/// A plan, or why there can't be one.
#[derive(Clone, Debug, PartialEq)]
pub enum Answer {
    /// A plan that reaches its goal.
    Plan(Box<Plan>),
    /// No plan reaches it.
    Infeasible(Box<Infeasible>),
}

/// That an SLO was not met, and by how much.
#[derive(Clone, Debug, PartialEq)]
pub struct Infeasible {
    /// The target.
    pub slo_ms: f64,
    /// No plan on any number of CPUs has a lower latency than this.
    pub bound_ms: f64,
    /// Whether the bound is above the target, so that nothing can meet it; otherwise only the search found nothing.
    pub proved: bool,
    /// The fastest plan found.
    pub fastest: Plan,
    /// The least target that this plan meets: its latency, or that of the share of requests asked for.
    pub reached_ms: f64,
    /// For each stage, its own lower bound and the handler that takes longest in it.
    pub stages: Vec<(f64, String)>,
    /// What cut the search short, where something did.
    pub stopped_by: Option<String>,
}

impl Request {
    /// A request for the fewest CPUs that meet an SLO, all else by default.
    pub fn slo(ms: f64) -> Self {
        Self {
            goal: Goal::SloMs(ms),
            strategy: Strategy::Fewest,
            sandbox_mb: None,
            quantile: None,
            keys: false,
            prices: Prices::default(),
            time_budget: Some(Duration::from_secs(10)),
        }
    }

    /// A request for the least latency on a number of CPUs, all else by default.
    pub fn cpus(cpus: u32) -> Self {
        Self { goal: Goal::Cpus(cpus), ..Self::slo(1.0) }
    }

    /// The same with another strategy.
    #[must_use]
    pub fn with(self, strategy: Strategy) -> Self {
        Self { strategy, ..self }
    }

    fn check(&self) -> Result<(), PlanError> {
        let (value, unit) = match self.goal {
            Goal::SloMs(ms) => (ms, "ms"),
            Goal::Cpus(cpus) => (f64::from(cpus), "CPUs"),
        };
        if !value.is_finite() || value <= 0.0 {
            return Err(PlanError::Target { value, unit });
        }
        if let Some(mb) = self.sandbox_mb.filter(|mb| !mb.is_finite() || *mb <= 0.0) {
            return Err(PlanError::Target { value: mb, unit: "MB of memory" });
        }
        match self.quantile {
            Some(share) if !(share > 0.0 && share < 1.0) => {
                Err(PlanError::Target { value: share, unit: "as a share of requests between 0 and 1" })
            }
            _ => Ok(()),
        }
    }
}

/// The best plan for a request. The same request always gets the same answer, unless the time budget cuts it short.
///
/// # Errors
///
/// [`PlanError`] where the request or its constraints contradict themselves. A target that can't be met is
/// [`Answer::Infeasible`].
pub fn plan(workflow: &Workflow, request: &Request) -> Result<Answer, PlanError> {
    request.check()?;
    match (request.quantile, request.goal) {
        (Some(share), Goal::SloMs(slo_ms)) => for_quantile(workflow, request, share, slo_ms),
        _ => for_mean(workflow, request),
    }
}

/// Tightens the target of the mean until the quantile meets the SLO.
fn for_quantile(
    workflow: &Workflow,
    request: &Request,
    share: f64,
    slo_ms: f64,
) -> Result<Answer, PlanError> {
    let mut target = slo_ms;
    let mut last = None;
    for _ in 0..8 {
        let mean = Request { goal: Goal::SloMs(target), quantile: None, ..request.clone() };
        let mut answer = for_mean(workflow, &mean)?;
        let Answer::Plan(plan) = &mut answer else { break };
        plan.slo_ms = Some(slo_ms);
        plan.prediction.quantiles = quantiles(plan, &[0.5, 0.95, 0.99, share], DRAWS)?;
        let reached = plan.prediction.quantiles[3].1;
        plan.prediction.quantiles.truncate(3);
        if reached <= slo_ms {
            return Ok(answer);
        }
        // As far below as it was above, and at least a hundredth, so that this ends.
        target = (plan.prediction.latency_ms * (slo_ms / reached)).min(target * 0.99);
        last = Some((plan.clone(), reached));
    }
    let (fastest, reached_ms) = match last {
        Some((plan, reached)) => (*plan, reached),
        None => return for_mean(workflow, &Request { quantile: None, ..request.clone() }),
    };
    let bound_ms = fastest.bound.latency_ms;
    let stages = Vec::new();
    Ok(Answer::Infeasible(Box::new(Infeasible {
        slo_ms,
        bound_ms,
        proved: false,
        fastest,
        reached_ms,
        stages,
        stopped_by: None,
    })))
}

/// How many runs quantiles are drawn from.
pub const DRAWS: usize = 400;

fn for_mean(workflow: &Workflow, request: &Request) -> Result<Answer, PlanError> {
    let main = if request.keys { Start::Keys } else { Start::Main };
    let problem = Problem::new(workflow, request.sandbox_mb, main)?;
    match request.strategy {
        Strategy::Fewest => fewest(&problem, request),
        Strategy::Pgp => pgp::plan(&problem, request),
        _ => fixed::plan(&problem, request),
    }
}

fn fewest(problem: &Problem<'_>, request: &Request) -> Result<Answer, PlanError> {
    let mut search = Search::new(problem, request.time_budget);
    match request.goal {
        Goal::SloMs(slo_ms) => within(&mut search, request, slo_ms),
        Goal::Cpus(cpus) => {
            let Some(found) = fastest(&mut search, cpus) else { return Err(no_room(problem, cpus)) };
            Ok(Answer::Plan(Box::new(finish(&mut search, request, &found, None)?)))
        }
    }
}

/// Rounding in sums of milliseconds; less than this is nothing.
const ROUNDING_MS: f64 = 1e-9;

/// The fewest CPUs that meet the SLO; of the plans with so many, the cheapest.
fn within(search: &mut Search<'_>, request: &Request, slo_ms: f64) -> Result<Answer, PlanError> {
    let most = most_cpus(search);
    let fits = |ms: f64| ms <= slo_ms + ROUNDING_MS;
    let fewest = Search::cpus(most, 64);
    let first = fewest.partition_point(|&cpus| !fits(search.workflow_bound(cpus)));
    // Between two numbers of the list the bound holds for the one after the first.
    let least = if first == 0 { 1 } else { fewest[first - 1] + 1 };
    for &cpus in &fewest[first..] {
        let mut best: Option<(Solution, Plan)> = None;
        for wraps in search.wraps(cpus) {
            if search.late() {
                break;
            }
            // A further wrap costs memory: only a lower latency can make up for it.
            let limit = best.as_ref().map_or(slo_ms + ROUNDING_MS, |(found, _)| found.latency - ROUNDING_MS);
            if search.bound(cpus, wraps) > limit {
                continue;
            }
            let Some(found) = search.best(cpus, wraps).filter(|found| found.latency <= limit) else {
                continue;
            };
            let plan = finish(search, request, &found, Some(least))?;
            let cost = plan.prediction.usd_per_million;
            if best.as_ref().is_none_or(|(_, best)| cost < best.prediction.usd_per_million) {
                best = Some((found, plan));
            }
        }
        if let Some((_, plan)) = best {
            return Ok(Answer::Plan(Box::new(plan)));
        }
    }
    infeasible(search, request, slo_ms)
}

fn infeasible(search: &mut Search<'_>, request: &Request, slo_ms: f64) -> Result<Answer, PlanError> {
    let most = most_cpus(search);
    let stopped = search.stopped;
    let Some(found) = fastest(search, most) else { return Err(no_room(search.problem, most)) };
    let mut fastest = finish(search, request, &found, None)?;
    fastest.reason = format!("The fastest plan found; it misses {slo_ms} ms.");
    let bound_ms = search.workflow_bound(most);
    let problem = search.problem;
    let stages = problem.kind_of.iter().map(|&kind| {
        let bound = search.work[kind].bound(&bound::best_rooms(problem, most, problem.kinds[kind].nodes()));
        let longest = problem.kinds[kind].classes.first().map_or(0, |class| class.handler);
        (bound, problem.workflow.handlers[longest].clone())
    });
    Ok(Answer::Infeasible(Box::new(Infeasible {
        slo_ms,
        bound_ms,
        proved: bound_ms > slo_ms,
        stages: stages.collect(),
        stopped_by: stopped.then(|| "the time budget".to_owned()),
        reached_ms: fastest.prediction.latency_ms,
        fastest,
    })))
}

/// The least latency on at most this many CPUs; of equal ones the fewest CPUs, then wraps.
///
/// Fewer CPUs are tried until their bound says that they can't be better, so more CPUs never give a worse plan.
fn fastest(search: &mut Search<'_>, cpus: u32) -> Option<Solution> {
    let most = cpus.min(most_cpus(search)).max(u32::try_from(search.problem.fewest_wraps()).unwrap_or(1));
    if most > cpus {
        return None;
    }
    let mut best: Option<Solution> = None;
    for cpus in Search::cpus(most, 16).into_iter().rev() {
        if best.as_ref().is_some_and(|best| search.workflow_bound(cpus) > best.latency + ROUNDING_MS) {
            break;
        }
        for wraps in search.wraps(cpus) {
            if best.is_some() && search.late() {
                return best;
            }
            let limit = best.as_ref().map_or(f64::INFINITY, |best| best.latency + ROUNDING_MS);
            if search.bound(cpus, wraps) > limit {
                continue;
            }
            let Some(found) = search.best(cpus, wraps) else { continue };
            let better = best.as_ref().is_none_or(|best| {
                let order =
                    |one: &Solution| (one.shape.iter().map(|wrap| wrap.1).sum::<u32>(), one.shape.len());
                let equal = (found.latency - best.latency).abs() <= ROUNDING_MS;
                if equal { order(&found) < order(best) } else { found.latency < best.latency }
            });
            if better {
                best = Some(found);
            }
        }
    }
    best
}

/// No more CPUs than this are of use.
fn most_cpus(search: &Search<'_>) -> u32 {
    let widest = search.problem.most_cpus();
    // Stages may want different wraps, so that all of them together have more CPUs than any stage has processes.
    let spare = if search.exact() { widest.saturating_sub(1) } else { 0 };
    (widest + spare).max(u32::try_from(search.problem.fewest_wraps()).unwrap_or(u32::MAX))
}

fn no_room(problem: &Problem<'_>, cpus: u32) -> PlanError {
    let node = problem.workflow.graph.nodes.first().map(|node| node.name.clone()).unwrap_or_default();
    let wraps = problem.fewest_wraps();
    let what = format!(
        "its workflow needs at least {wraps} wraps, and no assignment to {cpus} CPUs keeps its runtimes, files, \
         isolation, pins and memory: allow more CPUs or more memory for a sandbox, or remove a constraint"
    );
    PlanError::Constraint { node, what }
}

/// The plan of a solution, predicted and bounded.
fn finish(
    search: &mut Search<'_>,
    request: &Request,
    found: &Solution,
    least: Option<u32>,
) -> Result<Plan, PlanError> {
    let mut plan = build::plan(search.problem, request, found);
    plan.prediction = predict(&plan)?;
    let cpus = plan.prediction.cpus;
    let proved = match least {
        Some(least) => least >= cpus || (search.exact() && !search.stopped),
        None => false,
    };
    plan.bound = Bound {
        cpus: if proved { cpus } else { least.unwrap_or(1) },
        latency_ms: search.workflow_bound(cpus),
        optimal: proved,
        stopped_by: search.stopped.then(|| "the time budget".to_owned()),
    };
    plan.reason = build::reason(&plan, least);
    Ok(plan)
}
