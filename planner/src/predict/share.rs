//! Threads that share CPUs fairly: truly parallel runtimes, pools, and processes on fewer CPUs than there are of
//! them.
//!
//! Every thread that wants a CPU gets an equal share of them, at most one whole CPU: with `r` threads on `c` CPUs
//! each runs at `min(1, c / r)`. Between two events (a start, a wait, its end, the end of a thread or of a slice)
//! all rates are constant, so the simulation jumps from event to event. Threads of one locked group run one at a
//! time: who holds the lock keeps it until it waits, ends, or has had it for a slice while others want it; then it
//! goes to the one with the least CPU time.

use super::timeline::Timeline;

/// A thread to be simulated.
#[derive(Clone, Copy, Debug)]
pub struct Thread<'a> {
    /// What it does.
    pub timeline: &'a Timeline,
    /// When it starts.
    pub start_ms: f64,
    /// The lock it needs to compute; threads without one run in parallel.
    pub lock: Option<usize>,
}

#[derive(Clone, Copy, PartialEq)]
enum State {
    Asleep { until: f64 },
    Ready,
    Ended,
}

struct Live<'a> {
    thread: Thread<'a>,
    state: State,
    /// Its own time: CPU and waits.
    time: f64,
    cpu: f64,
    next_block: usize,
    ended: f64,
}

struct Simulation<'a> {
    live: Vec<Live<'a>>,
    cpus: f64,
    slice: f64,
    now: f64,
    /// Who computes.
    running: Vec<usize>,
    /// Who holds each lock, and for how much CPU time yet.
    holders: Vec<Option<(usize, f64)>>,
}

/// When each thread ends.
pub fn ends(threads: &[Thread<'_>], cpus: u32, slice_ms: f64) -> Vec<f64> {
    let locks = threads.iter().filter_map(|thread| thread.lock).max().map_or(0, |last| last + 1);
    let live = threads.iter().map(|&thread| Live {
        thread,
        state: State::Asleep { until: thread.start_ms },
        time: 0.0,
        cpu: 0.0,
        next_block: 0,
        ended: 0.0,
    });
    let mut simulation = Simulation {
        live: live.collect(),
        cpus: f64::from(cpus),
        slice: slice_ms,
        now: 0.0,
        running: Vec::with_capacity(threads.len()),
        holders: vec![None; locks],
    };
    while simulation.step() {}
    simulation.live.iter().map(|live| live.ended).collect()
}

impl Live<'_> {
    /// CPU time until it waits or ends.
    fn left(&self) -> f64 {
        let timeline = self.thread.timeline;
        timeline.blocks.get(self.next_block).map_or(timeline.latency_ms, |block| block.0) - self.time
    }

    /// It has computed as long as it could: now it waits, or ends.
    fn stop(&mut self, now: f64) {
        if let Some(&(start, end)) = self.thread.timeline.blocks.get(self.next_block) {
            self.state = State::Asleep { until: now + (end - start) };
            self.time = end;
            self.next_block += 1;
        } else {
            self.state = State::Ended;
            self.ended = now;
        }
    }
}

impl Simulation<'_> {
    /// Goes on to the next event; `false` when everybody has ended.
    fn step(&mut self) -> bool {
        self.choose();
        let rate = (self.cpus / to_f64(self.running.len().max(1))).min(1.0);
        let mut ms = f64::INFINITY;
        for &at in &self.running {
            ms = ms.min(self.turn(at) / rate);
        }
        for live in &self.live {
            if let State::Asleep { until } = live.state {
                ms = ms.min(until - self.now);
            }
        }
        if !ms.is_finite() {
            return false;
        }
        self.advance(ms.max(0.0), rate);
        true
    }

    /// CPU time until this one stops: by itself, or because its slice is over.
    fn turn(&self, at: usize) -> f64 {
        let left = self.live[at].left();
        let held = self.live[at].thread.lock.and_then(|lock| self.holders[lock]);
        held.map_or(left, |(_, slice)| left.min(slice))
    }

    /// Wakes those whose wait is over and gives free locks to the waiting thread with the least CPU time.
    fn choose(&mut self) {
        self.running.clear();
        let mut first: Vec<Option<usize>> = vec![None; self.holders.len()];
        for at in 0..self.live.len() {
            let live = &mut self.live[at];
            if matches!(live.state, State::Asleep { until } if until <= self.now) {
                live.state = State::Ready;
            }
            if live.state != State::Ready {
                continue;
            }
            match live.thread.lock {
                None => self.running.push(at),
                Some(lock) => {
                    let cpu = live.cpu;
                    if first[lock].is_none_or(|other| cpu < self.live[other].cpu) {
                        first[lock] = Some(at);
                    }
                }
            }
        }
        for (holder, first) in self.holders.iter_mut().zip(first) {
            if holder.is_none() {
                *holder = first.map(|at| (at, self.slice));
            }
            self.running.extend(holder.map(|(at, _)| at));
        }
    }

    fn advance(&mut self, ms: f64, rate: f64) {
        self.now += ms;
        let ran = ms * rate;
        for index in 0..self.running.len() {
            let at = self.running[index];
            let stops = self.live[at].left() <= ran + TINY;
            let live = &mut self.live[at];
            live.time += ran;
            live.cpu += ran;
            if stops {
                live.stop(self.now);
            }
            let Some(lock) = live.thread.lock else { continue };
            let left = self.holders[lock].map_or(0.0, |(_, slice)| slice - ran);
            self.holders[lock] = (!stops && left > TINY).then_some((at, left));
        }
    }
}

/// Below this, time is the rounding of sums, and an event is now.
const TINY: f64 = 1e-9;

fn to_f64(count: usize) -> f64 {
    f64::from(u32::try_from(count).unwrap_or(u32::MAX))
}
