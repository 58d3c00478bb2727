//! Progress while an execution is waited for: a line for each invocation, and on a terminal a bar for the running one.

use std::collections::BTreeMap;
use std::time::Duration;

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use limitless_faas_core::graph::call_of;
use limitless_faas_core::node::{NodeEvent, What};

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
    nodes: Nodes,
}

/// The nodes of a workflow so far.
#[derive(Debug, Default)]
struct Nodes {
    /// When each that is under way began, µs since 1970.
    under_way: BTreeMap<String, u64>,
    ended: usize,
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
        Self { ui, bar, told: 0, nodes: Nodes::default() }
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
        let nodes = self.nodes.describe();
        bar.set_message(format!("{} of {}{nodes}", units::duration(used_us), units::limit(limit_ms)));
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

    fn node(&mut self, event: &NodeEvent) {
        let line = self.nodes.on(event);
        if let Some(line) = line {
            self.say(&paint(DIM, &line));
        }
    }
}

impl Nodes {
    /// Counts it; the line to say, if it is worth one: the many calls of a `map` are not.
    fn on(&mut self, event: &NodeEvent) -> Option<String> {
        if event.what == What::Begun {
            self.under_way.insert(event.node.clone(), event.at_us);
            return None;
        }
        let begun_us = self.under_way.remove(&event.node)?;
        self.ended += usize::from(event.what == What::Returned);
        if call_of(&event.node).1.is_some() && event.what != What::Failed {
            return None;
        }
        let took = units::duration(event.at_us.saturating_sub(begun_us));
        let how = match event.what {
            What::Begun | What::Returned => "",
            What::Failed => " and failed",
            What::Suspended => ", and goes on in the next invocation",
            What::CalledOff => ", called off",
        };
        Some(format!("   ·  {} {took}{how}", event.node))
    }

    fn describe(&self) -> String {
        let mut names: Vec<&str> = self.under_way.keys().map(|name| call_of(name).0).collect();
        names.dedup();
        match (names.is_empty(), self.ended) {
            (true, 0) => String::new(),
            (true, ended) => format!(" · {} done", units::count(ended as u64, "node")),
            (false, ended) => {
                format!(" · {} under way: {}, {ended} done", self.under_way.len(), names.join(", "))
            }
        }
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
    use limitless_faas_core::placement::Place;

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
    fn nodes_are_told_as_they_end() {
        let mut nodes = Nodes::default();
        let mut on = |node: &str, at_us, what| {
            let (node, handler, place) = (node.to_owned(), node.to_owned(), Place::Thread);
            let line = nodes.on(&NodeEvent { node, handler, place, at_us, cpu_us: 0, what });
            (line, nodes.describe())
        };
        on("audit[0]", 0, What::Begun);
        on("audit[1]", 0, What::Begun);
        assert_eq!(on("read", 0, What::Begun).1, " · 3 under way: audit, read, 0 done");
        assert_eq!(on("read", 1500, What::Returned).0.unwrap(), "   ·  read 1.50ms");
        assert_eq!(on("audit[0]", 9, What::Returned).0, None);
        let (line, described) = on("audit[1]", 2000, What::Failed);
        assert_eq!(
            (line.unwrap().as_str(), described.as_str()),
            ("   ·  audit[1] 2.00ms and failed", " · 2 nodes done")
        );
    }

    #[test]
    fn printed_lines_can_not_move_the_cursor() {
        assert_eq!(printable("a\u{1b}[2Jb\r\u{7}c\t"), "ab\u{fffd}c\t");
    }
}
