//! One simulated world: its time, its faults, what was done in it, and the processes that live there.

use std::collections::BTreeMap;
use std::io;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::Duration;

use fastrand::Rng;
use limitless_faas_core::{Code, ExecutionId, Failure};
use limitless_faas_store::BoxFuture;
use tokio::runtime::Handle;
use tokio::sync::{Notify, mpsc};
use tokio::time::{Instant, sleep, sleep_until};

use super::baton;
use super::platform::Call;
use crate::engine::handler::lock;
use crate::engine::world::{Waiting, Waits, World};
use crate::runtime::control::Control;
use crate::runtime::outgoing::Successor;

/// When simulations begin, µs since 1970.
const BEGINS_US: u64 = 1_000_000_000_000_000;

/// Which misfortunes may happen, each in so many of 10,000 cases where it could.
#[derive(Clone, Copy, Debug)]
pub(super) struct Faults {
    /// At a boundary the process dies.
    pub(super) kill: u32,
    /// At a boundary the process is frozen for a while, perhaps past its lease.
    pub(super) freeze: u32,
    /// An operation of the store fails without having done anything.
    pub(super) fail: u32,
    /// A write is done and reported as failed.
    pub(super) lose_answer: u32,
    /// A write is reported as failed, and lands later.
    pub(super) land_late: u32,
    /// What is delivered is delivered twice.
    pub(super) duplicate: u32,
    /// What was accepted never arrives.
    pub(super) lose_delivery: u32,
    /// The most that a process's clock is late, ms.
    pub(super) skew_ms: u64,
    /// The store lies, to show that this would be noticed.
    pub(super) lie: Option<Lie>,
}

/// What a store must not do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Lie {
    /// It lets several writers create one key.
    CreateTwice,
    /// It acknowledges an append and forgets it.
    ForgetAppend,
    /// It acknowledges a create and forgets it.
    ForgetCreate,
}

impl Faults {
    pub(super) const NONE: Self = Self {
        kill: 0,
        freeze: 0,
        fail: 0,
        lose_answer: 0,
        land_late: 0,
        duplicate: 0,
        lose_delivery: 0,
        skew_ms: 0,
        lie: None,
    };
    pub(super) const ALL: Self = Self {
        kill: 150,
        freeze: 60,
        fail: 300,
        lose_answer: 300,
        land_late: 100,
        duplicate: 1500,
        lose_delivery: 1000,
        skew_ms: 500,
        lie: None,
    };
}

/// A world.
#[derive(Debug)]
pub(super) struct Shared {
    begun: Instant,
    rng: Mutex<Rng>,
    pub(super) faults: Faults,
    are_faults_over: AtomicBool,
    /// The boundary at which the process that comes to it dies.
    kill_at: Option<u64>,
    boundaries: AtomicU64,
    trace: Mutex<Vec<String>>,
    pub(super) violations: Mutex<Vec<String>>,
    effects: AtomicU64,
    /// What each acknowledged step came to.
    acknowledged: Mutex<BTreeMap<String, u64>>,
    /// When each wait was first met.
    met: Mutex<BTreeMap<String, u64>>,
    /// Where the platform takes calls.
    calls: mpsc::UnboundedSender<Call>,
    /// What the receiver was sent.
    pub(super) delivered: Mutex<Vec<String>>,
    /// The threads of handlers.
    pub(super) threads: Arc<Mutex<Vec<JoinHandle<()>>>>,
}

impl Shared {
    pub(super) fn new(
        seed: u64,
        faults: Faults,
        kill_at: Option<u64>,
        calls: mpsc::UnboundedSender<Call>,
    ) -> Arc<Self> {
        Arc::new(Self {
            begun: Instant::now(),
            rng: Mutex::new(Rng::with_seed(seed)),
            faults,
            are_faults_over: AtomicBool::new(false),
            kill_at,
            boundaries: AtomicU64::new(0),
            trace: Mutex::default(),
            violations: Mutex::default(),
            effects: AtomicU64::new(0),
            acknowledged: Mutex::default(),
            met: Mutex::default(),
            calls,
            delivered: Mutex::default(),
            threads: Arc::default(),
        })
    }

    pub(super) fn now_us(&self) -> u64 {
        BEGINS_US + u64::try_from(self.begun.elapsed().as_micros()).unwrap()
    }

    pub(super) fn draw<T>(&self, draw: impl FnOnce(&mut Rng) -> T) -> T {
        draw(&mut lock(&self.rng))
    }

    /// Whether a misfortune happens that is so likely.
    pub(super) fn happens(&self, of_10_000: u32) -> bool {
        let is_drawn = self.draw(|rng| rng.u32(0..10_000)) < of_10_000;
        is_drawn && !self.are_faults_over.load(Ordering::Relaxed)
    }

    /// The platform takes a call; it may deliver it twice, or lose it.
    pub(super) fn call(&self, call: Call) {
        if self.happens(self.faults.lose_delivery) {
            return self.note(format!("the platform loses {call:?}"));
        }
        // Who vouches for a death sees to it that nobody else works on that delivery.
        let again = (call.died.is_none() && self.happens(self.faults.duplicate)).then(|| call.clone());
        for call in std::iter::once(call).chain(again) {
            // Nobody takes calls any more once the history is over.
            let _ = self.calls.send(call);
        }
    }

    pub(super) fn end_faults(&self) {
        self.are_faults_over.store(true, Ordering::Relaxed);
    }

    pub(super) fn note(&self, what: impl AsRef<str>) {
        let at_us = self.now_us() - BEGINS_US;
        lock(&self.trace).push(format!("{at_us:>9} {}", what.as_ref()));
    }

    pub(super) fn violated(&self, what: impl Into<String>) {
        let what = what.into();
        self.note(format!("VIOLATION {what}"));
        lock(&self.violations).push(what);
    }

    pub(super) fn trace(&self) -> Vec<String> {
        lock(&self.trace).clone()
    }

    pub(super) fn boundaries(&self) -> u64 {
        self.boundaries.load(Ordering::Relaxed)
    }

    /// A while, mostly a short one.
    pub(super) async fn delay(&self, longest_ms: u64) {
        let wait_us = self.draw(|rng| {
            let longest_us = if rng.u32(0..10) == 0 { longest_ms * 1000 } else { longest_ms * 50 };
            rng.u64(0..=longest_us)
        });
        sleep(Duration::from_micros(wait_us)).await;
    }
}

/// One function process.
#[derive(Debug)]
pub(super) struct Process {
    pub(super) shared: Arc<Shared>,
    pub(super) name: String,
    /// How late its clock is.
    late_us: u64,
    is_dead: AtomicBool,
    /// Until when it is frozen.
    frozen_until: Mutex<Option<Instant>>,
    pub(super) died: Notify,
}

impl Process {
    pub(super) fn new(shared: &Arc<Shared>, name: String) -> Arc<Self> {
        let late_us = shared.draw(|rng| rng.u64(0..=shared.faults.skew_ms * 1000));
        Arc::new(Self {
            shared: shared.clone(),
            name,
            late_us,
            is_dead: AtomicBool::new(false),
            frozen_until: Mutex::default(),
            died: Notify::new(),
        })
    }

    pub(super) fn now_us(&self) -> u64 {
        self.shared.now_us() - self.late_us
    }

    pub(super) fn is_dead(&self) -> bool {
        self.is_dead.load(Ordering::Relaxed)
    }

    pub(super) fn kill(&self, why: &str) {
        if !self.is_dead.swap(true, Ordering::Relaxed) {
            self.shared.note(format!("{} dies: {why}", self.name));
            self.died.notify_one();
        }
    }

    /// A boundary between the process and the world: here it may die, or be frozen. A process that is dead never comes past.
    pub(super) async fn pass(&self, what: &str) {
        let number = self.shared.boundaries.fetch_add(1, Ordering::Relaxed);
        self.shared.note(format!("{} {what}", self.name));
        let is_last = self.shared.kill_at == Some(number);
        if is_last || self.shared.happens(self.shared.faults.kill) {
            self.kill(what);
        }
        if self.shared.happens(self.shared.faults.freeze) {
            let frozen_ms = self.shared.draw(|rng| rng.u64(1..8_000));
            self.shared.note(format!("{} is frozen for {frozen_ms} ms", self.name));
            *lock(&self.frozen_until) = Some(Instant::now() + Duration::from_millis(frozen_ms));
        }
        self.shared.delay(20).await;
        loop {
            let until = *lock(&self.frozen_until);
            match until.filter(|until| *until > Instant::now()) {
                Some(until) => sleep_until(until).await,
                None => break,
            }
        }
        if self.is_dead() {
            std::future::pending::<()>().await;
        }
    }

    /// A message, which may be refused, and whose answer may be lost.
    async fn send(&self, what: &str, send: impl FnOnce(&Shared)) -> Result<(), Failure> {
        let refused = || Failure::new(Code::SuccessorRefused, "the platform did not answer");
        self.pass(&format!("sends {what}")).await;
        if self.shared.happens(self.shared.faults.fail) {
            return Err(refused());
        }
        send(&self.shared);
        self.pass(&format!("has sent {what}")).await;
        if self.shared.happens(self.shared.faults.lose_answer) { Err(refused()) } else { Ok(()) }
    }

    /// The effect of a step, which must not begin again once it was acknowledged. A process that is frozen at this very moment
    /// may do late what it had begun in time.
    pub(super) async fn effect(&self, key: &str) -> u64 {
        if !self.is_dead() && lock(&self.shared.acknowledged).contains_key(key) {
            self.shared.violated(format!("step {key} was acknowledged, and its effect begins again"));
        }
        self.pass(&format!("begins the effect of {key}")).await;
        let value = self.shared.effects.fetch_add(1, Ordering::Relaxed);
        self.pass(&format!("ends effect {value}, of {key}")).await;
        value
    }

    /// When a wait of this key was first met, by the world's clock.
    pub(super) fn first_met(&self, key: &str) -> u64 {
        let now_us = self.shared.now_us();
        *lock(&self.shared.met).entry(key.to_owned()).or_insert(now_us)
    }

    /// A wait that was first met at `met_us` is over.
    pub(super) fn woke(&self, key: &str, met_us: u64, after: Duration) {
        let slept_us = self.shared.now_us() - met_us + self.shared.faults.skew_ms * 1000;
        if !self.is_dead() && u128::from(slept_us) < after.as_micros() {
            self.shared.violated(format!("{key} ended after {slept_us} µs"));
        }
    }

    /// The handler was told that the step came to this.
    pub(super) fn acknowledged(&self, key: &str, value: u64) {
        if self.is_dead() {
            return;
        }
        self.shared.note(format!("{} goes on with {value} from {key}", self.name));
        let before = lock(&self.shared.acknowledged).insert(key.to_owned(), value);
        if before.is_some_and(|before| before != value) {
            self.shared.violated(format!("step {key} came to {before:?} and then to {value}"));
        }
    }
}

/// What a process knows of its world.
#[derive(Debug)]
pub(super) struct Simulated(pub(super) Arc<Process>);

impl World for Simulated {
    fn now_us(&self) -> u64 {
        self.0.now_us()
    }

    fn fill(&self, bytes: &mut [u8]) {
        self.0.shared.draw(|rng| rng.fill(bytes));
    }

    fn memory_bytes(&self) -> Option<u64> {
        // What the test's process holds has nothing to do with a history.
        None
    }

    fn spawn(&self, work: Box<dyn FnOnce() + Send>) {
        baton::spawn(self.0.clone(), work);
    }

    fn waits(&self) -> io::Result<Box<dyn Waits>> {
        Ok(Box::new(baton::Waits))
    }

    fn wait(&self, _: &Handle, waiting: Waiting<'_>) {
        baton::wait(waiting);
    }

    fn invoke(&self, _: Successor, control: Control, _: Duration) -> BoxFuture<'_, Result<(), Failure>> {
        let call = Call { is_resume: true, entry: control.entry, ..Call::default() };
        Box::pin(self.0.send("its successor", move |shared| shared.call(call)))
    }

    fn deliver(&self, _: String, _: ExecutionId, body: String) -> BoxFuture<'_, Result<(), Failure>> {
        Box::pin(self.0.send("the result", move |shared| lock(&shared.delivered).push(body)))
    }
}
