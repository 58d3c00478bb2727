//! The figures of the README's performance section, as one table.
//!
//! `cargo bench -p limitless-faas-tests --bench figures [-- PART …]` with parts `hook`, `wall`, `gap`, `state`, `crash`,
//! `call`, `process`, `steps`, `nodes`, `workflows`, and `stores` (with `--features stores`); `peers` where it is named. Everything that is compared is measured in turns
//! within one run; medians are printed.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::print_stdout,
    clippy::cast_possible_truncation,
    clippy::cast_precision_loss,
    reason = "a benchmark speaks, and may fail"
)]

mod call;
mod handover;
mod hook;
mod peers;
mod process;
mod state;
mod steps;
mod stores;
mod workflows;

use std::time::Duration;

/// One line of the table.
pub struct Figure {
    what: &'static str,
    asked: String,
    measured: String,
    is_met: bool,
}

impl Figure {
    /// A figure with what was asked of it.
    pub fn new(
        what: &'static str,
        asked: impl Into<String>,
        measured: impl Into<String>,
        is_met: bool,
    ) -> Self {
        Self { what, asked: asked.into(), measured: measured.into(), is_met }
    }
}

/// The middle value.
pub fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}

/// Milliseconds.
pub fn ms(duration: Duration) -> f64 {
    duration.as_secs_f64() * 1000.0
}

fn main() {
    let wanted: Vec<String> =
        std::env::args().skip(1).filter(|argument| !argument.starts_with("--")).collect();
    let is_wanted = |part: &str| wanted.is_empty() || wanted.iter().any(|wanted| wanted == part);
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    let mut figures = Vec::new();
    if is_wanted("hook") {
        figures.extend(hook::figures());
    }
    if is_wanted("wall") {
        figures.extend(runtime.block_on(handover::wall()));
    }
    if is_wanted("gap") {
        figures.extend(runtime.block_on(handover::gaps()));
    }
    if is_wanted("state") {
        figures.extend(runtime.block_on(state::figures()));
    }
    if is_wanted("crash") {
        figures.extend(runtime.block_on(handover::crashes()));
    }
    if is_wanted("call") {
        figures.extend(runtime.block_on(call::figures()));
    }
    if is_wanted("process") {
        figures.extend(process::figures());
    }
    if is_wanted("steps") {
        figures.extend(runtime.block_on(steps::figures()));
    }
    if is_wanted("nodes") {
        figures.extend(runtime.block_on(workflows::nodes()));
    }
    if is_wanted("workflows") {
        figures.extend(runtime.block_on(workflows::models()));
    }
    if is_wanted("stores") || stores::PARTS.into_iter().any(is_wanted) {
        figures.extend(runtime.block_on(stores::figures(|part| is_wanted("stores") || is_wanted(part))));
    }
    if wanted.iter().any(|wanted| wanted == "peers") {
        figures.extend(runtime.block_on(peers::figures()));
    }
    println!("\n| figure | asked | measured | |\n| --- | --- | --- | --- |");
    for Figure { what, asked, measured, is_met } in figures {
        println!("| {what} | {asked} | {measured} | {} |", if is_met { "met" } else { "**missed**" });
    }
}
