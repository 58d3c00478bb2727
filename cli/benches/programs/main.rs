//! The figures of programs that can't be changed, as one table, where DMTCP is installed.
//!
//! `cargo bench -p cargo-faas --bench programs [-- PART …]` with parts `pause`, `wall`, `large`, `generations`, `sweep`. What is compared runs
//! in turns within one run; medians are printed.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::print_stdout,
    clippy::cast_precision_loss,
    reason = "a benchmark speaks, and may fail"
)]

mod folder;
mod pause;
mod plainly;
mod size;
mod sweep;
mod wall;

use folder::dmtcp;

/// One line of the table.
struct Figure {
    what: &'static str,
    asked: &'static str,
    measured: String,
    is_met: bool,
}

impl Figure {
    fn new(what: &'static str, asked: &'static str, measured: String, is_met: bool) -> Self {
        Self { what, asked, measured, is_met }
    }
}

/// The middle value.
fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}

fn main() {
    let wanted: Vec<String> =
        std::env::args().skip(1).filter(|argument| !argument.starts_with("--")).collect();
    let is_wanted = |part: &str| wanted.is_empty() || wanted.iter().any(|wanted| wanted == part);
    let Some(dmtcp) = dmtcp() else {
        println!("skipped: DMTCP is not installed (set DMTCP_ROOT to where it is)");
        return;
    };
    let mut figures = Vec::new();
    if is_wanted("pause") {
        figures.extend(pause::figures(&dmtcp));
    }
    if is_wanted("wall") {
        figures.extend(wall::figures());
    }
    if is_wanted("large") {
        figures.push(size::large(&dmtcp));
    }
    if is_wanted("generations") {
        figures.push(size::generations());
    }
    if is_wanted("sweep") {
        figures.push(sweep::figure());
    }
    println!("\n| figure | asked | measured | |\n| --- | --- | --- | --- |");
    for Figure { what, asked, measured, is_met } in figures {
        println!("| {what} | {asked} | {measured} | {} |", if is_met { "met" } else { "**missed**" });
    }
}
