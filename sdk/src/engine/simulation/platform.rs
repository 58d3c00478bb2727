//! The platform, a client that asks until there is an end, and what must hold when there is one.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use limitless_faas_core::log::{Kind, Phase, Stored, fold};
use limitless_faas_core::{Code, ExecutionId, Nonce};
use limitless_faas_store::{Log, MemoryStore};
use tokio::sync::mpsc;
use tokio::task::{LocalSet, spawn_local};
use tokio::time::{sleep, timeout};

use super::handlers::{EVENT, expected};
use super::store::Seen;
use super::world::{Faults, Process, Shared, Simulated};
use crate::config::Config;
use crate::engine::handler::lock;
use crate::engine::{Asked, Engine, Incoming, Reply, Vars};
use crate::handler::HandlerDef;
use crate::runtime::outgoing::Successor;

/// One call as the platform delivers it.
#[derive(Clone, Debug, Default)]
pub(super) struct Call {
    /// It goes on with the execution, and is not the first call.
    pub(super) is_resume: bool,
    /// The entry to go on from, where it names one.
    pub(super) entry: Option<u64>,
    /// The activation of a delivery that died, for which the platform vouches.
    pub(super) died: Option<String>,
}

/// One history.
#[derive(Clone, Copy, Debug)]
pub(super) struct Case {
    pub(super) handlers: &'static [&'static HandlerDef],
    pub(super) seed: u64,
    pub(super) faults: Faults,
    pub(super) kill_at: Option<u64>,
}

/// What a history came to.
#[derive(Debug)]
pub(super) struct Report {
    pub(super) trace: Vec<String>,
    pub(super) violations: Vec<String>,
    pub(super) boundaries: u64,
    pub(super) invocations: u64,
}

const N: u64 = 16;
const LIMIT_MS: u64 = 600;
/// Misfortune ends after so long; from then on the execution has to come to its end.
const FAULTS_END: Duration = Duration::from_secs(60);
/// So often the client asks after that, some seconds apart.
const PATIENCE: u32 = 100;

impl Case {
    /// Lives through the history.
    pub(super) fn run(self) -> Report {
        let runtime =
            tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build().unwrap();
        let (mut report, world, threads) = LocalSet::new().block_on(&runtime, async {
            let (calls, taken) = mpsc::unbounded_channel();
            let shared = Shared::new(self.seed, self.faults, self.kill_at, calls);
            let (world, threads) = (Arc::downgrade(&shared), shared.threads.clone());
            let history = Arc::new(History::new(self, shared));
            let platform = spawn_local(history.clone().platform(taken));
            history.see_through().await;
            platform.abort();
            (history.report().await, world, threads)
        });
        drop(runtime);
        for thread in lock(&threads).drain(..) {
            thread.join().unwrap();
        }
        if world.strong_count() > 0 {
            report.violations.push("processes that are gone are still in memory".to_owned());
        }
        report
    }
}

struct History {
    case: Case,
    shared: Arc<Shared>,
    store: MemoryStore,
    /// Whether the caller wants the result kept; else nobody delivers the call twice, and only an answer is promised.
    is_durable: bool,
    callback: Option<String>,
    replies: Mutex<Vec<Reply>>,
    deliveries: Mutex<u64>,
    is_cancelled: Mutex<bool>,
}

impl History {
    fn new(case: Case, shared: Arc<Shared>) -> Self {
        let is_durable = shared.draw(|rng| rng.u32(0..10)) > 0;
        let callback = shared.draw(fastrand::Rng::bool).then(|| "http://receiver/".to_owned());
        Self {
            case,
            shared,
            store: MemoryStore::new(),
            is_durable: is_durable || callback.is_some(),
            callback,
            replies: Mutex::default(),
            deliveries: Mutex::default(),
            is_cancelled: Mutex::default(),
        }
    }

    fn execution(&self) -> ExecutionId {
        ExecutionId::derive(self.case.handlers[0].name, "k")
    }

    fn log(&self) -> Log {
        Log::new(Arc::new(self.store.clone()), self.execution())
    }

    async fn platform(self: Arc<Self>, mut calls: mpsc::UnboundedReceiver<Call>) {
        while let Some(call) = calls.recv().await {
            drop(spawn_local(self.clone().deliver(call)));
        }
    }

    /// One delivery in a process of its own, until its answer, its death or its time limit.
    async fn deliver(self: Arc<Self>, call: Call) {
        let number = {
            let mut deliveries = lock(&self.deliveries);
            *deliveries += 1;
            *deliveries
        };
        self.shared.delay(100).await;
        let process = Process::new(&self.shared, format!("p{number}"));
        self.shared.note(format!("{} is called: {call:?}", process.name));
        process.pass("arrives").await;
        let (engine, incoming) = (self.engine(&process), self.incoming(&process, &call, number));
        let (activation, name) = (incoming.activation.clone(), process.name.clone());
        let answering = engine.answer(incoming);
        let limit = Duration::from_millis(LIMIT_MS + self.shared.draw(|rng| rng.u64(0..100)));
        let first = timeout(limit, async {
            tokio::select! {
                biased;
                () = process.died.notified() => None,
                reply = answering => Some(reply),
            }
        });
        match first.await {
            Ok(Some(reply)) => {
                self.shared.note(format!("{name} answers {reply:?}"));
                lock(&self.replies).push(reply);
                return;
            }
            Ok(None) => {}
            Err(_) => process.kill("its time is over"),
        }
        // Some platforms notice a death, and say so with the next delivery.
        if self.shared.draw(fastrand::Rng::bool) {
            self.shared.call(Call { died: Some(activation), ..call });
        }
    }

    fn engine(&self, process: &Arc<Process>) -> Arc<Engine> {
        let told = BTreeMap::from([("LIMITLESS_STORE".to_owned(), "memory:".to_owned())]);
        let mut engine = Engine::new(Config::from(&told).unwrap(), self.case.handlers);
        engine.world = Arc::new(Simulated(process.clone()));
        let seen = Seen { process: process.clone(), below: self.store.clone() };
        engine.store.set(Arc::new(seen)).unwrap();
        Arc::new(engine)
    }

    fn incoming(&self, process: &Process, call: &Call, number: u64) -> Incoming {
        let execution = self.execution();
        let asked = if call.is_resume {
            Asked::Resume { execution, entry: call.entry, signature: None }
        } else {
            Asked::First {
                execution,
                input: format!(r#"{{"n":{N}}}"#),
                is_durable: self.is_durable,
                callback: self.callback.clone(),
                keep_ms: None,
                caller: None,
                input_at: None,
            }
        };
        let received_us = process.now_us();
        Incoming {
            handler: self.case.handlers[0],
            asked,
            is_node: false,
            activation: call.died.clone().unwrap_or_else(|| format!("a{number}")),
            received_us,
            deadline_ms: received_us / 1000 + LIMIT_MS,
            is_owner_dead: call.died.is_some(),
            successor: Successor::Unavailable("simulated".to_owned()),
            vars: Vars::default(),
        }
    }

    /// Asks again wherever nothing moves, as clients and triggers do.
    async fn see_through(&self) {
        let first = || self.shared.call(Call::default());
        let resume = || self.shared.call(Call { is_resume: true, ..Call::default() });
        first();
        let cancels_at = self.shared.draw(|rng| rng.u64(0..80));
        let (mut length, mut tries, mut seconds) = (0, 0, 0);
        while tries < PATIENCE {
            let wait = self.shared.draw(|rng| rng.u64(1..4));
            sleep(Duration::from_secs(wait)).await;
            seconds += wait;
            if seconds > FAULTS_END.as_secs() {
                self.shared.end_faults();
                tries += 1;
            }
            if (cancels_at..cancels_at + wait).contains(&seconds) && cancels_at < 8 {
                self.cancel().await;
            }
            let Ok(folded) = self.log().execution().await else { break };
            let Some(folded) = folded else {
                if self.is_durable {
                    first();
                    continue;
                }
                // Nothing was promised but an answer.
                return;
            };
            let is_delivered = folded.delivered || self.callback.is_none();
            if folded.status().is_terminal()
                && (is_delivered || matches!(folded.phase, Phase::Cancelled { .. }))
            {
                // Whoever still runs may try what it must not.
                sleep(Duration::from_secs(15)).await;
                return;
            }
            if let Phase::Suspended { wake: Some(wake), .. } = &folded.phase {
                if !wake.events.is_empty() && self.shared.draw(fastrand::Rng::bool) {
                    self.shared.note("the event happens");
                    let _ = self.log().record_event(EVENT.0, EVENT.1.to_owned()).await;
                    resume();
                } else if wake.is_due(self.shared.now_us() / 1000) {
                    resume();
                }
                continue;
            }
            if folded.length == length {
                resume();
            }
            length = folded.length;
        }
        self.shared.violated("there was no end");
    }

    async fn cancel(&self) {
        let cancelled =
            self.log().cancel("the client", Nonce::from_random([255; 8]), self.shared.now_us()).await;
        let is_cancelled = cancelled.is_ok_and(|folded| matches!(folded.phase, Phase::Cancelled { .. }));
        self.shared.note(format!("the client cancels: {is_cancelled}"));
        *lock(&self.is_cancelled) = is_cancelled;
    }

    async fn report(&self) -> Report {
        let entries = self.log().entries(0).await.unwrap_or_default();
        for (number, entry) in entries.iter().enumerate() {
            self.shared.note(format!("entry {number}: {} in epoch {}", entry.kind.name(), entry.epoch));
            let Kind::Claimed { from, .. } = entry.kind else { continue };
            let newest =
                fold(&entries[..number]).ok().flatten().and_then(|folded| folded.saved.last().cloned());
            if from != newest.map(|(number, _)| number) {
                self.shared.violated(format!("entry {number} passes an acknowledged checkpoint over"));
            }
        }
        let invocations = match fold(&entries) {
            Ok(Some(folded)) => {
                self.check(&folded.phase);
                folded.tally.invocations
            }
            Ok(None) => 1,
            Err(error) => {
                self.shared.violated(format!("the log can't be read: {error}"));
                0
            }
        };
        Report {
            trace: self.shared.trace(),
            violations: lock(&self.shared.violations).clone(),
            boundaries: self.shared.boundaries(),
            invocations,
        }
    }

    /// Whether everybody was told what the log says, and the log says what is right.
    fn check(&self, phase: &Phase) {
        let right = expected(N);
        match phase {
            Phase::Completed(Stored::Json(json)) if *json == right => {}
            Phase::Cancelled { .. } if *lock(&self.is_cancelled) => {}
            // Ten invocations in a row may die before they get anywhere.
            Phase::Failed(failure) if failure.code == Code::NoProgress && self.case.faults.kill > 0 => {}
            other => self.shared.violated(format!("it ended as {other:?}")),
        }
        if *lock(&self.is_cancelled) && !matches!(phase, Phase::Cancelled { .. }) {
            self.shared.violated("it was cancelled, and has a result");
        }
        for reply in lock(&self.replies).iter() {
            let is_so = match (reply, phase) {
                (Reply::Result(json), Phase::Completed(_)) => *json == right,
                (Reply::Failed(told), Phase::Failed(failure)) => told == failure,
                (Reply::Failed(told), Phase::Cancelled { .. }) => told.code == Code::Cancelled,
                (Reply::Running { .. } | Reply::Refused(_), _) => true,
                _ => false,
            };
            if !is_so {
                self.shared.violated(format!("somebody was told {reply:?}"));
            }
        }
        let delivered = lock(&self.shared.delivered);
        let is_result =
            |body: &String| body.contains(&format!(r#""result":{right}"#)) || body.contains("failed");
        if !delivered.iter().all(is_result) {
            self.shared.violated(format!("the receiver was sent {delivered:?}"));
        }
    }
}
