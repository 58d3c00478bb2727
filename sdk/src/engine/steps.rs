//! Recorded steps: what ran once and shall not run again.

mod group;
#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, BTreeSet};
use std::future::poll_fn;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use bytes::Bytes;
#[cfg(feature = "programs")]
use limitless_faas_core::ExecutionId;
use limitless_faas_core::invocation::{Delivery, Event, Given};
use limitless_faas_core::log::{Caller, Saved, Segment};
use limitless_faas_core::segment::{TooLarge, decode};
use limitless_faas_core::{Code, Failure, Nonce, key};
use limitless_faas_store::{Behind, Key, Log, StoreErrorKind};
use tokio::runtime::Handle;
use tokio::sync::{mpsc, oneshot, watch};

use self::group::{Group, Queue, Waiting};
use super::handler::{RunEvent, lock};
use super::world::World;
use super::{Vars, no_store};
use crate::checkpoint::Services;
use crate::handler::HandlerDef;
use crate::runtime::outgoing::{Outgoing, Successor};
use crate::workflow::Crew;

/// A handler's thread waits for its appends itself as long as they take no longer: passing one to another thread and back takes some
/// ten microseconds, which is much beside a fast disk's sync and nothing beside a slow one's, where the thread has better things to do.
/// A fast disk that many processes share takes some milliseconds now and then, and the cores, which are just as busy, are not to be given two
/// switches of threads with each step on top of that.
const QUICK_US: u64 = 20_000;

/// The steps of one delivery.
pub(crate) struct Steps {
    log: Option<Log>,
    #[cfg(feature = "programs")]
    execution: ExecutionId,
    deadline_ms: u64,
    nonce: Nonce,
    limit_ms: u64,
    /// Until when this invocation may wait for something itself: it needs the rest to go on and to save.
    wait_until_ms: u64,
    to: mpsc::UnboundedSender<RunEvent>,
    vars: Vars,
    /// The process's runtime, on which records are appended whatever becomes of the handler.
    process: Handle,
    /// Whether the handler is async; one that is not may wait for the process's runtime.
    is_async: bool,
    /// Whether a run goes back to the handler's first statement, since its state is explicit and not a loop's.
    runs_from_the_top: bool,
    is_closed: AtomicBool,
    is_called_off: AtomicBool,
    known: Mutex<Known>,
    /// Results that wait for the append under way.
    queue: Queue,
    /// Whether the last append took so little time that a handler's own thread makes the next one.
    is_quick: AtomicBool,
    /// The end of the lease, once the log has begun.
    allowed: watch::Sender<Option<u64>>,
    wraps: Wraps,
    /// The threads of a workflow's nodes.
    crew: Arc<Crew>,
    world: Arc<dyn World>,
}

/// Where the nodes of a workflow run, and how those in other wraps are reached.
pub(crate) struct Wraps {
    pub(crate) placement: Option<Arc<limitless_faas_core::placement::Placement>>,
    /// Whether what happens to nodes is told.
    pub(crate) tells_nodes: bool,
    /// How many nodes compute at once, at most.
    pub(crate) nodes_at_once: usize,
    /// How long the workflow stays where it only waits for nodes in other wraps.
    pub(crate) stay: Duration,
    /// The handler that drives the workflow, where this function is a wrap.
    pub(crate) node: Option<&'static str>,
    pub(crate) outgoing: Outgoing,
    /// This function on its platform; the other wraps stand beside it.
    pub(crate) beside: Successor,
}

#[derive(Default)]
struct Known {
    generation: u64,
    epoch: u64,
    is_loaded: bool,
    records: Vec<Placed>,
    /// Results that the handler, gone back to its last checkpoint, will ask for again.
    replay: BTreeMap<String, Vec<u8>>,
    /// Keys that were used up to the last checkpoint, or since.
    used: BTreeSet<String>,
    /// Length of our own segment, and how many records it has.
    length: u64,
    sequence: u64,
    fatal: Option<Failure>,
    measure: Option<Measure>,
}

/// How far a run came, as it was measured itself: where what it saves differs each time although nothing was done.
pub(super) struct Measure {
    /// The same for the same progress.
    pub(super) progress: String,
    /// What was stored beside the envelope.
    pub(super) moved_bytes: u64,
}

/// Where a run of a program keeps what is too large for an envelope.
#[cfg(feature = "programs")]
#[derive(Clone)]
pub(crate) struct Place {
    pub(crate) log: Option<Log>,
    pub(crate) execution: ExecutionId,
    /// The process's runtime.
    pub(crate) process: Handle,
    /// When the platform kills, ms since 1970.
    pub(crate) deadline_ms: u64,
    nonce: Nonce,
    epoch: u64,
}

#[cfg(feature = "programs")]
impl Place {
    /// A name that no other blob of the execution has.
    pub(crate) fn blob_name(&self) -> String {
        static SEQUENCE: std::sync::atomic::AtomicU64 = std::sync::atomic::AtomicU64::new(0);
        let sequence = SEQUENCE.fetch_add(1, Ordering::Relaxed);
        format!("{}-image", key::checkpoint_name(self.epoch, self.nonce, sequence, 0))
    }
}

/// A record and where it stands.
struct Placed {
    epoch: u64,
    end: u64,
    key: String,
    value: Vec<u8>,
}

/// What a step begins with.
pub(crate) enum Step {
    /// It ran before; this is its encoded result.
    Recorded(Vec<u8>),
    /// It is to run now.
    Fresh,
}

impl Services for Steps {}

/// The thread of a handler that is not async: it is nobody else's, and may wait.
pub(crate) struct Blocking<'a>(&'a Steps);

impl Blocking<'_> {
    /// Waits for what the process's runtime drives.
    ///
    /// # Errors
    /// The future's own.
    pub(crate) fn block_on<T, E: From<Failure>>(
        &self,
        future: impl Future<Output = Result<T, E>>,
    ) -> Result<T, E> {
        let mut ended = None;
        self.0.world.wait(&self.0.process, std::pin::pin!(async { ended = Some(future.await) }));
        let interrupted = || Failure::new(Code::StoreAway, "waiting was interrupted");
        ended.unwrap_or_else(|| Err(interrupted().into()))
    }
}

impl Steps {
    pub(super) fn new(
        log: Option<Log>,
        delivery: &Delivery,
        to: mpsc::UnboundedSender<RunEvent>,
        vars: Vars,
        handler: &HandlerDef,
        wraps: Wraps,
        world: Arc<dyn World>,
    ) -> Self {
        Self {
            wraps,
            crew: Crew::new(Handle::current()),
            world,
            process: Handle::current(),
            is_async: handler.is_async,
            runs_from_the_top: handler.checkpoints.is_empty(),
            is_closed: AtomicBool::new(false),
            is_called_off: AtomicBool::new(false),
            log,
            #[cfg(feature = "programs")]
            execution: delivery.execution.clone(),
            deadline_ms: delivery.deadline_ms,
            nonce: delivery.nonce,
            limit_ms: delivery.driver.limit_ms,
            wait_until_ms: delivery.deadline_ms.saturating_sub(delivery.driver.limit_ms / 2),
            to,
            vars,
            known: Mutex::default(),
            queue: Queue::default(),
            is_quick: AtomicBool::new(true),
            allowed: watch::Sender::new(None),
        }
    }

    /// Where nodes run.
    pub(crate) fn wraps(&self) -> &Wraps {
        &self.wraps
    }

    /// The threads on which nodes run.
    pub(crate) fn crew(&self) -> &Arc<Crew> {
        &self.crew
    }

    /// What a child is told of this execution, which calls it now and stays for so long.
    pub(crate) fn caller(&self, stay: Duration) -> Option<Caller> {
        let wraps = &self.wraps;
        let stay_ms = u64::try_from(stay.as_millis()).unwrap_or(u64::MAX);
        Some(Caller {
            execution: self.log.as_ref()?.id().clone(),
            function: wraps.beside.function()?.to_owned(),
            node: wraps.node.map(str::to_owned),
            stays_until_ms: (self.now_us() / 1000).saturating_add(stay_ms),
        })
    }

    /// How long a handler stays where it only waits for another execution: not into the time that it needs to go on and to save.
    pub(crate) fn stay(&self) -> Duration {
        const LEAST: Duration = Duration::from_millis(250);
        let left = Duration::from_millis(self.wait_until_ms.saturating_sub(self.now_us() / 1000));
        self.wraps.stay.min(left.max(LEAST))
    }

    /// When a workflow goes on that left its nodes to themselves and was told of no end, ms since 1970: by then one that was lost before it
    /// wrote anything is not waited for any more.
    pub(crate) fn returns_at_ms(&self) -> u64 {
        const GRACE_MS: u64 = 2000;
        self.now_us() / 1000 + self.limit_ms + GRACE_MS
    }

    /// Whether another invocation drove the execution before.
    pub(crate) fn is_resumed(&self) -> bool {
        lock(&self.known).epoch > 1
    }

    /// The execution was called off, and so are its nodes in other wraps.
    pub(super) fn call_off(&self) {
        self.is_called_off.store(true, Ordering::Relaxed);
    }

    /// Whether the execution was called off.
    pub(crate) fn is_called_off(&self) -> bool {
        self.is_called_off.load(Ordering::Relaxed)
    }

    /// The execution's log.
    pub(crate) fn log(&self) -> Option<&Log> {
        self.log.as_ref()
    }

    /// The process's runtime.
    pub(crate) fn process(&self) -> &Handle {
        &self.process
    }

    /// What the platform calls `name` for this run.
    pub(crate) fn var(&self, name: &str) -> Option<String> {
        self.vars.get(name)
    }

    /// How a handler that is not async may wait.
    pub(crate) fn blocking(&self) -> Option<Blocking<'_>> {
        (!self.is_async).then_some(Blocking(self))
    }

    /// The time limit of this invocation.
    pub(crate) fn limit_ms(&self) -> u64 {
        self.limit_ms
    }

    /// How long it is until the deadline.
    pub(crate) fn left(&self) -> Duration {
        Duration::from_micros(self.deadline_ms.saturating_mul(1000).saturating_sub(self.now_us()))
    }

    /// Microseconds since 1970.
    pub(crate) fn now_us(&self) -> u64 {
        self.world.now_us()
    }

    /// The execution is somebody else's: nothing more is recorded, and no step begins.
    pub(super) fn close(&self) {
        self.is_closed.store(true, Ordering::Relaxed);
    }

    fn check_open(&self) -> Result<(), Failure> {
        if !self.is_closed.load(Ordering::Relaxed) {
            return Ok(());
        }
        let failure = Failure::new(Code::StoreAway, "this invocation no longer drives the execution");
        Err(lock(&self.known).fatal(failure))
    }

    /// The keys that were recorded before and are still to be met again.
    pub(super) fn ahead(&self) -> Vec<String> {
        lock(&self.known).replay.keys().cloned().collect()
    }

    /// Whether something that is so far off is waited for here, since leaving and coming back would take as long.
    pub(crate) fn is_near(&self, until_ms: u64) -> bool {
        const NEAR_MS: u64 = 250;
        until_ms < self.wait_until_ms && until_ms.saturating_sub(self.now_us() / 1000) <= NEAR_MS
    }

    /// The data of an event, where it has happened.
    pub(crate) async fn event(&self, name: &str) -> Result<Option<String>, Failure> {
        let log = self.log.as_ref().ok_or_else(no_store)?;
        let mut wait = Duration::from_millis(5);
        loop {
            match log.event(name).await {
                Err(failure)
                    if failure.code == Code::StoreAway && self.now_us() / 1000 < self.wait_until_ms => {}
                Err(failure) => return Err(lock(&self.known).fatal(failure)),
                found => return found,
            }
            tokio::time::sleep(wait).await;
            wait = (wait * 2).min(Duration::from_millis(500));
        }
    }

    /// Whether a step of this key ran before and is met again now.
    pub(crate) fn is_met_again(&self, key: &str) -> bool {
        lock(&self.known).replay.contains_key(key)
    }

    /// The effect failed, and may be tried again under its key.
    pub(crate) fn give_up(&self, key: &str) {
        lock(&self.known).used.remove(key);
    }

    /// Length of our own segment.
    pub(super) fn length(&self) -> u64 {
        lock(&self.known).length
    }

    /// How long a lost owner's segment is. From here on nothing that it may still append counts.
    pub(super) async fn measure(&self, segment: &Segment) -> Result<u64, Failure> {
        let log = self.log.as_ref().ok_or_else(no_store)?;
        let Some(bytes) = log.segment(segment).await? else { return Ok(0) };
        // Its owner may have died between the write and the sync, or be about to sync. What counts from here on must outlive a loss of
        // power; what is appended after it was read does not count.
        log.settle_segment(segment).await?;
        // Behind the last record that is whole there may be room that the store made for more.
        Ok(decode(&bytes, u64::MAX).last().map_or(0, |last| last.end))
    }

    /// Prepares for a run that begins where `given` says.
    pub(super) async fn load(&self, given: &Given, generation: u64) -> Result<(), Failure> {
        if !lock(&self.known).is_loaded {
            let records = self.read_segments(&given.segments).await?;
            let mut known = lock(&self.known);
            known.records = records;
            known.is_loaded = true;
        }
        let mut known = lock(&self.known);
        known.generation = generation;
        known.epoch = given.epoch;
        known.go_back_to(given.from.as_ref().filter(|_| !self.runs_from_the_top));
        Ok(())
    }

    async fn read_segments(&self, segments: &[Segment]) -> Result<Vec<Placed>, Failure> {
        let mut records = Vec::new();
        let others = segments.iter().filter(|segment| segment.nonce != self.nonce);
        for segment in others {
            let log = self.log.as_ref().ok_or_else(no_store)?;
            let bytes = log.segment(segment).await?.unwrap_or_default();
            let placed = decode(&bytes, segment.length.unwrap_or(0));
            records.extend(placed.into_iter().map(|placed| Placed {
                epoch: segment.epoch,
                end: placed.end,
                key: placed.record.key,
                value: placed.record.value,
            }));
        }
        Ok(records)
    }

    /// The log has begun, and steps may be recorded.
    pub(super) fn allow(&self, lease_until_ms: u64) {
        self.allowed.send_replace(Some(lease_until_ms));
    }

    /// Where this run keeps what is large.
    #[cfg(feature = "programs")]
    pub(crate) fn place(&self) -> Place {
        let epoch = lock(&self.known).epoch;
        let (log, process) = (self.log.clone(), self.process.clone());
        Place {
            log,
            execution: self.execution.clone(),
            process,
            deadline_ms: self.deadline_ms,
            nonce: self.nonce,
            epoch,
        }
    }

    /// Tells what saving is expected to cost now.
    #[cfg(feature = "programs")]
    pub(crate) fn expect_save(&self, cost_us: u64) {
        let generation = lock(&self.known).generation;
        let _ = self.to.send(RunEvent { generation, event: Event::SaveExpected { cost_us }, envelope: None });
    }

    /// Says how far the run came, which what it saves does not tell.
    #[cfg(feature = "programs")]
    pub(crate) fn measured(&self, progress: String, moved_bytes: u64) {
        lock(&self.known).measure = Some(Measure { progress, moved_bytes });
    }

    pub(super) fn take_measure(&self) -> Option<Measure> {
        lock(&self.known).measure.take()
    }

    /// Ends the run with this failure, whatever it answers.
    pub(crate) fn fail(&self, failure: Failure) {
        lock(&self.known).fatal(failure);
    }

    /// What a handler must not survive, whatever it made of the error.
    pub(super) fn take_fatal(&self) -> Option<Failure> {
        lock(&self.known).fatal.take()
    }

    /// Begins the step with this key.
    ///
    /// # Errors
    /// [`Code::StepRepeated`] where the key was used before.
    pub(crate) fn begin(&self, key: &str) -> Result<Step, Failure> {
        self.check_open()?;
        let mut known = lock(&self.known);
        if !known.used.insert(key.to_owned()) {
            let message = format!(
                "the step key `{key}` was used twice in one execution; a key names one step, so put what differs into \
                 it, such as the number of the iteration"
            );
            return Err(known.fatal(Failure::new(Code::StepRepeated, message)));
        }
        Ok(known.replay.remove(key).map_or(Step::Fresh, Step::Recorded))
    }

    /// Waits until the log has begun. From then on an effect may begin, until the lease ends: a process that was frozen meanwhile
    /// begins none, as somebody else may drive the execution.
    ///
    /// # Errors
    /// [`Code::StoreAway`] where the lease is over.
    pub(crate) async fn ready(&self) -> Result<(), Failure> {
        if self.log.is_none() {
            return Err(lock(&self.known).fatal(no_store()));
        }
        let mut allowed = self.allowed.subscribe();
        if allowed.borrow().is_none() {
            let generation = lock(&self.known).generation;
            let _ = self.to.send(RunEvent { generation, event: Event::StepWanted, envelope: None });
        }
        let lease_until_ms = allowed.wait_for(Option::is_some).await.ok().and_then(|allowed| *allowed);
        // Where the log can't be begun the delivery ends, and this handler with it.
        let Some(lease_until_ms) = lease_until_ms else { return std::future::pending().await };
        self.check_open()?;
        if self.now_us() / 1000 < lease_until_ms {
            return Ok(());
        }
        let failure =
            Failure::new(Code::StoreAway, "no step begins any more: this invocation's lease is over");
        Err(lock(&self.known).fatal(failure))
    }

    /// Records a result, durably.
    ///
    /// # Errors
    /// [`Code::StoreAway`] where it could not be recorded while the execution was ours: the handler ends, and the execution
    /// goes on from its last checkpoint.
    pub(crate) async fn record(self: &Arc<Self>, key: &str, value: Vec<u8>) -> Result<(), Failure> {
        let told = self.push(key, value)?;
        // Steps beside this one come to their results meanwhile, and share the append.
        yield_once().await;
        self.begin_to_append(true);
        outcome(told).await
    }

    /// [`Steps::record`] where nothing runs beside the step.
    pub(crate) async fn record_alone(self: &Arc<Self>, key: &str, value: Vec<u8>) -> Result<(), Failure> {
        let told = self.push(key, value)?;
        self.begin_to_append(true);
        outcome(told).await
    }

    /// [`Steps::record`] from a thread that has more to do, as a workflow's has while its nodes run.
    pub(crate) async fn record_aside(self: &Arc<Self>, key: &str, value: Vec<u8>) -> Result<(), Failure> {
        let told = self.push(key, value)?;
        self.begin_to_append(false);
        outcome(told).await
    }

    fn push(&self, key: &str, value: Vec<u8>) -> Result<oneshot::Receiver<Result<(), Failure>>, Failure> {
        self.check_open()?;
        let (told, outcome) = oneshot::channel();
        self.queue.push(key, value, Some(told));
        Ok(outcome)
    }

    /// Records a result that is durable elsewhere too, and does not wait for it: without the record it is asked for there again.
    pub(crate) fn record_behind(self: &Arc<Self>, key: &str, value: Vec<u8>) -> Result<(), Failure> {
        self.check_open()?;
        self.queue.push(key, value, None);
        self.begin_to_append(false);
        Ok(())
    }

    /// Appends on this thread as long as the store answers at once, or this thread `may_wait` for it and that takes little time;
    /// and then on the process's runtime: whoever drops the step's future, as a race does, must not leave a record half accounted for.
    fn begin_to_append(self: &Arc<Self>, may_wait: bool) {
        if !self.queue.begin() {
            return;
        }
        let may_wait = Arc::new(AtomicBool::new(may_wait));
        let (steps, may) = (self.clone(), may_wait.clone());
        let mut appending = Box::pin(async move { steps.append_all(&may).await });
        let _process = self.process.enter();
        let mut context = Context::from_waker(Waker::noop());
        if appending.as_mut().poll(&mut context).is_pending() {
            may_wait.store(false, Ordering::Relaxed);
            self.process.spawn(appending);
        }
    }

    async fn append_all(&self, may_wait: &AtomicBool) {
        let appending = Appending(&self.queue);
        while let Some(waiting) = self.queue.take() {
            self.append_group(waiting, may_wait).await;
        }
        std::mem::forget(appending);
    }

    /// Appends these results, together.
    async fn append_group(&self, waiting: Vec<Waiting>, may_wait: &AtomicBool) {
        let lease_until_ms = (*self.allowed.borrow()).unwrap_or(0);
        let (sequence, at, epoch) = {
            let known = lock(&self.known);
            (known.sequence, known.length, known.epoch)
        };
        let too_large =
            |error: &TooLarge| lock(&self.known).fatal(Failure::new(Code::SaveFailed, error.to_string()));
        let mut group = Group::new(waiting, sequence, too_large);
        if group.len() == 0 {
            return;
        }
        let bytes = std::mem::take(&mut group.bytes).into();
        if let Err(failure) = self.append(epoch, at, bytes, lease_until_ms, may_wait).await {
            return group.tell(|_| Err(failure.clone()));
        }
        // Acknowledged only while the lease lasts: after it a successor may have sealed the segment.
        if self.now_us() / 1000 >= lease_until_ms {
            return group.tell(|key| Err(lock(&self.known).fatal(lease_over(key))));
        }
        lock(&self.known).add(epoch, &group);
        group.tell(|_| Ok(()));
    }

    async fn append(
        &self,
        epoch: u64,
        at: u64,
        bytes: Bytes,
        lease_until_ms: u64,
        may_wait: &AtomicBool,
    ) -> Result<u64, Failure> {
        let log = self.log.as_ref().ok_or_else(no_store)?;
        let name = key::segment(log.id(), epoch, self.nonce);
        let key = Key::new(&name).map_err(|error| Failure::new(Code::NotConfigured, error.to_string()))?;
        let mut wait = Duration::from_millis(5);
        loop {
            let began_us = self.now_us();
            let is_here = may_wait.load(Ordering::Relaxed) && self.is_quick.load(Ordering::Relaxed);
            let here = is_here.then(|| log.store().append_here(&key, at, &bytes, Behind::Zeros)).flatten();
            let appended = match here {
                Some(appended) => appended,
                None => log.store().append(&key, at, bytes.clone()).await,
            };
            let error = match appended {
                Ok(length) => {
                    // The first append makes the segment, which takes longer than the others will.
                    let is_quick = at == 0 || self.now_us().saturating_sub(began_us) <= QUICK_US;
                    self.is_quick.store(is_quick, Ordering::Relaxed);
                    return Ok(length);
                }
                Err(error) => error,
            };
            let is_over = self.now_us() / 1000 >= lease_until_ms;
            let may_pass = error.is_retryable() || error.kind() == StoreErrorKind::Full;
            if !may_pass || is_over {
                let failure = limitless_faas_store::log::failure(&error);
                return Err(lock(&self.known).fatal(Failure::new(Code::StoreAway, failure.message)));
            }
            tokio::time::sleep(wait).await;
            wait = (wait * 2).min(Duration::from_millis(500));
        }
    }
}

impl Known {
    /// What a handler that goes on from this checkpoint has behind it, and what it will meet again.
    fn go_back_to(&mut self, from: Option<&Saved>) {
        let is_behind = |placed: &Placed| {
            from.is_some_and(|from| {
                let is_before =
                    placed.epoch < from.epoch || (placed.epoch == from.epoch && placed.end <= from.steps);
                is_before && !from.ahead.contains(&placed.key)
            })
        };
        let (behind, ahead): (Vec<_>, Vec<_>) = self.records.iter().partition(|placed| is_behind(placed));
        self.used = behind.into_iter().map(|placed| placed.key.clone()).collect();
        self.replay = ahead.into_iter().map(|placed| (placed.key.clone(), placed.value.clone())).collect();
    }

    /// Counts what was appended at the end of our segment and acknowledged.
    fn add(&mut self, epoch: u64, group: &Group) {
        let at = self.length;
        for (record, end) in group.records() {
            let end = at + end as u64;
            self.records.push(Placed { epoch, end, key: record.key.clone(), value: record.value.clone() });
            self.length = end;
        }
        self.sequence += group.len() as u64;
    }

    fn fatal(&mut self, failure: Failure) -> Failure {
        self.fatal.get_or_insert(failure).clone()
    }
}

/// What became of a record, once that is known.
async fn outcome(told: oneshot::Receiver<Result<(), Failure>>) -> Result<(), Failure> {
    let lost = |_| Failure::new(Code::StoreAway, "recording a step was interrupted");
    told.await.unwrap_or_else(|error| Err(lost(error)))
}

/// Lets whatever runs beside go on until it waits.
pub(crate) async fn yield_once() {
    let mut has_yielded = false;
    poll_fn(|cx| {
        if std::mem::replace(&mut has_yielded, true) {
            return Poll::Ready(());
        }
        cx.waker().wake_by_ref();
        Poll::Pending
    })
    .await;
}

/// Whoever appends. Dropped before nothing was left, as with its runtime, it leaves nobody waiting.
struct Appending<'a>(&'a Queue);

impl Drop for Appending<'_> {
    fn drop(&mut self) {
        self.0.give_up();
    }
}

fn lease_over(key: &str) -> Failure {
    Failure::new(
        Code::StoreAway,
        format!("step `{key}` was recorded too late to count: the lease was over before the store answered"),
    )
}
