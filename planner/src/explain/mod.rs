//! A plan in words, as a table, and as a picture.

pub mod graph;
mod picture;
mod prose;
pub mod ran;
mod svg;
mod table;

pub use picture::picture;
pub use prose::{infeasible, prose};
pub use table::{compare, table};

use std::collections::BTreeMap;

use limitless_faas_core::plan::{Plan, Start};

/// Names with counts, in the order of their first appearance: `marketdata ×3, side`.
fn counted<'a>(names: impl Iterator<Item = &'a str>) -> Vec<(&'a str, usize)> {
    let mut counts: Vec<(&str, usize)> = Vec::new();
    for name in names {
        match counts.iter_mut().find(|(known, _)| *known == name) {
            Some((_, count)) => *count += 1,
            None => counts.push((name, 1)),
        }
    }
    counts
}

fn times((name, count): &(&str, usize)) -> String {
    if *count == 1 { (*name).to_owned() } else { format!("{name} ×{count}") }
}

fn list(names: &[(&str, usize)]) -> String {
    names.iter().map(times).collect::<Vec<_>>().join(", ")
}

/// The handler of each node.
fn handlers(plan: &Plan) -> BTreeMap<&str, &str> {
    plan.graph.nodes.iter().map(|node| (node.name.as_str(), node.handler.as_str())).collect()
}

fn word(start: Start) -> &'static str {
    match start {
        Start::Main => "main process",
        Start::Keys => "main process with protection keys",
        Start::Fork => "forked process",
        Start::Pool => "pool process",
    }
}

fn plural(count: usize, one: &str, many: &str) -> String {
    if count == 1 { format!("{count} {one}") } else { format!("{count} {many}") }
}
