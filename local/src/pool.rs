//! The function processes: started when needed, paused and removed when not, each for one revision of one function.

use std::collections::BTreeMap;
use std::io;
use std::path::PathBuf;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use tokio::sync::Notify;
use tokio::sync::futures::Notified;
use tokio::time::Instant;
use tokio_util::task::TaskTracker;

use crate::config::{Config, Image};
use crate::container::{Container, Usage};
use crate::events::{EventKind, Events, KillReason};
use crate::function::{Function, Habits};
use crate::keeper::Keeper;
use crate::launch;
use crate::process::Process;
use crate::sync::lock;

/// How long a call waits for a process that is being prepared, or has answered but not yet ended its logs, before
/// another one is started.
const NEARLY_FREE: Duration = Duration::from_millis(20);

/// Why no process could be had.
#[derive(Debug, thiserror::Error)]
pub(crate) enum StartError {
    #[error("image {0:?} is not registered with the local platform")]
    NoImage(String),
    #[error("the program of image {image:?}, {program}, can't be started: {error}")]
    Program { image: String, program: PathBuf, error: io::Error },
    #[error("the container of image {image:?}, {container}, can't be started: {error}")]
    Container { image: String, container: String, error: io::Error },
    #[error("the platform is shutting down")]
    Closed,
}

#[derive(Debug)]
pub(crate) struct Pool {
    pub(crate) config: Arc<Config>,
    pub(crate) events: Events,
    pub(crate) keeper: Arc<Keeper>,
    pub(crate) folder: PathBuf,
    pub(crate) mark: String,
    pub(crate) tasks: TaskTracker,
    images: Mutex<BTreeMap<String, (u64, Image)>>,
    state: Mutex<State>,
    changed: Notify,
    numbers: AtomicU64,
}

#[derive(Debug, Default)]
struct State {
    closed: bool,
    containers: BTreeMap<u64, Arc<Container>>,
    starting: usize,
    /// The revisions that processes are being started for before anybody calls.
    preparing: Vec<u64>,
}

enum Claim {
    Warm(Lease),
    Start(Start),
    /// One of the function's processes will be free in a moment.
    NearlyFree,
    /// As many processes as there may be, all at work.
    Full,
}

impl Pool {
    pub(crate) fn new(
        config: Arc<Config>,
        events: Events,
        keeper: Arc<Keeper>,
        folder: PathBuf,
        mark: String,
    ) -> Arc<Self> {
        let images = config.images.iter().map(|(name, image)| (name.clone(), (0, image.clone())));
        Arc::new(Self {
            images: Mutex::new(images.collect()),
            config,
            events,
            keeper,
            folder,
            mark,
            tasks: TaskTracker::new(),
            state: Mutex::default(),
            changed: Notify::new(),
            numbers: AtomicU64::new(0),
        })
    }

    pub(crate) fn image(&self, name: &str) -> Option<Image> {
        lock(&self.images).get(name).map(|(_, image)| image.clone())
    }

    /// Replaces an image: processes of the old one take no further call.
    pub(crate) fn set_image(&self, name: &str, image: Image) {
        let mut images = lock(&self.images);
        let generation = images.get(name).map_or(0, |(generation, _)| generation + 1);
        images.insert(name.to_owned(), (generation, image));
        drop(images);
        self.retire_idle(|container| container.function.image == name && container.generation != generation);
    }

    /// Gets a process for one call: a warm one, or a new one, or whichever is free first.
    pub(crate) async fn acquire(self: &Arc<Self>, function: &Arc<Function>) -> Result<Lease, StartError> {
        let patience = Instant::now() + NEARLY_FREE;
        loop {
            let changed = self.changed.notified();
            match self.claim(function, Instant::now() < patience)? {
                Claim::Warm(lease) => return Ok(lease),
                Claim::Start(start) => return self.start(function, start).await,
                Claim::NearlyFree => wait_until(changed, patience).await,
                Claim::Full => changed.await,
            }
        }
    }

    /// Starts idle processes until the function has `count` of them, as far as there is room.
    pub(crate) fn prepare(self: &Arc<Self>, function: &Arc<Function>, count: usize) {
        for _ in self.count(function)..count {
            let Ok(Some(start)) = self.reserve(&mut lock(&self.state), function) else { return };
            let (pool, function) = (Arc::clone(self), Arc::clone(function));
            let preparing = Preparing::new(self, function.revision);
            self.tasks.spawn(async move {
                let _preparing = preparing;
                // A process that can't be started is reported to the call that needs it.
                if let Ok(lease) = pool.start(&function, start).await {
                    lease.release();
                }
            });
        }
    }

    /// How many processes of this revision there are.
    pub(crate) fn count(&self, function: &Function) -> usize {
        let state = lock(&self.state);
        state.containers.values().filter(|container| container.function.revision == function.revision).count()
    }

    fn claim(self: &Arc<Self>, function: &Arc<Function>, patient: bool) -> Result<Claim, StartError> {
        let mut state = lock(&self.state);
        if state.closed {
            return Err(StartError::Closed);
        }
        let own = || state.containers.values().filter(|it| it.function.revision == function.revision);
        let mut idle: Vec<_> = own().filter_map(|it| Some((it.idle_turn()?, it))).collect();
        // The one that worked last is the least likely to be paused.
        idle.sort_unstable_by_key(|(turn, _)| std::cmp::Reverse(*turn));
        for (_, container) in idle {
            if let Some(was_paused) = container.claim() {
                return Ok(Claim::Warm(Lease::new(self, container, Warmth::Warm { was_paused })));
            }
        }
        let is_prepared = state.preparing.contains(&function.revision);
        if patient && (is_prepared || own().any(|it| it.usage() == Usage::Finishing)) {
            return Ok(Claim::NearlyFree);
        }
        if let Some(start) = self.reserve(&mut state, function)? {
            return Ok(Claim::Start(start));
        }
        // Its end makes room, and wakes us.
        let oldest =
            state.containers.values().filter_map(|it| Some((it.idle_turn()?, it))).min_by_key(|it| it.0);
        if let Some((_, container)) = oldest {
            Self::stop(container);
        }
        Ok(Claim::Full)
    }

    fn reserve(
        self: &Arc<Self>,
        state: &mut State,
        function: &Function,
    ) -> Result<Option<Start>, StartError> {
        let images = lock(&self.images);
        let (generation, image) =
            images.get(&function.image).ok_or_else(|| StartError::NoImage(function.image.clone()))?;
        if state.containers.len() + state.starting >= self.config.limits.processes.max(1) {
            return Ok(None);
        }
        state.starting += 1;
        let number = self.numbers.fetch_add(1, Ordering::Relaxed);
        let room = Room(Arc::clone(self));
        Ok(Some(Start { number, generation: *generation, image: image.clone(), _room: room }))
    }

    async fn start(self: &Arc<Self>, function: &Arc<Function>, start: Start) -> Result<Lease, StartError> {
        let failed = |error| match &start.image.container {
            Some(container) => {
                StartError::Container { image: function.image.clone(), container: container.clone(), error }
            }
            None => StartError::Program {
                image: function.image.clone(),
                program: start.image.program.clone(),
                error,
            },
        };
        let launch = launch::prepare(self, function, &start.image, start.number).map_err(failed)?;
        let started = match launch {
            launch::Start::Program(launch) => Process::start(launch, Arc::clone(&self.keeper)).await,
            launch::Start::Container(launch) => Process::start_container(*launch).await,
        };
        let started = started.map_err(failed)?;
        let container = Container::new(
            start.number,
            start.generation,
            Arc::clone(function),
            started,
            &self.events,
            &self.tasks,
        )
        .map_err(failed)?;
        if !self.admit(&container) {
            container.process.kill(KillReason::Shutdown);
            container.process.ended().await;
            return Err(StartError::Closed);
        }
        self.tasks.spawn(Arc::clone(self).tend(Arc::clone(&container)));
        Ok(Lease::new(self, &container, Warmth::Cold))
    }

    /// Takes a fresh container into the pool, unless that is closed.
    fn admit(&self, container: &Arc<Container>) -> bool {
        let mut state = lock(&self.state);
        if !state.closed {
            state.containers.insert(container.number, Arc::clone(container));
        }
        !state.closed
    }

    /// Pauses, keeps and removes one container, as its time comes.
    async fn tend(self: Arc<Self>, container: Arc<Container>) {
        let mut usage = container.watch();
        loop {
            let now = *usage.borrow_and_update();
            let next = self.next_care(&container, now);
            let due = async move {
                match next {
                    Some(after) => tokio::time::sleep(after).await,
                    None => std::future::pending().await,
                }
            };
            tokio::select! {
                biased;
                _ = container.process.ended() => break,
                _ = usage.changed() => {}
                () = due => self.care(&container, now),
            }
        }
        // Whoever it worked for tells of its death before we tell that it is gone.
        let is_left = |usage: &Usage| !matches!(usage, Usage::Busy | Usage::Finishing);
        drop(usage.wait_for(is_left).await);
        lock(&self.state).containers.remove(&container.number);
        launch::clean(&self.folder, container.number);
        self.events.emit("", &container.function.name, EventKind::Removed);
        self.changed.notify_waiters();
    }

    fn next_care(&self, container: &Container, usage: Usage) -> Option<Duration> {
        let limits = &self.config.limits;
        match usage {
            Usage::Idle { paused: false, .. } if container.function.habits == Habits::OpenWhisk => {
                Some(limits.pause_after)
            }
            Usage::Idle { .. } => Some(limits.idle_after),
            Usage::Leaving => Some(limits.stop_grace),
            Usage::Busy | Usage::Finishing => None,
        }
    }

    fn care(&self, container: &Arc<Container>, usage: Usage) {
        match usage {
            Usage::Idle { turn, paused: false } if container.function.habits == Habits::OpenWhisk => {
                if container.pause(turn) {
                    self.events.emit("", &container.function.name, EventKind::Paused);
                }
            }
            Usage::Idle { .. } => {
                let function = &container.function;
                if self.count(function) > function.keep.load(Ordering::SeqCst) {
                    Self::stop(container);
                }
            }
            Usage::Leaving => container.process.kill(KillReason::Shutdown),
            Usage::Busy | Usage::Finishing => {}
        }
    }

    /// Stops an idle container as its platform does; a busy one is left alone.
    fn stop(container: &Container) {
        if container.leave() {
            Self::end(container);
        }
    }

    fn end(container: &Container) {
        match container.function.habits {
            Habits::OpenWhisk => container.process.kill(KillReason::Shutdown),
            // SIGKILL follows after the grace.
            Habits::OpenFaas => container.process.terminate(),
        }
    }

    fn retire_idle(&self, is_meant: impl Fn(&Container) -> bool) {
        let meant: Vec<_> =
            lock(&self.state).containers.values().filter(|it| is_meant(it)).cloned().collect();
        for container in meant {
            Self::stop(&container);
        }
    }

    /// Ends the processes of a revision: the idle ones now, those at work after their answer. OpenFaaS tells those at
    /// work as well, so that they can save what they have.
    pub(crate) fn retire(&self, function: &Function) {
        function.retire();
        let is_own = |container: &Container| container.function.revision == function.revision;
        if function.habits == Habits::OpenFaas {
            for container in lock(&self.state).containers.values().filter(|it| is_own(it)) {
                container.process.terminate();
            }
        }
        self.retire_idle(is_own);
    }

    /// Keeps at most `count` idle processes of the function.
    pub(crate) fn shrink(&self, function: &Function, count: usize) {
        let state = lock(&self.state);
        let own = state.containers.values().filter(|it| it.function.revision == function.revision);
        let surplus: Vec<_> = own.skip(count).cloned().collect();
        drop(state);
        for container in surplus {
            Self::stop(&container);
        }
    }

    /// Kills every process; none is started any more.
    pub(crate) fn close(&self) {
        let mut state = lock(&self.state);
        state.closed = true;
        for container in state.containers.values() {
            container.process.kill(KillReason::Shutdown);
        }
        drop(state);
        self.changed.notify_waiters();
    }

    fn is_current(&self, container: &Container) -> bool {
        let generation = lock(&self.images).get(&container.function.image).map(|(generation, _)| *generation);
        !container.function.is_retired() && generation == Some(container.generation)
    }
}

async fn wait_until(changed: Notified<'_>, until: Instant) {
    // Running out of patience is as good a reason to look again as a change.
    drop(tokio::time::timeout_at(until, changed).await);
}

/// What a reserved start needs.
struct Start {
    number: u64,
    generation: u64,
    image: Image,
    _room: Room,
}

/// The place of a process that is being started.
struct Room(Arc<Pool>);

impl Drop for Room {
    fn drop(&mut self) {
        lock(&self.0.state).starting -= 1;
        self.0.changed.notify_waiters();
    }
}

/// A process that is being prepared, until it is idle.
struct Preparing(Arc<Pool>, u64);

impl Preparing {
    fn new(pool: &Arc<Pool>, revision: u64) -> Self {
        lock(&pool.state).preparing.push(revision);
        Self(Arc::clone(pool), revision)
    }
}

impl Drop for Preparing {
    fn drop(&mut self) {
        let mut state = lock(&self.0.state);
        if let Some(place) = state.preparing.iter().position(|revision| *revision == self.1) {
            state.preparing.swap_remove(place);
        }
        drop(state);
        self.0.changed.notify_waiters();
    }
}

/// A process that works for one call. Dropped without [`Lease::release`], the process is killed.
pub(crate) struct Lease {
    pool: Arc<Pool>,
    container: Arc<Container>,
    warmth: Warmth,
    released: bool,
}

/// How a process came to a call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Warmth {
    /// Started for it.
    Cold,
    /// It was there.
    Warm { was_paused: bool },
}

impl Lease {
    fn new(pool: &Arc<Pool>, container: &Arc<Container>, warmth: Warmth) -> Self {
        let (pool, container) = (Arc::clone(pool), Arc::clone(container));
        Self { pool, container, warmth, released: false }
    }

    pub(crate) fn container(&self) -> &Container {
        &self.container
    }

    pub(crate) fn warmth(&self) -> Warmth {
        self.warmth
    }

    /// The answer is there; the process is nearly free.
    pub(crate) fn finishing(&self) {
        self.container.set(Usage::Finishing);
    }

    /// Gives the process back for the next call, if there can be one.
    pub(crate) fn release(mut self) {
        self.released = true;
        if self.pool.is_current(&self.container) {
            self.container.set_idle();
        } else {
            self.container.set(Usage::Leaving);
            Pool::end(&self.container);
        }
        self.pool.changed.notify_waiters();
    }
}

impl Drop for Lease {
    fn drop(&mut self) {
        if !self.released {
            self.container.process.kill(KillReason::Shutdown);
            self.container.set(Usage::Leaving);
        }
    }
}
