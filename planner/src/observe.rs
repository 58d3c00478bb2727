//! Profiles from what a workflow told of its nodes while they ran one at a time.

use std::collections::BTreeMap;

use limitless_faas_core::graph::call_of;
use limitless_faas_core::node::{NodeEvent, What};
use limitless_faas_core::profile::{Block, Latency, Profile, Profiles};

use crate::predict::model::to_f64;
use crate::predict::placed::{Cost, Observed};

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

/// One run of a workflow on its platform, as its caller saw it.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Run {
    /// When the request was sent, µs since 1970.
    pub begun_us: u64,
    /// When the result was there.
    pub ended_us: u64,
    /// What the workflow told meanwhile.
    pub events: Vec<NodeEvent>,
}

/// Runs of a workflow one node at a time, with all nodes in places of one kind.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Runs {
    /// The runs.
    pub runs: Vec<Run>,
    /// What everything that takes part computed for one run: the workflow, its processes and wraps, the platform, and the caller.
    pub cpu_ms: f64,
}

/// What these runs say of the workflow and its platform: on threads, in processes, and in other wraps. Medians, so that a run in
/// which something else happened counts little.
pub fn observed(threads: &Runs, processes: &Runs, remotes: &Runs) -> Observed {
    let (on_threads, gap) = (threads.spans(), threads.gap());
    let calls = on_threads.iter().map(|(call, &(took, spent))| {
        (call.clone(), Cost { cpu_ms: spent, wait_ms: (took - spent).max(0.0) })
    });
    let around = |runs: &Runs| {
        let spans = runs.spans();
        let more = |(call, &(took, _)): (&String, &Call)| on_threads.get(call).map(|alone| took - alone.0);
        let more: Vec<f64> = spans.iter().filter_map(more).collect();
        let count = more.len().max(1);
        let whole = more.iter().sum::<f64>() / to_f64(count) + runs.gap().0 - gap.0;
        let cpu_ms = ((runs.cpu_ms - threads.cpu_ms) / to_f64(count)).max(0.0);
        Cost { cpu_ms, wait_ms: (whole - cpu_ms).max(0.0) }
    };
    Observed {
        request_ms: threads.request_ms(),
        record: Cost { cpu_ms: gap.1, wait_ms: (gap.0 - gap.1).max(0.0) },
        process: around(processes),
        remote: around(remotes),
        calls: calls.collect(),
    }
}

impl Runs {
    /// How long each call took, and how much of that the workflow's process computed.
    fn spans(&self) -> BTreeMap<String, Call> {
        let mut calls: BTreeMap<&str, Vec<Call>> = BTreeMap::new();
        for pair in self.pairs() {
            if let [begin, end] = pair
                && (begin.what, end.what) == (What::Begun, What::Returned)
                && begin.node == end.node
            {
                calls.entry(&begin.node).or_default().push(between(begin, end));
            }
        }
        calls.into_iter().map(|(call, all)| (call.to_owned(), middle(&all))).collect()
    }

    /// From the end of a call to the begin of the next.
    fn gap(&self) -> Call {
        let is_gap = |pair: &&[NodeEvent]| pair[0].what == What::Returned && pair[1].what == What::Begun;
        let gaps = self.pairs().filter(is_gap).map(|pair| between(&pair[0], &pair[1]));
        middle(&gaps.collect::<Vec<_>>())
    }

    fn request_ms(&self) -> f64 {
        let around = |run: &Run| {
            let (first, last) = (run.events.first()?, run.events.last()?);
            let before = first.at_us.saturating_sub(run.begun_us);
            Some((micros(before + run.ended_us.saturating_sub(last.at_us)), 0.0))
        };
        middle(&self.runs.iter().filter_map(around).collect::<Vec<_>>()).0
    }

    fn pairs(&self) -> impl Iterator<Item = &[NodeEvent]> {
        self.runs.iter().flat_map(|run| run.events.windows(2))
    }
}

/// The median of each; nothing of nothing.
fn middle(calls: &[Call]) -> Call {
    let of = |value: fn(&Call) -> f64| {
        let mut values: Vec<f64> = calls.iter().map(value).collect();
        values.sort_by(f64::total_cmp);
        values.get(values.len() / 2).copied().unwrap_or(0.0)
    };
    (of(|call| call.0), of(|call| call.1))
}

#[expect(clippy::cast_precision_loss, reason = "no call takes 2^53 microseconds")]
fn micros(us: u64) -> f64 {
    us as f64 / 1000.0
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
    fn what_a_place_costs_is_what_calls_take_more_there() {
        let runs = |cpu_ms, more_us: u64| {
            let events = vec![
                event("read", 1000, 100, What::Begun),
                event("read", 3000 + more_us, 1100, What::Returned),
                event("sum", 3500 + more_us, 1300, What::Begun),
                event("sum", 4500 + 2 * more_us, 2300, What::Returned),
            ];
            let run = Run { begun_us: 0, ended_us: 5000 + 2 * more_us, events };
            Runs { runs: vec![run.clone(), run.clone(), run], cpu_ms }
        };
        let found = observed(&runs(4.0, 0), &runs(4.4, 300), &runs(6.0, 3000));
        let is = |cost: Cost, cpu_ms: f64, wait_ms: f64| {
            assert!((cost.cpu_ms - cpu_ms).abs() < 1e-9 && (cost.wait_ms - wait_ms).abs() < 1e-9, "{cost:?}");
        };
        is(found.calls["read"], 1.0, 1.0);
        is(found.calls["sum"], 1.0, 0.0);
        is(found.record, 0.2, 0.3);
        is(found.process, 0.2, 0.1);
        is(found.remote, 1.0, 2.0);
        assert!((found.request_ms - 1.5).abs() < 1e-9);
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
