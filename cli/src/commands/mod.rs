//! What each command does.

mod build;
mod calibrate;
mod cancel;
mod deploy;
mod dev;
mod gc;
mod graph;
mod invoke;
mod list;
mod logs;
mod new;
mod plan;
mod predict;
mod profile;
mod result;
mod resume;
mod rollout;
mod run;
mod specs;
mod status;
mod trace;
mod versions;
mod wake;

use std::sync::Mutex;

use limitless_faas_core::ExecutionId;
use limitless_faas_core::log::Phase;
use limitless_faas_planner::explain::ran;
use serde::Serialize;
use serde_json::value::RawValue;
use tokio::sync::watch;

use crate::args::{Cli, Command, Global};
use crate::deliveries::Deliveries;
use crate::error::{Error, Result};
use crate::follow::{Ended, Seen};
use crate::history::History;
use crate::platform::Said;
use crate::records::Records;
use crate::render;
use crate::report::{self, Report};
use crate::ui::Ui;
use crate::units;

/// What all commands share.
#[derive(Debug)]
pub struct Session {
    /// What every command understands.
    pub global: Global,
    /// Where messages go.
    pub ui: Ui,
    /// What an interruption leaves behind, for its message.
    leaves: Mutex<Option<String>>,
    /// Whether the command is to undo what it did; none where it has done nothing that dropping it leaves.
    undo: watch::Sender<Option<bool>>,
}

impl Session {
    /// A session as the command line asks for it.
    pub fn new(global: Global) -> Self {
        let ui = Ui::new(&global);
        Self { global, ui, leaves: Mutex::new(None), undo: watch::Sender::new(None) }
    }

    /// From now on the command itself undoes what it did, when it is interrupted: it waits for [`Session::interrupted`]. Interrupted once
    /// more it does not, and `help` says what to do then.
    fn undoes(&self, help: &str) {
        *self.leaves.lock().unwrap_or_else(std::sync::PoisonError::into_inner) = Some(help.to_owned());
        self.undo.send_replace(Some(false));
    }

    /// Asks the command to undo what it did; says whether it does so.
    pub fn ask_to_undo(&self) -> bool {
        self.undo.send_if_modified(|undo| std::mem::replace(undo, undo.map(|_| true)).is_some())
    }

    /// Ready when the command is interrupted and undoes what it did.
    async fn interrupted(&self) {
        // The sender lives as long as the session.
        drop(self.undo.subscribe().wait_for(|undo| *undo == Some(true)).await);
    }

    /// From now on an interruption leaves this execution unfinished.
    fn leaves(&self, id: &ExecutionId, how: &str) {
        let help = format!("execution {id} can go on: cargo faas resume {id}{how}");
        *self.leaves.lock().unwrap_or_else(std::sync::PoisonError::into_inner) = Some(help);
    }

    /// What an interruption leaves unfinished, and how to go on.
    pub fn left(&self) -> Option<String> {
        self.leaves.lock().unwrap_or_else(std::sync::PoisonError::into_inner).clone()
    }

    /// The records of the store that was named, or of the default one.
    fn records(&self, given: Option<&str>) -> Result<Records> {
        Records::open(&crate::state::State::store_url(&self.global, given)?)
    }
}

/// Carries the command out.
///
/// # Errors
/// Says why it did not do what was asked.
pub async fn carry_out(cli: &Cli, session: &Session) -> Result<()> {
    match &cli.command {
        Command::Run(args) => run::run(session, args).await,
        Command::Dev(args) => dev::dev(session, args).await,
        Command::Build(args) => build::build(session, args).await,
        Command::Deploy(args) => deploy::deploy(session, args).await,
        Command::Versions(args) => versions::versions(session, args).await,
        Command::Remove(args) => versions::remove(session, args).await,
        Command::New(args) => new::new(session, args),
        Command::Invoke(args) => invoke::invoke(session, args).await,
        Command::List(args) => list::list(session, args).await,
        Command::Status(args) => status::status(session, args).await,
        Command::Result(args) => result::result(session, args).await,
        Command::Logs(args) => logs::logs(session, args).await,
        Command::Cancel(args) => cancel::cancel(session, args).await,
        Command::Resume(args) => resume::resume(session, args).await,
        Command::Wake(args) => wake::wake(session, args).await,
        Command::Gc(args) => gc::gc(session, args).await,
        Command::Graph(args) => graph::graph(session, args).await,
        Command::Plan(args) => plan::plan(session, args).await,
        Command::Profile(args) => profile::profile(session, args).await,
        Command::Predict(args) => predict::predict(session, args).await,
        Command::Calibrate(args) => calibrate::calibrate(session, args),
    }
}

/// Prints how an execution that was waited for ended: the result on stdout, and for a person the summary.
async fn conclude(
    session: &Session,
    records: &Records,
    ended: Ended,
    seen: &Seen,
    waited_us: Option<u64>,
) -> Result<()> {
    let history = match ended {
        Ended::Log(history) => history,
        Ended::Answer(answer) => return answered(session, &answer),
    };
    let mut report = Report::of(records, &history, seen.deliveries.as_ref(), waited_us).await?;
    report.nodes = ran::calls(&seen.nodes);
    if session.ui.is_json() {
        session.ui.print_json(&report)?;
    } else {
        summary(&session.ui, &history, &report, seen.deliveries.as_ref());
        if let Some(result) = &report.result {
            session.ui.print(result.get())?;
        }
    }
    match report::failure(&history) {
        Some(error) => Err(error.printed_if(session.ui.is_json())),
        None => Ok(()),
    }
}

/// A result that no log tells.
fn answered(session: &Session, answer: &Said) -> Result<()> {
    #[derive(Serialize)]
    struct Answered<'a> {
        execution: (),
        status: &'a str,
        result: &'a RawValue,
        error: (),
        invocations: [(); 0],
    }
    if !session.ui.is_json() {
        return session.ui.print(&answer.json);
    }
    let result: &RawValue = serde_json::from_str(&answer.json)
        .map_err(|error| Error::bug("failed to read JSON twice").because(error))?;
    let report = Answered { execution: (), status: "completed", result, error: (), invocations: [] };
    session.ui.print_json(&report)
}

fn summary(ui: &Ui, history: &History, report: &Report, deliveries: Option<&Deliveries>) {
    let timeline = render::timeline(&report.invocations, 50);
    if !timeline.is_empty() {
        ui.say(&format!("\n{timeline}"));
    }
    let invocations = units::count(report.invocations.len() as u64, "invocation");
    let mut told =
        vec![format!("{} in {} over {invocations}", report.handler, units::duration(report.timings.wall_us))];
    let saved = history.checkpoints().count() as u64;
    if saved > 0 {
        let bytes = history.checkpoints().map(|one| one.bytes).sum();
        told.push(format!("{}, {} in all", units::count(saved, "checkpoint"), units::bytes(bytes)));
    }
    if let Some(us) = report.timings.hand_over_median_us {
        told.push(format!("hand-over median {}", units::duration(us)));
    }
    let faults = deliveries.map(|deliveries| deliveries.counts.describe()).unwrap_or_default();
    if !faults.is_empty() {
        told.push(faults);
    }
    let verb = match history.execution.phase {
        Phase::Completed(_) => "Finished",
        Phase::Failed(_) => "Failed",
        Phase::Cancelled { .. } => "Cancelled",
        Phase::Owned(_) | Phase::Suspended { .. } => "Left",
    };
    ui.status(verb, &told.join("; "));
}

/// The error of a wait that was given up, with how to go on.
fn with_id(error: Error, id: &ExecutionId) -> Error {
    error.help(format!("the execution is {id}; `cargo faas status {id}` shows how far it came"))
}
