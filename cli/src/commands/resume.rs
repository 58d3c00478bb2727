//! `cargo faas resume`: let an execution go on.

use std::time::Instant;

use super::run::on_own_platform;
use super::{Session, conclude, with_id};
use crate::args::Resume;
use crate::error::Result;
use crate::follow::{Ended, Follow, Seen};
use crate::platform::{self, Ask};
use crate::project::Project;
use crate::records::Records;
use crate::render::Progress;
use crate::state::State;

pub(super) async fn resume(session: &Session, args: &Resume) -> Result<()> {
    let records = session.records(args.target.store.as_deref())?;
    let id = records.resolve(&args.id).await?;
    let history = records.history(&id).await?;
    if history.status().is_terminal() {
        session.ui.warn(&format!("execution {id} has ended already"));
        return conclude(session, &records, Ended::Log(Box::new(history)), &Seen::default(), 0).await;
    }
    let handler = history.execution.handler.clone();
    let ask = Ask::Resume { handler: handler.clone(), id };
    if args.remote.apihost.is_some() || args.remote.gateway.is_some() {
        return remotely(session, args, &records, ask).await;
    }
    let project = Project::open(&session.global)?;
    let function = project.function_with(&handler, &args.pick, &session.ui).await?;
    on_own_platform(session, &State::of(&project), &function, &args.target, ask).await
}

async fn remotely(session: &Session, args: &Resume, records: &Records, ask: Ask) -> Result<()> {
    let (client, _) = platform::find(&args.remote, None)?;
    let id = ask.execution();
    session.ui.status("Resuming", &format!("{} as {id} on {}", ask.handler(), client.base()));
    let begun = Instant::now();
    let mut follow = Follow::new(records, &client, ask, None);
    let ended = {
        let mut progress = Progress::new(&session.ui);
        follow.wait_for_end(&mut progress).await
    };
    let waited_us = u64::try_from(begun.elapsed().as_micros()).unwrap_or(u64::MAX);
    match ended {
        Ok(ended) => conclude(session, records, ended, &follow.into_seen(), waited_us).await,
        Err(error) => Err(with_id(error, &id)),
    }
}
