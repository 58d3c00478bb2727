//! Latency of processes and wraps: equations (3) and (4), and what they leave out.

use limitless_faas_core::calibration::{Calibration, ThreadModel};
use limitless_faas_core::plan::Start;
use limitless_faas_core::profile::Threads;

use super::timeline::Timeline;
use super::{lock, share};
use crate::workflow::Workflow;

/// The timelines of a workflow's handlers in every kind of process, and the constants.
#[derive(Clone, Debug)]
pub struct Model {
    /// The constants.
    pub constants: Calibration,
    handlers: Vec<Handler>,
}

#[derive(Clone, Debug)]
struct Handler {
    main: Timeline,
    keys: Timeline,
    fork: Timeline,
    threads: Threads,
    megabytes: f64,
}

/// Where a wrap stands in its stage.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Place {
    /// The wrap that drives the workflow, and how many others it calls in this stage.
    Entry {
        /// Remote wraps of the stage.
        calls: u32,
    },
    /// Called by the entry wrap, after this many others.
    Remote {
        /// Its turn, from 0.
        turn: u32,
    },
}

/// One process to be predicted: how it starts, and its handlers in the order in which their threads start.
pub type Run = (Start, Vec<usize>);

/// A thread's begin and end since the begin of its stage.
pub type Span = (f64, f64);

impl Model {
    /// The model of a workflow.
    pub fn new(workflow: &Workflow) -> Self {
        let usual: Vec<_> = (0..workflow.handlers.len()).map(|handler| (handler, 1.0)).collect();
        Self::scaled(workflow, &usual)
    }

    /// A model of other handlers than the workflow's own: each of them is one of the workflow's that takes a
    /// multiple of its usual time.
    pub fn scaled(workflow: &Workflow, handlers: &[(usize, f64)]) -> Self {
        let constants = workflow.calibration.clone();
        let handlers = handlers.iter().map(|&(handler, factor)| {
            let profile = workflow.profile(handler);
            let mut scaled = profile.clone();
            scaled.latency.mean_ms *= factor;
            scaled.forked_ms = scaled.forked_ms.map(|ms| ms * factor);
            for block in &mut scaled.blocks {
                block.start_ms *= factor;
                block.duration_ms *= factor;
            }
            Handler {
                main: Timeline::new(&scaled, Start::Main, &constants),
                keys: Timeline::new(&scaled, Start::Keys, &constants),
                fork: Timeline::new(&scaled, Start::Fork, &constants),
                threads: profile.runtime.threads,
                megabytes: megabytes(profile.input_bytes) + megabytes(profile.output_bytes),
            }
        });
        let handlers = handlers.collect();
        Self { constants, handlers }
    }

    /// The timeline of a handler in a process that starts so.
    pub fn timeline(&self, handler: usize, start: Start) -> &Timeline {
        let handler = &self.handlers[handler];
        match start {
            Start::Main | Start::Pool => &handler.main,
            Start::Keys => &handler.keys,
            Start::Fork => &handler.fork,
        }
    }

    /// Whether the handler's threads exclude each other.
    pub fn locked(&self, handler: usize) -> bool {
        self.handlers[handler].threads == Threads::Locked
    }

    /// What moves between wraps or processes for a handler, in megabytes.
    pub fn megabytes(&self, handler: usize) -> f64 {
        self.handlers[handler].megabytes
    }

    /// What one thread costs the lock or a CPU before and while it runs, at the least.
    pub fn work_ms(&self, handler: usize) -> f64 {
        let handler = &self.handlers[handler];
        handler.main.cpu_ms.min(handler.fork.cpu_ms)
    }

    /// The least latency of a handler, in whatever process.
    pub fn solo_ms(&self, handler: usize) -> f64 {
        let handler = &self.handlers[handler];
        handler.main.latency_ms.min(handler.fork.latency_ms)
    }

    /// What handlers of a process cost beyond computing: their payload, by pipe to a forked process, by network to
    /// a remote wrap.
    pub fn payload_ms(&self, start: Start, place: Place, handlers: &[usize]) -> f64 {
        let pipe = match start {
            Start::Fork | Start::Pool => self.constants.pipe_ms_per_mb,
            Start::Main | Start::Keys => 0.0,
        };
        let network = match place {
            Place::Remote { .. } => self.constants.remote_ms_per_mb,
            Place::Entry { .. } => 0.0,
        };
        if pipe + network == 0.0 {
            return 0.0;
        }
        handlers.iter().map(|&handler| self.megabytes(handler)).sum::<f64>() * (pipe + network)
    }

    /// How long one process with a CPU of its own computes, `T_exec` of equation (4). A single thread in the only
    /// process of its wrap (`alone`) runs in the main thread and is not started.
    pub fn exec_ms(&self, start: Start, handlers: &[usize], alone: bool) -> f64 {
        match handlers {
            [] => 0.0,
            [one] if alone || self.plain_start(start) => self.timeline(*one, start).latency_ms,
            _ if handlers.iter().all(|&handler| self.locked(handler)) => {
                let timelines: Vec<_> =
                    handlers.iter().map(|&handler| self.timeline(handler, start)).collect();
                let latency =
                    lock::latency(&timelines, &self.starting(start)) + self.base_ms(start, handlers);
                latency.max(0.0)
            }
            _ => last(&self.shared(&[(start, handlers.to_vec())], &[0.0], 1)),
        }
    }

    /// As [`Model::exec_ms`], on several CPUs where threads are parallel.
    pub fn exec_on(&self, start: Start, handlers: &[usize], alone: bool, cpus: u32) -> f64 {
        if handlers.iter().all(|&handler| self.locked(handler)) {
            return self.exec_ms(start, handlers, alone);
        }
        last(&self.shared(&[(start, handlers.to_vec())], &[0.0], cpus))
    }

    /// The fair predictor runs a single handler in the process's main thread.
    fn plain_start(&self, start: Start) -> bool {
        self.constants.threads == ThreadModel::Fair && start != Start::Keys
    }

    fn base_ms(&self, start: Start, handlers: &[usize]) -> f64 {
        match (self.constants.threads, start) {
            (ThreadModel::Algorithm1, _) => 0.0,
            _ if handlers.len() < 2 => 0.0,
            (ThreadModel::Fair, Start::Fork) => self.constants.fitted.fork.base_ms,
            (ThreadModel::Fair, _) => self.constants.fitted.main.base_ms,
        }
    }

    fn starting(&self, start: Start) -> Calibration {
        let mut constants = self.constants.clone();
        if start == Start::Keys {
            constants.thread_start_ms += constants.keys.start_ms;
        }
        constants
    }

    /// When the process at each place begins, the fixed part of equations (2) to (4).
    pub fn offsets(&self, starts: &[Start], place: Place) -> Vec<f64> {
        let constants = &self.constants;
        let count = |wanted| starts.iter().filter(|&&start| start == wanted).count();
        let (forks, pool) = (to_f64(count(Start::Fork)), to_f64(count(Start::Pool)));
        let mut main = constants.fork_block_ms * forks + constants.pool_dispatch_ms * pool;
        if let Place::Entry { calls } = place {
            main += constants.collect_ms * forks + constants.remote_charge_ms * f64::from(calls);
        }
        let base = self.place_ms(place);
        let (mut forked, mut pooled) = (0.0, 0.0);
        let mut offset = |start: &Start| match start {
            Start::Main | Start::Keys => base + main,
            Start::Fork => {
                forked += 1.0;
                base + constants.fork_block_ms * (forked - 1.0) + constants.fork_start_ms
            }
            Start::Pool => {
                pooled += 1.0;
                base + constants.pool_dispatch_ms * (pooled - 1.0) + constants.pool_start_ms
            }
        };
        starts.iter().map(&mut offset).collect()
    }

    /// What the entry wrap takes to collect its forks' results where no thread of its main process does (that one
    /// waits for them first, which [`Model::offsets`] counts): equation (3), with a main process that runs nothing.
    pub fn collection_ms(&self, runs: &[Run], place: Place) -> f64 {
        let main = runs.iter().any(|run| matches!(run.0, Start::Main | Start::Keys));
        if main || matches!(place, Place::Remote { .. }) {
            return 0.0;
        }
        let forks = runs.iter().filter(|run| run.0 == Start::Fork).count();
        self.constants.collect_ms * to_f64(forks)
    }

    /// When a wrap begins.
    pub fn place_ms(&self, place: Place) -> f64 {
        match place {
            Place::Entry { .. } => 0.0,
            Place::Remote { turn } => self.constants.remote_ms + self.constants.invoke_ms * f64::from(turn),
        }
    }

    /// When each thread of a wrap ends, since its stage began: equation (3) where every process of a locked runtime
    /// has a CPU of its own, a simulation of the whole wrap otherwise.
    pub fn wrap_spans(&self, runs: &[Run], place: Place, cpus: u32) -> Vec<Vec<Span>> {
        let starts: Vec<Start> = runs.iter().map(|run| run.0).collect();
        let mut offsets = self.offsets(&starts, place);
        for ((start, handlers), offset) in runs.iter().zip(&mut offsets) {
            *offset += self.payload_ms(*start, place, handlers);
        }
        let busy = runs.iter().filter(|run| !run.1.is_empty()).count();
        let locked = runs.iter().all(|run| run.1.iter().all(|&handler| self.locked(handler)));
        if locked && cpus as usize >= busy {
            let alone = runs.len() == 1;
            return runs
                .iter()
                .zip(&offsets)
                .map(|(run, &offset)| self.own_spans(run, offset, alone))
                .collect();
        }
        self.shared(runs, &offsets, cpus)
    }

    /// The latency of a wrap since its stage began.
    pub fn wrap_ms(&self, runs: &[Run], place: Place, cpus: u32) -> f64 {
        let starts: Vec<Start> = runs.iter().map(|run| run.0).collect();
        let busy = runs.iter().filter(|run| !run.1.is_empty()).count();
        let locked = runs.iter().all(|run| run.1.iter().all(|&handler| self.locked(handler)));
        let collection = self.collection_ms(runs, place);
        if !locked || (cpus as usize) < busy {
            return last(&self.wrap_spans(runs, place, cpus)) + collection;
        }
        let offsets = self.offsets(&starts, place);
        let process = |((start, handlers), offset): (&Run, f64)| {
            if handlers.is_empty() {
                0.0
            } else {
                self.process_ms(*start, handlers, place, offset, runs.len() == 1)
            }
        };
        runs.iter().zip(offsets).map(process).fold(0.0, f64::max) + collection
    }

    /// Equation (4), from the beginning of the stage.
    pub fn process_ms(
        &self,
        start: Start,
        handlers: &[usize],
        place: Place,
        offset: f64,
        alone: bool,
    ) -> f64 {
        offset + self.payload_ms(start, place, handlers) + self.exec_ms(start, handlers, alone)
    }

    fn own_spans(&self, (start, handlers): &Run, offset: f64, alone: bool) -> Vec<Span> {
        let exec = self.exec_ms(*start, handlers, alone);
        if let [_] = handlers[..] {
            return vec![(offset, offset + exec)];
        }
        let timelines: Vec<_> = handlers.iter().map(|&handler| self.timeline(handler, *start)).collect();
        let spans = lock::spans(&timelines, &self.starting(*start));
        // The fitted base belongs to no thread: the picture stretches all alike.
        let stretch = exec / spans.iter().map(|span| span.1).fold(f64::MIN_POSITIVE, f64::max);
        spans.into_iter().map(|(begin, end)| (offset + begin * stretch, offset + end * stretch)).collect()
    }

    /// All processes of a wrap on its CPUs.
    fn shared(&self, runs: &[Run], offsets: &[f64], cpus: u32) -> Vec<Vec<Span>> {
        let mut threads = Vec::new();
        for (process, ((start, handlers), &offset)) in runs.iter().zip(offsets).enumerate() {
            let each = self.starting(*start).thread_start_ms;
            for (at, &handler) in handlers.iter().enumerate() {
                let alone = handlers.len() == 1 && (runs.len() == 1 || *start == Start::Pool);
                let started = if alone { 0.0 } else { each * to_f64(at + 1) };
                threads.push(share::Thread {
                    timeline: self.timeline(handler, *start),
                    start_ms: offset + started,
                    lock: self.locked(handler).then_some(process),
                });
            }
        }
        let ends = share::ends(&threads, cpus, self.constants.slice_ms);
        let mut spans = threads.iter().zip(ends).map(|(thread, end)| (thread.start_ms, end));
        runs.iter().map(|(_, handlers)| spans.by_ref().take(handlers.len()).collect()).collect()
    }
}

/// The end of the last span.
pub fn last(spans: &[Vec<Span>]) -> f64 {
    spans.iter().flatten().map(|span| span.1).fold(0.0, f64::max)
}

pub(crate) fn to_f64(count: usize) -> f64 {
    f64::from(u32::try_from(count).unwrap_or(u32::MAX))
}

/// Exact up to four gigabytes, and no less than that beyond.
fn megabytes(bytes: u64) -> f64 {
    f64::from(u32::try_from(bytes).unwrap_or(u32::MAX)) / 1e6
}
