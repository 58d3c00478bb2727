//! `cargo faas predict`: what each deployment model is predicted to take for a workflow, beside what it takes.
//!
//! First the workflow runs one node at a time, with all nodes on threads, in processes and in other wraps: that says what its nodes
//! do and what each kind of place costs here. From these figures alone every model is predicted. Then each is measured, all of
//! them in turns.

mod measure;
mod spent;

use std::path::{Path, PathBuf};

use limitless_faas_core::graph::Graph;
use limitless_faas_core::placement::{Model, Place, Placement};
use limitless_faas_planner::observe::{Runs, observed};
use limitless_faas_planner::predict::placed::Observed;
use serde::{Deserialize, Serialize};
use serde_json::json;
use serde_json::value::RawValue;

use self::measure::{Setting, Stage};
use super::Session;
use super::plan::{bad, bad_in, text_of};
use super::run::cpus;
use crate::args::Predict;
use crate::error::{Context as _, Error, Result};
use crate::exit::Exit;
use crate::project::{Function, Input, Project, check};
use crate::render::table;
use crate::state::State;

/// Stands in an input for a folder that is there while the workflow runs.
const FOLDER: &str = "{folder}";

/// A workflow and what it is called with.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Case {
    /// What it is called in the table; its workflow's name where it has none.
    #[serde(default)]
    title: Option<String>,
    workflow: String,
    input: Box<RawValue>,
}

/// A line of the table.
#[derive(Debug, Serialize)]
struct Line {
    case: String,
    model: &'static str,
    predicted_ms: f64,
    measured_ms: f64,
    /// How far the prediction is off, as a share of what was measured.
    error: f64,
}

pub(super) async fn predict(session: &Session, args: &Predict) -> Result<()> {
    let cases = cases(args)?;
    let project = Project::open(&session.global)?;
    if !args.pick.release {
        session.ui.warn("built without optimisation: --release measures what is deployed");
    }
    let folder = Folder::new(&State::of(&project, &session.global)?)?;
    let mut lines = Vec::new();
    for case in &cases {
        let function = project.function_with(&case.workflow, &args.pick, &session.ui).await?;
        lines.extend(of_case(session, args, case, &function, &folder.0).await?);
    }
    show(session, &lines)
}

/// Those of the file, or the one of the command line.
fn cases(args: &Predict) -> Result<Vec<Case>> {
    if let Some(path) = &args.cases {
        let cases: Vec<Case> =
            serde_json::from_str(&text_of(path, "the cases")?).map_err(|error| bad_in(path, error))?;
        return if cases.is_empty() {
            Err(Error::usage(format!("{} has no cases", path.display())))
        } else {
            Ok(cases)
        };
    }
    let workflow = args.workflow.clone().unwrap_or_default();
    let input = serde_json::from_str(&crate::project::text_of(&args.input)?)
        .map_err(|error| Error::usage("the input is no JSON").because(error))?;
    Ok(vec![Case { title: None, workflow, input }])
}

async fn of_case(
    session: &Session,
    args: &Predict,
    case: &Case,
    function: &Function,
    folder: &Path,
) -> Result<Vec<Line>> {
    let Some(handler) = function.handler(&case.workflow) else {
        return Err(Error::bug("a function without the handler it was chosen for"));
    };
    let Some(workflow) = &handler.workflow else {
        let what = format!("`{}` is a handler by itself: only workflows are predicted", handler.name);
        return Err(Error::usage(what).help("name a function with #[workflow]"));
    };
    let title = case.title.clone().unwrap_or_else(|| case.workflow.clone());
    let input = Input::parse(&case.input.get().replace(FOLDER, &folder.display().to_string()))?;
    check(handler, &input)?;
    let setting = Setting { program: &function.program, handler: &handler.name, input: &input, folder };
    session.ui.status("Observing", &format!("{title}, one node at a time"));
    let observed = observe(&setting, &workflow.graph, args.runs).await?;
    session.ui.status("Measuring", &format!("{title} under each model"));
    let measured = measure(&setting, &workflow.graph, args.runs).await?;
    let line = |(model, measured_ms): (Model, f64)| {
        let placement = model.placement(&workflow.graph, cpus());
        let predicted_ms = observed.latency_ms(&workflow.graph, &placement, cpus()).map_err(bad)?;
        let error = (predicted_ms - measured_ms) / measured_ms;
        Ok(Line { case: title.clone(), model: model.name(), predicted_ms, measured_ms, error })
    };
    measured.into_iter().map(line).collect()
}

/// All nodes on threads, then in processes, then in other wraps, one at a time.
async fn observe(setting: &Setting<'_>, graph: &Graph, runs: u32) -> Result<Observed> {
    let mut each: Vec<Runs> = Vec::new();
    for model in [Model::Ours, Model::Sand, Model::OneToOne] {
        let mut placement = model.placement(graph, 1);
        narrow(&mut placement);
        let stage = Stage::begin(setting, &placement, true).await?;
        let observed = stage.observe(runs).await;
        stage.end().await;
        each.push(observed?);
    }
    Ok(observed(&each[0], &each[1], &each[2]))
}

/// A process for each call of a `map` would be a new one each time: one for all of them is warm.
fn narrow(placement: &mut Placement) {
    for place in placement.nodes.values_mut() {
        if let Place::Process { first, count } = place {
            (*first, *count) = (0, 1);
        }
    }
}

/// The median latency under each model, measured in turns.
async fn measure(setting: &Setting<'_>, graph: &Graph, runs: u32) -> Result<Vec<(Model, f64)>> {
    let mut stages = Vec::new();
    for model in Model::ALL {
        stages.push((model, Stage::begin(setting, &model.placement(graph, cpus()), false).await?));
    }
    let measured = in_turns(&stages, runs).await;
    for (_, stage) in stages {
        stage.end().await;
    }
    measured
}

async fn in_turns(stages: &[(Model, Stage<'_>)], runs: u32) -> Result<Vec<(Model, f64)>> {
    let mut latencies = vec![Vec::new(); stages.len()];
    for run in 0..runs + measure::WARM_UP {
        for ((_, stage), latencies) in stages.iter().zip(&mut latencies) {
            let (begun_us, ended_us) = stage.call().await?;
            if run >= measure::WARM_UP {
                latencies.push(ended_us.saturating_sub(begun_us));
            }
        }
    }
    let median = |latencies: &mut Vec<u64>| {
        latencies.sort_unstable();
        micros(latencies[latencies.len() / 2])
    };
    Ok(stages.iter().map(|(model, _)| *model).zip(latencies.iter_mut().map(median)).collect())
}

#[expect(clippy::cast_precision_loss, reason = "no call takes 2^53 microseconds")]
fn micros(us: u64) -> f64 {
    us.max(1) as f64 / 1000.0
}

fn show(session: &Session, lines: &[Line]) -> Result<()> {
    #[expect(clippy::cast_precision_loss, reason = "nobody waits for so many cases")]
    let mean = lines.iter().map(|line| line.error.abs()).sum::<f64>() / lines.len().max(1) as f64;
    if session.ui.is_json() {
        let cases = serde_json::to_value(lines).map_err(|error| Error::bug("no JSON").because(error))?;
        return session.ui.print_json(&json!({ "cases": cases, "mean_error": mean }));
    }
    let rows: Vec<[String; 5]> = lines.iter().map(Line::row).collect();
    let text = table(["workflow", "model", "predicted, ms", "measured, ms", "error"], &rows);
    session.ui.print(&format!("{text}\nmean error of {} cases: {:.1} %", lines.len(), mean * 100.0))
}

impl Line {
    fn row(&self) -> [String; 5] {
        let Self { case, model, predicted_ms, measured_ms, error } = self;
        [
            case.clone(),
            (*model).to_owned(),
            format!("{predicted_ms:.2}"),
            format!("{measured_ms:.2}"),
            format!("{:+.1} %", error * 100.0),
        ]
    }
}

/// A folder for what the runs write, removed with this.
struct Folder(PathBuf);

impl Folder {
    fn new(state: &State) -> Result<Self> {
        let path = state.logs().with_file_name(format!("predict-{}", std::process::id()));
        std::fs::create_dir_all(&path)
            .context(Exit::Platform, || format!("failed to make the folder {}", path.display()))?;
        Ok(Self(path))
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        // What can't be removed is in the target folder, where `cargo clean` finds it.
        drop(std::fs::remove_dir_all(&self.0));
    }
}
