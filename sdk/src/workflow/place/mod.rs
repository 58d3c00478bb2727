//! Where a node runs: on a thread, in a process of the wrap's pool, or in another wrap. Three ways to start a call that
//! ends the same way, so that the orchestrator does not know them apart.

use std::io::{self, Write};
use std::sync::{Arc, Mutex, PoisonError};

use limitless_faas_core::placement::Place;
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use tokio::sync::oneshot;

use crate::checkpoint::{Outcome, Session};
use crate::child::Child;
use crate::engine::Steps;
use crate::error::Error;
use crate::handler::HandlerDef;
use crate::workflow::late::Turn;

mod process;
mod remote;
mod thread;

pub(crate) use process::{WORKER, work};

/// One call of a node's handler.
pub(super) struct Call {
    pub(super) handler: &'static HandlerDef,
    /// The node's name: `count`, or `audit[3]` within a `map`.
    pub(super) name: String,
    /// How often it failed before.
    pub(super) attempt: u32,
    pub(super) input: Box<RawValue>,
    /// What it saved last.
    pub(super) from: Option<Vec<u8>>,
    /// Keeps others waiting while it runs.
    pub(super) turn: Turn,
}

/// How a call ended.
#[derive(Debug, Serialize, Deserialize)]
pub(super) enum Ended {
    /// With a result, as JSON.
    Returned(String),
    /// With the handler's own `Err`.
    Refused(String),
    /// It stopped, and goes on from these bytes; they are empty where its state stands elsewhere.
    Suspended(Vec<u8>),
    /// In a way that the next call would end too.
    Failed(String),
    /// What ran it is gone; another call may end well.
    Lost(String),
}

/// A call under way. Dropped before its end, it is called off.
pub(super) struct Started {
    pub(super) ended: oneshot::Receiver<Ended>,
    /// The execution that it is, where it goes on although nobody waits for it.
    pub(super) far: Option<Arc<Child>>,
    stop: Box<dyn Fn(Stop) + Send>,
}

/// Why a call shall stop.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Stop {
    /// It is to save its state, and goes on in another invocation.
    Suspend,
    /// Nobody waits for it here any more, but another invocation will.
    Leave,
    /// Nobody wants its result any more.
    Cancel,
}

impl Started {
    pub(super) fn stop(&self, why: Stop) {
        (self.stop)(why);
    }
}

/// A way to start calls.
trait Runner {
    fn start(&self, call: Call) -> Result<Started, Error>;
}

/// Where the deployment places this call of a node; of several processes, the one whose `turn` it is.
pub(super) fn find(steps: Option<&Arc<Steps>>, node: &str, turn: u32) -> Place {
    let placement = steps.and_then(|steps| steps.wraps().placement.as_deref());
    match placement.map(|placement| placement.place(node)) {
        Some(Place::Process { first, count }) => {
            Place::Process { first: first + turn % (*count).max(1), count: 1 }
        }
        Some(place) => place.clone(),
        None => Place::Thread,
    }
}

/// Starts a call there.
pub(super) fn start(steps: Option<&Arc<Steps>>, place: &Place, call: Call) -> Result<Started, Error> {
    match (place, steps) {
        (Place::Process { first, .. }, _) => process::Process { number: *first }.start(call),
        (Place::Remote(wrap), Some(steps)) => remote::Remote { wrap, steps }.start(call),
        (Place::Thread | Place::Remote(_), _) => thread::Thread(steps.map(|steps| steps.crew())).start(call),
    }
}

/// Computes on this thread; for threads of our own and for those of worker processes.
fn compute(session: &Session, handler: &HandlerDef, input: &RawValue, saved: &Saved) -> Ended {
    let outcome = if handler.is_async {
        match tokio::runtime::Builder::new_current_thread().enable_all().build() {
            Ok(runtime) => runtime.block_on(session.run_definition_async(handler, input)),
            Err(error) => return Ended::Failed(format!("no runtime for the node: {error}")),
        }
    } else {
        session.run_definition(handler, input)
    };
    match outcome {
        Outcome::Returned(Ok(json)) => Ended::Returned(json.get().to_owned()),
        Outcome::Returned(Err(error)) => Ended::Refused(error.to_string()),
        Outcome::Suspended(_) => Ended::Suspended(saved.take()),
        Outcome::Panicked { message } => Ended::Failed(format!("it panicked: {message}")),
        Outcome::BadInput { message } | Outcome::Damaged { message } => Ended::Failed(message),
        Outcome::Waiting(_) => {
            let why = "a node can't sleep or wait for an event; let a handler of its own do that";
            Ended::Failed(why.to_owned())
        }
        Outcome::SaveFailed { source, .. } => Ended::Failed(source.to_string()),
        Outcome::Incompatible(what) => Ended::Failed(what.to_string()),
    }
}

/// Where a node's state is saved, until it is recorded.
#[derive(Clone, Default)]
struct Saved(Arc<Mutex<Vec<u8>>>);

impl Saved {
    /// A session that goes on from `from` and saves here.
    fn session(&self, from: Option<Vec<u8>>) -> Session {
        let sink = self.clone();
        let from = from.map(|bytes| Box::new(io::Cursor::new(bytes)) as Box<dyn io::Read + Send>);
        Session::new(from, move || Ok(Box::new(sink) as Box<dyn Write + Send>))
    }

    fn take(&self) -> Vec<u8> {
        std::mem::take(&mut *self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

impl Write for Saved {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
