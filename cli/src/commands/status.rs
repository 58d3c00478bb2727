//! `cargo faas status`: what became of an execution.

use limitless_faas_core::log::{Phase, Status, Wake, ended_by};

use super::Session;
use crate::args;
use crate::error::Result;
use crate::history::History;
use crate::records::{OpenCall, Records, now_us};
use crate::render;
use crate::report::{self, Report};
use crate::units;

pub(super) async fn status(session: &Session, args: &args::Status) -> Result<()> {
    let records = session.records(args.one.records.store.as_deref())?;
    let id = records.resolve(&args.one.id).await?;
    let history = records.history(&id).await?;
    if session.ui.is_json() {
        return session.ui.print_json(&Report::of(&records, &history, None, None).await?);
    }
    let calls = records.open_calls_of(&history).await?;
    session.ui.print(&describe(&history, &records, &calls, now_us()))
}

fn describe(history: &History, records: &Records, calls: &[OpenCall], now_us: u64) -> String {
    let execution = &history.execution;
    let ago = units::duration(now_us.saturating_sub(history.span_us.1));
    let mut lines = vec![
        format!("execution  {}", execution.id),
        format!("handler    {}", execution.handler),
        format!("status     {}{}", render::status(history.status()), detail(history, now_us)),
        format!("took       {}, latest entry {ago} ago", units::duration(history.took_us())),
        format!("store      {}", records.url()),
    ];
    if let Some((_, saved)) = execution.newest() {
        lines.push(format!("checkpoint {} at {}", units::bytes(saved.bytes), saved.site));
    }
    lines.extend(calls.iter().map(|call| {
        let status = call.status.map_or("not begun", Status::as_str);
        format!("calls      {} of {}, {status}", call.execution, call.handler)
    }));
    let shown = report::shown(history, None);
    if !shown.is_empty() {
        lines.push(String::new());
        lines.extend(shown.iter().map(render::invocation));
    }
    let timeline = render::timeline(&shown, 50);
    if !timeline.is_empty() {
        lines.extend([String::new(), timeline]);
    }
    lines.join("\n")
}

fn detail(history: &History, now_us: u64) -> String {
    let id = history.execution.id.as_str();
    let left = |until_ms: u64| until_ms.saturating_sub(now_us / 1000);
    match &history.execution.phase {
        Phase::Owned(owner) if left(owner.lease_until_ms) > 0 => {
            format!(", its lease ends in {}", units::duration(left(owner.lease_until_ms) * 1000))
        }
        Phase::Owned(_) => format!(", but its invocation is lost: cargo faas resume {id}"),
        Phase::Suspended { wake: Some(wake), .. } => waits(id, wake, left(wake.at_ms.unwrap_or(0))),
        Phase::Suspended { successor_by_ms, .. } if left(*successor_by_ms) > 0 => {
            ", its successor is on its way".to_owned()
        }
        Phase::Suspended { .. } => format!(", but its successor is lost: cargo faas resume {id}"),
        Phase::Completed(_) | Phase::Failed(_) if history.is_owed() => {
            format!(", but its receiver does not know: cargo faas resume {id}")
        }
        Phase::Completed(_) if history.execution.delivered => ", and delivered".to_owned(),
        Phase::Completed(_) => format!(": cargo faas result {id}"),
        Phase::Failed(failure) => format!(": {failure}"),
        Phase::Cancelled { by } => format!(" by {by}"),
    }
}

/// What an execution that nobody drives waits for.
fn waits(id: &str, wake: &Wake, left_ms: u64) -> String {
    let time = wake.at_ms.map(|_| match left_ms {
        0 => format!("it is due: cargo faas wake {id}"),
        _ if wake.events.iter().any(|event| ended_by(event).is_some()) => {
            format!("it looks again in {}", units::duration(left_ms * 1000))
        }
        _ => format!("it sleeps for another {}", units::duration(left_ms * 1000)),
    });
    let events = wake.events.iter().map(|event| {
        if let Some(other) = ended_by(event) {
            return format!("it waits for the end of execution {other}: cargo faas status {other}");
        }
        let shown = render::printable(event);
        format!("it waits for event `{shown}`: cargo faas wake {id} --event {shown} --data JSON")
    });
    format!(", {}", time.into_iter().chain(events).collect::<Vec<_>>().join(", or "))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::history::samples::{BEGIN_US, Scribe, three};
    use crate::render::plain;

    fn shown(scribe: &Scribe, after_us: u64) -> String {
        let records = Records::open("file:/store").unwrap();
        plain(&describe(&scribe.history(), &records, &[], BEGIN_US + after_us))
    }

    #[test]
    fn an_execution_is_described() {
        insta::assert_snapshot!(shown(&three(), 65_000_000));
    }

    #[test]
    fn one_that_stands_still_says_how_to_go_on() {
        let mut scribe = Scribe::new();
        scribe.start();
        assert!(shown(&scribe, 1_000_000).contains("running, its lease ends in 2.00s"));
        assert!(shown(&scribe, 9_000_000).contains("its invocation is lost: cargo faas resume"));
        scribe.suspend(9);
        assert!(shown(&scribe, 1_000_000).contains("its successor is on its way"));
        assert!(shown(&scribe, 900_000_000).contains("its successor is lost: cargo faas resume"));
    }
}
