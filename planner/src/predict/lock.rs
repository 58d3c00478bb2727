//! Algorithm 1 of the Chiron paper: threads that share one interpreter lock.
//!
//! Computed as the authors' published code does, to the last digit they print, where code and paper differ:
//! the main thread starts at most as many threads as fit its slice before it yields; a thread that was stopped by
//! the end of its slice is not chosen again at once; when nobody is ready, time jumps to the first thread whose
//! wait ends; and every turn of the loop costs the same small switch, added at the end.
//!
//! Their code walks all threads at every turn. Here the waiting threads and the ready ones stand in two heaps,
//! and a thread's wait is the instant at which it ends, so that a turn costs the logarithm of the threads.

use std::cmp::Reverse;
use std::collections::BinaryHeap;

use limitless_faas_core::calibration::Calibration;

use super::timeline::Timeline;

/// Ascending by CPU time, then by the order of their start: who gets the lock next.
type Ready = BinaryHeap<Reverse<Entry>>;

/// Ascending by the end of the wait, then by its beginning.
type Waiting = BinaryHeap<Reverse<Entry>>;

/// A thread in a heap. Time, tie and thread in one number, so that a comparison has no branch: a time that is never
/// negative and never NaN has bits that order as it does.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct Entry(u128);

impl Entry {
    fn new(ms: f64, tie: u32, thread: u32) -> Self {
        Self(u128::from((ms + 0.0).to_bits()) << 64 | u128::from(tie) << 32 | u128::from(thread))
    }

    fn ms(self) -> f64 {
        f64::from_bits((self.0 >> 64) as u64)
    }

    #[expect(clippy::cast_possible_truncation, reason = "what is cut off is the time and the tie")]
    fn thread(self) -> u32 {
        self.0 as u32
    }
}

struct Thread<'a> {
    timeline: &'a Timeline,
    /// Its own time: CPU and waits.
    time: f64,
    cpu: f64,
    next_block: usize,
    began: f64,
    ended: f64,
}

/// Why a thread gave the lock back.
enum Stop {
    Slice,
    Block { until: f64 },
    End,
}

const MAIN: u32 = 0;

struct Simulation<'a> {
    slice: f64,
    start: f64,
    threads: Vec<Thread<'a>>,
    started: usize,
    /// What is left of the start that the main thread's slice cut in two.
    start_left: f64,
    main_cpu: f64,
    alive: usize,
    now: f64,
    turns: u32,
    waits: u32,
    ready: Ready,
    waiting: Waiting,
}

/// The latency of one process that runs these timelines as threads, in milliseconds.
///
/// The order is the order in which the threads start. Nothing to run takes no time.
pub fn latency(timelines: &[&Timeline], constants: &Calibration) -> f64 {
    if timelines.is_empty() {
        return 0.0;
    }
    let mut simulation = Simulation::new(timelines, constants);
    simulation.run();
    simulation.now + f64::from(simulation.turns) * constants.switch_ms
}

/// When each thread begins and ends, for a picture. The switches, which the algorithm adds at the end, are spread
/// evenly, so that the last end is [`latency`].
pub fn spans(timelines: &[&Timeline], constants: &Calibration) -> Vec<(f64, f64)> {
    if timelines.is_empty() {
        return Vec::new();
    }
    let mut simulation = Simulation::new(timelines, constants);
    simulation.run();
    let stretch =
        1.0 + f64::from(simulation.turns) * constants.switch_ms / simulation.now.max(f64::MIN_POSITIVE);
    simulation.threads.iter().map(|thread| (thread.began * stretch, thread.ended * stretch)).collect()
}

impl<'a> Simulation<'a> {
    fn new(timelines: &[&'a Timeline], constants: &Calibration) -> Self {
        let threads = timelines.iter().map(|timeline| Thread {
            timeline,
            time: 0.0,
            cpu: 0.0,
            next_block: 0,
            began: 0.0,
            ended: 0.0,
        });
        Self {
            slice: constants.slice_ms,
            start: constants.thread_start_ms,
            threads: threads.collect(),
            started: 0,
            start_left: constants.thread_start_ms,
            main_cpu: 0.0,
            alive: timelines.len(),
            now: 0.0,
            turns: 0,
            waits: 0,
            ready: BinaryHeap::with_capacity(timelines.len() + 1),
            waiting: BinaryHeap::with_capacity(timelines.len() + 1),
        }
    }

    fn run(&mut self) {
        let mut holder = MAIN;
        loop {
            self.turns += 1;
            let next = if holder == MAIN { self.start_threads() } else { self.run_thread(holder) };
            let Some(next) = next else { return };
            holder = next;
        }
    }

    /// The main thread's turn. The first thread is started whatever the slice.
    fn start_threads(&mut self) -> Option<u32> {
        let mut spent = 0.0;
        while self.started < self.threads.len() && spent < self.slice {
            let cut = spent + self.start_left > self.slice;
            if cut && (self.turns > 1 || spent > 0.0) {
                self.start_left -= self.slice - spent;
                spent = self.slice;
                continue;
            }
            self.threads[self.started].began = self.now + spent;
            spent += self.start_left;
            self.start_left = self.start;
            self.started += 1;
            self.ready.push(Reverse(Entry::new(0.0, 0, to_u32(self.started))));
        }
        self.now += spent;
        self.main_cpu += spent;
        self.wake();
        let next = self.ready.pop().map(|Reverse(entry)| entry.thread());
        if self.started < self.threads.len() {
            self.ready.push(Reverse(Entry::new(self.main_cpu, 0, MAIN)));
        }
        next
    }

    /// One thread's turn; who comes next, or nobody when all have ended.
    fn run_thread(&mut self, holder: u32) -> Option<u32> {
        let all_started = self.started == self.threads.len();
        let slice = self.slice + if self.ready.is_empty() { self.first_wait() } else { 0.0 };
        let thread = &mut self.threads[holder as usize - 1];
        if self.alive == 1 && all_started {
            self.now += thread.timeline.latency_ms - thread.time;
            thread.ended = self.now;
            return None;
        }
        let (ran, stop) = thread.turn(slice, self.now);
        self.now += ran;
        if matches!(stop, Stop::End) {
            self.alive -= 1;
            thread.ended = self.now;
        }
        let again = Entry::new(thread.cpu, 0, holder);
        self.wake();
        match stop {
            Stop::Slice => Some(self.hand_on_from(again)),
            Stop::Block { until } => {
                self.waiting.push(Reverse(Entry::new(until, self.waits, holder)));
                self.waits += 1;
                self.hand_on()
            }
            Stop::End => self.hand_on(),
        }
    }

    fn hand_on(&mut self) -> Option<u32> {
        if let Some(Reverse(entry)) = self.ready.pop() {
            return Some(entry.thread());
        }
        let Reverse(entry) = self.waiting.pop()?;
        self.now = entry.ms();
        self.threads[entry.thread() as usize - 1].resume();
        Some(entry.thread())
    }

    /// The holder stays ready but lets somebody else go first, if there is anybody.
    fn hand_on_from(&mut self, holder: Entry) -> u32 {
        let Some(mut first) = self.ready.peek_mut() else { return holder.thread() };
        let next = first.0.thread();
        *first = Reverse(holder);
        next
    }

    fn first_wait(&self) -> f64 {
        self.waiting.peek().map_or(0.0, |Reverse(entry)| entry.ms() - self.now)
    }

    fn wake(&mut self) {
        while let Some(Reverse(entry)) = self.waiting.peek().copied() {
            if entry.ms() > self.now {
                return;
            }
            self.waiting.pop();
            let cpu = self.threads[entry.thread() as usize - 1].resume();
            self.ready.push(Reverse(Entry::new(cpu, 0, entry.thread())));
        }
    }
}

impl Thread<'_> {
    /// Runs until its slice ends, it waits, or it ends.
    fn turn(&mut self, slice: f64, now: f64) -> (f64, Stop) {
        let block = self.timeline.blocks.get(self.next_block);
        let until = block.map_or(self.timeline.latency_ms, |block| block.0);
        let (ran, stop) = if self.time + slice < until {
            (slice, Stop::Slice)
        } else {
            let ran = until - self.time;
            let wait = block.map(|(start, end)| Stop::Block { until: now + ran + (end - start) });
            (ran, wait.unwrap_or(Stop::End))
        };
        self.time += ran;
        self.cpu += ran;
        (ran, stop)
    }

    /// Its wait is over: its own time stands at the end of it.
    fn resume(&mut self) -> f64 {
        if let Some((_, end)) = self.timeline.blocks.get(self.next_block) {
            self.time = *end;
            self.next_block += 1;
        }
        self.cpu
    }
}

fn to_u32(count: usize) -> u32 {
    u32::try_from(count).unwrap_or(u32::MAX)
}
