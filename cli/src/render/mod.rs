//! What a person sees of an execution.

mod progress;
mod table;
mod timeline;

pub use progress::Progress;
pub(crate) use progress::printable;
pub use table::table;
pub use timeline::timeline;

use limitless_faas_core::log::Status;

use crate::history::Outcome;
use crate::report::Shown;
use crate::ui::{BAD, DIM, VERB, WARN, paint};
use crate::units;

/// A status in its colour.
pub fn status(status: Status) -> String {
    let style = match status {
        Status::Completed => VERB,
        Status::Failed => BAD,
        Status::Running | Status::Suspended | Status::Cancelled => WARN,
    };
    paint(style, status.as_str())
}

/// A bar of `width` cells, filled to `part` of `whole`.
pub fn bar(part: u64, whole: u64, width: usize) -> String {
    let cells = width as u64;
    let filled = (part.min(whole) * cells + whole / 2).checked_div(whole).unwrap_or_default();
    let filled = usize::try_from(filled).unwrap_or(width);
    format!("{}{}", "━".repeat(filled), paint(DIM, &"─".repeat(width - filled)))
}

/// Width of a bar.
pub const BAR: usize = 20;

/// One invocation in one line: number, time used of its limit, what it saved, how it ended.
pub fn invocation(shown: &Shown) -> String {
    let one = &shown.invocation;
    let used_us = one.used_us.unwrap_or_default();
    let time = match (one.used_us, one.limit_ms) {
        (Some(used_us), Some(limit_ms)) => {
            format!("{} of {}", units::duration(used_us), units::limit(limit_ms))
        }
        (Some(used_us), None) => units::duration(used_us),
        (None, Some(limit_ms)) => format!("? of {}", units::limit(limit_ms)),
        (None, None) => "?".to_owned(),
    };
    let faults = match &shown.faults[..] {
        [] => String::new(),
        faults => paint(DIM, &format!(" ({})", faults.join(", "))),
    };
    format!(
        "{:>4}  {}  {time:<14}  {}{faults}",
        one.number,
        bar(used_us, one.limit_ms.unwrap_or_default() * 1000, BAR),
        ending(shown)
    )
}

fn ending(shown: &Shown) -> String {
    let one = &shown.invocation;
    let mut told = Vec::new();
    if let Some(last) = one.checkpoints.last() {
        let more = one.checkpoints.len() - 1;
        let more = if more == 0 { String::new() } else { format!(" and {more} more") };
        told.push(format!("saved {} in {}{more}", units::bytes(last.bytes), units::duration(last.cost_us)));
    }
    if let Some(us) = one.hand_over_us {
        told.push(format!("handed over in {}", units::duration(us)));
    }
    let ended_by = shown.ended_by.as_deref();
    match one.outcome {
        Outcome::Running => told.push("running".to_owned()),
        Outcome::Suspended if one.hand_over_us.is_none() => told.push("waits for its successor".to_owned()),
        Outcome::Suspended => {}
        Outcome::Completed => told.push(paint(VERB, "completed")),
        Outcome::Failed => told.push(paint(BAD, "failed")),
        Outcome::Cancelled => told.push(paint(WARN, "cancelled")),
        Outcome::Lost => told.push(paint(WARN, ended_by.unwrap_or("lost"))),
    }
    // It had done its part by then, and it matters little.
    if let Some(end) = ended_by.filter(|_| one.outcome != Outcome::Lost) {
        told.push(format!("then {end}"));
    }
    told.join(", ")
}

#[cfg(test)]
pub(crate) fn plain(text: &str) -> String {
    anstream::adapter::strip_str(text).to_string()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::history::samples::three;
    use crate::report;

    #[test]
    fn invocations_are_lines() {
        let mut shown = report::shown(&three().history(), None);
        shown[1].ended_by = Some("killed by a fault".to_owned());
        shown[1].invocation.used_us = Some(813_000);
        shown[1].faults = vec!["delivered twice".to_owned(), "delayed by 300ms".to_owned()];
        let lines: Vec<String> = shown.iter().map(invocation).collect();
        insta::assert_snapshot!(plain(&lines.join("\n")));
    }

    #[test]
    fn a_bar_is_never_longer_than_it_is() {
        for (part, whole) in [(0, 0), (0, 10), (5, 10), (10, 10), (11, 10), (u64::MAX / 100, 1)] {
            assert_eq!(plain(&bar(part, whole, 20)).chars().count(), 20, "{part} of {whole}");
        }
    }
}
