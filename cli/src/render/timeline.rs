//! When which invocation ran: one row each.

use crate::history::Outcome;
use crate::report::Shown;
use crate::ui::{DIM, paint};
use crate::units;

/// More rows than this tell nothing more.
const ROWS: usize = 20;

/// A row for each invocation on a common axis of `width` cells; empty where there is nothing to compare.
pub fn timeline(invocations: &[Shown], width: usize) -> String {
    let begin_us = invocations.iter().map(|one| one.invocation.started_us).min();
    let end_us = invocations.iter().filter_map(end_of).max();
    let (Some(begin_us), Some(end_us)) = (begin_us, end_us) else { return String::new() };
    if invocations.len() < 2 || end_us <= begin_us {
        return String::new();
    }
    let axis = Axis { begin_us, end_us, width };
    let mut rows: Vec<String> = Vec::new();
    let hidden = invocations.len().saturating_sub(ROWS);
    for (i, one) in invocations.iter().enumerate() {
        let first_hidden = ROWS / 2;
        match i {
            _ if hidden > 0 && i == first_hidden => rows.push(paint(DIM, &format!("   ⋮  {hidden} more"))),
            _ if hidden > 0 && (first_hidden..first_hidden + hidden).contains(&i) => {}
            _ => rows.push(axis.row(one, invocations.get(i + 1))),
        }
    }
    rows.push(axis.scale());
    rows.join("\n")
}

fn end_of(shown: &Shown) -> Option<u64> {
    shown.invocation.ended_us.or_else(|| shown.invocation.checkpoints.last().map(|saved| saved.at_us))
}

struct Axis {
    begin_us: u64,
    end_us: u64,
    width: usize,
}

impl Axis {
    fn cell(&self, at_us: u64) -> usize {
        let span = self.end_us - self.begin_us;
        let at = at_us.clamp(self.begin_us, self.end_us) - self.begin_us;
        let cell = at.saturating_mul(self.width as u64) / span;
        usize::try_from(cell).unwrap_or_default().min(self.width - 1)
    }

    fn row(&self, shown: &Shown, successor: Option<&Shown>) -> String {
        let one = &shown.invocation;
        let from = self.cell(one.started_us);
        // One that was lost without a trace ended before its successor began.
        let no_later_us = successor.map_or(self.end_us, |next| next.invocation.started_us);
        let end_us = end_of(shown).unwrap_or(no_later_us);
        let to = self.cell(end_us.max(one.started_us)).max(from);
        let (mark, word) = match one.outcome {
            Outcome::Lost => ('░', " lost"),
            Outcome::Running => ('▒', " running"),
            Outcome::Failed => ('█', " failed"),
            Outcome::Cancelled => ('█', " cancelled"),
            Outcome::Suspended | Outcome::Completed => ('█', ""),
        };
        let run: String = std::iter::repeat_n(mark, to - from + 1).collect();
        let used = one.used_us.map(units::duration).unwrap_or_default();
        let row = format!(
            "{:>4}  {}{run}{}  {used}{word}",
            one.number,
            " ".repeat(from),
            " ".repeat(self.width - to - 1)
        );
        row.trim_end().to_owned()
    }

    fn scale(&self) -> String {
        let end = units::duration(self.end_us - self.begin_us);
        let line = "─".repeat(self.width.saturating_sub(2));
        paint(DIM, &format!("      └{line}┘  {end}"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::history::samples::{Scribe, three};
    use crate::render::plain;
    use crate::report;

    #[test]
    fn each_invocation_is_a_row() {
        let shown = report::shown(&three().history(), None);
        insta::assert_snapshot!(plain(&timeline(&shown, 50)));
    }

    #[test]
    fn many_invocations_are_shortened_in_the_middle() {
        let mut scribe = Scribe::new();
        scribe.start();
        for _ in 0..40 {
            let from = scribe.entries.len() as u64;
            scribe.pass(1_900_000).suspend(112).pass(3000).claim(from);
        }
        scribe.pass(500_000).complete("1");
        insta::assert_snapshot!(plain(&timeline(&report::shown(&scribe.history(), None), 50)));
    }

    #[test]
    fn one_invocation_needs_no_timeline() {
        let mut scribe = Scribe::new();
        scribe.start().pass(10).complete("1");
        assert_eq!(timeline(&report::shown(&scribe.history(), None), 50), "");
        assert_eq!(timeline(&[], 50), "");
    }
}
