//! The thread that a handler computes on.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::task::Poll;

use limitless_faas_core::invocation::{Delivery, Event, Finished, Snapshot};
use limitless_faas_core::log::Saved;
use limitless_faas_core::{Advice, Code, ExecutionId, Failure, Nonce};
use limitless_faas_store::Log;
use limitless_faas_store::pieces::Waiting;
use serde_json::value::RawValue;
use tokio::sync::{Notify, mpsc};

use super::growth::Growth;
use super::saving::{Saving, store_error};
use super::state::{Envelope, State};
use super::world::World;
use super::{Steps, no_store, pieces};
use crate::checkpoint::{Outcome, Request, Session};
use crate::handler::HandlerDef;
use crate::workflow::{Crew, Job};

/// What a run of the handler says, and which run.
pub(super) struct RunEvent {
    pub(super) generation: u64,
    pub(super) event: Event,
    /// A small state that was saved, kept so that going on needs no read.
    pub(super) envelope: Option<Envelope>,
}

/// One run of the handler, from outside.
#[derive(Clone)]
pub(super) struct Run {
    inner: Arc<Inner>,
}

struct Inner {
    generation: u64,
    to: mpsc::UnboundedSender<RunEvent>,
    handler: &'static HandlerDef,
    log: Option<Log>,
    execution: ExecutionId,
    nonce: Nonce,
    /// What the hook was asked, until there is a session to ask.
    wanted: std::sync::Mutex<(Option<Asked>, Option<Request>)>,
    is_abandoned: AtomicBool,
    abandoned: Notify,
    /// When the hook began to save, in µs.
    saving_since: std::sync::Mutex<Option<u64>>,
    /// Until when a store that fails is offered the state again, µs since 1970.
    offer_until_us: AtomicU64,
    /// Whether the handler may go on before what it saves is in the store.
    may_follow: AtomicBool,
    /// What the hook saved.
    saved: std::sync::Mutex<Option<(Saved, Option<Envelope>)>>,
    /// What of that the store has not yet.
    waiting: std::sync::Mutex<Option<Waiting>>,
    world: Arc<dyn World>,
}

/// What is asked: the run, and the threads of its nodes.
type Asked = (Session, Arc<Crew>);
type Prepared = (String, Option<State>, u64, Arc<Steps>);

impl Run {
    pub(super) fn new(
        generation: u64,
        to: mpsc::UnboundedSender<RunEvent>,
        handler: &'static HandlerDef,
        log: Option<Log>,
        delivery: &Delivery,
        world: Arc<dyn World>,
    ) -> Self {
        let inner = Inner {
            generation,
            to,
            handler,
            log,
            execution: delivery.execution.clone(),
            nonce: delivery.nonce,
            wanted: std::sync::Mutex::default(),
            is_abandoned: AtomicBool::new(false),
            abandoned: Notify::new(),
            saving_since: std::sync::Mutex::default(),
            offer_until_us: AtomicU64::new(0),
            may_follow: AtomicBool::new(false),
            saved: std::sync::Mutex::default(),
            waiting: std::sync::Mutex::default(),
            world,
        };
        Self { inner: Arc::new(inner) }
    }

    /// Asks the hook to say that it was passed.
    pub(super) fn report(&self) {
        self.ask(Request::Report);
    }

    /// Asks the hook to save and suspend.
    pub(super) fn suspend(&self, offer_until_us: u64, may_follow: bool) {
        self.inner.offer_until_us.store(offer_until_us, Ordering::Relaxed);
        self.inner.may_follow.store(may_follow, Ordering::Relaxed);
        self.ask(Request::Suspend);
        let asked = lock(&self.inner.wanted).0.clone();
        if !may_follow && let Some((session, crew)) = asked {
            crew.watch(&session);
        }
    }

    /// Stops the handler at its next hook or wait; nothing more is heard of it.
    pub(super) fn abandon(&self) {
        self.inner.is_abandoned.store(true, Ordering::Relaxed);
        self.inner.abandoned.notify_one();
        self.ask(Request::Suspend);
    }

    fn ask(&self, request: Request) {
        let mut wanted = lock(&self.inner.wanted);
        match &wanted.0 {
            Some((session, crew)) => {
                session.request(request);
                crew.pass_on(session, request);
            }
            None => wanted.1 = wanted.1.max(Some(request)),
        }
    }

    /// Prepares on the process's runtime, then computes on a thread that has time for it.
    pub(super) fn start(&self, prepare: impl Future<Output = Result<Prepared, Failure>> + Send + 'static) {
        let run = self.clone();
        let mut prepare = Box::pin(prepare);
        // A call that begins at the beginning has nothing to wait for.
        let mut context = std::task::Context::from_waker(std::task::Waker::noop());
        if let std::task::Poll::Ready(prepared) = prepare.as_mut().poll(&mut context) {
            return run.begin(prepared);
        }
        tokio::spawn(async move {
            let prepared = prepare.await;
            run.begin(prepared);
        });
    }

    fn begin(self, prepared: Result<Prepared, Failure>) {
        let prepared = match prepared {
            Ok(prepared) => prepared,
            // Nothing has happened yet: the execution is given back as it was.
            Err(failure) => return self.tell(Event::Finished(Finished::Unable { failure, steps: 0 }), None),
        };
        let runtime = tokio::runtime::Handle::current();
        let world = self.inner.world.clone();
        world.spawn(Box::new(move || self.compute(prepared, &runtime)));
    }

    fn compute(self, (input, state, epoch, steps): Prepared, runtime: &tokio::runtime::Handle) {
        if self.inner.is_abandoned.load(Ordering::Relaxed) {
            return;
        }
        let _told = ToldOnPanic(&self);
        let _over = Over(&self);
        let saving = Saving::new(self.clone(), self.header(epoch), self.inner.log.clone(), runtime.clone());
        let session = self.session(state, saving, steps.clone());
        let outcome = match RawValue::from_string(input) {
            Ok(input) => self.run(&session, &input, &steps),
            Err(error) => Outcome::BadInput { message: error.to_string() },
        };
        let is_first_hook = !session.has_passed_a_hook();
        let (event, envelope) = self.event(outcome, &steps, is_first_hook);
        let Some(waiting) = lock(&self.inner.waiting).take() else { return self.tell(event, envelope) };
        // From now on the next checkpoint waits for this one.
        let under_way = pieces::begin_upload();
        self.tell(event, envelope);
        self.upload(waiting, runtime);
        drop(under_way);
    }

    /// Brings to the store what the handler left here, which goes on meanwhile on another thread.
    fn upload(&self, waiting: Waiting, runtime: &tokio::runtime::Handle) {
        let checkpoint = waiting.key().name().to_owned();
        let uploaded = waiting.upload(runtime);
        if let Ok(written) = &uploaded {
            pieces::remember(&self.inner.execution, &checkpoint, &written.manifest);
        }
        let result = uploaded.map(drop).map_err(|error| limitless_faas_store::log::failure(&error));
        self.tell(Event::Uploaded { checkpoint, result }, None);
    }

    fn session(&self, state: Option<State>, saving: Saving, steps: Arc<Steps>) -> Session {
        let from = state.map(|state| Box::new(state) as Box<dyn std::io::Read + Send>);
        let crew = steps.crew().clone();
        let growth = self.growth(from.is_some());
        let session = Session::with_sink(from, saving).with_services(steps);
        let reporting = self.clone();
        let session = session.with_on_hook(move || {
            reporting.tell(Event::HookPassed, None);
            if let Some(bytes) = growth.as_ref().and_then(|growth| growth.news(reporting.memory_bytes())) {
                reporting.tell(Event::Grown { bytes }, None);
            }
        });
        session.notice_first_hook();
        let mut wanted = lock(&self.inner.wanted);
        if let Some(request) = wanted.1.take() {
            session.request(request);
        }
        wanted.0 = Some((session.clone(), crew));
        session
    }

    /// What a workflow saves are counts, whatever its nodes hold; and a program's memory is not this process's.
    fn growth(&self, is_resumed: bool) -> Option<Growth> {
        let handler = self.inner.handler;
        let holds_state =
            handler.workflow.is_none() && (!handler.checkpoints.is_empty() || handler.state.is_some());
        holds_state.then(|| Growth::since(if is_resumed { None } else { self.memory_bytes() }))
    }

    fn memory_bytes(&self) -> Option<u64> {
        self.inner.world.memory_bytes()
    }

    /// The hook wants to save, if there is any use in that.
    pub(super) fn begins_to_save(&self) -> std::io::Result<()> {
        if self.inner.is_abandoned.load(Ordering::Relaxed) {
            return Err(std::io::Error::other("this invocation no longer drives the execution"));
        }
        // A store that wants several attempts costs all of them.
        lock(&self.inner.saving_since).get_or_insert_with(|| self.now_us());
        Ok(())
    }

    /// Microseconds since 1970.
    pub(super) fn now_us(&self) -> u64 {
        self.inner.world.now_us()
    }

    /// Until when the store is offered the state, µs since 1970.
    pub(super) fn offer_until_us(&self) -> u64 {
        self.inner.offer_until_us.load(Ordering::Relaxed)
    }

    /// Whether what is saved may reach the store after the handler has gone on.
    pub(super) fn may_follow(&self) -> bool {
        self.inner.may_follow.load(Ordering::Relaxed)
    }

    /// The state is saved, but the store has yet to get it.
    pub(super) fn waits(&self, waiting: Waiting) {
        *lock(&self.inner.waiting) = Some(waiting);
    }

    /// The state is durable, or stands in what the log entry will hold, or [waits](Run::waits).
    pub(super) fn has_saved(&self, mut saved: Saved, envelope: Option<Envelope>) {
        let now_us = self.now_us();
        saved.cost_us = now_us.saturating_sub(lock(&self.inner.saving_since).unwrap_or(now_us));
        *lock(&self.inner.saved) = Some((saved, envelope));
    }

    fn run(&self, session: &Session, input: &RawValue, steps: &Steps) -> Outcome {
        if !self.inner.handler.is_async {
            return session.run_definition(self.inner.handler, input);
        }
        let mut waits = match self.inner.world.waits() {
            Ok(waits) => waits,
            Err(error) => {
                return Outcome::Panicked { message: format!("no runtime for the handler: {error}") };
            }
        };
        let mut running = std::pin::pin!(session.run_definition_async(self.inner.handler, input));
        let mut abandoned = std::pin::pin!(self.inner.abandoned.notified());
        loop {
            let mut next = None;
            let first = std::future::poll_fn(|cx| {
                if abandoned.as_mut().poll(cx).is_ready() {
                    let message = "this invocation no longer drives the execution".to_owned();
                    return Poll::Ready(Next::Ended(Outcome::Panicked { message }));
                }
                match running.as_mut().poll(cx) {
                    Poll::Ready(outcome) => Poll::Ready(Next::Ended(outcome)),
                    Poll::Pending => {
                        steps.crew().pause(session).map_or(Poll::Pending, |job| Poll::Ready(Next::Alone(job)))
                    }
                }
            });
            waits.wait(std::pin::pin!(async { next = Some(first.await) }));
            match next {
                Some(Next::Ended(outcome)) => return outcome,
                Some(Next::Alone(job)) => steps.crew().run_alone(job),
                None => {
                    let message = "the handler's runtime ended before it did".to_owned();
                    return Outcome::Panicked { message };
                }
            }
        }
    }

    fn header(&self, epoch: u64) -> limitless_faas_core::checkpoint::Header {
        super::state::header(
            self.inner.handler,
            &self.inner.execution,
            epoch,
            self.inner.nonce,
            // A run saves at most once, so no two blobs share a name.
            self.inner.generation,
        )
    }

    fn event(&self, outcome: Outcome, steps: &Steps, is_first_hook: bool) -> (Event, Option<Envelope>) {
        // What went wrong with a step counts, whatever the handler made of the error.
        if let Some(failure) = steps.take_fatal() {
            let finished = if failure.code.advice() == Advice::Retry {
                Finished::Unable { failure, steps: steps.length() }
            } else {
                Finished::Failed(failure)
            };
            return (Event::Finished(finished), None);
        }
        let failed = |code, message| Event::Finished(Finished::Failed(Failure::new(code, message)));
        let unable = |failure| Event::Finished(Finished::Unable { failure, steps: steps.length() });
        let event = match outcome {
            Outcome::Returned(Ok(json)) => Event::Finished(Finished::Returned(json.get().to_owned())),
            Outcome::Returned(Err(error)) => failed(Code::Application, error.message),
            Outcome::Suspended(point) => {
                return self.suspended(steps, &point.to_string(), is_first_hook);
            }
            Outcome::Panicked { message } => {
                failed(Code::Panicked, format!("the handler panicked: {message}"))
            }
            Outcome::BadInput { message } => failed(Code::BadInput, message),
            Outcome::SaveFailed { point, source } => {
                Event::SaveFailed(save_failure(&point.to_string(), &source))
            }
            Outcome::Waiting(wake) => Event::Waiting { wake, steps: steps.length() },
            Outcome::Incompatible(what) => unable(Failure::new(
                Code::Incompatible,
                super::state::incompatible(self.inner.handler.name, &what.to_string()),
            )),
            Outcome::Damaged { message } => unable(Failure::new(Code::Damaged, message)),
        };
        (event, None)
    }

    /// The handler has stopped, and its state is saved.
    fn suspended(&self, steps: &Steps, site: &str, is_first_hook: bool) -> (Event, Option<Envelope>) {
        if self.inner.log.is_none() {
            return (Event::SaveFailed(no_store()), None);
        }
        let Some((mut saved, envelope)) = lock(&self.inner.saved).take() else {
            let failure = Failure::new(Code::SaveFailed, format!("the state at {site} was not sealed"));
            return (Event::SaveFailed(failure), None);
        };
        saved.steps = steps.length();
        saved.ahead = steps.ahead();
        saved.is_first_hook = is_first_hook;
        if let Some(measure) = steps.take_measure() {
            saved.state = measure.progress;
            saved.bytes += measure.moved_bytes;
        }
        site.clone_into(&mut saved.site);
        let is_on_its_way = lock(&self.inner.waiting).is_some();
        (Event::Suspended(Snapshot { saved, is_on_its_way }), envelope)
    }

    fn tell(&self, event: Event, envelope: Option<Envelope>) {
        if self.inner.is_abandoned.load(Ordering::Relaxed) {
            return;
        }
        // Nobody listens any more where the delivery has its answer.
        let _ = self.inner.to.send(RunEvent { generation: self.inner.generation, event, envelope });
    }
}

/// What the handler's thread does next.
enum Next {
    Ended(Outcome),
    /// Runs the only node that there is to wait for.
    Alone(Job),
}

/// A panic of ours between the handler and its outcome: the delivery must not wait for ever.
struct ToldOnPanic<'a>(&'a Run);

impl Drop for ToldOnPanic<'_> {
    fn drop(&mut self) {
        if std::thread::panicking() {
            let failure = Failure::new(Code::StoreAway, "the run ended without an outcome");
            self.0.tell(Event::Finished(Finished::Unable { failure, steps: 0 }), None);
        }
    }
}

/// Nobody is asked any more once the run is over. Run and session know each other: neither would ever be freed.
struct Over<'a>(&'a Run);

impl Drop for Over<'_> {
    fn drop(&mut self) {
        lock(&self.0.inner.wanted).0 = None;
    }
}

/// A store that does not take the state is worth another try; a state that can't be encoded is not.
fn save_failure(site: &str, source: &std::io::Error) -> Failure {
    match store_error(source) {
        Some(error) => limitless_faas_store::log::failure(error),
        None => Failure::new(Code::SaveFailed, format!("the state at {site} can't be saved: {source}")),
    }
}

pub(crate) fn lock<T>(mutex: &std::sync::Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
}
