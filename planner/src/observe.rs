//! Profiles from what a workflow told of its nodes while they ran one at a time.

use std::collections::BTreeMap;

use limitless_faas_core::graph::call_of;
use limitless_faas_core::node::{NodeEvent, What};
use limitless_faas_core::profile::{Block, Latency, Profile, Profiles};

/// One call: how long it took, and how much of that somebody computed, in milliseconds.
type Call = (f64, f64);

/// Profiles of the handlers that `workflow` calls, and the widths of its maps: from the events of some runs in which no two nodes
/// ran side by side, so that what the process computed meanwhile was the node's. Calls that did not give a result are left out.
///
/// A node's waits are not seen one by one; they stand as one in the middle of its computing.
pub fn profiles(workflow: &str, runs: &[Vec<NodeEvent>]) -> Profiles {
    let mut calls: BTreeMap<String, Vec<Call>> = BTreeMap::new();
    let mut widths: BTreeMap<String, u32> = BTreeMap::new();
    for events in runs {
        let mut begun: Option<&NodeEvent> = None;
        for event in events {
            match (event.what, begun.take()) {
                (What::Begun, _) => begun = Some(event),
                (What::Returned, Some(begin)) if begin.node == event.node => {
                    calls.entry(event.handler.clone()).or_default().push(between(begin, event));
                }
                _ => {}
            }
            if let (node, Some(index)) = call_of(&event.node) {
                let width = widths.entry(node.to_owned()).or_default();
                *width = (*width).max(index.saturating_add(1));
            }
        }
    }
    let handlers = calls.into_iter().map(|(handler, calls)| (handler, profile(&calls)));
    let mut profiles = Profiles::new(handlers.collect());
    if !widths.is_empty() {
        profiles.widths.insert(workflow.to_owned(), widths);
    }
    profiles
}

#[expect(clippy::cast_precision_loss, reason = "no call takes 2^53 microseconds")]
fn between(begin: &NodeEvent, end: &NodeEvent) -> Call {
    // A clock that was set back must not make a time of nothing or less.
    let took = end.at_us.saturating_sub(begin.at_us).max(1) as f64 / 1000.0;
    let spent = end.cpu_us.saturating_sub(begin.cpu_us) as f64 / 1000.0;
    (took, spent.min(took))
}

fn profile(calls: &[Call]) -> Profile {
    let count = u32::try_from(calls.len()).unwrap_or(u32::MAX);
    let mean = |value: fn(&Call) -> f64| calls.iter().map(value).sum::<f64>() / f64::from(count);
    let (took, spent) = (mean(|call| call.0), mean(|call| call.1));
    let mut profile = Profile::native(took, &[]);
    let mut sorted: Vec<f64> = calls.iter().map(|call| call.0).collect();
    sorted.sort_by(f64::total_cmp);
    let at = |percent: usize| sorted[((sorted.len() - 1) * percent + 50) / 100];
    let shares = [(0.0, 0), (0.25, 25), (0.5, 50), (0.75, 75), (0.95, 95), (1.0, 100)];
    let quantiles = shares.map(|(share, percent)| (share, at(percent))).to_vec();
    profile.latency = Latency { mean_ms: took, quantiles };
    // What is less is the noise of two clocks.
    if took - spent > took * 0.02 {
        // The sum of both parts must not end a hair after the whole.
        let duration_ms = (took - spent).min(took - spent / 2.0);
        profile.blocks = vec![Block { start_ms: spent / 2.0, duration_ms, call: None }];
    }
    profile
}

#[cfg(test)]
mod tests {
    use limitless_faas_core::placement::Place;

    use super::*;

    fn event(node: &str, at_us: u64, cpu_us: u64, what: What) -> NodeEvent {
        let handler = call_of(node).0.to_owned();
        NodeEvent { node: node.to_owned(), handler, place: Place::Thread, at_us, cpu_us, what }
    }

    #[test]
    fn computing_and_waiting_are_told_apart_and_maps_are_counted() {
        let run = vec![
            event("read", 0, 0, What::Begun),
            event("read", 10_000, 4000, What::Returned),
            event("audit[0]", 10_000, 4000, What::Begun),
            event("audit[0]", 12_000, 6000, What::Returned),
            event("audit[1]", 12_000, 6000, What::Begun),
            event("audit[1]", 16_000, 10_000, What::Returned),
            event("sum", 16_000, 10_000, What::Begun),
            event("sum", 17_000, 10_500, What::Failed),
        ];
        let profiles = profiles("report", &[run]);
        profiles.check().unwrap();
        assert_eq!(profiles.widths["report"]["audit"], 2);
        assert_eq!(profiles.handlers.keys().collect::<Vec<_>>(), ["audit", "read"]);
        let (audit, read) = (&profiles.handlers["audit"], &profiles.handlers["read"]);
        assert!((audit.latency.mean_ms - 3.0).abs() < 1e-9 && audit.blocks.is_empty(), "{audit:?}");
        assert_eq!(audit.latency.quantiles.last(), Some(&(1.0, 4.0)));
        assert!((read.cpu_ms() - 4.0).abs() < 1e-9 && read.blocks.len() == 1, "{read:?}");
    }
}
