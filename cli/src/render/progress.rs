//! Progress while an execution is waited for: a line for each invocation, and on a terminal a bar for the running one.

use std::time::Duration;

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

use super::{BAR, invocation};
use crate::deliveries::Deliveries;
use crate::follow::{Seen, Watcher};
use crate::history::{History, Outcome};
use crate::records::now_us;
use crate::report;
use crate::ui::{DIM, Ui, paint};
use crate::units;

/// Shows progress on stderr.
#[derive(Debug)]
pub struct Progress<'a> {
    ui: &'a Ui,
    bar: Option<ProgressBar>,
    told: usize,
}

impl<'a> Progress<'a> {
    /// Nothing is shown before something happens.
    pub fn new(ui: &'a Ui) -> Self {
        let bar = ui.is_live().then(|| {
            let bar = ProgressBar::with_draw_target(Some(1), ProgressDrawTarget::stderr_with_hz(10));
            bar.set_style(style());
            bar.enable_steady_tick(Duration::from_millis(100));
            bar
        });
        Self { ui, bar, told: 0 }
    }

    /// A line above the bar.
    fn say(&self, line: &str) {
        match &self.bar {
            Some(bar) => bar.suspend(|| self.ui.say(line)),
            None => self.ui.say(line),
        }
    }

    /// The bar of the invocation that runs: as the log tells, or before it does, as the platform's events tell.
    fn draw(&self, seen: &Seen) {
        let Some(bar) = &self.bar else { return };
        let owner = seen.history.as_ref().and_then(|history| history.invocations.get(self.told));
        let owner = owner.filter(|one| one.outcome == Outcome::Running);
        let deliveries = seen.deliveries.as_ref();
        let limit_ms = deliveries.and_then(Deliveries::limit_ms).or(owner.and_then(|one| one.limit_ms));
        let begun_us = owner.map(|one| one.started_us).or(deliveries.and_then(Deliveries::working_since_us));
        let (Some(begun_us), Some(limit_ms)) = (begun_us, limit_ms) else {
            bar.set_position(0);
            return bar.set_message("waiting");
        };
        let used_us = now_us().saturating_sub(begun_us);
        bar.set_length(limit_ms.max(1) * 1000);
        bar.set_position(used_us.min(limit_ms * 1000));
        bar.set_prefix(format!("{:>4}", self.told + 1));
        bar.set_message(format!("{} of {}", units::duration(used_us), units::limit(limit_ms)));
    }
}

fn style() -> ProgressStyle {
    let template = format!("{{prefix}}  {{bar:{BAR}}}  {{msg}} {{spinner}}");
    // The template is fixed, and a test reads it; a plain bar would do as well.
    ProgressStyle::with_template(&template)
        .unwrap_or_else(|_| ProgressStyle::default_bar())
        .progress_chars("━━─")
}

impl Watcher for Progress<'_> {
    fn changed(&mut self, seen: &Seen) {
        let fresh = seen.history.as_ref().map_or(0, settled);
        if let Some(history) = seen.history.as_ref().filter(|_| fresh > self.told) {
            let shown = report::shown(history, seen.deliveries.as_ref());
            shown[self.told..fresh].iter().for_each(|one| self.say(&invocation(one)));
            self.told = fresh;
        }
        self.draw(seen);
    }

    fn printed(&mut self, line: &str) {
        self.say(&format!("      {} {}", paint(DIM, "│"), printable(line)));
    }

    fn noted(&mut self, text: &str) {
        self.say(&paint(DIM, &format!("   ·  {text}")));
    }
}

impl Drop for Progress<'_> {
    fn drop(&mut self) {
        if let Some(bar) = &self.bar {
            bar.finish_and_clear();
        }
    }
}

/// How many invocations will not change any more: a suspended one is told with its hand-over.
fn settled(history: &History) -> usize {
    let is_settled = |outcome: Outcome, handed_over: bool| match outcome {
        Outcome::Running => false,
        Outcome::Suspended => handed_over || history.status().is_terminal(),
        _ => true,
    };
    let settled =
        history.invocations.iter().take_while(|one| is_settled(one.outcome, one.hand_over_us.is_some()));
    settled.count()
}

/// A function's output may hold anything, and must not move a person's cursor.
pub(crate) fn printable(line: &str) -> String {
    let safe = |c: char| if c.is_control() && c != '\t' { '\u{fffd}' } else { c };
    anstream::adapter::strip_str(line).to_string().chars().map(safe).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::history::samples::{Scribe, three};

    #[test]
    fn the_template_can_be_read() {
        assert!(
            ProgressStyle::with_template(&format!("{{prefix}}  {{bar:{BAR}}}  {{msg}} {{spinner}}")).is_ok()
        );
    }

    #[test]
    fn an_invocation_is_told_when_its_hand_over_is_known() {
        let mut scribe = Scribe::new();
        scribe.start();
        assert_eq!(settled(&scribe.history()), 0);
        scribe.suspend(1);
        assert_eq!(settled(&scribe.history()), 0);
        scribe.claim(1);
        assert_eq!(settled(&scribe.history()), 1);
        assert_eq!(settled(&three().history()), 3);
    }

    #[test]
    fn printed_lines_can_not_move_the_cursor() {
        assert_eq!(printable("a\u{1b}[2Jb\r\u{7}c\t"), "ab\u{fffd}c\t");
    }
}
