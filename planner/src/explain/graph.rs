//! A workflow's graph without a plan: as an outline, as Mermaid, as DOT, and as a picture.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use limitless_faas_core::graph::{EdgeKind, Graph};

use super::svg::{Anchor, Area, Svg};
use super::{counted, list, plural, times};
use crate::error::PlanError;
use crate::predict::model::to_f64;
use crate::workflow::stages;

/// The stages, one line each.
///
/// # Errors
///
/// [`PlanError`] where the graph is none.
pub fn outline(graph: &Graph) -> Result<String, PlanError> {
    let columns = columns(graph)?;
    let mut text = format!(
        "`{}`: {} in {}, at most {} at once\n",
        graph.name,
        plural(graph.nodes.len(), "node", "nodes"),
        plural(columns.len(), "stage", "stages"),
        columns.iter().map(Vec::len).max().unwrap_or(0)
    );
    for (stage, nodes) in columns.iter().enumerate() {
        let handlers = counted(nodes.iter().map(|&node| graph.nodes[node].handler.as_str()));
        let _ = writeln!(text, "  stage {}: {}", stage + 1, list(&handlers));
    }
    Ok(text)
}

/// The graph for a Mermaid block: GitHub and many editors draw it.
///
/// # Errors
///
/// As [`outline`].
pub fn mermaid(graph: &Graph) -> Result<String, PlanError> {
    columns(graph)?;
    let numbers = numbers(graph);
    let mut text = "flowchart LR\n".to_owned();
    for (number, node) in graph.nodes.iter().enumerate() {
        // Quotation marks end a label; `#` begins an entity.
        let label = node.name.replace('#', "#35;").replace('"', "#quot;");
        let _ = writeln!(text, "    n{number}[\"{label}\"]");
    }
    for edge in &graph.edges {
        let arrow = if edge.kind == EdgeKind::Data { "-->" } else { "-.->" };
        let (from, to) = (numbers[edge.from.as_str()], numbers[edge.to.as_str()]);
        let _ = writeln!(text, "    n{from} {arrow} n{to}");
    }
    Ok(text)
}

/// The graph in Graphviz's language.
///
/// # Errors
///
/// As [`outline`].
pub fn dot(graph: &Graph) -> Result<String, PlanError> {
    columns(graph)?;
    let quoted = |name: &str| format!("\"{}\"", name.replace('\\', "\\\\").replace('"', "\\\""));
    let mut text = format!("digraph {} {{\n", quoted(&graph.name));
    text.push_str("    rankdir=LR;\n    node [shape=box, style=rounded];\n");
    for node in &graph.nodes {
        let _ = writeln!(text, "    {};", quoted(&node.name));
    }
    for edge in &graph.edges {
        let style = if edge.kind == EdgeKind::Data { "" } else { " [style=dashed]" };
        let _ = writeln!(text, "    {} -> {}{style};", quoted(&edge.from), quoted(&edge.to));
    }
    text.push_str("}\n");
    Ok(text)
}

fn numbers(graph: &Graph) -> BTreeMap<&str, usize> {
    graph.nodes.iter().enumerate().map(|(number, node)| (node.name.as_str(), number)).collect()
}

/// The checked graph's stages.
fn columns(graph: &Graph) -> Result<Vec<Vec<usize>>, PlanError> {
    graph.check()?;
    Ok(stages(graph)?)
}

const MARGIN: f64 = 40.0;
const BOX: f64 = 34.0;
const ROW: f64 = 50.0;
const GAP: f64 = 90.0;
const INK: &str = "#1d2733";
const SOFT: &str = "#5b6675";
const ARROW: &str = "#8a94a6";
/// Stages of more nodes are drawn by handler.
const MOST_NODES: usize = 12;

/// What one box stands for.
struct Cell {
    text: String,
    nodes: Vec<usize>,
}

/// The graph as an SVG document: stages from left to right, data as solid arrows, order as dashed ones. Of a stage
/// of many nodes, those of one handler are one box.
///
/// # Errors
///
/// As [`outline`].
pub fn drawing(graph: &Graph) -> Result<String, PlanError> {
    let cells: Vec<Vec<Cell>> = columns(graph)?.iter().map(|nodes| cells(graph, nodes)).collect();
    let tallest = cells.iter().map(Vec::len).max().unwrap_or(1);
    let mut svg = Svg::new();
    let bold = format!(r#"font-weight="700" fill="{INK}""#);
    svg.text((MARGIN, 46.0), 24.0, Anchor::Start, &bold, &graph.name);
    let shape = format!(
        "{} in {}",
        plural(graph.nodes.len(), "node", "nodes"),
        plural(cells.len(), "stage", "stages")
    );
    svg.text((MARGIN, 70.0), 14.0, Anchor::Start, &format!(r#"fill="{SOFT}""#), &shape);
    let mut places = BTreeMap::new();
    let mut x = MARGIN;
    for column in &cells {
        let longest = column.iter().map(|cell| cell.text.chars().count()).max().unwrap_or(0);
        let width = to_f64(longest) * 8.0 + 28.0;
        let top = 96.0 + (to_f64(tallest) - to_f64(column.len())) * ROW / 2.0;
        for (at, cell) in column.iter().enumerate() {
            let area = Area { x, y: top + to_f64(at) * ROW, width, height: BOX };
            draw(&mut svg, cell, area);
            places.extend(cell.nodes.iter().map(|&node| (node, area)));
        }
        x += width + GAP;
    }
    arrows(&mut svg, graph, &places);
    let title = to_f64(graph.name.chars().count()) * 14.0 + 2.0 * MARGIN;
    Ok(svg.finish((x - GAP + MARGIN).max(title), 96.0 + to_f64(tallest) * ROW + 14.0))
}

fn cells(graph: &Graph, nodes: &[usize]) -> Vec<Cell> {
    if nodes.len() <= MOST_NODES {
        return nodes
            .iter()
            .map(|&node| Cell { text: graph.nodes[node].name.clone(), nodes: vec![node] })
            .collect();
    }
    let handler = |node: usize| graph.nodes[node].handler.as_str();
    let kinds = counted(nodes.iter().map(|&node| handler(node)));
    let of = |kind: &(&str, usize)| nodes.iter().copied().filter(|&node| handler(node) == kind.0).collect();
    let mut cells: Vec<Cell> = kinds.iter().map(|kind| Cell { text: times(kind), nodes: of(kind) }).collect();
    if cells.len() > MOST_NODES {
        let rest = cells.split_off(MOST_NODES - 1);
        let nodes: Vec<usize> = rest.into_iter().flat_map(|cell| cell.nodes).collect();
        cells.push(Cell { text: format!("… {} more", nodes.len()), nodes });
    }
    cells
}

fn draw(svg: &mut Svg, cell: &Cell, area: Area) {
    if cell.nodes.len() > 1 {
        let behind = Area { x: area.x + 5.0, y: area.y + 5.0, ..area };
        svg.rect(behind, 8.0, "#cfe0f3", "#2a6fbb");
    }
    svg.rect(area, 8.0, "#e6f0fa", "#2a6fbb");
    let middle = (area.x + area.width / 2.0, area.y + BOX / 2.0 + 5.0);
    svg.text(middle, 14.0, Anchor::Middle, &format!(r#"fill="{INK}""#), &cell.text);
}

/// One arrow for all edges between two boxes.
fn arrows(svg: &mut Svg, graph: &Graph, places: &BTreeMap<usize, Area>) {
    let numbers = numbers(graph);
    let mut drawn = Vec::new();
    for edge in &graph.edges {
        let (from, to) = (places[&numbers[edge.from.as_str()]], places[&numbers[edge.to.as_str()]]);
        let begin = (from.x + from.width + 2.0, from.y + BOX / 2.0);
        let end = (to.x - 3.0, to.y + BOX / 2.0);
        if drawn.contains(&(begin, end, edge.kind)) {
            continue;
        }
        drawn.push((begin, end, edge.kind));
        let dashes = if edge.kind == EdgeKind::Data { "" } else { r#" stroke-dasharray="5 4""# };
        svg.arrow(begin, end, ARROW, &format!(r#"stroke-width="1.4"{dashes}"#));
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test fails by panicking")]
mod tests {
    use limitless_faas_core::graph::Edge;

    use super::*;

    fn report() -> Graph {
        let mut graph = Graph::from_stages("report", &[vec!["fetch"], vec!["count", "count"]]);
        graph.edges.push(Edge { kind: EdgeKind::Order, ..Edge::data("count", "merge") });
        graph.nodes.push(limitless_faas_core::graph::Node::new("merge", "merge"));
        graph
    }

    #[test]
    fn names_are_quoted_for_each_language() {
        let expected = "flowchart LR\n    n0[\"fetch\"]\n    n1[\"count\"]\n    n2[\"count#35;2\"]\n    \
                        n3[\"merge\"]\n    n0 --> n1\n    n0 --> n2\n    n1 -.-> n3\n";
        assert_eq!(mermaid(&report()).unwrap(), expected);
        let dot = dot(&report()).unwrap();
        assert!(
            dot.contains("\"fetch\" -> \"count#2\";")
                && dot.contains("\"count\" -> \"merge\" [style=dashed];"),
            "{dot}"
        );
    }

    #[test]
    fn an_outline_counts_what_runs_at_once() {
        let expected = "`report`: 4 nodes in 3 stages, at most 2 at once\n  stage 1: fetch\n  stage 2: count ×2\n  stage 3: merge\n";
        assert_eq!(outline(&report()).unwrap(), expected);
    }

    #[test]
    fn a_wide_stage_is_drawn_by_handler() {
        let wide = Graph::from_stages("wide", &[vec!["a"; 60], vec!["b"]]);
        let svg = drawing(&wide).unwrap();
        assert!(svg.contains(">a ×60</text>"), "{svg}");
        assert_eq!(svg.matches("marker-end").count(), 1);
    }

    #[test]
    fn what_is_no_graph_is_refused() {
        let mut circle = report();
        circle.edges.push(Edge::data("merge", "fetch"));
        for refused in [outline(&circle), mermaid(&circle), dot(&circle), drawing(&circle)] {
            assert!(refused.unwrap_err().to_string().contains("circle"));
        }
    }
}
