//! Where each node of a workflow runs: what a plan or a deployment model says, as the runtime reads it.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};
use thiserror::Error;

use crate::graph::{Graph, call_of};
use crate::plan::{Plan, Share, Start};

/// Where the nodes of one workflow run. A node that is not named runs on a thread of the entry wrap.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Placement {
    /// The workflow's name.
    pub workflow: String,
    /// Places by node name.
    pub nodes: BTreeMap<String, Place>,
}

/// Where one node runs.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Place {
    /// On a thread of the wrap that drives the workflow.
    #[default]
    Thread,
    /// In a process of the wrap's pool: one of the `count` from number `first` on, in turns.
    Process {
        /// Number of the first process.
        first: u32,
        /// How many there are; at least 1.
        count: u32,
    },
    /// In another wrap: a function of this name on the same platform.
    Remote(String),
}

/// How a workflow is spread over sandboxes, where no plan says it: the models that the Chiron paper compares.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Model {
    /// Every node in a sandbox of its own.
    OneToOne,
    /// One sandbox, every node in a process of its own.
    Sand,
    /// One sandbox; nodes that run alone are threads, nodes side by side are processes.
    Faastlane,
    /// One sandbox, every node in one of as many processes as there are CPUs.
    Pool,
    /// What a plan says; without one a single sandbox with every node on a thread.
    Ours,
}

/// The processes that one `map` spreads over where each of its nodes has one of its own.
const MOST_AT_ONCE: u32 = 64;

/// A plan that was made for another graph. The difference is what the message says.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error("the plan was made for another version of `{workflow}`: {}", differences.join("; "))]
pub struct Mismatch {
    /// The workflow.
    pub workflow: String,
    /// One sentence each, at least one.
    pub differences: Vec<String>,
}

impl Model {
    /// All of them, in the order of the paper.
    pub const ALL: [Self; 5] = [Self::OneToOne, Self::Sand, Self::Faastlane, Self::Pool, Self::Ours];

    /// Its name on a command line.
    pub fn name(self) -> &'static str {
        match self {
            Self::OneToOne => "one-to-one",
            Self::Sand => "sand",
            Self::Faastlane => "faastlane",
            Self::Pool => "pool",
            Self::Ours => "ours",
        }
    }

    /// Where the nodes of `graph` run under this model; `cpus` is how large its pool is.
    pub fn placement(self, graph: &Graph, cpus: u32) -> Placement {
        let nodes = graph.nodes.iter().zip(0u32..);
        let places = nodes.map(|(node, at)| (node.name.clone(), self.place(graph, &node.name, at, cpus)));
        Placement { workflow: graph.name.clone(), nodes: places.collect() }
    }

    fn place(self, graph: &Graph, node: &str, at: u32, cpus: u32) -> Place {
        // Each node has numbers of its own, as many as a `map` can use at once.
        let own = Place::Process { first: at * MOST_AT_ONCE, count: MOST_AT_ONCE };
        match self {
            Self::OneToOne => Place::Remote(wrap(&graph.name, at + 2)),
            Self::Faastlane if is_alone(graph, node) => Place::Thread,
            Self::Sand | Self::Faastlane => own,
            Self::Pool => Place::Process { first: 0, count: cpus.max(1) },
            Self::Ours => Place::Thread,
        }
    }
}

/// Whether every other node comes before or after this one. A `map` is not alone: its nodes are side by side.
fn is_alone(graph: &Graph, node: &str) -> bool {
    let reached = |forward: bool| {
        let (mut found, mut next) = (BTreeSet::new(), vec![node]);
        while let Some(at) = next.pop() {
            for edge in &graph.edges {
                let (from, to) = if forward { (&edge.from, &edge.to) } else { (&edge.to, &edge.from) };
                if from == at && found.insert(to.as_str()) {
                    next.push(to);
                }
            }
        }
        found
    };
    let is_many = graph.nodes.iter().any(|known| known.name == node && known.is_many);
    !is_many && reached(true).len() + reached(false).len() + 1 == graph.nodes.len()
}

/// The name of the function that is the wrap of this number; 1 is the entry and has the workflow's own name.
pub fn wrap(workflow: &str, number: u32) -> String {
    if number <= 1 { workflow.to_owned() } else { format!("{workflow}-w{number}") }
}

impl Placement {
    /// What `plan` says of a workflow whose graph is `graph`.
    ///
    /// A process of the plan is a process here, which the stages share one after the other. In a remote wrap a node is called
    /// by itself, and runs on a thread there.
    ///
    /// # Errors
    /// The plan was made for another graph; plan again.
    pub fn of(plan: &Plan, graph: &Graph) -> Result<Self, Mismatch> {
        let differences = differences(&plan.graph, graph);
        if !differences.is_empty() {
            return Err(Mismatch { workflow: graph.name.clone(), differences });
        }
        let (mut nodes, mut remote) = (BTreeMap::new(), 1);
        for planned in &plan.wraps {
            if planned.entry {
                planned.stages.iter().for_each(|share| entry(share, &mut nodes));
                continue;
            }
            remote += 1;
            let name = wrap(&graph.name, remote);
            let threads = planned.stages.iter().flat_map(|share| &share.processes);
            let threads = threads.flat_map(|process| &process.threads);
            nodes.extend(threads.map(|node| (node.clone(), Place::Remote(name.clone()))));
        }
        Ok(Self { workflow: graph.name.clone(), nodes })
    }

    /// The functions that this needs beside the entry, in the order of their names.
    pub fn wraps(&self) -> BTreeSet<&str> {
        let remote = self.nodes.values().filter_map(|place| match place {
            Place::Remote(name) => Some(name.as_str()),
            Place::Thread | Place::Process { .. } => None,
        });
        remote.collect()
    }

    /// With its other wraps named after the function `entry`, as they are after the workflow: so that versions of a workflow stand beside
    /// each other, each with wraps of its own.
    #[must_use]
    pub fn beside(mut self, entry: &str) -> Self {
        for place in self.nodes.values_mut() {
            if let Place::Remote(name) = place {
                let number = name.strip_prefix(self.workflow.as_str()).unwrap_or(name);
                *name = format!("{entry}{number}");
            }
        }
        self
    }

    /// Where a call of a node runs: `audit[3]`, one of a `map`, where `audit` does if calls have no places of their own. Where a
    /// map is wider than it was planned, the places begin again.
    pub fn place(&self, call: &str) -> &Place {
        let own = || {
            let (node, Some(index)) = call_of(call) else { return None };
            self.nodes.get(node).or_else(|| {
                let first = format!("{node}[");
                let planned =
                    self.nodes.range(first.clone()..).take_while(|(name, _)| name.starts_with(&first));
                let index = index.checked_rem(u32::try_from(planned.count()).ok()?)?;
                self.nodes.get(&format!("{node}[{index}]"))
            })
        };
        self.nodes.get(call).or_else(own).unwrap_or(&Place::Thread)
    }
}

/// The processes of one stage: the next stage has them again.
fn entry(share: &Share, nodes: &mut BTreeMap<String, Place>) {
    let mut processes = 0;
    for process in &share.processes {
        let place = match process.start {
            Start::Main | Start::Keys => Place::Thread,
            Start::Fork | Start::Pool => {
                processes += 1;
                Place::Process { first: processes - 1, count: 1 }
            }
        };
        nodes.extend(process.threads.iter().map(|node| (node.clone(), place.clone())));
    }
}

/// What the planned graph has and the other lacks, and the other way round.
fn differences(planned: &Graph, here: &Graph) -> Vec<String> {
    let mut found = Vec::new();
    if planned.name != here.name {
        found.push(format!("it is a plan of `{}`", planned.name));
    }
    // How wide a map was when the plan was made is no part of what it was made for.
    let name = |call: &str| call_of(call).0.to_owned();
    let nodes = |graph: &Graph| -> BTreeSet<String> {
        let told = graph.nodes.iter().map(|node| (name(&node.name), &node.handler));
        told.map(|(node, handler)| format!("the node `{node}`, a call of `{handler}`")).collect()
    };
    let edges = |graph: &Graph| -> BTreeSet<String> {
        let told = graph.edges.iter().map(|edge| (name(&edge.from), name(&edge.to)));
        told.map(|(from, to)| format!("the edge {from} → {to}")).collect()
    };
    for (planned, here) in [(nodes(planned), nodes(here)), (edges(planned), edges(here))] {
        found.extend(planned.difference(&here).map(|what| format!("{what} is in the plan alone")));
        found.extend(here.difference(&planned).map(|what| format!("{what} is not in the plan")));
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    fn graph() -> Graph {
        Graph::from_stages("report", &[vec!["read"], vec!["count", "detect"], vec!["merge"]])
    }

    #[test]
    fn faastlane_forks_what_is_side_by_side_alone() {
        let placement = Model::Faastlane.placement(&graph(), 2);
        assert_eq!(placement.place("read"), &Place::Thread);
        assert_eq!(placement.place("merge"), &Place::Thread);
        assert!(matches!(placement.place("count"), Place::Process { .. }));
        assert_ne!(placement.place("count"), placement.place("detect"));
    }

    #[test]
    fn one_to_one_needs_a_wrap_for_every_node() {
        let placement = Model::OneToOne.placement(&graph(), 2);
        let wraps: Vec<_> = placement.wraps().into_iter().collect();
        assert_eq!(wraps, ["report-w2", "report-w3", "report-w4", "report-w5"]);
        assert_eq!(placement.place("count[17]"), &Place::Remote("report-w3".to_owned()));
        assert!(Model::Ours.placement(&graph(), 2).wraps().is_empty());
    }

    #[test]
    fn a_version_has_wraps_of_its_own() {
        let placement = Model::OneToOne.placement(&graph(), 2).beside("report-v1a");
        let wraps: Vec<_> = placement.wraps().into_iter().collect();
        assert_eq!(wraps, ["report-v1a-w2", "report-v1a-w3", "report-v1a-w4", "report-v1a-w5"]);
        assert_eq!(placement.workflow, "report");
    }

    #[test]
    fn a_pool_is_as_large_as_it_was_said() {
        let placement = Model::Pool.placement(&graph(), 3);
        assert!(placement.nodes.values().all(|place| *place == Place::Process { first: 0, count: 3 }));
    }

    #[test]
    fn a_graph_that_changed_is_told_by_its_differences() {
        let mut changed = graph();
        changed.nodes[1].handler = "count_words".to_owned();
        changed.edges.pop();
        let found = differences(&graph(), &changed);
        assert_eq!(
            found,
            [
                "the node `count`, a call of `count` is in the plan alone",
                "the node `count`, a call of `count_words` is not in the plan",
                "the edge detect → merge is in the plan alone",
            ]
        );
        assert!(differences(&graph(), &graph()).is_empty());
    }

    #[test]
    fn a_map_may_be_wider_than_it_was_planned() {
        let mut graph = graph();
        graph.nodes[1].is_many = true;
        let wide = graph.widened(&BTreeMap::from([("count".to_owned(), 3)]));
        assert!(differences(&wide, &graph).is_empty());
        let process = |first| Place::Process { first, count: 1 };
        let places = (0u32..3).map(|at| (format!("count[{at}]"), process(at)));
        let placement = Placement { workflow: "report".to_owned(), nodes: places.collect() };
        assert_eq!(placement.place("count[2]"), &process(2));
        assert_eq!(placement.place("count[10]"), &process(1));
        assert_eq!(placement.place("detect[10]"), &Place::Thread);
    }
}
