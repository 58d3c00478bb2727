//! Tells what happens to nodes, where the environment asks for it: see [`NodeEvent`].

use std::io::Write;

use limitless_faas_core::node::{NodeEvent, What};
use limitless_faas_core::placement::Place;

use super::flow::Node;
use super::place::Ended;
use crate::engine::{Steps, now_us};

/// A call whose begin was told, and whose end will be.
pub(super) struct Told(Option<NodeEvent>);

impl Told {
    pub(super) fn begin(steps: Option<&Steps>, node: &Node<'_>, place: &Place) -> Self {
        if !steps.is_some_and(|steps| steps.wraps().tells_nodes) {
            return Self(None);
        }
        let event = NodeEvent {
            node: node.name.to_owned(),
            handler: node.handler.name.to_owned(),
            place: place.clone(),
            at_us: now_us(),
            cpu_us: cpu_us(),
            what: What::Begun,
        };
        say(&event);
        Self(Some(event))
    }

    pub(super) fn end(&mut self, ended: &Ended) {
        self.say(match ended {
            Ended::Returned(_) => What::Returned,
            Ended::Suspended(_) => What::Suspended,
            Ended::Refused(_) | Ended::Failed(_) | Ended::Lost(_) => What::Failed,
        });
    }

    fn say(&mut self, what: What) {
        if let Some(event) = self.0.take() {
            say(&NodeEvent { at_us: now_us(), cpu_us: cpu_us(), what, ..event });
        }
    }
}

impl Drop for Told {
    fn drop(&mut self) {
        self.say(What::CalledOff);
    }
}

/// CPU time of this process.
fn cpu_us() -> u64 {
    let spent = rustix::time::clock_gettime(rustix::time::ClockId::ProcessCPUTime);
    u64::try_from(spent.tv_sec * 1_000_000 + spent.tv_nsec / 1000).unwrap_or(0)
}

fn say(event: &NodeEvent) {
    let Ok(mut line) = event.to_line() else { return };
    line.push('\n');
    // One write, so that lines of several threads don't mix. Whoever closed our output does not watch.
    let _ = std::io::stdout().lock().write_all(line.as_bytes());
}
