//! What was measured of handlers running alone.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use thiserror::Error;

/// The profiles of the handlers of a workflow.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Profiles {
    /// Version of this format, [`Profiles::VERSION`].
    pub version: u32,
    /// Where the figures come from.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub source: Option<String>,
    /// By handler.
    pub handlers: BTreeMap<String, Profile>,
    /// How many calls each `map` was when its workflow was run for this: by workflow, and by node.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub widths: BTreeMap<String, BTreeMap<String, u32>>,
}

/// One handler, run alone and warm.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Profile {
    /// How long it takes.
    pub latency: Latency,
    /// When it waits; all the rest is CPU time.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub blocks: Vec<Block>,
    /// Its mean latency in a process that was just forked, where that was measured and differs.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub forked_ms: Option<f64>,
    /// Share of its CPU time that runs without the interpreter lock (native code that releases it), 0 to 1.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub unlocked: f64,
    /// Memory it needs beside the runtime's own, in MB.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub memory_mb: f64,
    /// Files it writes: nodes that write one file must not share a sandbox.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub writes: Vec<String>,
    /// Bytes of its input.
    #[serde(default, skip_serializing_if = "is_none")]
    pub input_bytes: u64,
    /// Bytes of its result.
    #[serde(default, skip_serializing_if = "is_none")]
    pub output_bytes: u64,
    /// What runs it.
    #[serde(default)]
    pub runtime: Runtime,
}

/// A distribution of latencies, in milliseconds.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Latency {
    /// The mean.
    pub mean_ms: f64,
    /// Quantiles as pairs of a share (0 to 1) and milliseconds, both ascending; empty where only a mean is known.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub quantiles: Vec<(f64, f64)>,
}

/// A time in which a handler waits and needs no CPU.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Block {
    /// Since the handler's start.
    pub start_ms: f64,
    /// How long.
    pub duration_ms: f64,
    /// The call it waits in, where it is known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub call: Option<String>,
}

/// A language runtime. Nodes of different runtimes can't share a sandbox.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Runtime {
    /// Its name and version, e.g. `python3.11` or `native`.
    pub name: String,
    /// Whether threads of one process run at the same time.
    pub threads: Threads,
}

/// What threads of one process do to each other.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Threads {
    /// They run at the same time, on as many CPUs as there are.
    Parallel,
    /// One interpreter lock: one thread runs at a time, the others run only while it waits.
    Locked,
}

impl Default for Runtime {
    fn default() -> Self {
        Self { name: "native".to_owned(), threads: Threads::Parallel }
    }
}

/// What is wrong with a profile. Every message names the handler and the fix.
#[derive(Clone, Debug, PartialEq, Error)]
pub enum ProfileError {
    /// Written by another version of this software.
    #[error(
        "the profiles have version {found}, and this program reads version {}: record them again with `cargo faas profile`",
        Profiles::VERSION
    )]
    Version {
        /// What the file says.
        found: u32,
    },
    /// A node whose handler was never measured.
    #[error(
        "the node `{node}` calls the handler `{handler}`, which has no profile: record one with `cargo faas profile {handler}`"
    )]
    Missing {
        /// The node.
        node: String,
        /// Its handler.
        handler: String,
    },
    /// A number that can't be a measurement.
    #[error("the profile of `{handler}` has {field} = {value}, which must be {wanted}: record it again")]
    Number {
        /// The handler.
        handler: String,
        /// Which number.
        field: String,
        /// What it is.
        value: f64,
        /// What it should be.
        wanted: &'static str,
    },
}

impl Profiles {
    /// The version this program writes and reads.
    pub const VERSION: u32 = 1;

    /// Profiles from nowhere in particular.
    pub fn new(handlers: BTreeMap<String, Profile>) -> Self {
        Self { version: Self::VERSION, source: None, handlers, widths: BTreeMap::new() }
    }

    /// Checks the version and every number.
    ///
    /// # Errors
    ///
    /// [`ProfileError`]; none of them can be retried.
    pub fn check(&self) -> Result<(), ProfileError> {
        if self.version != Self::VERSION {
            return Err(ProfileError::Version { found: self.version });
        }
        self.handlers.iter().try_for_each(|(name, profile)| profile.check(name))
    }
}

impl Profile {
    /// A profile with a mean and blocks, for a runtime with an interpreter lock.
    pub fn locked(mean_ms: f64, blocks: &[(f64, f64)]) -> Self {
        let runtime = Runtime { name: "python3".to_owned(), threads: Threads::Locked };
        Self { runtime, ..Self::native(mean_ms, blocks) }
    }

    /// A profile with a mean and blocks, for a runtime with truly parallel threads.
    pub fn native(mean_ms: f64, blocks: &[(f64, f64)]) -> Self {
        let blocks =
            blocks.iter().map(|&(start_ms, duration_ms)| Block { start_ms, duration_ms, call: None });
        Self {
            latency: Latency { mean_ms, quantiles: Vec::new() },
            blocks: blocks.collect(),
            forked_ms: None,
            unlocked: 0.0,
            memory_mb: 0.0,
            writes: Vec::new(),
            input_bytes: 0,
            output_bytes: 0,
            runtime: Runtime::default(),
        }
    }

    /// The time it needs a CPU, in milliseconds.
    pub fn cpu_ms(&self) -> f64 {
        self.latency.mean_ms - self.blocks.iter().map(|block| block.duration_ms).sum::<f64>()
    }

    /// Checks every number of the profile of `handler`.
    ///
    /// # Errors
    ///
    /// [`ProfileError::Number`], naming the first wrong one.
    pub fn check(&self, handler: &str) -> Result<(), ProfileError> {
        let number = |field: &str, value: f64, fine: bool, wanted| {
            let field = field.to_owned();
            let error = ProfileError::Number { handler: handler.to_owned(), field, value, wanted };
            if fine { Ok(()) } else { Err(error) }
        };
        let mean = self.latency.mean_ms;
        let time = |ms: f64| ms > 0.0 && ms <= MOST_MS;
        number("latency.mean_ms", mean, time(mean), TIME)?;
        number("memory_mb", self.memory_mb, positive(self.memory_mb), "zero or more")?;
        number("unlocked", self.unlocked, (0.0..=1.0).contains(&self.unlocked), "from 0 to 1")?;
        let forked = self.forked_ms.unwrap_or(mean);
        number("forked_ms", forked, time(forked), TIME)?;
        let mut last = (0.0, 0.0);
        for &(share, ms) in &self.latency.quantiles {
            let fine = positive(ms) && (0.0..=1.0).contains(&share) && share >= last.0 && ms >= last.1;
            number(&format!("latency.quantiles at {share}"), ms, fine, "ascending, from 0 to 1")?;
            last = (share, ms);
        }
        let mut end = 0.0;
        for (at, block) in self.blocks.iter().enumerate() {
            let fine = block.start_ms.is_finite() && block.start_ms >= end;
            number(&format!("blocks[{at}].start_ms"), block.start_ms, fine, "after the block before it")?;
            number(
                &format!("blocks[{at}].duration_ms"),
                block.duration_ms,
                positive(block.duration_ms),
                "zero or more",
            )?;
            end = block.start_ms + block.duration_ms;
            number(&format!("blocks[{at}].end"), end, end <= mean, "within the mean latency")?;
        }
        Ok(())
    }
}

/// No latency is above 10^11 ms, some three years: sums of many stay exact to a nanosecond's order, and can be read.
const MOST_MS: f64 = 1e11;

/// What a time must be.
const TIME: &str = "a positive number of milliseconds, at most 10^11";

fn positive(value: f64) -> bool {
    value.is_finite() && value >= 0.0
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde asks for a reference")]
fn is_zero(value: &f64) -> bool {
    *value == 0.0
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde asks for a reference")]
fn is_none(value: &u64) -> bool {
    *value == 0
}
