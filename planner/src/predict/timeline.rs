//! When a handler computes and when it waits, in the kind of process it runs in.

use limitless_faas_core::calibration::{Calibration, Role, ThreadModel};
use limitless_faas_core::plan::Start;
use limitless_faas_core::profile::{Profile, Threads};

/// A handler's own time from its start to its end, prepared for prediction.
#[derive(Clone, Debug, PartialEq)]
pub struct Timeline {
    /// From its start to its end, the load included.
    pub latency_ms: f64,
    /// Start and end of each wait, ascending.
    pub blocks: Vec<(f64, f64)>,
    /// The time it needs a CPU and, where there is one, the interpreter lock.
    pub cpu_ms: f64,
}

impl Timeline {
    /// The timeline of a profile as Algorithm 1 takes it: the solo run, after the load.
    pub fn plain(profile: &Profile, load_ms: f64) -> Self {
        let role = Role { load_ms, factor: 1.0, base_ms: 0.0 };
        Self::shaped(profile, role, 1.0, 1.0, 0.0)
    }

    /// The timeline of a profile in a process that starts so.
    pub fn new(profile: &Profile, start: Start, constants: &Calibration) -> Self {
        let forked = matches!(start, Start::Fork);
        let fair = constants.threads == ThreadModel::Fair && profile.runtime.threads == Threads::Locked;
        let plain = Role { load_ms: constants.thread_load_ms, factor: 1.0, base_ms: 0.0 };
        let role = match (fair, forked) {
            (true, true) => constants.fitted.fork,
            (true, false) => constants.fitted.main,
            (false, _) => plain,
        };
        let solo = if forked { profile.forked_ms } else { None };
        let stretch = solo.unwrap_or(profile.latency.mean_ms) / profile.latency.mean_ms;
        let unlocked = if fair { profile.unlocked } else { 0.0 };
        let keys = matches!(start, Start::Keys);
        let (cpu, block) =
            if keys { (constants.keys.cpu_factor, constants.keys.block_factor) } else { (1.0, 1.0) };
        let cpu = Role { factor: role.factor * cpu, ..role };
        Self::shaped(profile, cpu, stretch, stretch * block, unlocked)
    }

    fn shaped(profile: &Profile, role: Role, cpu: f64, block: f64, unlocked: f64) -> Self {
        let mut shape =
            Shape { at: role.load_ms, blocks: Vec::with_capacity(profile.blocks.len()), unlocked };
        let mut solo = 0.0;
        for wait in &profile.blocks {
            shape.compute((wait.start_ms - solo) * cpu * role.factor);
            shape.wait(wait.duration_ms * block);
            solo = wait.start_ms + wait.duration_ms;
        }
        shape.compute((profile.latency.mean_ms - solo) * cpu * role.factor);
        let waits: f64 = shape.blocks.iter().map(|(start, end)| end - start).sum();
        Self { latency_ms: shape.at, cpu_ms: shape.at - waits, blocks: shape.blocks }
    }
}

struct Shape {
    at: f64,
    blocks: Vec<(f64, f64)>,
    unlocked: f64,
}

/// Computing that partly runs without the lock alternates in pieces of at most this many milliseconds.
const PIECE_MS: f64 = 5.0;

impl Shape {
    fn compute(&mut self, ms: f64) {
        if self.unlocked == 0.0 {
            self.at += ms;
            return;
        }
        let pieces = (ms / PIECE_MS).ceil().clamp(0.0, 10_000.0);
        let mut left = pieces;
        while left > 0.0 {
            self.at += ms / pieces * (1.0 - self.unlocked);
            self.wait(ms / pieces * self.unlocked);
            left -= 1.0;
        }
    }

    fn wait(&mut self, ms: f64) {
        self.blocks.push((self.at, self.at + ms));
        self.at += ms;
    }
}
