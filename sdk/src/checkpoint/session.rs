//! One run of a handler, seen from the runtime.

use std::any::Any;
use std::cell::RefCell;
use std::io::{self, Read, Write};
use std::pin::pin;
use std::sync::atomic::{AtomicBool, AtomicU8, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::Instant;

use limitless_faas_core::log::Wake;
use tokio::sync::Notify;

use super::codec::StateReader;
use super::outcome::Outcome;
use super::sink::{Once, Sink, Target, offer};

/// What the runtime gives to [`Context`](super::Context): recorded steps and the like.
pub trait Services: Any + Send + Sync {}

/// What the runtime wants from the next hook.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
#[repr(u8)]
pub enum Request {
    /// Only note that a hook was passed, so that the runtime learns how far apart hooks are.
    Report = 2,
    /// Save the state and suspend.
    Suspend = 3,
}

/// The flag of a run whose first hook is to be noticed, and otherwise wants nothing.
const FIRST_HOOK: u8 = 1;

/// The hooks that answered so far.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Reports {
    /// How many requests were answered.
    pub count: u64,
    /// When the latest one was.
    pub latest: Option<Instant>,
}

/// One run of a handler: from the start or from a saved point, until it returns or suspends.
///
/// Cheap to clone; the runtime holds one end, the handler's thread the other.
#[derive(Clone)]
pub struct Session {
    pub(crate) inner: Arc<Inner>,
}

pub(crate) struct Inner {
    flag: AtomicU8,
    /// Whether a hook was passed and the handler went on to compute.
    has_passed_a_hook: AtomicBool,
    /// Whether nobody wants the result any more.
    is_called_off: AtomicBool,
    /// Wakes a workflow, which waits for its nodes rather than passing hooks.
    requested: Notify,
    from: Mutex<Option<StateReader>>,
    sink: Mutex<Option<Box<dyn Sink>>>,
    reports: Mutex<Reports>,
    on_hook: OnceLock<Box<dyn Fn() + Send + Sync>>,
    services: OnceLock<Arc<dyn Services>>,
    ended: Mutex<Option<Outcome>>,
    /// For each side of a race that is being polled, outermost first, what it waits for.
    races: Mutex<Vec<Option<Wake>>>,
}

/// The state behind these locks is valid between any two statements, so a panic elsewhere is no reason to stop.
pub(crate) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Session {
    /// A run that goes on from the state in `from`, or from the start.
    ///
    /// `sink` is called at most once, on the handler's thread, when a checkpoint is due: it says
    /// where the state is streamed.
    pub fn new(
        from: Option<Box<dyn Read + Send>>,
        sink: impl FnOnce() -> io::Result<Box<dyn Write + Send>> + Send + 'static,
    ) -> Session {
        Session::with_sink(from, Once(Some(sink)))
    }

    /// The same with a sink that says whether the state is offered again after a failure.
    pub fn with_sink(from: Option<Box<dyn Read + Send>>, sink: impl Sink + 'static) -> Session {
        let inner = Inner {
            flag: AtomicU8::new(0),
            has_passed_a_hook: AtomicBool::new(false),
            is_called_off: AtomicBool::new(false),
            requested: Notify::new(),
            from: Mutex::new(from.map(StateReader::new)),
            sink: Mutex::new(Some(Box::new(sink))),
            reports: Mutex::default(),
            on_hook: OnceLock::new(),
            services: OnceLock::new(),
            ended: Mutex::default(),
            races: Mutex::default(),
        };
        Session { inner: Arc::new(inner) }
    }

    /// A run that is never asked for a checkpoint: what a handler called as an ordinary function has.
    pub fn detached() -> Session {
        Session::new(None, || Err(io::Error::other("this run has nowhere to save a checkpoint")))
    }

    /// Gives the run what `Context::step` needs. The first call counts.
    #[must_use]
    pub fn with_services(self, services: Arc<dyn Services>) -> Session {
        let _ = self.inner.services.set(services);
        self
    }

    /// Calls `on_hook` on the handler's thread whenever a hook answered a request. The first call counts.
    #[must_use]
    pub fn with_on_hook(self, on_hook: impl Fn() + Send + Sync + 'static) -> Session {
        let _ = self.inner.on_hook.set(Box::new(on_hook));
        self
    }

    /// Asks the next hook. A `Suspend` is not taken back by a later `Report`.
    pub fn request(&self, what: Request) {
        self.inner.flag.fetch_max(what as u8, Ordering::Relaxed);
        self.inner.requested.notify_waiters();
    }

    /// Asks the next hook to stop, since nobody wants the result any more.
    pub(crate) fn call_off(&self) {
        self.inner.is_called_off.store(true, Ordering::Release);
        self.request(Request::Suspend);
    }

    /// Is over once nobody wants the result any more.
    pub(crate) async fn called_off(&self) {
        loop {
            let mut requested = pin!(self.inner.requested.notified());
            // What is asked from here on is heard.
            requested.as_mut().enable();
            if self.inner.is_called_off.load(Ordering::Acquire) {
                return;
            }
            requested.await;
        }
    }

    /// Told of every request.
    pub(crate) fn requested(&self) -> &Notify {
        &self.inner.requested
    }

    /// Notices the first hook of the run, so that a suspension there is told from one after some work.
    pub(crate) fn notice_first_hook(&self) {
        self.inner.flag.fetch_max(FIRST_HOOK, Ordering::Relaxed);
    }

    /// Whether the handler went on from a hook in this run, for a run whose first hook is noticed.
    pub(crate) fn has_passed_a_hook(&self) -> bool {
        self.inner.has_passed_a_hook.load(Ordering::Relaxed)
    }

    /// Which requests were answered, and when.
    pub fn reports(&self) -> Reports {
        *lock(&self.inner.reports)
    }

    pub(crate) fn services(&self) -> Option<Arc<dyn Services>> {
        self.inner.services.get().cloned()
    }

    pub(crate) fn flag(&self) -> &AtomicU8 {
        &self.inner.flag
    }

    pub(crate) fn take_from(&self) -> Option<StateReader> {
        lock(&self.inner.from).take()
    }

    pub(crate) fn take_sink(&self) -> Option<Box<dyn Sink>> {
        lock(&self.inner.sink).take()
    }

    /// Saves what `write` writes, as often as the sink wants it after a failure.
    pub(crate) fn save(&self, write: &dyn Fn(Box<dyn Target>) -> io::Result<()>) -> io::Result<()> {
        let taken = || io::Error::other("this run has already saved its checkpoint");
        let mut sink = self.take_sink().ok_or_else(taken)?;
        let first = sink.open()?;
        offer(sink.as_mut(), first, write)
    }

    /// Answers what was asked: true if the hook shall save and suspend.
    pub(crate) fn answer(&self) -> bool {
        let asked = self.inner.flag.load(Ordering::Relaxed);
        let suspend = asked == Request::Suspend as u8;
        if !suspend {
            self.inner.has_passed_a_hook.store(true, Ordering::Relaxed);
            // A request that arrives meanwhile stays.
            let _ = self.inner.flag.compare_exchange(asked, 0, Ordering::Relaxed, Ordering::Relaxed);
        }
        if asked == FIRST_HOOK {
            return false;
        }
        let mut reports = lock(&self.inner.reports);
        reports.count += 1;
        reports.latest = Some(Instant::now());
        drop(reports);
        if let Some(on_hook) = self.inner.on_hook.get() {
            on_hook();
        }
        suspend
    }

    pub(crate) fn end(&self, outcome: Outcome) {
        lock(&self.inner.ended).get_or_insert(outcome);
    }

    /// Something of the handler's waits for what is far off: that ends the run, unless it stands in a race.
    pub(crate) fn wait(&self, wake: Wake) {
        match lock(&self.inner.races).last_mut() {
            Some(parked) => *parked = Some(wake),
            None => self.end(Outcome::Waiting(wake)),
        }
    }

    /// Polls one side of a race; answers what it waits for, where it began to.
    pub(crate) fn race<T>(&self, poll: impl FnOnce() -> T) -> (T, Option<Wake>) {
        lock(&self.inner.races).push(None);
        let polled = poll();
        (polled, lock(&self.inner.races).pop().flatten())
    }

    pub(crate) fn take_ended(&self) -> Option<Outcome> {
        lock(&self.inner.ended).take()
    }
}

thread_local! {
    /// The session whose handler is about to start on this thread.
    static STARTING: RefCell<Option<Session>> = const { RefCell::new(None) };
}

/// Offers the session to the handler that starts next on this thread, while this value lives.
pub(crate) struct Starting;

impl Starting {
    pub(crate) fn offer(session: &Session) -> Starting {
        STARTING.with_borrow_mut(|slot| *slot = Some(session.clone()));
        Starting
    }

    /// The outermost handler takes the session; those it calls find none, and their hooks are inert.
    pub(crate) fn take() -> Option<Session> {
        STARTING.with_borrow_mut(Option::take)
    }
}

impl Drop for Starting {
    fn drop(&mut self) {
        drop(Starting::take());
    }
}
