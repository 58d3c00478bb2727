//! What is known of a workflow before it runs.

use limitless_faas_core::graph::{Edge, EdgeKind, Graph, Node};

use crate::handler::HandlerDef;

/// Describes a workflow.
#[derive(Debug)]
pub struct WorkflowDef {
    /// The latency its author wants.
    pub slo_ms: Option<u64>,
    /// Its handler calls, in the order of the source.
    pub nodes: &'static [NodeDef],
    /// What runs after what.
    pub edges: &'static [EdgeDef],
}

/// Describes a handler call.
#[derive(Debug)]
pub struct NodeDef {
    /// The handler's name, with `#2`, `#3`… where it is called more than once.
    pub name: &'static str,
    /// The handler.
    pub handler: fn() -> &'static HandlerDef,
    /// Whether it is called for each of some items.
    pub is_many: bool,
}

/// `to` starts after `from` has ended.
#[derive(Debug)]
pub struct EdgeDef {
    /// Name of the earlier node.
    pub from: &'static str,
    /// Name of the later node.
    pub to: &'static str,
    /// Whether the later one's input is made from the earlier one's result.
    pub is_data: bool,
}

impl WorkflowDef {
    /// The graph that the planner, pictures and `describe` read.
    pub fn graph(&self, name: &str) -> Graph {
        let mut graph = Graph::empty(name);
        graph.nodes = self.nodes.iter().map(NodeDef::node).collect();
        graph.edges = self.edges.iter().map(EdgeDef::edge).collect();
        graph
    }
}

impl NodeDef {
    fn node(&self) -> Node {
        Node { is_many: self.is_many, ..Node::new(self.name, (self.handler)().name) }
    }
}

impl EdgeDef {
    fn edge(&self) -> Edge {
        let kind = if self.is_data { EdgeKind::Data } else { EdgeKind::Order };
        Edge { from: self.from.to_owned(), to: self.to.to_owned(), kind }
    }
}
