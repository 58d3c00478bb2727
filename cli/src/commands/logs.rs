//! `cargo faas logs`: what an execution's function processes printed.

use serde_json::json;

use super::Session;
use crate::args::Logs;
use crate::capture::{self, Line};
use crate::error::{Error, Result};
use crate::history::Invocation;
use crate::render;
use crate::state::State;
use crate::ui::{DIM, paint};
use crate::units;

pub(super) async fn logs(session: &Session, args: &Logs) -> Result<()> {
    let records = session.records(args.one.records.store.as_deref())?;
    let id = records.resolve(&args.one.id).await?;
    let history = records.history(&id).await?;
    let folder = State::here(&session.global)?.logs();
    let wanted = |one: &&Invocation| args.invocation.is_none_or(|number| number == one.number);
    let invocations: Vec<&Invocation> = history.invocations.iter().filter(wanted).collect();
    if let (Some(number), true) = (args.invocation, invocations.is_empty()) {
        let there = units::count(history.invocations.len() as u64, "invocation");
        return Err(Error::usage(format!("execution {id} has no invocation {number}"))
            .help(format!("it has {there}; `cargo faas status {id}` shows them")));
    }
    let mut printed = Vec::new();
    for one in invocations {
        printed.push((one, of(&history.invocations, one, capture::read(&folder, &one.activation)?)));
    }
    if session.ui.is_json() {
        let value = |(one, lines): &(&Invocation, Vec<Line>)| json!({ "number": one.number, "activation": one.activation, "lines": lines });
        let invocations: Vec<_> = printed.iter().map(value).collect();
        return session.ui.print_json(&json!({ "execution": id, "invocations": invocations }));
    }
    if printed.iter().all(|(_, lines)| lines.is_empty()) {
        session.ui.say("nothing was printed, or it ran on a platform that keeps its own logs");
    }
    for (one, lines) in &printed {
        lines.iter().try_for_each(|line| session.ui.print(&shown(one, line)))?;
    }
    Ok(())
}

/// Several invocations may share an activation, where a platform delivered it again: each has what was printed
/// until the next one began.
fn of(all: &[Invocation], one: &Invocation, lines: Vec<Line>) -> Vec<Line> {
    let mut same = all.iter().filter(|other| other.activation == one.activation);
    let is_first = all
        .iter()
        .find(|other| other.activation == one.activation)
        .is_some_and(|first| first.number == one.number);
    let from_us = if is_first { 0 } else { one.started_us };
    let to_us = same.find(|other| other.number > one.number).map_or(u64::MAX, |next| next.started_us);
    lines.into_iter().filter(|line| (from_us..to_us).contains(&line.at_us)).collect()
}

fn shown(one: &Invocation, line: &Line) -> String {
    let after = units::duration(line.at_us.saturating_sub(one.started_us));
    let mark = if line.stream == "stderr" { "!" } else { "│" };
    format!(
        "{} {}",
        paint(DIM, &format!("{:>4} {after:>7} {mark}", one.number)),
        render::printable(&line.text)
    )
}
