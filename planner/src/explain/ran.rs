//! When the nodes of an execution ran, and where: as a chart for a terminal and as a picture, with what was predicted
//! beside what was measured.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use limitless_faas_core::node::{NodeEvent, What};
use limitless_faas_core::placement::Place;
use limitless_faas_core::plan::Plan;
use serde::Serialize;

use super::picture::{COLOURS, INK, LINE, SOFT, shorten};
use super::svg::{Anchor, Area, Svg};
use crate::error::PlanError;
use crate::predict::model::to_f64;
use crate::predict::schedule;

/// One call of a node: from its start to its end, or to where it stopped.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Ran {
    /// The node: `count`, or `audit[3]` within a `map`.
    pub node: String,
    /// Where it ran.
    pub place: Place,
    /// When it began, µs since 1970.
    pub begun_us: u64,
    /// When it ended or stopped; none where nobody saw it, as when its sandbox was killed.
    pub ended_us: Option<u64>,
    /// How it ended; [`What::Begun`] where nobody saw it.
    pub end: What,
}

/// What a plan predicts of one execution.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Predicted {
    /// Begin and end of each node since the request, in milliseconds.
    pub nodes: BTreeMap<String, (f64, f64)>,
    /// From request to result, in milliseconds.
    pub latency_ms: f64,
}

impl Predicted {
    /// The schedule that a plan is predicted to have.
    ///
    /// # Errors
    /// [`PlanError`] where the plan contradicts itself.
    pub fn of(plan: &Plan) -> Result<Self, PlanError> {
        let threads = schedule(plan)?.threads.into_iter();
        let nodes = threads.map(|thread| (plan.graph.nodes[thread.node].name.clone(), thread.span));
        Ok(Self { nodes: nodes.collect(), latency_ms: plan.prediction.latency_ms })
    }
}

/// The calls in these events, in the order in which they began.
pub fn calls(events: &[NodeEvent]) -> Vec<Ran> {
    let mut calls: Vec<Ran> = Vec::new();
    let mut open: BTreeMap<&str, usize> = BTreeMap::new();
    for event in events {
        if event.what == What::Begun {
            open.insert(&event.node, calls.len());
            let (node, place) = (event.node.clone(), event.place.clone());
            calls.push(Ran { node, place, begun_us: event.at_us, ended_us: None, end: What::Begun });
        } else if let Some(at) = open.remove(event.node.as_str()) {
            (calls[at].ended_us, calls[at].end) = (Some(event.at_us), event.what);
        }
    }
    calls
}

/// More rows than this tell nothing more.
const ROWS: usize = 40;

/// A node with all its calls, on the axis of an execution.
struct Row<'a> {
    place: &'a Place,
    node: &'a str,
    calls: Vec<&'a Ran>,
}

/// The rows of an execution and its axis.
struct Chart<'a> {
    rows: Vec<Row<'a>>,
    hidden: usize,
    begun_us: u64,
    span_us: u64,
}

impl<'a> Chart<'a> {
    /// Rows by place, and there by begin; none where nothing ran.
    fn of(ran: &'a [Ran]) -> Option<Self> {
        let begun_us = ran.iter().map(|call| call.begun_us).min()?;
        let last = |call: &Ran| call.ended_us.unwrap_or(call.begun_us);
        let span_us = ran.iter().map(last).max()?.saturating_sub(begun_us).max(1);
        let mut rows: Vec<Row<'a>> = Vec::new();
        let mut known: BTreeMap<(&str, String), usize> = BTreeMap::new();
        for call in ran {
            let at = *known.entry((&call.node, lane(&call.place))).or_insert(rows.len());
            if at == rows.len() {
                rows.push(Row { place: &call.place, node: &call.node, calls: Vec::new() });
            }
            rows[at].calls.push(call);
        }
        rows.sort_by_key(|row| order(row.place));
        let hidden = rows.len().saturating_sub(ROWS);
        rows.truncate(ROWS);
        Some(Self { rows, hidden, begun_us, span_us })
    }

    /// Begin and end of a call since the first one's begin. What nobody saw the end of is taken to have run on.
    fn span(&self, call: &Ran) -> (u64, u64) {
        let end = call.ended_us.unwrap_or(self.begun_us + self.span_us);
        (call.begun_us - self.begun_us, end.saturating_sub(self.begun_us))
    }
}

/// Threads of the wrap that drives the workflow come first, its processes next, and then the other wraps.
fn order(place: &Place) -> (u8, u32, &str) {
    match place {
        Place::Thread => (0, 0, ""),
        Place::Process { first, .. } => (1, *first, ""),
        Place::Remote(wrap) => (2, 0, wrap),
    }
}

fn lane(place: &Place) -> String {
    match place {
        Place::Thread => "threads".to_owned(),
        Place::Process { first, .. } => format!("process {}", first + 1),
        Place::Remote(wrap) => wrap.clone(),
    }
}

fn mark(end: What) -> char {
    match end {
        What::Returned => '█',
        What::Suspended => '▓',
        What::Failed | What::CalledOff => '▒',
        What::Begun => '░',
    }
}

fn word(end: What) -> &'static str {
    match end {
        What::Returned => "",
        What::Suspended => " saved its state",
        What::Failed => " failed",
        What::CalledOff => " called off",
        What::Begun => " was not seen to end",
    }
}

/// A row for each node on an axis of `width` cells, and how long each took; empty where nothing ran.
pub fn chart(ran: &[Ran], predicted: Option<&Predicted>, width: usize) -> String {
    let Some(chart) = Chart::of(ran) else { return String::new() };
    let wide = |texts: &mut dyn Iterator<Item = usize>| texts.max().unwrap_or(0).min(28);
    let lanes = wide(&mut chart.rows.iter().map(|row| lane(row.place).chars().count()));
    let nodes = wide(&mut chart.rows.iter().map(|row| row.node.chars().count()));
    let (mut text, mut last) = (String::new(), String::new());
    for row in &chart.rows {
        let here = lane(row.place);
        let shown = if here == last { "" } else { here.as_str() };
        let (shown, node) = (shorten(shown, to_f64(lanes)), shorten(row.node, to_f64(nodes)));
        let (bar, told) = (bar(&chart, row, width), told(&chart, row, predicted));
        let _ = writeln!(text, "  {shown:<lanes$}  {node:<nodes$}  {bar}  {told}");
        last = here;
    }
    if chart.hidden > 0 {
        let _ = writeln!(text, "  {:<lanes$}  ⋮ {} more", "", chart.hidden);
    }
    let line = "─".repeat(width.saturating_sub(2));
    let whole = predicted.map_or(String::new(), |all| format!(" (predicted {:.1} ms)", all.latency_ms));
    let _ = writeln!(text, "  {:<lanes$}  {:<nodes$}  └{line}┘  {}{whole}", "", "", ms(chart.span_us));
    text
}

fn bar(chart: &Chart<'_>, row: &Row<'_>, width: usize) -> String {
    let mut cells = vec![' '; width];
    let cell = |us: u64| {
        let at = us.saturating_mul(width as u64) / chart.span_us;
        usize::try_from(at).unwrap_or(0).min(width.saturating_sub(1))
    };
    for call in &row.calls {
        let (begin, end) = chart.span(call);
        // The cell in which it ends is its own only where it is the first too.
        let end = cell(end.saturating_sub(1)).max(cell(begin));
        cells[cell(begin)..=end].fill(mark(call.end));
    }
    cells.into_iter().collect()
}

fn told(chart: &Chart<'_>, row: &Row<'_>, predicted: Option<&Predicted>) -> String {
    let took: u64 = row.calls.iter().map(|call| chart.span(call)).map(|(begin, end)| end - begin).sum();
    let end = row.calls.last().map_or("", |call| word(call.end));
    let predicted = predicted.and_then(|all| all.nodes.get(row.node));
    let predicted =
        predicted.map_or(String::new(), |(begin, end)| format!(" (predicted {:.1} ms)", end - begin));
    format!("{}{predicted}{end}", ms(took))
}

#[expect(clippy::cast_precision_loss, reason = "no execution takes 2^53 microseconds")]
fn to_ms(us: u64) -> f64 {
    us as f64 / 1000.0
}

fn ms(us: u64) -> String {
    format!("{:.1} ms", to_ms(us))
}

const WIDTH: f64 = 1100.0;
const LEFT: f64 = 340.0;
const RIGHT: f64 = 250.0;
const TOP: f64 = 78.0;
const STEP: f64 = 30.0;

/// The same as an SVG document: a bar for what was measured, and below it a frame for what was predicted.
pub fn drawing(name: &str, ran: &[Ran], predicted: Option<&Predicted>) -> String {
    let mut svg = Svg::new();
    let bold = format!(r#"font-weight="700" fill="{INK}""#);
    svg.text((24.0, 36.0), 22.0, Anchor::Start, &bold, name);
    let Some(chart) = Chart::of(ran) else {
        svg.text((24.0, 62.0), 13.0, Anchor::Start, &format!(r#"fill="{SOFT}""#), "no node ran");
        return svg.finish(WIDTH, 90.0);
    };
    let mut subtitle = format!("{} from the first node's begin to the last one's end", ms(chart.span_us));
    if let Some(predicted) = predicted {
        let _ = write!(subtitle, "; framed: as predicted, {:.1} ms in all", predicted.latency_ms);
    }
    svg.text((24.0, 60.0), 13.0, Anchor::Start, &format!(r#"fill="{SOFT}""#), &subtitle);
    let most = predicted.map_or(0.0, |all| all.nodes.values().map(|span| span.1).fold(0.0, f64::max));
    let scale = (WIDTH - LEFT - RIGHT) / to_ms(chart.span_us).max(most);
    let (mut last, mut colour) = (String::new(), COLOURS.len() - 1);
    for (at, row) in chart.rows.iter().enumerate() {
        let y = TOP + STEP * to_f64(at);
        let here = lane(row.place);
        if here != last {
            colour = (colour + 1) % COLOURS.len();
            svg.line((24.0, y), (WIDTH - 24.0, y), LINE, "");
            let style = format!(r#"font-weight="600" fill="{}""#, COLOURS[colour].0);
            svg.text((24.0, y + 19.0), 13.0, Anchor::Start, &style, &shorten(&here, 20.0));
            last = here;
        }
        let style = format!(r#"fill="{INK}""#);
        svg.text((LEFT - 12.0, y + 19.0), 13.0, Anchor::End, &style, &shorten(row.node, 24.0));
        draw(&mut svg, &chart, row, predicted, (y, scale, COLOURS[colour]));
        let style = format!(r#"fill="{SOFT}""#);
        svg.text((WIDTH - 24.0, y + 19.0), 12.0, Anchor::End, &style, &told(&chart, row, predicted));
    }
    let bottom = TOP + STEP * to_f64(chart.rows.len());
    if chart.hidden > 0 {
        let style = format!(r#"fill="{SOFT}""#);
        svg.text((LEFT, bottom + 18.0), 12.0, Anchor::Start, &style, &format!("… and {} more", chart.hidden));
    }
    svg.finish(WIDTH, bottom + 32.0)
}

fn draw(
    svg: &mut Svg,
    chart: &Chart<'_>,
    row: &Row<'_>,
    predicted: Option<&Predicted>,
    (y, scale, (strong, pale)): (f64, f64, (&str, &str)),
) {
    let area = |begin: f64, end: f64, y: f64, height: f64| Area {
        x: LEFT + begin * scale,
        y,
        width: ((end - begin) * scale).max(1.0),
        height,
    };
    for call in &row.calls {
        let (begin, end) = chart.span(call);
        let fill = if call.end == What::Returned { strong } else { pale };
        svg.rect(area(to_ms(begin), to_ms(end), y + 6.0, 12.0), 2.0, fill, strong);
    }
    if let Some((begin, end)) = predicted.and_then(|all| all.nodes.get(row.node)) {
        svg.rect(area(*begin, *end, y + 20.0, 6.0), 1.0, "none", strong);
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test fails by panicking")]
mod tests {
    use super::*;

    fn event(node: &str, place: &Place, at_us: u64, what: What) -> NodeEvent {
        NodeEvent {
            node: node.to_owned(),
            handler: node.to_owned(),
            place: place.clone(),
            at_us,
            cpu_us: 0,
            what,
        }
    }

    fn events() -> Vec<NodeEvent> {
        let (process, remote) =
            (Place::Process { first: 1, count: 1 }, Place::Remote("report-w2".to_owned()));
        vec![
            event("read", &Place::Thread, 1000, What::Begun),
            event("read", &Place::Thread, 3000, What::Returned),
            event("count", &process, 3000, What::Begun),
            event("detect", &remote, 3000, What::Begun),
            event("count", &process, 5000, What::Suspended),
            event("count", &process, 9000, What::Begun),
            event("count", &process, 11_000, What::Returned),
        ]
    }

    #[test]
    fn every_node_has_a_row_where_it_ran() {
        let nodes = BTreeMap::from([("read".to_owned(), (0.0, 1.5))]);
        let predicted = Predicted { nodes, latency_ms: 9.0 };
        let expected = "  \
  threads    read    ██          2.0 ms (predicted 1.5 ms)
  process 2  count     ▓▓    ██  4.0 ms
  report-w2  detect    ░░░░░░░░  8.0 ms was not seen to end
                     └────────┘  10.0 ms (predicted 9.0 ms)
";
        assert_eq!(chart(&calls(&events()), Some(&predicted), 10), expected);
        assert_eq!(chart(&[], None, 10), "");
    }

    #[test]
    fn a_wide_map_is_shortened() {
        let events: Vec<_> = (0u64..100)
            .flat_map(|at| {
                let node = format!("audit[{at}]");
                [
                    event(&node, &Place::Thread, at, What::Begun),
                    event(&node, &Place::Thread, at + 5, What::Returned),
                ]
            })
            .collect();
        let text = chart(&calls(&events), None, 20);
        assert_eq!(text.lines().count(), ROWS + 2);
        assert!(text.contains("⋮ 60 more"), "{text}");
    }

    #[test]
    fn the_picture_has_a_bar_for_each_call_and_a_frame_for_each_prediction() {
        let nodes = BTreeMap::from([("read".to_owned(), (0.0, 1.5))]);
        let svg = drawing("report", &calls(&events()), Some(&Predicted { nodes, latency_ms: 9.0 }));
        assert_eq!(svg.matches("fill=\"none\" stroke").count(), 1);
        assert_eq!(svg.matches("height=\"12.00\"").count(), 4);
        assert!(svg.contains(">report-w2</text>") && svg.ends_with("</svg>\n"));
        assert!(drawing("report", &[], None).contains("no node ran"));
    }
}
