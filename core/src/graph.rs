//! A workflow as a graph: handler calls, and the data and order between them. Known before anything runs.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};
use thiserror::Error;

/// A typed workflow graph, as `#[workflow]` lowers it, as a States Language file reads, or written by hand.
///
/// Node names are unique; edges name nodes. Stages are not stored: whoever needs them derives them.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Graph {
    /// Version of this format, [`Graph::VERSION`].
    pub version: u32,
    /// The workflow's name.
    pub name: String,
    /// The handler calls.
    pub nodes: Vec<Node>,
    /// What runs after what, and why.
    #[serde(default)]
    pub edges: Vec<Edge>,
}

/// One handler call.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Node {
    /// Unique within the graph.
    pub name: String,
    /// The handler it calls; profiles are found by this name.
    pub handler: String,
    /// How far it must be kept from others.
    #[serde(default, skip_serializing_if = "Isolation::is_shared")]
    pub isolation: Isolation,
    /// The number of the wrap it must run in, 1 being the entry wrap.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub wrap: Option<u32>,
    /// Whether it is a `map`: as many calls as there are items, side by side.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub is_many: bool,
}

/// How far a node must be kept from the nodes of its stage.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Isolation {
    /// It may share a process.
    #[default]
    Shared,
    /// It wants a process of its own.
    Process,
    /// It wants a sandbox of its own.
    Wrap,
}

impl Isolation {
    #[expect(clippy::trivially_copy_pass_by_ref, reason = "serde asks for a reference")]
    fn is_shared(&self) -> bool {
        *self == Self::Shared
    }
}

/// `to` starts after `from` has ended.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Edge {
    /// Name of the earlier node.
    pub from: String,
    /// Name of the later node.
    pub to: String,
    /// Why `to` waits.
    #[serde(default)]
    pub kind: EdgeKind,
}

/// Why one node waits for another.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum EdgeKind {
    /// The result of the one is input of the other.
    #[default]
    Data,
    /// Only the order matters.
    Order,
}

/// What is wrong with a graph. Every message names the place and the fix.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum GraphError {
    /// Written by another version of this software.
    #[error(
        "the graph has version {found}, and this program reads version {}: write it again with this program",
        Graph::VERSION
    )]
    Version {
        /// What the file says.
        found: u32,
    },
    /// There is nothing to plan.
    #[error("the graph `{name}` has no node: add at least one")]
    Empty {
        /// The workflow.
        name: String,
    },
    /// More nodes than can be planned in reasonable time and memory.
    #[error(
        "the graph `{name}` has {nodes} nodes, and the limit is {}: split the workflow, or let one node work on a batch of items",
        Graph::MOST_NODES
    )]
    TooLarge {
        /// The workflow.
        name: String,
        /// How many nodes it has.
        nodes: usize,
    },
    /// Two nodes of one name.
    #[error("two nodes are called `{node}`: give one of them another name")]
    Twice {
        /// The name.
        node: String,
    },
    /// An edge to or from nowhere.
    #[error(
        "the edge {from} → {to} names the node `{missing}`, which the graph does not have: add the node or remove the edge"
    )]
    Dangling {
        /// Where the edge starts.
        from: String,
        /// Where it ends.
        to: String,
        /// The name that is no node.
        missing: String,
    },
    /// A node that waits for itself.
    #[error("the nodes {nodes} wait for each other in a circle: remove one of the edges between them")]
    Cycle {
        /// The circle, as `a → b → a`.
        nodes: String,
    },
}

impl Graph {
    /// The version this program writes and reads.
    pub const VERSION: u32 = 1;

    /// The most nodes that are planned.
    pub const MOST_NODES: usize = 100_000;

    /// A graph of stages that run one after the other; the names within a stage are handlers, and may repeat.
    ///
    /// Nodes are called after their handler, with `#2`, `#3`… where a handler is called more than once.
    pub fn from_stages<S: AsRef<str>>(name: &str, stages: &[Vec<S>]) -> Self {
        let mut seen = BTreeMap::<&str, u32>::new();
        let mut graph = Self::empty(name);
        let mut before: Vec<String> = Vec::new();
        for stage in stages {
            let mut here = Vec::new();
            for handler in stage {
                let handler = handler.as_ref();
                let count = seen.entry(handler).or_default();
                *count += 1;
                let name = if *count == 1 { handler.to_owned() } else { format!("{handler}#{count}") };
                graph.nodes.push(Node::new(&name, handler));
                here.push(name);
            }
            graph.join(&before, &here);
            before = here;
        }
        graph
    }

    /// A graph without nodes.
    pub fn empty(name: &str) -> Self {
        Self { version: Self::VERSION, name: name.to_owned(), nodes: Vec::new(), edges: Vec::new() }
    }

    /// Makes every node of `after` wait for every node of `before`.
    ///
    /// Many times many edges are written as an edge from each of `before` to the first of `after` and from the last
    /// of `before` to each of `after`, which derives the same stages if `before` is one stage.
    pub fn join(&mut self, before: &[String], after: &[String]) {
        let (Some(first), Some(last)) = (after.first(), before.last()) else { return };
        if before.len() * after.len() <= 64 {
            let pairs = before.iter().flat_map(|from| after.iter().map(move |to| Edge::data(from, to)));
            self.edges.extend(pairs);
            return;
        }
        self.edges.extend(before.iter().map(|from| Edge::data(from, first)));
        self.edges.extend(after[1..].iter().map(|to| Edge::data(last, to)));
    }

    /// The graph with each `map` of known width as so many nodes side by side: `audit[0]`, `audit[1]`…
    #[must_use]
    pub fn widened(&self, widths: &BTreeMap<String, u32>) -> Self {
        let mut wide = Self::empty(&self.name);
        let mut names: BTreeMap<&str, Vec<String>> = BTreeMap::new();
        for node in &self.nodes {
            let width = widths.get(&node.name).copied().filter(|width| node.is_many && *width > 0);
            let calls = |width| (0..width).map(|at| format!("{}[{at}]", node.name)).collect();
            let here: Vec<String> = width.map_or_else(|| vec![node.name.clone()], calls);
            let is_many = node.is_many && width.is_none();
            wide.nodes.extend(here.iter().map(|name| Node { name: name.clone(), is_many, ..node.clone() }));
            names.insert(&node.name, here);
        }
        for edge in &self.edges {
            let (Some(from), Some(to)) = (names.get(&*edge.from), names.get(&*edge.to)) else { continue };
            let known = wide.edges.len();
            wide.join(from, to);
            wide.edges[known..].iter_mut().for_each(|one| one.kind = edge.kind);
        }
        wide
    }

    /// Checks everything but cycles, which need an algorithm: see the planner's `stages`.
    ///
    /// # Errors
    ///
    /// [`GraphError`]; none of them can be retried.
    pub fn check(&self) -> Result<(), GraphError> {
        if self.version != Self::VERSION {
            return Err(GraphError::Version { found: self.version });
        }
        if self.nodes.is_empty() {
            return Err(GraphError::Empty { name: self.name.clone() });
        }
        if self.nodes.len() > Self::MOST_NODES {
            return Err(GraphError::TooLarge { name: self.name.clone(), nodes: self.nodes.len() });
        }
        let mut names = BTreeSet::new();
        if let Some(node) = self.nodes.iter().find(|node| !names.insert(node.name.as_str())) {
            return Err(GraphError::Twice { node: node.name.clone() });
        }
        self.edges.iter().try_for_each(|edge| edge.check(&names))
    }
}

impl Node {
    /// A node that may share everything.
    pub fn new(name: &str, handler: &str) -> Self {
        Self {
            name: name.to_owned(),
            handler: handler.to_owned(),
            isolation: Isolation::Shared,
            wrap: None,
            is_many: false,
        }
    }
}

/// The node of the graph that a call belongs to, and which of its calls it is where it is one of a `map`: `audit` and 3
/// of `audit[3]`.
pub fn call_of(name: &str) -> (&str, Option<u32>) {
    let Some((node, index)) = name.strip_suffix(']').and_then(|name| name.rsplit_once('[')) else {
        return (name, None);
    };
    index.parse().map_or((name, None), |index| (node, Some(index)))
}

impl Edge {
    /// `to` uses the result of `from`.
    pub fn data(from: &str, to: &str) -> Self {
        Self { from: from.to_owned(), to: to.to_owned(), kind: EdgeKind::Data }
    }

    fn check(&self, names: &BTreeSet<&str>) -> Result<(), GraphError> {
        let missing = [&self.from, &self.to].into_iter().find(|name| !names.contains(name.as_str()));
        missing.map_or(Ok(()), |missing| {
            Err(GraphError::Dangling {
                from: self.from.clone(),
                to: self.to.clone(),
                missing: missing.clone(),
            })
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_map_of_known_width_is_so_many_nodes() {
        let mut graph = Graph::from_stages("audit", &[vec!["read"], vec!["check"], vec!["sum"]]);
        graph.nodes[1].is_many = true;
        graph.edges[0].kind = EdgeKind::Order;
        let wide = graph.widened(&BTreeMap::from([("check".to_owned(), 3), ("read".to_owned(), 9)]));
        wide.check().unwrap();
        let names: Vec<_> = wide.nodes.iter().map(|node| node.name.as_str()).collect();
        assert_eq!(names, ["read", "check[0]", "check[1]", "check[2]", "sum"]);
        assert!(wide.nodes.iter().all(|node| !node.is_many));
        assert_eq!(wide.edges.len(), 6);
        assert_eq!(wide.edges[2], Edge { kind: EdgeKind::Order, ..Edge::data("read", "check[2]") });
        assert_eq!(wide.edges[5], Edge::data("check[2]", "sum"));
        assert_eq!(graph.widened(&BTreeMap::new()), graph);
    }

    #[test]
    fn a_call_belongs_to_its_node() {
        assert_eq!(call_of("audit[3]"), ("audit", Some(3)));
        assert_eq!(call_of("audit#2"), ("audit#2", None));
        assert_eq!(call_of("odd[name]"), ("odd[name]", None));
    }
}
