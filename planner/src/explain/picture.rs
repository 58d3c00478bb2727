//! The picture of a plan: above, the workflow's stages from left to right with the wraps and processes that run
//! them; below, the predicted timeline.

use std::collections::BTreeMap;

use limitless_faas_core::plan::{Plan, Process, Start};

use super::svg::{Anchor, Area, Svg};
use super::{counted, handlers, plural, times};
use crate::error::PlanError;
use crate::predict::model::to_f64;
use crate::predict::{Schedule, Scheduled, schedule};

const WIDTH: f64 = 1280.0;
const MARGIN: f64 = 40.0;
pub(super) const INK: &str = "#1d2733";
pub(super) const SOFT: &str = "#5b6675";
pub(super) const LINE: &str = "#d5dae1";

/// A strong and a pale colour for each wrap; told apart also by people who confuse red and green.
pub(super) const COLOURS: [(&str, &str); 8] = [
    ("#2a6fbb", "#e6f0fa"),
    ("#d9822b", "#fdf0e1"),
    ("#2f8f6b", "#e3f4ed"),
    ("#8a5fb4", "#f1eaf8"),
    ("#c2476d", "#fae7ed"),
    ("#5f7a1f", "#eff4df"),
    ("#0f8a9d", "#e0f3f6"),
    ("#7a5c43", "#f3ece6"),
];

/// Stages and rows beyond these are counted, not drawn.
const MOST_STAGES: usize = 12;
const MOST_WRAPS: usize = 8;
const MOST_PROCESSES: usize = 12;
const MOST_ROWS: usize = 36;
const MOST_LANES: usize = 10;

/// Stages wider than this have their processes side by side.
const GRID: f64 = 600.0;

/// The plan as an SVG document, ready for a slide.
///
/// # Errors
///
/// [`PlanError`] where the plan contradicts itself.
pub fn picture(plan: &Plan) -> Result<String, PlanError> {
    let drawn = schedule(plan)?;
    let mut svg = Svg::new();
    let mut y = title(&mut svg, plan);
    y = graph(&mut svg, plan, &drawn, y);
    y = gantt(&mut svg, plan, &drawn, y + 34.0);
    Ok(svg.finish(WIDTH, y + MARGIN / 2.0))
}

fn title(svg: &mut Svg, plan: &Plan) -> f64 {
    let prediction = &plan.prediction;
    let bold = format!(r#"font-weight="700" fill="{INK}""#);
    svg.text((MARGIN, 48.0), 26.0, Anchor::Start, &bold, &plan.graph.name);
    let slo = plan.slo_ms.map_or(String::new(), |slo| format!(" of {slo} ms allowed"));
    let line = format!(
        "{} · {} · {:.1} ms{slo} · {:.0} MB · strategy {}",
        plural(prediction.cpus as usize, "CPU", "CPUs"),
        plural(plan.wraps.len(), "wrap", "wraps"),
        prediction.latency_ms,
        prediction.memory_mb,
        plan.strategy
    );
    svg.text((MARGIN, 76.0), 16.0, Anchor::Start, &format!(r#"fill="{SOFT}""#), &line);
    96.0
}

/// A process as it is drawn: its lines of text.
struct Card {
    start: Start,
    lines: Vec<(String, Vec<String>)>,
}

impl Card {
    fn new(process: &Process, handlers: &BTreeMap<&str, &str>, each: bool) -> Self {
        let lines = if each && process.threads.len() <= 4 {
            process.threads.iter().map(|name| (name.clone(), vec![name.clone()])).collect()
        } else {
            let counts = counted(process.threads.iter().map(|name| handlers[name.as_str()]));
            let nodes = |handler: &str| {
                process.threads.iter().filter(|name| handlers[name.as_str()] == handler).cloned().collect()
            };
            counts.iter().map(|count| (times(count), nodes(count.0))).collect()
        };
        Self { start: process.start, lines }
    }

    fn height(&self) -> f64 {
        10.0 + 19.0 * to_f64(self.lines.len().max(1)) + 12.0
    }
}

/// The stages with their wraps; the y at its end.
fn graph(svg: &mut Svg, plan: &Plan, drawn: &Schedule, top: f64) -> f64 {
    let stages = drawn.stages_ms.len().min(MOST_STAGES);
    let gap = if stages > 6 { 26.0 } else { 56.0 };
    let even = (WIDTH - 2.0 * MARGIN - gap * to_f64(stages - 1)) / to_f64(stages);
    let small = even < 120.0;
    // With few stages there is room for several processes side by side.
    let crowded = |stage: usize| {
        let shares = plan.wraps.iter().flat_map(|wrap| &wrap.stages);
        shares.filter(|share| share.stage as usize == stage).any(|share| share.processes.len() > 2)
    };
    let widths: Vec<f64> = (0..stages)
        .map(|stage| if stages <= 2 && crowded(stage) { even.max(700.0) } else { even.min(290.0) })
        .collect();
    let begins: Vec<f64> = (0..stages)
        .map(|stage| MARGIN + widths[..stage].iter().map(|width| width + gap).sum::<f64>())
        .collect();
    let mut places = BTreeMap::new();
    let mut bottom = top;
    for stage in 0..stages {
        let (x, width) = (begins[stage], widths[stage]);
        let head = format!("stage {} · {:.1} ms", stage + 1, drawn.stages_ms[stage]);
        let size = if small { 11.0 } else { 14.0 };
        let style = format!(r#"font-weight="600" fill="{SOFT}""#);
        svg.text((x + width / 2.0, top + 18.0), size, Anchor::Middle, &style, &head);
        bottom = bottom.max(stage_column(svg, plan, stage, (x, top + 30.0), width, &mut places));
    }
    if drawn.stages_ms.len() > stages {
        let more = format!("… and {} more stages", drawn.stages_ms.len() - stages);
        svg.text((WIDTH - MARGIN, top), 13.0, Anchor::End, &format!(r#"fill="{SOFT}""#), &more);
    }
    let grid = widths.iter().any(|&width| width > GRID);
    edges(svg, plan, &places, &begins, (top, gap, grid));
    bottom
}

/// Where a line of a card stands: its left, right and middle height.
type Spot = (f64, f64, f64);

fn stage_column(
    svg: &mut Svg,
    plan: &Plan,
    stage: usize,
    (x, top): (f64, f64),
    width: f64,
    places: &mut BTreeMap<String, Spot>,
) -> f64 {
    let handlers = handlers(plan);
    let each = plan.graph.nodes.len() <= 24;
    let mut y = top;
    let here = plan.wraps.iter().enumerate().filter_map(|(at, wrap)| {
        wrap.stages.iter().find(|share| share.stage as usize == stage).map(|share| (at, share))
    });
    let here: Vec<_> = here.collect();
    for &(at, share) in here.iter().take(MOST_WRAPS) {
        let (strong, pale) = COLOURS[at % COLOURS.len()];
        let shown = share.processes.iter().take(MOST_PROCESSES);
        let cards: Vec<Card> = shown.map(|process| Card::new(process, &handlers, each)).collect();
        let hidden = share.processes.len() - cards.len();
        let across = if width > GRID { cards.len().clamp(1, 3) } else { 1 };
        let tall = |row: &[Card]| row.iter().map(Card::height).fold(0.0, f64::max) + 8.0;
        let inner: f64 = cards.chunks(across).map(tall).sum();
        let height = 30.0 + inner + if hidden > 0 { 20.0 } else { 0.0 } + 2.0;
        svg.rect(Area { x, y, width, height }, 10.0, pale, strong);
        let size = if width < 120.0 { 10.0 } else { 13.0 };
        let style = format!(r#"font-weight="700" fill="{strong}""#);
        svg.text((x + 12.0, y + 20.0), size, Anchor::Start, &style, &plan.wraps[at].name);
        if width >= 150.0 {
            let cpus = plural(plan.wraps[at].cpus as usize, "CPU", "CPUs");
            let style = format!(r#"fill="{strong}""#);
            svg.text((x + width - 12.0, y + 20.0), 12.0, Anchor::End, &style, &cpus);
        }
        let mut inside = y + 30.0;
        let each = (width - 8.0) / to_f64(across);
        for row in cards.chunks(across) {
            for (column, card) in row.iter().enumerate() {
                let left = x + 8.0 + to_f64(column) * each;
                let area = Area { x: left, y: inside, width: each - 8.0, height: card.height() };
                draw_card(svg, card, area, strong, places);
            }
            inside += tall(row);
        }
        if hidden > 0 {
            let more = format!("… {} more", plural(hidden, "process", "processes"));
            svg.text((x + 14.0, inside + 12.0), 12.0, Anchor::Start, &format!(r#"fill="{SOFT}""#), &more);
        }
        y += height + 12.0;
    }
    if here.len() > MOST_WRAPS {
        let more = format!("… {} more wraps", here.len() - MOST_WRAPS);
        svg.text((x + 12.0, y + 12.0), 13.0, Anchor::Start, &format!(r#"fill="{SOFT}""#), &more);
        y += 22.0;
    }
    y
}

fn draw_card(svg: &mut Svg, card: &Card, area: Area, strong: &str, places: &mut BTreeMap<String, Spot>) {
    svg.rect(area, 6.0, "#ffffff", LINE);
    let narrow = area.width < 110.0;
    let size = if narrow { 9.5 } else { 13.0 };
    let fits = (area.width - 18.0) / (size * 0.56);
    for (at, (line, nodes)) in card.lines.iter().enumerate() {
        let y = area.y + 20.0 + 19.0 * to_f64(at);
        svg.text((area.x + 10.0, y), size, Anchor::Start, &format!(r#"fill="{INK}""#), &shorten(line, fits));
        for node in nodes {
            places.insert(node.clone(), (area.x, area.x + area.width, y - 4.0));
        }
    }
    let kind = match card.start {
        Start::Main => "main",
        Start::Keys => "main, keys",
        Start::Fork => "fork",
        Start::Pool => "pool",
    };
    let style = format!(r#"font-style="italic" fill="{strong}""#);
    svg.text((area.x + area.width - 8.0, area.y + area.height - 6.0), 10.5, Anchor::End, &style, kind);
}

/// Cuts a text that is too long for its place.
pub(super) fn shorten(text: &str, fits: f64) -> String {
    if to_f64(text.chars().count()) <= fits {
        return text.to_owned();
    }
    let keep = text.chars().enumerate().take_while(|(at, _)| to_f64(at + 2) <= fits);
    keep.map(|(_, letter)| letter).chain(['…']).collect()
}

/// Every edge of a small graph; one arrow from stage to stage of a large one.
fn edges(
    svg: &mut Svg,
    plan: &Plan,
    places: &BTreeMap<String, Spot>,
    begins: &[f64],
    (top, gap, grid): (f64, f64, bool),
) {
    let mut drawn: Vec<(Spot, Spot)> = Vec::new();
    for edge in &plan.graph.edges {
        if let (Some(&from), Some(&to)) = (places.get(&edge.from), places.get(&edge.to))
            && from.1 < to.0
            && !drawn.contains(&(from, to))
        {
            drawn.push((from, to));
        }
    }
    if plan.graph.edges.len() <= 64 && drawn.len() <= 40 && !grid {
        for (from, to) in drawn {
            let style = r#"stroke-width="1.3" opacity="0.75""#;
            svg.arrow((from.1 + 1.0, from.2), (to.0 - 2.0, to.2), "#8a94a6", style);
        }
        return;
    }
    for &x in &begins[1..] {
        let y = top + 60.0;
        svg.arrow((x - gap + 6.0, y), (x - 6.0, y), "#8a94a6", r#"stroke-width="2.5""#);
    }
}

/// One process of the timeline.
struct Row<'a> {
    wrap: usize,
    begin: f64,
    threads: Vec<&'a Scheduled>,
}

impl Row<'_> {
    fn lanes(&self) -> usize {
        self.threads.len().min(MOST_LANES)
    }

    fn height(&self) -> f64 {
        (to_f64(self.lanes()) * 7.0).max(16.0) + 6.0
    }
}

/// The predicted timeline; the y at its end.
fn gantt(svg: &mut Svg, plan: &Plan, drawn: &Schedule, top: f64) -> f64 {
    let left = MARGIN + 190.0;
    let end = plan.prediction.latency_ms.max(plan.slo_ms.unwrap_or(0.0)) * 1.02;
    let scale = (WIDTH - MARGIN - left) / end.max(f64::MIN_POSITIVE);
    let x = |ms: f64| left + ms * scale;
    let style = format!(r#"font-weight="600" fill="{SOFT}""#);
    svg.text((MARGIN, top), 14.0, Anchor::Start, &style, "predicted timeline");
    let legend = format!(r#"fill="{SOFT}""#);
    svg.text(
        (MARGIN + 160.0, top),
        12.0,
        Anchor::Start,
        &legend,
        "dotted: starting and calling; a bar for each thread",
    );
    let rows = rows(plan, drawn);
    let shown = rows.len().min(MOST_ROWS);
    let height: f64 = rows.iter().take(shown).map(Row::height).sum();
    let (begin, bottom) = (top + 16.0, top + 16.0 + height);
    axis(svg, end, bottom, begin, &x);
    let mut stage_begin = 0.0;
    for ms in &drawn.stages_ms {
        stage_begin += ms;
        svg.line((x(stage_begin), begin), (x(stage_begin), bottom), "#aab2bf", r#"stroke-width="1""#);
    }
    let mut y = begin;
    let mut last_wrap = None;
    for row in rows.iter().take(shown) {
        let (strong, _) = COLOURS[row.wrap % COLOURS.len()];
        if last_wrap != Some(row.wrap) {
            let style = format!(r#"font-weight="700" fill="{strong}""#);
            svg.text((MARGIN, y + 14.0), 12.0, Anchor::Start, &style, &plan.wraps[row.wrap].name);
            last_wrap = Some(row.wrap);
        }
        draw_row(svg, plan, row, y, strong, (left, &x));
        y += row.height();
    }
    if let Some(slo) = plan.slo_ms {
        let red = "#c22f3d";
        svg.line(
            (x(slo), begin - 8.0),
            (x(slo), bottom + 4.0),
            red,
            r#"stroke-width="2" stroke-dasharray="6 4""#,
        );
        let style = format!(r#"font-weight="700" fill="{red}""#);
        svg.text((x(slo) - 5.0, begin - 10.0), 12.0, Anchor::End, &style, &format!("SLO {slo} ms"));
    }
    if rows.len() > shown {
        let more = format!("… and {} more processes", rows.len() - shown);
        svg.text((MARGIN, bottom + 18.0), 12.0, Anchor::Start, &format!(r#"fill="{SOFT}""#), &more);
    }
    bottom + 44.0
}

/// The processes by wrap, then stage.
fn rows<'a>(plan: &Plan, drawn: &'a Schedule) -> Vec<Row<'a>> {
    let mut by_process: BTreeMap<(usize, usize, usize), Vec<&Scheduled>> = BTreeMap::new();
    for thread in &drawn.threads {
        by_process.entry((thread.wrap, thread.stage, thread.process)).or_default().push(thread);
    }
    let begins: Vec<f64> =
        (0..drawn.stages_ms.len()).map(|stage| drawn.stages_ms[..stage].iter().sum()).collect();
    let row = |((wrap, stage, _), threads): ((usize, usize, usize), Vec<&'a Scheduled>)| Row {
        wrap: wrap.min(plan.wraps.len() - 1),
        begin: begins[stage],
        threads,
    };
    by_process.into_iter().map(row).collect()
}

fn draw_row(
    svg: &mut Svg,
    plan: &Plan,
    row: &Row<'_>,
    top: f64,
    strong: &str,
    (left, x): (f64, &dyn Fn(f64) -> f64),
) {
    let names = counted(row.threads.iter().map(|thread| plan.graph.nodes[thread.node].handler.as_str()));
    let label = match names[..] {
        [ref one] => times(one),
        _ => format!("{} threads", row.threads.len()),
    };
    let middle = top + (row.height() - 6.0) / 2.0 + 4.0;
    svg.text((left - 10.0, middle), 11.0, Anchor::End, &format!(r#"fill="{INK}""#), &shorten(&label, 22.0));
    let first = row.threads.iter().map(|thread| thread.span.0).fold(f64::INFINITY, f64::min);
    if x(first) - x(row.begin) > 0.5 {
        let y = top + (row.height() - 6.0) / 2.0;
        let style = r#"stroke-width="2" stroke-dasharray="2 3""#;
        svg.line((x(row.begin), y), (x(first), y), "#8a94a6", style);
    }
    let lane = (row.height() - 6.0) / to_f64(row.lanes());
    let mut threads = row.threads.clone();
    threads.sort_by(|a, b| b.span.1.total_cmp(&a.span.1).then(a.node.cmp(&b.node)));
    for (at, thread) in threads.iter().enumerate() {
        // Of many threads the longest have a lane each, and the others share the last.
        let y = top + lane * to_f64(at.min(row.lanes() - 1));
        let area = Area {
            x: x(thread.span.0),
            y: y + 0.5,
            width: (x(thread.span.1) - x(thread.span.0)).max(1.0),
            height: lane - 1.0,
        };
        svg.rect(area, 1.5, strong, "none");
    }
}

/// A line every 1, 2 or 5 times a power of ten milliseconds.
fn axis(svg: &mut Svg, end: f64, bottom: f64, top: f64, x: &dyn Fn(f64) -> f64) {
    let mut step = 1e-3;
    let factors = [2.0, 2.5, 2.0];
    let mut at = 0;
    while end / step > 12.0 {
        step *= factors[at % 3];
        at += 1;
    }
    let mut ms = 0.0;
    while ms <= end {
        svg.line((x(ms), top), (x(ms), bottom), "#edf0f4", r#"stroke-width="1""#);
        let text = format!("{}", (ms * 1e6_f64).round() / 1e6);
        svg.text((x(ms), bottom + 16.0), 11.0, Anchor::Middle, &format!(r#"fill="{SOFT}""#), &text);
        ms += step;
    }
    svg.text(
        (x(end), bottom + 32.0),
        11.0,
        Anchor::End,
        &format!(r#"fill="{SOFT}""#),
        "milliseconds since the request",
    );
}
