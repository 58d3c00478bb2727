//! Arguments of the commands that measure handlers and plan workflows.

use std::path::PathBuf;
use std::time::Duration;

use clap::Args;
use limitless_faas_planner::Strategy;

use super::Pick;
use crate::units;

/// `cargo faas plan`
#[derive(Clone, Debug, Args)]
#[command(after_help = "\
Examples:
  cargo faas plan report --profiles profiles.json
  cargo faas plan report.json --profiles profiles.json --slo-ms 200
  cargo faas plan order.asl.json --profiles profiles.json --cpus 4 --svg order.svg
  cargo faas plan report.json --profiles profiles.json --slo-ms 200 --percentile 95 --out plan.json
  cargo faas plan report.json --profiles profiles.json --slo-ms 200 --compare
  cargo faas plan report.json --profiles profiles.json --front")]
pub struct Plan {
    /// The workflow: one of this project, a graph as JSON, or an Amazon States Language file
    #[arg(value_name = "WORKFLOW|GRAPH.json|FILE.asl.json")]
    pub workflow: String,
    /// Profiles of its handlers, from `cargo faas profile`
    #[arg(long, value_name = "FILE")]
    pub profiles: PathBuf,
    /// Costs of the target, from `cargo faas calibrate` [default: those of the Chiron paper's cluster]
    #[arg(long, value_name = "FILE")]
    pub calibration: Option<PathBuf>,
    /// What the platform charges, as JSON [default: the prices of the Chiron paper]
    #[arg(long, value_name = "FILE")]
    pub prices: Option<PathBuf>,
    /// Meet this latency with the fewest CPUs [default: the one its `#[workflow]` names]
    #[arg(long, value_name = "N", allow_negative_numbers = true, conflicts_with_all = ["cpus", "front"])]
    pub slo_ms: Option<f64>,
    /// The least latency on at most this many CPUs
    #[arg(long, value_name = "N", conflicts_with = "front")]
    pub cpus: Option<u32>,
    /// Every plan that no other beats in latency, CPUs, memory, wraps and cost
    #[arg(long, conflicts_with_all = ["strategy", "svg"])]
    pub front: bool,
    /// The share of requests, in percent, that must meet the SLO [default: the mean does]
    #[arg(long, value_name = "P", allow_negative_numbers = true, conflicts_with_all = ["cpus", "front"])]
    pub percentile: Option<f64>,
    /// How the plan is made
    #[arg(long, value_name = "NAME", default_value = "fewest", value_parser = strategy)]
    pub strategy: Strategy,
    /// Lay all strategies side by side
    #[arg(long, conflicts_with_all = ["front", "strategy", "svg", "out"])]
    pub compare: bool,
    /// Keep the memory of threads apart by protection keys
    #[arg(long)]
    pub keys: bool,
    /// Memory of one sandbox, at most
    #[arg(long, value_name = "MB", allow_negative_numbers = true)]
    pub memory: Option<f64>,
    /// How long the search may take
    #[arg(long, value_name = "DURATION", default_value = "10s", value_parser = units::parse_limit)]
    pub time_budget: Duration,
    /// Write the plan as JSON
    #[arg(long, value_name = "FILE")]
    pub out: Option<PathBuf>,
    /// Draw the plan: its wraps, and the predicted timeline
    #[arg(long, value_name = "FILE")]
    pub svg: Option<PathBuf>,
    #[command(flatten)]
    pub pick: Pick,
}

fn strategy(name: &str) -> Result<Strategy, String> {
    let names: Vec<&str> = Strategy::ALL.iter().map(|strategy| strategy.name()).collect();
    let found = Strategy::ALL.into_iter().find(|strategy| strategy.name() == name);
    found.ok_or_else(|| format!("the strategies are {}", names.join(", ")))
}

/// `cargo faas graph`
#[derive(Clone, Debug, Args)]
#[command(after_help = "\
Examples:
  cargo faas graph report
  cargo faas graph order.asl.json --mermaid >> README.md
  cargo faas graph report.json --dot | dot -Tpdf > report.pdf
  cargo faas graph report.json --svg report.svg")]
pub struct Graph {
    /// The workflow: one of this project, a graph as JSON, or an Amazon States Language file
    #[arg(value_name = "WORKFLOW|GRAPH.json|FILE.asl.json")]
    pub workflow: String,
    /// Print it for a Mermaid block
    #[arg(long, conflicts_with_all = ["dot", "json"])]
    pub mermaid: bool,
    /// Print it in Graphviz's language
    #[arg(long, conflicts_with = "json")]
    pub dot: bool,
    /// Draw it
    #[arg(long, value_name = "FILE")]
    pub svg: Option<PathBuf>,
    #[command(flatten)]
    pub pick: Pick,
}

/// `cargo faas profile`
#[derive(Clone, Debug, Args)]
#[command(after_help = "\
Examples:
  cargo faas profile factors --input '{\"n\": 360}' --release --out profiles.json
  cargo faas profile factors --input @small.json --input @large.json --runs 50 --out profiles.json
  cargo faas profile report --input '{\"path\": \"README.md\"}' --out profiles.json   every handler that a workflow calls")]
pub struct Profile {
    /// The handler to run alone; of a workflow every handler that it calls, one after the other on the inputs they have there
    pub handler: String,
    /// A sample input: JSON, or @FILE; may be given several times
    #[arg(long, short, value_name = "JSON|@FILE", default_value = "{}")]
    pub input: Vec<String>,
    /// Runs for each input, after two to warm up
    #[arg(long, value_name = "N", default_value_t = 20, value_parser = clap::value_parser!(u32).range(3..=10_000))]
    pub runs: u32,
    /// Add the profile to this file; print it where there is none
    #[arg(long, value_name = "FILE")]
    pub out: Option<PathBuf>,
    /// Once more under strace, to name the calls that it waits in and find the files that it writes
    #[arg(long)]
    pub strace: bool,
    #[command(flatten)]
    pub pick: Pick,
}

/// `cargo faas predict`
#[derive(Clone, Debug, Args)]
#[command(after_help = "\
Examples:
  cargo faas predict report --input '{\"path\": \"README.md\"}' --release
  cargo faas predict --cases cases.json -p workloads --release --json

A file of cases is a list of {\"title\": …, \"workflow\": …, \"input\": {…}}. Where an input says
{folder}, there is a folder while the workflow runs. Let nothing else run on the machine.")]
pub struct Predict {
    /// The workflow to predict and to measure
    #[arg(required_unless_present = "cases", conflicts_with = "cases")]
    pub workflow: Option<String>,
    /// Its input: JSON, @FILE, or - for stdin
    #[arg(long, short, value_name = "JSON|@FILE|-", default_value = "{}", conflicts_with = "cases")]
    pub input: String,
    /// Several workflows with their inputs, as JSON
    #[arg(long, value_name = "FILE")]
    pub cases: Option<PathBuf>,
    /// Runs of each model, and of each kind of place, after three to warm up
    #[arg(long, value_name = "N", default_value_t = 21, value_parser = clap::value_parser!(u32).range(3..=1000))]
    pub runs: u32,
    #[command(flatten)]
    pub pick: Pick,
}

/// `cargo faas calibrate`
#[derive(Clone, Debug, Args)]
#[command(after_help = "\
Examples:
  cargo faas calibrate --out calibration.json
  cargo faas plan report.json --profiles profiles.json --calibration calibration.json --slo-ms 50")]
pub struct Calibrate {
    /// How often each cost is measured
    #[arg(long, value_name = "N", default_value_t = 51, value_parser = clap::value_parser!(u32).range(5..=10_000))]
    pub runs: u32,
    /// Write the calibration here; print it where there is no file
    #[arg(long, value_name = "FILE")]
    pub out: Option<PathBuf>,
}
