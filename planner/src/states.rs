//! Reading a workflow from the Amazon States Language.
//!
//! `Task`, `Parallel`, `Map`, `Choice`, `Pass`, `Succeed` and `Wait`-free chains are read, whole branch chains
//! included. A field or state type that would change what runs is an error, never skipped. What a graph known
//! beforehand can't say is read so that the plan is safe:
//!
//! - A `Map` becomes as many copies of its chain as its `MaxConcurrency` says.
//! - Of a `Choice`, all branches are planned as if they ran at the same time: an upper bound of every outcome.

use std::collections::{BTreeMap, BTreeSet};

use limitless_faas_core::graph::{Edge, EdgeKind, Graph, Node};
use serde_json::{Map, Value};

use crate::error::PlanError;

/// Fields that say nothing about what runs, or only how data is shaped on the way.
const HARMLESS: [&str; 14] = [
    "Comment",
    "Type",
    "Next",
    "End",
    "InputPath",
    "OutputPath",
    "ResultPath",
    "Parameters",
    "ResultSelector",
    "Result",
    "TimeoutSeconds",
    "HeartbeatSeconds",
    "Version",
    "QueryLanguage",
];

/// The graph that a States Language document describes.
///
/// # Errors
///
/// [`PlanError::States`] naming the state and what to change, or [`PlanError::Graph`].
pub fn read(name: &str, text: &str) -> Result<Graph, PlanError> {
    let document: Value = serde_json::from_str(text).map_err(|error| PlanError::Format {
        what: "the States Language file",
        problem: error.to_string(),
    })?;
    let mut reader = Reader { graph: Graph::empty(name), names: BTreeSet::new(), depth: 0 };
    reader.machine("(top)", &document)?;
    reader.graph.check()?;
    Ok(reader.graph)
}

/// Where a chain begins and ends.
#[derive(Clone, Default)]
struct Ends {
    first: Vec<String>,
    last: Vec<String>,
}

struct Reader {
    graph: Graph,
    names: BTreeSet<String>,
    depth: u32,
}

fn wrong<T>(state: &str, what: impl Into<String>) -> Result<T, PlanError> {
    Err(PlanError::States { state: state.to_owned(), what: what.into() })
}

impl Reader {
    /// A whole machine: `StartAt` and `States`.
    fn machine(&mut self, place: &str, machine: &Value) -> Result<Ends, PlanError> {
        let (Some(start), Some(states)) = (machine["StartAt"].as_str(), machine["States"].as_object()) else {
            return wrong(place, "needs the fields `StartAt` and `States`");
        };
        self.depth += 1;
        if self.depth > 32 {
            return wrong(place, "is nested more than 32 deep: flatten it");
        }
        let ends = self.chain(start, states, &mut BTreeMap::new(), &mut Vec::new());
        self.depth -= 1;
        ends
    }

    /// The chain from `start` on. States reached twice (where branches of a choice meet) are read once.
    fn chain(
        &mut self,
        start: &str,
        states: &Map<String, Value>,
        read: &mut BTreeMap<String, Ends>,
        open: &mut Vec<String>,
    ) -> Result<Ends, PlanError> {
        if let Some(ends) = read.get(start) {
            return Ok(ends.clone());
        }
        if open.iter().any(|name| name == start) {
            return wrong(
                start,
                "is reached from itself: a workflow known beforehand has no loops; unroll it",
            );
        }
        if open.len() > 500 {
            return wrong(start, "comes after more than 500 others in a row: split the workflow");
        }
        let Some(state) = states.get(start).and_then(Value::as_object) else {
            return wrong(
                start,
                "is named by `StartAt`, `Next` or `Default`, but is not in `States`: add it",
            );
        };
        open.push(start.to_owned());
        let here = self.state(start, state)?;
        let nexts = nexts(start, state)?;
        let mut after = Ends::default();
        for next in &nexts {
            let ends = self.chain(next, states, read, open)?;
            merge(&mut after.first, &ends.first);
            merge(&mut after.last, &ends.last);
        }
        open.pop();
        let ends = self.follow(here, after, nexts.is_empty());
        read.insert(start.to_owned(), ends.clone());
        Ok(ends)
    }

    /// `after` follows `here`; either may be empty, as a `Pass` is.
    fn follow(&mut self, here: Ends, after: Ends, at_end: bool) -> Ends {
        if at_end || after.first.is_empty() {
            return here;
        }
        if here.last.is_empty() {
            return after;
        }
        for from in &here.last {
            for to in &after.first {
                let edge = Edge { from: from.clone(), to: to.clone(), kind: EdgeKind::Data };
                self.graph.edges.push(edge);
            }
        }
        Ends { first: here.first, last: after.last }
    }

    fn state(&mut self, name: &str, state: &Map<String, Value>) -> Result<Ends, PlanError> {
        let Some(kind) = state.get("Type").and_then(Value::as_str) else {
            return wrong(name, "has no `Type`: say which");
        };
        let own: &[&str] = match kind {
            "Task" => &["Resource", "Retry", "Catch", "TimeoutSeconds"],
            "Parallel" => &["Branches", "Retry", "Catch"],
            "Map" => &["Iterator", "ItemProcessor", "MaxConcurrency", "ItemsPath", "ItemSelector", "Retry"],
            "Choice" => &["Choices", "Default"],
            "Pass" | "Succeed" => &[],
            _ => {
                return wrong(
                    name,
                    format!(
                        "has the type `{kind}`, which can't be planned: use Task, Parallel, Map, Choice or Pass"
                    ),
                );
            }
        };
        let known = |field: &&String| own.contains(&field.as_str()) || HARMLESS.contains(&field.as_str());
        if let Some(field) = state.keys().find(|field| !known(field)) {
            return wrong(
                name,
                format!("has the unknown field `{field}`: remove it or correct its spelling"),
            );
        }
        match kind {
            "Task" => self.node(name, state),
            "Parallel" => self.parallel(name, state),
            "Map" => self.map(name, state),
            _ => Ok(Ends::default()),
        }
    }

    fn node(&mut self, name: &str, state: &Map<String, Value>) -> Result<Ends, PlanError> {
        let Some(resource) = state.get("Resource").and_then(Value::as_str) else {
            return wrong(name, "is a Task without a `Resource`: name the handler it calls");
        };
        // The last part of an ARN is the function's name.
        let handler = resource.rsplit(':').next().unwrap_or(resource);
        let mut unique = name.to_owned();
        let mut count = 1;
        while !self.names.insert(unique.clone()) {
            count += 1;
            unique = format!("{name}#{count}");
        }
        self.graph.nodes.push(Node::new(&unique, handler));
        if self.graph.nodes.len() > Graph::MOST_NODES {
            self.graph.check()?;
        }
        Ok(Ends { first: vec![unique.clone()], last: vec![unique] })
    }

    fn parallel(&mut self, name: &str, state: &Map<String, Value>) -> Result<Ends, PlanError> {
        let branches =
            state.get("Branches").and_then(Value::as_array).filter(|branches| !branches.is_empty());
        let Some(branches) = branches else {
            return wrong(name, "is a Parallel without `Branches`: give it at least one");
        };
        let mut ends = Ends::default();
        for branch in branches {
            let branch = self.machine(name, branch)?;
            ends.first.extend(branch.first);
            ends.last.extend(branch.last);
        }
        Ok(ends)
    }

    fn map(&mut self, name: &str, state: &Map<String, Value>) -> Result<Ends, PlanError> {
        let Some(body) = state.get("ItemProcessor").or_else(|| state.get("Iterator")) else {
            return wrong(name, "is a Map without an `ItemProcessor`: say what runs for each item");
        };
        let width = state.get("MaxConcurrency").and_then(Value::as_u64).filter(|&width| width > 0);
        let Some(width) = width else {
            return wrong(
                name,
                "is a Map whose width is not known: set `MaxConcurrency` to plan for that many",
            );
        };
        let mut ends = Ends::default();
        for _ in 0..width {
            let item = self.machine(name, body)?;
            if item.first.is_empty() {
                break;
            }
            ends.first.extend(item.first);
            ends.last.extend(item.last);
        }
        Ok(ends)
    }
}

/// The states that may come next.
fn nexts(name: &str, state: &Map<String, Value>) -> Result<Vec<String>, PlanError> {
    let named = |value: Option<&Value>| value.and_then(Value::as_str).map(str::to_owned);
    if state.get("Type").and_then(Value::as_str) == Some("Choice") {
        let choices = state.get("Choices").and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default();
        let mut nexts: Vec<String> = Vec::new();
        for choice in choices {
            let Some(next) = named(choice.get("Next")) else {
                return wrong(name, "has a choice without `Next`: name the state it leads to");
            };
            merge(&mut nexts, &[next]);
        }
        merge(&mut nexts, &named(state.get("Default")).into_iter().collect::<Vec<_>>());
        return if nexts.is_empty() {
            wrong(name, "is a Choice without `Choices`: add one")
        } else {
            Ok(nexts)
        };
    }
    let ends = state.get("End").and_then(Value::as_bool) == Some(true)
        || state.get("Type").and_then(Value::as_str) == Some("Succeed");
    match (named(state.get("Next")), ends) {
        (Some(next), false) => Ok(vec![next]),
        (None, true) => Ok(Vec::new()),
        _ => wrong(name, "needs either `Next` or `\"End\": true`"),
    }
}

fn merge(into: &mut Vec<String>, more: &[String]) {
    for name in more {
        if !into.contains(name) {
            into.push(name.clone());
        }
    }
}
