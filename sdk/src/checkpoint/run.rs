//! Runs a handler in a session and tells how the run ended.

use std::any::Any;
use std::cell::RefCell;
use std::future::{Future, poll_fn};
use std::panic::{AssertUnwindSafe, PanicHookInfo, catch_unwind, resume_unwind};
use std::pin::pin;
use std::sync::{Arc, Once};
use std::task::{Context as Waker, Poll, Wake};
use std::thread::Thread;

use serde_json::value::RawValue;

use super::outcome::Outcome;
use super::session::{Session, Starting};
use crate::handler::{Entry, Handler, HandlerDef, Running};

/// What unwinds a handler that was suspended. Never printed: `resume_unwind` passes the panic hook by.
struct Halted;

/// Ends the run with this outcome and unwinds the handler.
pub(crate) fn halt(session: &Session, outcome: Outcome) -> ! {
    session.end(outcome);
    resume_unwind(Box::new(Halted))
}

impl Session {
    /// Runs a handler on this thread until it returns or suspends.
    ///
    /// An async handler is polled on this thread too, which parks while the future waits; it needs
    /// to bring its own reactor. Use [`Session::run_async`] inside a runtime.
    pub fn run<H: Handler>(&self, input: &RawValue) -> Outcome {
        self.run_definition(H::definition(), input)
    }

    /// [`Session::run`] for a handler known at run time only.
    pub fn run_definition(&self, handler: &HandlerDef, input: &RawValue) -> Outcome {
        match handler.entry {
            Entry::Sync(entry) => self.run_sync(entry, input),
            _ => block_on(self.run_definition_async(handler, input)),
        }
    }

    /// Runs a handler until it returns or suspends; a suspended handler's future is dropped.
    ///
    /// A handler that is not async runs within the first poll.
    pub async fn run_async<H: Handler>(&self, input: &RawValue) -> Outcome {
        self.run_definition_async(H::definition(), input).await
    }

    /// [`Session::run_async`] for a handler known at run time only.
    pub async fn run_definition_async(&self, handler: &HandlerDef, input: &RawValue) -> Outcome {
        let entry = match handler.entry {
            Entry::Sync(entry) => return self.run_sync(entry, input),
            Entry::Async(entry) => entry,
            #[cfg(feature = "programs")]
            Entry::Program(declared) => return crate::program::run(self, declared, input).await,
        };
        let mut running = Some(entry(self, input));
        // The handler takes the session in its first poll. A later one could only meet a handler that it calls.
        let mut starting = Some(());
        poll_fn(|waker| {
            let offer = starting.take().map(|()| Starting::offer(self));
            let polled = self.poll_guarded(&mut running, waker);
            drop(offer);
            polled
        })
        .await
    }

    fn run_sync(&self, entry: crate::handler::SyncEntry, input: &RawValue) -> Outcome {
        let starting = Starting::offer(self);
        let caught = guarded(|| entry(self, input));
        drop(starting);
        self.outcome(caught)
    }

    fn poll_guarded(&self, future: &mut Option<Running>, waker: &mut Waker<'_>) -> Poll<Outcome> {
        let Some(running) = future else { return Poll::Pending };
        let polled = guarded(|| running.as_mut().poll(waker));
        let caught = match polled {
            Ok(Poll::Ready(outcome)) => Ok(outcome),
            Ok(Poll::Pending) => match self.take_ended() {
                Some(outcome) => Ok(outcome),
                None => return Poll::Pending,
            },
            Err(panic) => Err(panic),
        };
        // Destructors of a parked handler run here, and may panic themselves.
        let dropped = guarded(|| *future = None);
        Poll::Ready(self.outcome(caught.and_then(|outcome| dropped.map(|()| outcome))))
    }

    fn outcome(&self, caught: Result<Outcome, Panic>) -> Outcome {
        match (caught, self.take_ended()) {
            (Ok(outcome), _) => outcome,
            (Err(Panic { payload, .. }), Some(ended)) if payload.is::<Halted>() => ended,
            (Err(panic), _) => Outcome::Panicked { message: panic.message() },
        }
    }
}

struct Panic {
    payload: Box<dyn Any + Send>,
    place: Option<String>,
}

impl Panic {
    fn message(&self) -> String {
        let text = self.payload.downcast_ref::<&str>().map(|text| (*text).to_owned());
        let text = text.or_else(|| self.payload.downcast_ref::<String>().cloned());
        let text = text.unwrap_or_else(|| String::from("a value that is not a message was thrown"));
        match &self.place {
            Some(place) => format!("{text} (at {place})"),
            None => text,
        }
    }
}

thread_local! {
    static PLACE: RefCell<Watched> = const { RefCell::new(Watched::No) };
}

/// Whether a handler runs on this thread, and where it panicked.
enum Watched {
    No,
    Yes,
    Panicked(String),
}

/// Runs code of the user's; panics are returned with their place.
fn guarded<T>(run: impl FnOnce() -> T) -> Result<T, Panic> {
    watch_places();
    let before = PLACE.replace(Watched::Yes);
    // The handler's state is dropped with it, and a session is valid between any two statements.
    let caught = catch_unwind(AssertUnwindSafe(run));
    let place = match PLACE.replace(before) {
        Watched::Panicked(place) => Some(place),
        Watched::No | Watched::Yes => None,
    };
    caught.map_err(|payload| Panic { payload, place })
}

/// The payload of a panic does not say where it happened; only the hook is told.
fn watch_places() {
    static WATCH: Once = Once::new();
    WATCH.call_once(|| {
        let before = std::panic::take_hook();
        std::panic::set_hook(Box::new(move |panic: &PanicHookInfo<'_>| {
            // A panic while this thread's locals are being destroyed has no handler to belong to.
            let _ = PLACE.try_with(|place| {
                if let Ok(mut place) = place.try_borrow_mut()
                    && !matches!(*place, Watched::No)
                    && let Some(location) = panic.location()
                {
                    *place = Watched::Panicked(location.to_string());
                }
            });
            before(panic);
        }));
    });
}

struct Unpark(Thread);

impl Wake for Unpark {
    fn wake(self: Arc<Self>) {
        self.0.unpark();
    }
}

fn block_on<T>(future: impl Future<Output = T>) -> T {
    let waker = Arc::new(Unpark(std::thread::current())).into();
    let mut waker = Waker::from_waker(&waker);
    let mut future = pin!(future);
    loop {
        if let Poll::Ready(value) = future.as_mut().poll(&mut waker) {
            return value;
        }
        std::thread::park();
    }
}
