//! `cargo faas run`: build, run on a platform of our own, wait for the result.

use std::path::PathBuf;
use std::time::Instant;

use limitless_faas_core::ExecutionId;
use limitless_faas_core::manifest::Handler;
use limitless_faas_core::node::NodeEvent;
use limitless_faas_core::placement::{Model, Placement};
use limitless_faas_core::plan::Plan;
use limitless_faas_planner::explain::ran::{self, Predicted};
use limitless_faas_planner::{self as planner, Answer, Request, explain};

use super::plan::{bad, bad_in, text_of, workflow, write};
use super::{Session, conclude, with_id};
use crate::args::{Pick, Place, Run, Setting, Target};
use crate::capture::Capture;
use crate::error::{Error, Result};
use crate::follow::{Follow, Seen, View};
use crate::image::into_engine;
use crate::platform::{Ask, Call, Local, Runs, Served};
use crate::project::{Function, Input, Programs, Project, check};
use crate::records::{Records, random};
use crate::render::Progress;
use crate::state::State;
use crate::suggest;
use crate::units;

pub(super) async fn run(session: &Session, args: &Run) -> Result<()> {
    // A mistyped input or store is told before a build that takes a minute.
    let input = Input::read(&args.input)?;
    if let Some(url) = &args.target.store {
        Records::open(&State::store_url(&session.global, Some(url))?)?;
    }
    let pick = args.pick.for_store(args.target.store.as_deref());
    let (mut serving, state) = serving(session, &args.handler, &pick).await?;
    check(&serving.handler, &input)?;
    serving.plan = plan(session, &args.place, &serving.handler)?;
    serving.placement = placement(&args.place, serving.plan.as_ref(), &serving.handler)?;
    serving.svg.clone_from(&args.place.svg);
    let key = args.key.clone().map_or_else(fresh_key, Ok)?;
    let call = Call { handler: serving.handler.name.clone(), input, key, callback: None, keep_ms: args.keep };
    on_own_platform(session, &state, &serving, &args.target, Ask::First(call)).await
}

/// What serves a handler, or a program: a binary and what makes it do so.
#[derive(Debug)]
pub(super) struct Serving {
    handler: Handler,
    program: PathBuf,
    args: Vec<String>,
    /// The binary with all that it says of itself.
    function: Function,
    /// Where a workflow's nodes run, if not all on threads of one sandbox.
    placement: Option<Placement>,
    /// The plan that says so, and predicts when they do.
    plan: Option<Plan>,
    /// Where to draw when they did.
    svg: Option<PathBuf>,
}

/// The plan that was named; for the model `ours` the one that is made now, of the least latency on this machine's CPUs.
fn plan(session: &Session, place: &Place, handler: &Handler) -> Result<Option<Plan>> {
    if let Some(path) = &place.plan {
        return serde_json::from_str(&text_of(path, "the plan")?)
            .map(Some)
            .map_err(|error| bad_in(path, error));
    }
    let Some(profiles) = &place.profiles else { return Ok(None) };
    let (Some(Model::Ours), Some(known)) = (place.model, &handler.workflow) else {
        return Err(Error::usage("--profiles is what --model ours plans a workflow with").help(
            "leave it away, or plan first: cargo faas plan … --out plan.json, and run with --plan plan.json",
        ));
    };
    let mut graph = known.graph.clone();
    // The sandboxes of this platform share one machine's CPUs: another one would add a call and nothing else.
    graph.nodes.iter_mut().for_each(|node| {
        node.wrap.get_or_insert(1);
    });
    let workflow = workflow(session, profiles, place.calibration.as_deref(), &graph)?;
    match planner::plan(&workflow, &Request::cpus(cpus())).map_err(bad)? {
        Answer::Plan(plan) => Ok(Some(*plan)),
        Answer::Infeasible(proof) => Err(Error::usage(explain::infeasible(&proof))),
    }
}

/// The CPUs of this machine.
pub(super) fn cpus() -> u32 {
    let cpus = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
    u32::try_from(cpus).unwrap_or(u32::MAX)
}

/// What a plan or a model says of where the nodes run.
fn placement(place: &Place, plan: Option<&Plan>, handler: &Handler) -> Result<Option<Placement>> {
    let option = match (&place.plan, place.model, &place.svg) {
        (None, None, None) => return Ok(None),
        (Some(_), ..) => "--plan",
        (None, Some(_), _) => "--model",
        (None, None, Some(_)) => "--svg",
    };
    let Some(workflow) = &handler.workflow else {
        return Err(Error::usage(format!(
            "`{}` is a handler by itself, and has no nodes to place",
            handler.name
        ))
        .help(format!("leave out {option}, or name a function with #[workflow]")));
    };
    let Some(plan) = plan else {
        return Ok(place.model.map(|model| model.placement(&workflow.graph, cpus())));
    };
    let placement = Placement::of(plan, &workflow.graph).map_err(|error| match &place.plan {
        Some(path) => bad_in(path, error).help(format!(
            "plan it again: cargo faas plan {} --out {}",
            handler.name,
            path.display()
        )),
        None => bad(error),
    })?;
    Ok(Some(placement))
}

/// Finds the program of this name that the nearest `faas.toml` declares, or builds the project's binary that has such a handler.
pub(super) async fn serving(session: &Session, name: &str, pick: &Pick) -> Result<(Serving, State)> {
    let programs = Programs::here(&session.global)?;
    let programs = match programs.map(|all| (all.handler(name), all)) {
        Some((Some(handler), programs)) => {
            let args = programs.arguments()?;
            let function = programs.into_function()?;
            return Ok((Serving::of(handler, function, args), State::here(&session.global)?));
        }
        Some((None, programs)) => Some(programs),
        None => None,
    };
    let declared = |error: Error| match &programs {
        Some(programs) => error.help(suggest::among("program", name, programs.names())),
        None => error,
    };
    let project = Project::open(&session.global).map_err(declared)?;
    let function = project.function_with(name, pick, &session.ui).await.map_err(declared)?;
    let Some(handler) = function.handler(name).cloned() else {
        return Err(Error::bug("a function without the handler it was chosen for"));
    };
    Ok((Serving::of(handler, function, Vec::new()), State::of(&project, &session.global)?))
}

impl Serving {
    fn of(handler: Handler, function: Function, args: Vec<String>) -> Self {
        let program = function.program.clone();
        Self { handler, program, args, function, placement: None, plan: None, svg: None }
    }
}

/// A key that no other call has.
pub(super) fn fresh_key() -> Result<String> {
    Ok(format!("cargo-faas-{}", ExecutionId::from_random(random()?)))
}

/// Serves `serving` on a platform of our own until what is asked for has ended.
pub(super) async fn on_own_platform(
    session: &Session,
    state: &State,
    serving: &Serving,
    target: &Target,
    ask: Ask,
) -> Result<()> {
    let url = target
        .store
        .as_deref()
        .map_or_else(|| state.default_store_url(), |url| State::store_url(&session.global, Some(url)))?;
    let records = Records::open(&url)?;
    records.probe().await?;
    let mut target = target.clone();
    if serving.handler.workflow.is_some() {
        let (name, value) = (NodeEvent::VARIABLE.to_owned(), "events".to_owned());
        target.env.push(Setting { name, value });
    }
    let local = Local::start(&target, &url, None).await?;
    let followed = follow(session, state, &local, &records, serving, &target, ask).await;
    local.shutdown().await;
    followed
}

async fn follow(
    session: &Session,
    state: &State,
    local: &Local,
    records: &Records,
    serving: &Serving,
    target: &Target,
    ask: Ask,
) -> Result<()> {
    let view = View {
        events: local.events(),
        capture: Capture::into(state.logs())?.of(ask.execution()),
        time_limit: target.time_limit,
    };
    let image = image_of(session, state, local, serving, target).await?;
    let runs = match &image {
        Some(image) => Runs::Container(image),
        None => Runs::Program(&serving.program, &serving.args),
    };
    let served = Served { handler: ask.handler(), runs, placement: serving.placement.as_ref() };
    local.deploy(&served).await?;
    local.deploy_wraps(&served).await?;
    announce(session, target, &ask);
    let begun = Instant::now();
    let mut follow = Follow::new(records, local.client(), ask.clone(), Some(view));
    if matches!(ask, Ask::Resume { .. }) {
        follow = follow.until_delivered();
    }
    let ended = {
        let mut progress = Progress::new(&session.ui);
        match follow.begin().await {
            Ok(()) => follow.wait_for_end(&mut progress).await,
            Err(error) => Err(error),
        }
    };
    let waited_us = u64::try_from(begun.elapsed().as_micros()).unwrap_or(u64::MAX);
    let seen = follow.into_seen();
    show_nodes(session, serving, &seen)?;
    match ended {
        Ok(ended) => conclude(session, records, ended, &seen, Some(waited_us)).await,
        Err(error) if seen.history.is_some() => Err(with_id(error, &ask.execution())),
        Err(error) => Err(error),
    }
}

/// When the nodes of a workflow ran, as a chart and as the picture that was asked for.
fn show_nodes(session: &Session, serving: &Serving, seen: &Seen) -> Result<()> {
    let calls = ran::calls(&seen.nodes);
    let predicted = serving.plan.as_ref().map(Predicted::of).transpose().map_err(bad)?;
    let chart = ran::chart(&calls, predicted.as_ref(), 50);
    if !chart.is_empty() {
        session.ui.say(&format!("\n{}", chart.trim_end()));
    }
    let Some(path) = &serving.svg else { return Ok(()) };
    write(path, &ran::drawing(&serving.handler.name, &calls, predicted.as_ref()))?;
    session.ui.status("Drew", &path.display().to_string());
    Ok(())
}

/// The image in the engine, where functions run in containers.
async fn image_of(
    session: &Session,
    state: &State,
    local: &Local,
    serving: &Serving,
    target: &Target,
) -> Result<Option<String>> {
    let Some(engine) = local.engine() else { return Ok(None) };
    into_engine(engine, target.platform, &serving.function, &state.layers(), &session.ui).await.map(Some)
}

fn announce(session: &Session, target: &Target, ask: &Ask) {
    let id = ask.execution();
    let limit = units::limit(u64::try_from(target.time_limit.as_millis()).unwrap_or(u64::MAX));
    let faults = if target.faults.is_none() {
        String::new()
    } else {
        format!(", faults {} from seed {}", target.faults, target.seed)
    };
    let verb = if matches!(ask, Ask::First(_)) { "Running" } else { "Resuming" };
    session.ui.status(
        verb,
        &format!("{} as {id}: {limit} and {} MB an invocation{faults}", ask.handler(), target.memory),
    );
    session.leaves(&id, "");
}
