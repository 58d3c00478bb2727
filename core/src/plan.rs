//! A plan: which wrap runs which node, in which process and thread, on how many CPUs.

use serde::{Deserialize, Serialize};

use crate::calibration::Calibration;
use crate::graph::Graph;
use crate::profile::Profiles;

/// A deployment of a workflow. It holds all that its prediction was made from, so that it can be checked alone.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Plan {
    /// Version of this format, [`Plan::VERSION`].
    pub version: u32,
    /// Name of the strategy that made it.
    pub strategy: String,
    /// The target latency, where there is one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub slo_ms: Option<f64>,
    /// The sandboxes.
    pub wraps: Vec<Wrap>,
    /// What it is predicted to do.
    pub prediction: Prediction,
    /// What no plan can beat.
    pub bound: Bound,
    /// Why it is as it is, in one or two sentences.
    pub reason: String,
    /// The workflow.
    pub graph: Graph,
    /// The profiles of its handlers.
    pub profiles: Profiles,
    /// The constants.
    pub calibration: Calibration,
    /// What the platform charges.
    #[serde(default)]
    pub prices: Prices,
}

/// What a platform charges.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Prices {
    /// US dollars for one GB of memory during one second.
    pub gb_second: f64,
    /// US dollars for one GHz of CPU during one second.
    pub ghz_second: f64,
    /// GHz of one CPU.
    pub ghz: f64,
    /// US dollars for one call of a wrap.
    pub call: f64,
}

impl Default for Prices {
    /// The prices of the Chiron paper, section 6.3, on its machines.
    fn default() -> Self {
        Self { gb_second: 0.000_002_5, ghz_second: 0.000_010_0, ghz: 2.1, call: 0.0 }
    }
}

/// One sandbox.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Wrap {
    /// Its name, `wrap-1` for the entry.
    pub name: String,
    /// Whether it drives the workflow and calls the other wraps.
    pub entry: bool,
    /// The language runtime in it.
    pub runtime: String,
    /// CPUs it gets.
    pub cpus: u32,
    /// Memory it needs, in MB.
    pub memory_mb: f64,
    /// What it runs in each stage it takes part in, ascending.
    pub stages: Vec<Share>,
}

/// What one wrap runs in one stage.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Share {
    /// The stage, from 0.
    pub stage: u32,
    /// Its place among the remote wraps invoked in this stage, from 0; of no meaning for the entry wrap.
    #[serde(default)]
    pub turn: u32,
    /// The processes, in the order in which they start.
    pub processes: Vec<Process>,
}

/// One process of one stage in one wrap.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Process {
    /// How it comes to be.
    pub start: Start,
    /// The nodes it runs, one thread each, in the order in which they start.
    pub threads: Vec<String>,
}

/// How a process comes to be.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Start {
    /// The wrap's main process, already there.
    Main,
    /// The wrap's main process, with the memory of its threads kept apart by protection keys.
    Keys,
    /// Forked from the main process for this stage.
    Fork,
    /// A process of a pool that was started with the sandbox.
    Pool,
}

/// What a plan is predicted to do.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Prediction {
    /// From request to result with warm sandboxes, equation (1).
    pub latency_ms: f64,
    /// The latency of each stage.
    pub stages_ms: Vec<f64>,
    /// Quantiles of the latency, as pairs of a share and milliseconds; empty where they were not asked for.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub quantiles: Vec<(f64, f64)>,
    /// With every sandbox cold.
    pub cold_ms: f64,
    /// The most processes of a stage.
    pub processes: u32,
    /// CPUs of all wraps.
    pub cpus: u32,
    /// Memory of all wraps.
    pub memory_mb: f64,
    /// What a million requests cost, in US dollars.
    pub usd_per_million: f64,
}

/// What no plan can beat, and whether this one reaches it.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Bound {
    /// No plan meets the SLO with fewer CPUs than this.
    pub cpus: u32,
    /// No plan with as many CPUs as this one has a lower latency than this.
    pub latency_ms: f64,
    /// Whether the number of CPUs is proved to be the fewest.
    pub optimal: bool,
    /// What cut the search short, where something did.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub stopped_by: Option<String>,
}

impl Plan {
    /// The version this program writes and reads.
    pub const VERSION: u32 = 1;
}
