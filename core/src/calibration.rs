//! The constants of a platform and machine that predictions are made from.

use serde::{Deserialize, Serialize};
use thiserror::Error;

/// What starting, calling and switching cost on a target. Measured by `cargo faas calibrate`, never typed in.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Calibration {
    /// Version of this format, [`Calibration::VERSION`].
    pub version: u32,
    /// What was measured: machine, platform, date.
    pub source: String,
    /// Which predictor is used for threads under an interpreter lock.
    pub threads: ThreadModel,
    /// How long a thread keeps the interpreter lock while others want it.
    pub slice_ms: f64,
    /// What the main thread pays to start one thread.
    pub thread_start_ms: f64,
    /// What a thread pays before the handler's own code runs.
    pub thread_load_ms: f64,
    /// What a turn of the lock, or a context switch, costs.
    pub switch_ms: f64,
    /// How long `fork` blocks the process that forks (`T_Block`).
    pub fork_block_ms: f64,
    /// From the fork to the child's first instruction of a handler (`T_Startup`).
    pub fork_start_ms: f64,
    /// What the entry wrap pays to collect the result of one of its processes (`T_IPC`).
    pub collect_ms: f64,
    /// A request and its answer between two wraps (`T_RPC`).
    pub remote_ms: f64,
    /// Between two invocations of remote wraps (`T_INV`).
    pub invoke_ms: f64,
    /// What one remote call costs the main process of the entry wrap.
    pub remote_charge_ms: f64,
    /// Per megabyte of input and result between wraps.
    pub remote_ms_per_mb: f64,
    /// Per megabyte of input and result between processes of one wrap.
    pub pipe_ms_per_mb: f64,
    /// What the main process pays to give work to one process of a pool.
    pub pool_dispatch_ms: f64,
    /// What a pool's process pays before the handler's own code runs.
    pub pool_start_ms: f64,
    /// Memory protection keys.
    pub keys: Keys,
    /// Added once where a wrap's sandbox is not warm.
    pub cold_start_ms: f64,
    /// Memory, beside what the handlers need.
    pub memory: Memory,
    /// Corrections of the fair predictor, fitted to measured groups of threads.
    #[serde(default)]
    pub fitted: Fitted,
}

/// Which predictor is used for threads under an interpreter lock.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum ThreadModel {
    /// Algorithm 1 of the Chiron paper, as its authors' code computes it.
    Algorithm1,
    /// The lock handed on in slices, fitted constants, code that runs without the lock.
    Fair,
}

/// Threads whose memory is kept apart by protection keys.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Keys {
    /// Added to each start of a thread.
    pub start_ms: f64,
    /// Factor on CPU time.
    pub cpu_factor: f64,
    /// Factor on blocked time.
    pub block_factor: f64,
}

/// Megabytes of what is there before any handler runs.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Memory {
    /// A sandbox with its runtime.
    pub sandbox_mb: f64,
    /// A forked process.
    pub process_mb: f64,
    /// A process of a pool.
    pub pool_process_mb: f64,
    /// A thread.
    pub thread_mb: f64,
}

/// What the fair predictor knows beyond a solo run, fitted to measured groups of threads.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Fitted {
    /// In a wrap's main process, which is warm.
    pub main: Role,
    /// In a process that was just forked, which is not.
    pub fork: Role,
}

/// What running in one kind of process does to handlers.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Role {
    /// What a thread pays before the handler's own code runs.
    pub load_ms: f64,
    /// Factor on CPU time.
    pub factor: f64,
    /// Added once to a process of two or more threads; may be negative.
    pub base_ms: f64,
}

impl Default for Fitted {
    fn default() -> Self {
        let role = Role { load_ms: 0.2, factor: 1.0, base_ms: 0.0 };
        Self { main: role, fork: role }
    }
}

/// A constant that can't be one.
#[derive(Clone, Debug, PartialEq, Error)]
pub enum CalibrationError {
    /// Written by another version of this software.
    #[error(
        "the calibration has version {found}, and this program reads version {}: measure again with `cargo faas calibrate`",
        Calibration::VERSION
    )]
    Version {
        /// What the file says.
        found: u32,
    },
    /// Negative, infinite or not a number.
    #[error(
        "the calibration has {field} = {value}, which must be zero or more: measure again with `cargo faas calibrate`"
    )]
    Number {
        /// Which constant.
        field: &'static str,
        /// What it is.
        value: f64,
    },
}

impl Calibration {
    /// The version this program writes and reads.
    pub const VERSION: u32 = 1;

    /// The constants in the published code of the Chiron paper (SC '23), for an `OpenFaaS` cluster and Python 3.11.
    pub fn chiron() -> Self {
        Self {
            version: Self::VERSION,
            source: "constants of Chiron's published artifact (SC '23), with Python 3.11".to_owned(),
            threads: ThreadModel::Algorithm1,
            slice_ms: 5.0,
            thread_start_ms: 0.6,
            thread_load_ms: 0.2,
            switch_ms: 0.005,
            fork_block_ms: 4.0,
            fork_start_ms: 13.0,
            collect_ms: 8.0,
            remote_ms: 20.0,
            invoke_ms: 4.0,
            remote_charge_ms: 0.0,
            remote_ms_per_mb: 0.0,
            pipe_ms_per_mb: 0.0,
            pool_dispatch_ms: 0.06,
            pool_start_ms: 0.0,
            keys: Keys { start_ms: 0.2, cpu_factor: 1.352, block_factor: 1.073 },
            cold_start_ms: 167.0,
            memory: Memory { sandbox_mb: 40.0, process_mb: 6.0, pool_process_mb: 30.0, thread_mb: 1.0 },
            fitted: Fitted::default(),
        }
    }

    /// Checks the version and every number.
    ///
    /// # Errors
    ///
    /// [`CalibrationError`]; none can be retried.
    pub fn check(&self) -> Result<(), CalibrationError> {
        if self.version != Self::VERSION {
            return Err(CalibrationError::Version { found: self.version });
        }
        let wrong = self.numbers().into_iter().find(|(_, value)| !value.is_finite() || *value < 0.0);
        let wrong = wrong.or((self.slice_ms == 0.0).then_some(("slice_ms", 0.0)));
        wrong.map_or(Ok(()), |(field, value)| Err(CalibrationError::Number { field, value }))
    }

    fn numbers(&self) -> [(&'static str, f64); 28] {
        [
            ("slice_ms", self.slice_ms),
            ("thread_start_ms", self.thread_start_ms),
            ("thread_load_ms", self.thread_load_ms),
            ("switch_ms", self.switch_ms),
            ("fork_block_ms", self.fork_block_ms),
            ("fork_start_ms", self.fork_start_ms),
            ("collect_ms", self.collect_ms),
            ("remote_ms", self.remote_ms),
            ("invoke_ms", self.invoke_ms),
            ("remote_charge_ms", self.remote_charge_ms),
            ("remote_ms_per_mb", self.remote_ms_per_mb),
            ("pipe_ms_per_mb", self.pipe_ms_per_mb),
            ("pool_dispatch_ms", self.pool_dispatch_ms),
            ("pool_start_ms", self.pool_start_ms),
            ("keys.start_ms", self.keys.start_ms),
            ("keys.cpu_factor", self.keys.cpu_factor),
            ("keys.block_factor", self.keys.block_factor),
            ("cold_start_ms", self.cold_start_ms),
            ("memory.sandbox_mb", self.memory.sandbox_mb),
            ("memory.process_mb", self.memory.process_mb),
            ("memory.pool_process_mb", self.memory.pool_process_mb),
            ("memory.thread_mb", self.memory.thread_mb),
            ("fitted.main.load_ms", self.fitted.main.load_ms),
            ("fitted.main.factor", self.fitted.main.factor),
            ("fitted.main.base_ms", self.fitted.main.base_ms.abs()),
            ("fitted.fork.load_ms", self.fitted.fork.load_ms),
            ("fitted.fork.factor", self.fitted.fork.factor),
            ("fitted.fork.base_ms", self.fitted.fork.base_ms.abs()),
        ]
    }
}
