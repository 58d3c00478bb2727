//! `cargo faas run`: build, run on a platform of our own, wait for the result.

use std::time::Instant;

use limitless_faas_core::ExecutionId;

use super::{Session, conclude, with_id};
use crate::args::{Run, Target};
use crate::capture::Capture;
use crate::error::Result;
use crate::follow::{Follow, View};
use crate::platform::{Ask, Call, Local, Served};
use crate::project::{Function, Input, Project, check};
use crate::records::{Records, random};
use crate::render::Progress;
use crate::state::State;
use crate::units;

pub(super) async fn run(session: &Session, args: &Run) -> Result<()> {
    // A mistyped input is told before a build that takes a minute.
    let input = Input::read(&args.input)?;
    let project = Project::open(&session.global)?;
    let pick = args.pick.for_store(args.target.store.as_deref());
    let function = project.function_with(&args.handler, &pick, &session.ui).await?;
    let Some(handler) = function.handler(&args.handler) else {
        return Err(crate::error::Error::bug("a function without the handler it was chosen for"));
    };
    check(handler, &input)?;
    let key = args.key.clone().map_or_else(fresh_key, Ok)?;
    let call = Call { handler: handler.name.clone(), input, key, callback: None };
    let state = State::of(&project, &session.global)?;
    on_own_platform(session, &state, &function, &args.target, Ask::First(call)).await
}

/// A key that no other call has.
pub(super) fn fresh_key() -> Result<String> {
    Ok(format!("cargo-faas-{}", ExecutionId::from_random(random()?)))
}

/// Serves `function` on a platform of our own until what is asked for has ended.
pub(super) async fn on_own_platform(
    session: &Session,
    state: &State,
    function: &Function,
    target: &Target,
    ask: Ask,
) -> Result<()> {
    let url = target
        .store
        .as_deref()
        .map_or_else(|| state.default_store_url(), |url| State::store_url(&session.global, Some(url)))?;
    let records = Records::open(&url)?;
    records.probe().await?;
    let local = Local::start(target, &url, None).await?;
    let followed = follow(session, state, &local, &records, function, target, ask).await;
    local.shutdown().await;
    followed
}

async fn follow(
    session: &Session,
    state: &State,
    local: &Local,
    records: &Records,
    function: &Function,
    target: &Target,
    ask: Ask,
) -> Result<()> {
    let view = View {
        events: local.events(),
        capture: Capture::into(state.logs())?.of(ask.execution()),
        time_limit: target.time_limit,
    };
    local.deploy(&Served { handler: ask.handler(), program: &function.program }).await?;
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
    match ended {
        Ok(ended) => conclude(session, records, ended, &seen, Some(waited_us)).await,
        Err(error) if seen.history.is_some() => Err(with_id(error, &ask.execution())),
        Err(error) => Err(error),
    }
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
