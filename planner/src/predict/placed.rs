//! The latency of a workflow whose nodes were measured one at a time on its platform, at each kind of place.
//!
//! What a node's handler does alone is one part of a prediction, what its call costs around that is the other: recording its
//! result, the way to a process and back, the request to another wrap. Both are measured on the platform, where the machine's CPUs
//! are shared by all that takes part: the workflow, its processes, its wraps, the platform itself and the caller. So a call is
//! computing that competes for CPUs, and waiting that does not, and a stage takes as long as its last call: see
//! [`share`](super::share).

use std::collections::BTreeMap;

use limitless_faas_core::graph::Graph;
use limitless_faas_core::placement::{Place, Placement};

use super::share::{Thread, ends};
use super::timeline::Timeline;
use crate::error::PlanError;
use crate::workflow::stages;

/// Computing and waiting, in milliseconds.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Cost {
    /// What needs a CPU.
    pub cpu_ms: f64,
    /// What does not.
    pub wait_ms: f64,
}

/// What was measured of a workflow and its platform.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Observed {
    /// What each call does by itself, on a thread: by the call's name, `count` or `audit[3]`.
    pub calls: BTreeMap<String, Cost>,
    /// From the request to the first call's begin, and from the last one's end to the result.
    pub request_ms: f64,
    /// Between the end of a call and the begin of the next: recording a result.
    pub record: Cost,
    /// What a call costs more in a process of the wrap.
    pub process: Cost,
    /// What a call costs more in another wrap.
    pub remote: Cost,
}

impl Observed {
    /// From request to result in milliseconds, warm, with the nodes of `graph` placed like this, on a machine of so many CPUs.
    ///
    /// The graph is that of the workflow; a `map` is as wide as it was when it was observed. A node that was not called then is not
    /// called now.
    ///
    /// # Errors
    /// The graph has a circle.
    pub fn latency_ms(&self, graph: &Graph, placement: &Placement, cpus: u32) -> Result<f64, PlanError> {
        let wide = graph.widened(&self.widths(graph));
        let mut latency = self.request_ms;
        for stage in stages(&wide)? {
            let calls = stage.iter().map(|&node| wide.nodes[node].name.as_str());
            latency += self.stage_ms(calls, placement, cpus);
        }
        // After the last result nothing is waited for but the workflow's own, which the request counts.
        Ok(latency - self.record.cpu_ms - self.record.wait_ms)
    }

    fn widths(&self, graph: &Graph) -> BTreeMap<String, u32> {
        let wide = graph.nodes.iter().filter(|node| node.is_many).map(|node| {
            let first = format!("{}[", node.name);
            let calls = self.calls.range(first.clone()..).take_while(|(name, _)| name.starts_with(&first));
            (node.name.clone(), u32::try_from(calls.count()).unwrap_or(u32::MAX))
        });
        wide.collect()
    }

    /// Calls side by side: their computing shares the CPUs, and the last record is waited for.
    fn stage_ms<'c>(&self, calls: impl Iterator<Item = &'c str>, placement: &Placement, cpus: u32) -> f64 {
        let around = |call| match placement.place(call) {
            Place::Thread => Cost::default(),
            Place::Process { .. } => self.process,
            Place::Remote(_) => self.remote,
        };
        let of = |call: &'c str| Some(self.timeline(*self.calls.get(call)?, around(call)));
        let timelines: Vec<Timeline> = calls.filter_map(of).collect();
        let thread = |timeline| Thread { timeline, start_ms: 0.0, lock: None };
        let threads: Vec<Thread<'_>> = timelines.iter().map(thread).collect();
        let last = ends(&threads, cpus, 1.0).into_iter().fold(0.0, f64::max);
        if timelines.is_empty() { 0.0 } else { last + self.record.wait_ms }
    }

    /// A call with all that is computed around it; where its waits lie within it is not known, so they stand in its middle.
    fn timeline(&self, handler: Cost, around: Cost) -> Timeline {
        let cpu_ms = handler.cpu_ms + around.cpu_ms + self.record.cpu_ms;
        let wait_ms = handler.wait_ms + around.wait_ms;
        Timeline {
            latency_ms: cpu_ms + wait_ms,
            blocks: vec![(cpu_ms / 2.0, cpu_ms / 2.0 + wait_ms)],
            cpu_ms,
        }
    }
}

#[cfg(test)]
mod tests {
    use limitless_faas_core::placement::Model;

    use super::*;

    fn observed() -> (Graph, Observed) {
        let graph = Graph::from_stages("report", &[vec!["read"], vec!["count", "detect"]]);
        let cost = |cpu_ms, wait_ms| Cost { cpu_ms, wait_ms };
        let calls = [("read", cost(2.0, 3.0)), ("count", cost(4.0, 0.0)), ("detect", cost(4.0, 1.0))];
        let observed = Observed {
            calls: calls.map(|(name, cost)| (name.to_owned(), cost)).into(),
            request_ms: 1.0,
            record: cost(0.0, 0.5),
            process: cost(1.0, 0.0),
            remote: cost(2.0, 4.0),
        };
        (graph, observed)
    }

    fn latency(model: Model, cpus: u32) -> f64 {
        let (graph, observed) = observed();
        observed.latency_ms(&graph, &model.placement(&graph, cpus), cpus).unwrap()
    }

    #[test]
    fn stages_add_up_and_calls_side_by_side_share_the_cpus() {
        // 1 + 5 + 0.5 + 5, and on one CPU the eight milliseconds of computing in turn: the wait hides behind them.
        assert!((latency(Model::Ours, 2) - 11.5).abs() < 1e-9);
        assert!((latency(Model::Ours, 1) - 14.5).abs() < 1e-9);
    }

    #[test]
    fn each_kind_of_place_costs_what_it_was_measured_to() {
        assert!((latency(Model::Sand, 2) - 13.5).abs() < 1e-9);
        assert!((latency(Model::OneToOne, 2) - 23.5).abs() < 1e-9);
        // The node that is alone is a thread.
        assert!((latency(Model::Faastlane, 2) - 12.5).abs() < 1e-9);
    }

    #[test]
    fn a_node_that_was_not_called_takes_no_time() {
        let (graph, mut observed) = observed();
        observed.calls.remove("detect");
        let placement = Model::Ours.placement(&graph, 2);
        let latency = observed.latency_ms(&graph, &placement, 2).unwrap();
        assert!((latency - 10.5).abs() < 1e-9);
    }
}
