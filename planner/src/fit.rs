//! Fits the fair thread predictor to measured groups of threads.
//!
//! A solo run can't show what only company brings out: what a thread costs to start, how long the lock is held
//! against others, how much of a handler's computing runs without it, and that a process just forked is slower
//! than a warm one. Few measured groups show all of it. The fit is a coordinate descent on the mean relative error,
//! every set of groups weighing the same; it has no random start, so the same groups always give the same constants.

use std::collections::BTreeMap;

use limitless_faas_core::calibration::{Calibration, ThreadModel};
use limitless_faas_core::graph::{Graph, Node};
use limitless_faas_core::plan::Start;
use limitless_faas_core::profile::Profiles;

use crate::error::PlanError;
use crate::predict::model::{Model, to_f64};
use crate::workflow::Workflow;

/// Threads that were measured together in one process.
#[derive(Clone, Debug, PartialEq)]
pub struct Group {
    /// Groups of one set count as much as those of another, however many there are.
    pub set: String,
    /// The handlers in the order in which their threads start.
    pub handlers: Vec<String>,
    /// Whether the process was forked for them.
    pub forked: bool,
    /// How long the process took.
    pub mean_ms: f64,
}

/// What was fitted.
#[derive(Clone, Debug, PartialEq)]
pub struct Fit {
    /// The constants with their corrections.
    pub calibration: Calibration,
    /// The profiles, each with its share of computing without the lock.
    pub profiles: Profiles,
    /// Mean relative error of every set of the groups that were fitted to.
    pub errors: BTreeMap<String, f64>,
}

/// Fits constants and profiles to groups.
///
/// # Errors
///
/// [`PlanError`] where a group has no profile, or a profile or constant is wrong.
pub fn fit(profiles: &Profiles, start: &Calibration, groups: &[Group]) -> Result<Fit, PlanError> {
    let mut state = State::new(profiles, start, groups)?;
    let mut best = state.error()?;
    let mut steps: Vec<f64> = (0..state.len()).map(step).collect();
    for _ in 0..ROUNDS {
        let before = best;
        for (at, step) in steps.iter().enumerate() {
            for change in [*step, -*step] {
                let was = state.get(at);
                state.set(at, was + change);
                let error = state.error()?;
                if error < best - 1e-9 {
                    best = error;
                    break;
                }
                state.set(at, was);
            }
        }
        if before - best < 1e-5 {
            for step in &mut steps {
                *step *= 0.5;
            }
        }
    }
    let errors = errors(&state.profiles, &state.calibration, groups)?;
    Ok(Fit { calibration: state.calibration, profiles: state.profiles, errors })
}

const ROUNDS: u32 = 40;

/// The mean relative error of every set.
///
/// # Errors
///
/// As [`fit`].
pub fn errors(
    profiles: &Profiles,
    calibration: &Calibration,
    groups: &[Group],
) -> Result<BTreeMap<String, f64>, PlanError> {
    let workflow = workflow(profiles, calibration, groups)?;
    let model = Model::new(&workflow);
    let mut sums: BTreeMap<String, (f64, usize)> = BTreeMap::new();
    for group in groups {
        let number = |name: &String| workflow.handlers.binary_search(name).unwrap_or(0);
        let handlers: Vec<usize> = group.handlers.iter().map(number).collect();
        let start = if group.forked { Start::Fork } else { Start::Main };
        let predicted = model.exec_ms(start, &handlers, false);
        let sum = sums.entry(group.set.clone()).or_default();
        sum.0 += (predicted - group.mean_ms).abs() / group.mean_ms;
        sum.1 += 1;
    }
    Ok(sums.into_iter().map(|(set, (sum, count))| (set, sum / to_f64(count))).collect())
}

/// All handlers of the groups as one stage, which is what the model is made from.
fn workflow(profiles: &Profiles, calibration: &Calibration, groups: &[Group]) -> Result<Workflow, PlanError> {
    let mut graph = Graph::empty("groups");
    let mut names: Vec<&String> = groups.iter().flat_map(|group| &group.handlers).collect();
    names.sort();
    names.dedup();
    graph.nodes = names.into_iter().map(|name| Node::new(name, name)).collect();
    Workflow::new(&graph, profiles, calibration)
}

/// The numbers that are fitted: eight constants, then a share of every handler.
struct State<'a> {
    calibration: Calibration,
    profiles: Profiles,
    handlers: Vec<String>,
    groups: &'a [Group],
}

const CONSTANTS: usize = 8;

impl<'a> State<'a> {
    fn new(profiles: &Profiles, start: &Calibration, groups: &'a [Group]) -> Result<Self, PlanError> {
        let calibration = Calibration { threads: ThreadModel::Fair, ..start.clone() };
        let handlers = workflow(profiles, &calibration, groups)?.handlers;
        Ok(Self { calibration, profiles: profiles.clone(), handlers, groups })
    }

    fn len(&self) -> usize {
        CONSTANTS + self.handlers.len()
    }

    fn error(&self) -> Result<f64, PlanError> {
        let errors = errors(&self.profiles, &self.calibration, self.groups)?;
        Ok(errors.values().sum::<f64>() / to_f64(errors.len().max(1)))
    }

    fn constant(&mut self, at: usize) -> &mut f64 {
        let fitted = &mut self.calibration.fitted;
        match at {
            0 => &mut self.calibration.thread_start_ms,
            1 => &mut self.calibration.slice_ms,
            2 => &mut fitted.main.load_ms,
            3 => &mut fitted.fork.load_ms,
            4 => &mut fitted.main.factor,
            5 => &mut fitted.fork.factor,
            6 => &mut fitted.main.base_ms,
            _ => &mut fitted.fork.base_ms,
        }
    }

    fn get(&mut self, at: usize) -> f64 {
        match at.checked_sub(CONSTANTS) {
            None => *self.constant(at),
            Some(handler) => self.profiles.handlers[&self.handlers[handler]].unlocked,
        }
    }

    fn set(&mut self, at: usize, value: f64) {
        match at.checked_sub(CONSTANTS) {
            None => {
                let (least, most) = match at {
                    1 => (1.0, 20.0),
                    6 | 7 => (-5.0, 20.0),
                    _ => (0.0, 20.0),
                };
                *self.constant(at) = value.clamp(least, most);
            }
            Some(handler) => {
                if let Some(profile) = self.profiles.handlers.get_mut(&self.handlers[handler]) {
                    profile.unlocked = value.clamp(0.0, 0.95);
                }
            }
        }
    }
}

/// How far a number is moved at first.
fn step(at: usize) -> f64 {
    match at {
        1 => 1.0,
        4 | 5 => 0.1,
        6 | 7 => 0.5,
        _ => 0.2,
    }
}
