//! A workflow ready for planning: checked, its stages derived, its handlers prepared.

use std::collections::BTreeMap;

use limitless_faas_core::calibration::Calibration;
use limitless_faas_core::graph::{Graph, GraphError};
use limitless_faas_core::profile::{Profile, ProfileError, Profiles};
use petgraph::algo::{tarjan_scc, toposort};
use petgraph::graph::{DiGraph, NodeIndex};

use crate::error::PlanError;

/// A checked graph with its stages and profiles.
#[derive(Clone, Debug)]
pub struct Workflow {
    /// As it was given.
    pub graph: Graph,
    /// The profiles that the graph uses.
    pub profiles: Profiles,
    /// The constants.
    pub calibration: Calibration,
    /// The nodes of each stage, by their number in the graph, ascending.
    pub stages: Vec<Vec<usize>>,
    /// The handlers in use, in the order of their names.
    pub handlers: Vec<String>,
    /// The handler of each node, by its number in `handlers`.
    pub handler_of: Vec<usize>,
}

impl Workflow {
    /// Checks everything and derives the stages.
    ///
    /// # Errors
    ///
    /// [`PlanError`] for the first thing that is wrong; trying again does not help.
    pub fn new(graph: &Graph, profiles: &Profiles, calibration: &Calibration) -> Result<Self, PlanError> {
        graph.check()?;
        profiles.check()?;
        calibration.check()?;
        let stages = stages(graph)?;
        let mut used = BTreeMap::new();
        for node in &graph.nodes {
            let profile = profiles.handlers.get(&node.handler).ok_or_else(|| ProfileError::Missing {
                node: node.name.clone(),
                handler: node.handler.clone(),
            })?;
            used.insert(node.handler.clone(), profile.clone());
        }
        let handlers: Vec<String> = used.keys().cloned().collect();
        let number: BTreeMap<&str, usize> =
            handlers.iter().enumerate().map(|(at, name)| (name.as_str(), at)).collect();
        let handler_of = graph.nodes.iter().map(|node| number[node.handler.as_str()]).collect();
        Ok(Self {
            graph: graph.clone(),
            profiles: Profiles { handlers: used, ..profiles.clone() },
            calibration: calibration.clone(),
            stages,
            handlers,
            handler_of,
        })
    }

    /// The profile of a handler by its number.
    pub fn profile(&self, handler: usize) -> &Profile {
        &self.profiles.handlers[&self.handlers[handler]]
    }

    /// Whether any handler's profile has the distribution of its latency; otherwise every percentile is the mean.
    pub fn knows_quantiles(&self) -> bool {
        self.profiles.handlers.values().any(|profile| !profile.latency.quantiles.is_empty())
    }

    /// The most nodes of a stage.
    pub fn widest(&self) -> usize {
        self.stages.iter().map(Vec::len).max().unwrap_or(0)
    }
}

/// The stages of a graph: a node's stage is the length of the longest way to it. Equation (1) sums over them.
///
/// # Errors
///
/// [`GraphError::Cycle`], with one circle spelled out.
pub fn stages(graph: &Graph) -> Result<Vec<Vec<usize>>, GraphError> {
    let mut digraph = DiGraph::<(), ()>::with_capacity(graph.nodes.len(), graph.edges.len());
    let nodes: BTreeMap<&str, NodeIndex> =
        graph.nodes.iter().map(|node| (node.name.as_str(), digraph.add_node(()))).collect();
    for edge in &graph.edges {
        digraph.add_edge(nodes[edge.from.as_str()], nodes[edge.to.as_str()], ());
    }
    let Ok(order) = toposort(&digraph, None) else { return Err(circle(graph, &digraph)) };
    let mut level = vec![0; graph.nodes.len()];
    for node in order {
        for after in digraph.neighbors(node) {
            level[after.index()] = level[after.index()].max(level[node.index()] + 1);
        }
    }
    let mut stages = vec![Vec::new(); level.iter().max().map_or(0, |last| last + 1)];
    for (node, stage) in level.into_iter().enumerate() {
        stages[stage].push(node);
    }
    Ok(stages)
}

/// Spells out one circle, starting from the node that comes first in the graph.
fn circle(graph: &Graph, digraph: &DiGraph<(), ()>) -> GraphError {
    let looped =
        |component: &Vec<NodeIndex>| component.len() > 1 || digraph.contains_edge(component[0], component[0]);
    let component = tarjan_scc(digraph).into_iter().filter(looped).min_by_key(|c| c.iter().min().copied());
    let component = component.unwrap_or_default();
    let mut path: Vec<NodeIndex> = component.iter().min().copied().into_iter().collect();
    while let Some(&last) = path.last() {
        let next = digraph.neighbors(last).filter(|next| component.contains(next)).min();
        let Some(next) = next else { break };
        if let Some(from) = path.iter().position(|&seen| seen == next) {
            path.drain(..from);
            path.push(next);
            break;
        }
        path.push(next);
    }
    let mut names: Vec<&str> = path.iter().map(|node| graph.nodes[node.index()].name.as_str()).collect();
    if names.len() > 9 {
        names.splice(4..names.len() - 4, ["…"]);
    }
    GraphError::Cycle { nodes: names.join(" → ") }
}
