//! Plans as tables of plain text.

use limitless_faas_core::plan::Plan;

use super::{counted, handlers, list, word};
use crate::error::PlanError;
use crate::predict::schedule;

/// One row for each process: stage, wrap, process, when it begins and ends, what it runs.
///
/// # Errors
///
/// [`PlanError`] where the plan contradicts itself.
pub fn table(plan: &Plan) -> Result<String, PlanError> {
    let drawn = schedule(plan)?;
    let handlers = handlers(plan);
    let mut rows = vec![["stage", "wrap", "process", "begins", "ends", "runs"].map(str::to_owned).to_vec()];
    for stage in 0..drawn.stages_ms.len() {
        for (at, wrap) in plan.wraps.iter().enumerate() {
            let Some(share) = wrap.stages.iter().find(|share| share.stage as usize == stage) else {
                continue;
            };
            for (number, process) in share.processes.iter().enumerate() {
                let threads = drawn
                    .threads
                    .iter()
                    .filter(|thread| (thread.stage, thread.wrap, thread.process) == (stage, at, number));
                let begin = threads.clone().map(|thread| thread.span.0).fold(f64::INFINITY, f64::min);
                let end = threads.map(|thread| thread.span.1).fold(0.0, f64::max);
                let names = counted(process.threads.iter().map(|name| handlers[name.as_str()]));
                rows.push(vec![
                    (stage + 1).to_string(),
                    wrap.name.clone(),
                    word(process.start).trim_end_matches(" process").to_owned(),
                    format!("{begin:.1} ms"),
                    format!("{end:.1} ms"),
                    list(&names),
                ]);
            }
        }
    }
    Ok(align(&rows))
}

/// Plans side by side, one row each.
pub fn compare(plans: &[Plan]) -> String {
    let head = ["strategy", "latency", "SLO", "processes", "CPUs", "wraps", "memory", "$ per million"];
    let mut rows = vec![head.map(str::to_owned).to_vec()];
    for plan in plans {
        let prediction = &plan.prediction;
        let met = plan.slo_ms.map_or("", |slo| if prediction.latency_ms <= slo { "met" } else { "missed" });
        rows.push(vec![
            plan.strategy.clone(),
            format!("{:.2} ms", prediction.latency_ms),
            met.to_owned(),
            prediction.processes.to_string(),
            prediction.cpus.to_string(),
            plan.wraps.len().to_string(),
            format!("{:.0} MB", prediction.memory_mb),
            format!("{:.2}", prediction.usd_per_million),
        ]);
    }
    align(&rows)
}

/// Columns as wide as their widest cell; numbers to the right.
fn align(rows: &[Vec<String>]) -> String {
    let columns = rows.iter().map(Vec::len).max().unwrap_or(0);
    let width = |column: usize| rows.iter().map(|row| row[column].chars().count()).max().unwrap_or(0);
    let widths: Vec<usize> = (0..columns).map(width).collect();
    let numeric = |column: usize| {
        rows.iter().skip(1).all(|row| row[column].starts_with(|first: char| first.is_ascii_digit()))
    };
    let right: Vec<bool> = (0..columns).map(numeric).collect();
    let mut text = String::new();
    for row in rows {
        let cell = |(at, cell): (usize, &String)| {
            let pad = " ".repeat(widths[at] - cell.chars().count());
            if right[at] { format!("{pad}{cell}") } else { format!("{cell}{pad}") }
        };
        let line = row.iter().enumerate().map(cell).collect::<Vec<_>>().join("  ");
        text.push_str(line.trim_end());
        text.push('\n');
    }
    text
}
