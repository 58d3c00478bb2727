//! How a call reaches a process: faults on the way, limits while it works, another delivery if its process dies.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, SystemTime};

use tokio::sync::{Mutex, watch};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::client::{self, Answer, Call, CallError};
use crate::container::Container;
use crate::events::{EventKind, KillReason, micros};
use crate::faults::{KillMoment, Plan};
use crate::function::{Function, Habits};
use crate::memory;
use crate::pool::{Lease, Pool, StartError, Warmth};

/// How long to wait for the news that a process died after its connection broke, or for an answer that was under way
/// when it died.
const AFTERMATH: Duration = Duration::from_millis(200);

/// What a platform's API wants done by a process.
pub(crate) trait Work: Send + Sync + 'static {
    /// What a fresh process must be asked first, if anything.
    fn init(&self, deadline: SystemTime) -> Option<Call>;
    /// The request itself. `owner_dead` goes into it if the process of an earlier delivery is dead.
    fn run(&self, deadline: SystemTime, owner_dead: Option<&str>) -> Call;
    /// The longest answer that is read.
    fn answer_max(&self) -> usize;
    /// Whether the process can go on after this answer.
    fn keeps_process(&self, answer: &Answer) -> bool;
    /// Called as soon as the end of an attempt is known, but not for the twin of a duplicated call.
    fn ended(&self, attempt: &Attempt);
    /// Called when its logs are complete too.
    fn finished(&self, attempt: Attempt, logs: Vec<String>, place: Place);
}

/// Where an attempt stands among those of its call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Place {
    /// The last one.
    Last,
    /// The watchdog delivers the call once more.
    BeforeAnother,
    /// The last one of the second copy of a duplicated call.
    LastOfTwin,
}

/// One call to be delivered.
#[derive(Clone)]
pub(crate) struct Delivery {
    /// The activation id or call id.
    pub(crate) id: String,
    pub(crate) function: Arc<Function>,
    pub(crate) limit: Duration,
    /// Somebody waits for the answer: it can't be lost.
    pub(crate) is_awaited: bool,
    /// The platform may deliver it twice.
    pub(crate) may_repeat: bool,
    /// It is the second copy of a duplicated call.
    pub(crate) is_twin: bool,
    pub(crate) work: Arc<dyn Work>,
}

/// What became of one delivery.
#[derive(Clone, Debug)]
pub(crate) struct Attempt {
    /// From the decision to run it to the request.
    pub(crate) wait: Duration,
    /// How long `/init` took, if there was one.
    pub(crate) init: Option<Duration>,
    in_init: bool,
    /// From the request to the end.
    pub(crate) elapsed: Duration,
    pub(crate) end: End,
}

impl Attempt {
    /// Whether the request itself was never made.
    pub(crate) fn failed_in_init(&self) -> bool {
        self.in_init
    }
}

#[derive(Clone, Debug)]
pub(crate) enum End {
    Answer(Answer),
    /// A fresh process answered its first request wrongly.
    InitFailed(Answer),
    Killed(KillReason),
    /// The process ended by itself.
    Died(String),
    /// The connection broke, though the process lives.
    NoAnswer(String),
    /// There was no process to begin with.
    NotStarted(Arc<StartError>),
}

impl End {
    fn is_death(&self) -> bool {
        matches!(self, Self::Killed(_) | Self::Died(_))
    }
}

pub(crate) struct Dispatcher {
    pub(crate) pool: Arc<Pool>,
    stop: CancellationToken,
    deliveries: AtomicU64,
}

/// Deliveries of one call that are under way.
struct Flight {
    running: watch::Sender<usize>,
    redelivery: Mutex<()>,
}

impl Flight {
    fn new() -> Arc<Self> {
        Arc::new(Self { running: watch::Sender::new(0), redelivery: Mutex::new(()) })
    }

    fn join(self: &Arc<Self>) -> Aboard {
        self.running.send_modify(|running| *running += 1);
        Aboard(Arc::clone(self))
    }

    /// Waits until nobody works on the call: only then is it true that its owner is dead.
    async fn join_alone(self: &Arc<Self>) -> Aboard {
        let _turn = self.redelivery.lock().await;
        // It can't fail: we hold the sender.
        drop(self.running.subscribe().wait_for(|running| *running == 0).await);
        self.join()
    }
}

struct Aboard(Arc<Flight>);

impl Drop for Aboard {
    fn drop(&mut self) {
        self.0.running.send_modify(|running| *running -= 1);
    }
}

impl Dispatcher {
    /// Deliveries that have not started end when `stop` is cancelled, the others when the pool is closed.
    pub(crate) fn new(pool: Arc<Pool>, stop: CancellationToken) -> Arc<Self> {
        Arc::new(Self { pool, stop, deliveries: AtomicU64::new(0) })
    }

    /// Says that the call was accepted, and what will happen to it.
    pub(crate) fn accept(&self, delivery: &Delivery) -> Plan {
        self.emit(delivery, EventKind::Queued);
        self.plan()
    }

    /// Delivers the call, with the faults that are planned; done when its last delivery is.
    pub(crate) async fn deliver(self: Arc<Self>, delivery: Delivery, plan: Plan) {
        if plan.lose && !delivery.is_awaited {
            return self.emit(&delivery, EventKind::Lost);
        }
        if let Some(by) = plan.delay {
            self.emit(&delivery, EventKind::Delayed { by_ms: crate::events::millis(by) });
            if self.stop.run_until_cancelled(tokio::time::sleep(by)).await.is_none() {
                return;
            }
        }
        let flight = Flight::new();
        if plan.duplicate && delivery.may_repeat {
            self.emit(&delivery, EventKind::Duplicated);
            let twin = Delivery { is_twin: true, ..delivery.clone() };
            let twin = Arc::clone(&self).run(twin, Arc::clone(&flight), self.plan().kill);
            self.pool.tasks.spawn(twin);
        }
        self.run(delivery, flight, plan.kill).await;
    }

    async fn run(self: Arc<Self>, delivery: Delivery, flight: Arc<Flight>, kill: Option<KillMoment>) {
        let (mut kill, mut redeliveries) = (kill, 0);
        let mut aboard = flight.join();
        loop {
            let attempt = self.attempt(&delivery, redeliveries > 0, kill);
            let (attempt, logs) = attempt.await;
            drop(aboard);
            let again = attempt.end.is_death() && self.delivers_again(&delivery, redeliveries);
            let place = match (again, delivery.is_twin) {
                (true, _) => Place::BeforeAnother,
                (false, true) => Place::LastOfTwin,
                (false, false) => Place::Last,
            };
            delivery.work.finished(attempt, logs, place);
            if !again {
                return;
            }
            redeliveries += 1;
            kill = self.plan().kill;
            aboard = flight.join_alone().await;
            self.emit(&delivery, EventKind::Redelivered { attempt: redeliveries });
        }
    }

    fn delivers_again(&self, delivery: &Delivery, redeliveries: u32) -> bool {
        let config = &self.pool.config;
        let is_resumable = || self.pool.image(&delivery.function.image).is_some_and(|image| image.resumable);
        config.watchdog
            && !self.stop.is_cancelled()
            && !delivery.function.is_retired()
            && redeliveries < config.limits.redeliveries
            && is_resumable()
    }

    /// What happens to the next delivery.
    pub(crate) fn plan(&self) -> Plan {
        let number = self.deliveries.fetch_add(1, Ordering::Relaxed);
        self.pool.config.faults.plan(self.pool.config.seed, number)
    }

    fn emit(&self, delivery: &Delivery, kind: EventKind) {
        self.pool.events.emit(&delivery.id, &delivery.function.name, kind);
    }

    async fn attempt(
        &self,
        delivery: &Delivery,
        again: bool,
        kill: Option<KillMoment>,
    ) -> (Attempt, Vec<String>) {
        loop {
            let wanted = Instant::now();
            let lease = match self.pool.acquire(&delivery.function).await {
                Ok(lease) => lease,
                Err(error) => return self.not_started(delivery, error),
            };
            let attempt = self.work(delivery, &lease, wanted, again, kill.as_ref()).await;
            if let Some(attempt) = attempt {
                return self.conclude(delivery, lease, attempt).await;
            }
            // A warm process that can't be connected to never saw the call: try another one.
        }
    }

    /// Asks the process. None if a warm one could not be reached.
    async fn work(
        &self,
        delivery: &Delivery,
        lease: &Lease,
        wanted: Instant,
        again: bool,
        kill: Option<&KillMoment>,
    ) -> Option<Attempt> {
        let container = lease.container();
        container.logs.begin(&delivery.id);
        if lease.warmth() == (Warmth::Warm { was_paused: true }) {
            self.emit(delivery, EventKind::Unpaused);
        }
        let work = &delivery.work;
        let is_cold = lease.warmth() == Warmth::Cold;
        let mut attempt = Attempt {
            wait: Duration::ZERO,
            init: None,
            in_init: false,
            elapsed: Duration::ZERO,
            end: End::Died(String::new()),
        };
        if let Some(init) = work.init(SystemTime::now() + delivery.limit).filter(|_| is_cold) {
            let from = Instant::now();
            let end = self.guarded(container, delivery, &init, None).await;
            attempt.init = Some(from.elapsed());
            if !matches!(&end, Ok(answer) if answer.status.is_success()) {
                self.emit_started(delivery, container, is_cold, wanted.elapsed());
                attempt.in_init = true;
                attempt.elapsed = from.elapsed();
                attempt.end = end.map_or_else(|broken| broken.end, End::InitFailed);
                return Some(attempt);
            }
        }
        attempt.wait = wanted.elapsed();
        self.emit_started(delivery, container, is_cold, attempt.wait);
        let from = Instant::now();
        let token = again.then_some(delivery.function.watchdog_token.as_str());
        let run = work.run(SystemTime::now() + delivery.limit, token);
        let kill_after = kill.map(|moment| moment.within(delivery.limit));
        let end = self.guarded(container, delivery, &run, kill_after).await;
        attempt.elapsed = from.elapsed();
        match end {
            Ok(answer) => attempt.end = End::Answer(answer),
            Err(broken) if broken.unreached && !is_cold => return None,
            Err(broken) => attempt.end = broken.end,
        }
        Some(attempt)
    }

    fn emit_started(&self, delivery: &Delivery, container: &Container, cold: bool, wait: Duration) {
        let kind = EventKind::Started { cold, start_us: micros(wait), pid: container.process.pid() };
        self.emit(delivery, kind);
    }

    /// Makes a request and enforces the limits until it is answered.
    async fn guarded(
        &self,
        container: &Container,
        delivery: &Delivery,
        call: &Call,
        kill_after: Option<Duration>,
    ) -> Result<Answer, Broken> {
        let process = &container.process;
        let answer = client::call(process.address(), call, delivery.work.answer_max());
        tokio::pin!(answer);
        // An engine enforces the limit itself.
        let watched = delivery.function.memory_bytes.filter(|_| !process.is_container());
        let reason = tokio::select! {
            biased;
            answer = &mut answer => return match answer {
                Ok(answer) => Ok(answer),
                Err(error) => Err(broken(container, &error).await),
            },
            _ = process.ended() => {
                // The answer may have been written just before.
                return match tokio::time::timeout(AFTERMATH, answer).await {
                    Ok(Ok(answer)) => Ok(answer),
                    _ => Err(Broken { end: death(container).await, unreached: false }),
                };
            }
            () = tokio::time::sleep(delivery.limit) => KillReason::TimeLimit,
            () = memory::exceeded(process.pid(), watched) => KillReason::Memory,
            () = sleep_or_never(kill_after) => KillReason::Fault,
        };
        process.kill(reason);
        Err(Broken { end: death(container).await, unreached: false })
    }

    /// Tells the end, collects the logs, and gives the process back or ends it.
    async fn conclude(&self, delivery: &Delivery, lease: Lease, attempt: Attempt) -> (Attempt, Vec<String>) {
        let elapsed_us = micros(attempt.elapsed);
        let kind = match &attempt.end {
            End::Answer(answer) => EventKind::Answered { status: answer.status.as_u16(), elapsed_us },
            End::Killed(reason) => EventKind::Killed { reason: *reason, elapsed_us },
            End::InitFailed(answer) => {
                EventKind::Died { status: format!("/init was answered {}", answer.status), elapsed_us }
            }
            End::Died(status) | End::NoAnswer(status) => {
                EventKind::Died { status: status.clone(), elapsed_us }
            }
            End::NotStarted(error) => EventKind::Died { status: error.to_string(), elapsed_us },
        };
        let keeps = matches!(&attempt.end, End::Answer(answer) if delivery.work.keeps_process(answer));
        if keeps {
            lease.finishing();
        }
        self.emit(delivery, kind);
        if !delivery.is_twin {
            delivery.work.ended(&attempt);
        }
        let patience = match delivery.function.habits {
            Habits::OpenWhisk => self.pool.config.limits.log_wait,
            Habits::OpenFaas => Duration::ZERO,
        };
        let logs = lease.container().logs.finish(patience).await;
        if keeps {
            lease.release();
        }
        (attempt, logs)
    }

    fn not_started(&self, delivery: &Delivery, error: StartError) -> (Attempt, Vec<String>) {
        self.emit(delivery, EventKind::Died { status: error.to_string(), elapsed_us: 0 });
        let end = End::NotStarted(Arc::new(error));
        let attempt =
            Attempt { wait: Duration::ZERO, init: None, in_init: false, elapsed: Duration::ZERO, end };
        if !delivery.is_twin {
            delivery.work.ended(&attempt);
        }
        (attempt, Vec::new())
    }
}

/// A request without an answer.
struct Broken {
    end: End,
    /// The process never saw it.
    unreached: bool,
}

async fn broken(container: &Container, error: &CallError) -> Broken {
    let unreached = matches!(error, CallError::Connect(_));
    let ended = tokio::time::timeout(AFTERMATH, container.process.ended()).await.is_ok();
    let end = if ended { death(container).await } else { End::NoAnswer(error.to_string()) };
    Broken { end, unreached }
}

async fn death(container: &Container) -> End {
    let status = container.process.ended().await;
    container.process.killed().map_or(End::Died(status), End::Killed)
}

async fn sleep_or_never(after: Option<Duration>) {
    match after {
        Some(after) => tokio::time::sleep(after).await,
        None => std::future::pending().await,
    }
}
