//! `cargo faas resume`: let an execution go on.

use std::time::Instant;

use limitless_faas_core::log::Phase;

use super::run::{on_own_platform, serving};
use super::{Session, conclude, with_id};
use crate::args::Resume;
use crate::error::Result;
use crate::follow::{Ended, Follow, Seen};
use crate::history::History;
use crate::platform::{self, Ask, Place};
use crate::records::{Records, now_us};
use crate::render::Progress;
use crate::units;

pub(super) async fn resume(session: &Session, args: &Resume) -> Result<()> {
    let records = session.records(args.target.store.as_deref())?;
    let id = records.resolve(&args.id).await?;
    let history = records.history(&id).await?;
    if history.status().is_terminal() && !history.is_owed() {
        session.ui.warn(&format!("execution {id} has ended already"));
        return conclude(session, &records, Ended::Log(Box::new(history)), &Seen::default(), None).await;
    }
    let handler = history.execution.handler.clone();
    wait_note(session, &history);
    let ask = |place| Ask::Resume { place, id, entry: history.suspended };
    if args.remote.apihost.is_some() || args.remote.gateway.is_some() {
        return remotely(session, args, &records, ask(Place::of(&history.execution))).await;
    }
    let pick = args.pick.for_store(args.target.store.as_deref());
    let (serving, state) = serving(session, &handler, &pick).await?;
    on_own_platform(session, &state, &serving, &args.target, ask(Place::own(&handler))).await
}

/// Says why nothing happens for a while, where an invocation that may be alive drives it.
fn wait_note(session: &Session, history: &History) {
    let Phase::Owned(owner) = &history.execution.phase else { return };
    let left_ms = owner.lease_until_ms.saturating_sub(now_us() / 1000);
    if left_ms > 0 {
        let left = units::duration(left_ms * 1000);
        session.ui.status("Waiting", &format!("for the lease of the invocation that drives it: {left}"));
    }
}

async fn remotely(session: &Session, args: &Resume, records: &Records, ask: Ask) -> Result<()> {
    let (client, _) = platform::find(&args.remote, None)?;
    let id = ask.execution();
    session.ui.status("Resuming", &format!("{} as {id} on {}", ask.handler(), client.base()));
    let begun = Instant::now();
    let mut follow = Follow::new(records, &client, ask, None).until_delivered();
    let ended = {
        let mut progress = Progress::new(&session.ui);
        follow.wait_for_end(&mut progress).await
    };
    let waited_us = u64::try_from(begun.elapsed().as_micros()).unwrap_or(u64::MAX);
    match ended {
        Ok(ended) => conclude(session, records, ended, &follow.into_seen(), Some(waited_us)).await,
        Err(error) => Err(with_id(error, &id)),
    }
}
