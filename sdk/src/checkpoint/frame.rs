//! One run of a handler, seen from its expansion.

use std::convert::Infallible;
use std::future::Future;
use std::pin::Pin;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU8, Ordering};
use std::task::{Context as Waker, Poll};

use serde::de::DeserializeOwned;

use super::codec::{StateReader, StateWriter, Unreadable, incompatible};
use super::keep::Keep;
use super::outcome::{Outcome, Point};
use super::run::halt;
use super::session::{Session, Starting, lock};
use crate::handler::HandlerDef;

/// What the flag of a handler reads that was called as an ordinary function.
static NEVER: AtomicU8 = AtomicU8::new(0);

/// Says whether a checkpoint is due.
#[derive(Clone, Copy)]
pub struct Flag<'a>(&'a AtomicU8);

impl Flag<'_> {
    /// The hook: one relaxed load.
    #[inline(always)]
    pub fn raised(self) -> bool {
        self.0.load(Ordering::Relaxed) != 0
    }
}

/// The outermost handler's hold on its session; empty in a handler called as an ordinary function.
pub struct Frame {
    session: Option<Session>,
    handler: &'static HandlerDef,
    from: Mutex<Option<StateReader>>,
}

/// What every handler does first.
pub fn enter(handler: &'static HandlerDef) -> Frame {
    let session = Starting::take();
    // A handler without loops leaves the state to its `Context`.
    let from = session.as_ref().filter(|_| !handler.checkpoints.is_empty()).and_then(Session::take_from);
    Frame { session, handler, from: Mutex::new(from) }
}

impl Frame {
    /// The flag that hooks read.
    pub fn flag(&self) -> Flag<'_> {
        Flag(self.session.as_ref().map_or(&NEVER, Session::flag))
    }

    /// The number of the loop to go on in; 0 from the start.
    pub fn point(&self) -> u32 {
        let mut from = lock(&self.from);
        let Some(reader) = from.as_mut() else { return 0 };
        let read = reader.raw("the point").and_then(|number: u32| {
            let label: String = reader.raw("the point's loop")?;
            self.known(number, &label)
        });
        drop(from);
        self.or_halt(read)
    }

    fn known(&self, number: u32, label: &str) -> Result<u32, Unreadable> {
        match self.handler.checkpoints.iter().find(|point| point.number == number) {
            Some(point) if point.label == label => Ok(number),
            Some(point) => Err(incompatible(
                &format!("loop {number}"),
                &format!("`{label}`"),
                &format!("`{}`", point.label),
            )),
            None => Err(incompatible(&format!("loop {number}"), &format!("`{label}`"), "not there")),
        }
    }

    /// Takes the next value from the saved state.
    #[cold]
    pub fn restore<T: Keep>(&self, name: &'static str) -> T {
        self.take(name)
    }

    /// Takes a loop's position from the saved state.
    #[cold]
    pub fn position<T: DeserializeOwned>(&self, name: &'static str) -> T {
        self.take(name)
    }

    fn take<T: DeserializeOwned>(&self, name: &'static str) -> T {
        let read = match lock(&self.from).as_mut() {
            Some(reader) => reader.value(name),
            None => Err(Unreadable::Damaged(format!("the state ends before `{name}`"))),
        };
        self.or_halt(read)
    }

    /// Everything is restored: from here on the handler runs. Always 0, the point of a run from the start.
    #[cold]
    pub fn resumed(&self) -> u32 {
        let reader = lock(&self.from).take();
        self.or_halt(reader.map_or(Ok(()), StateReader::finish));
        0
    }

    /// What a branch that was chosen in this run bound; a resumed run never asks.
    #[inline]
    pub fn chosen<T>(&self, bound: Option<T>) -> T {
        match bound {
            Some(bound) => bound,
            None => self.or_halt(Err(Unreadable::Damaged(String::from("the saved point is in no branch")))),
        }
    }

    /// Answers a raised flag: the checkpoint that is due, if the state is wanted.
    #[cold]
    #[inline(never)]
    pub fn checkpoint(&self, number: u32) -> Option<Due> {
        let session = self.session.as_ref()?;
        session.answer().then(|| Due::new(session.clone(), Point::find(self.handler.checkpoints, number)))
    }

    /// Whether this is a run that may have to save; an ordinary call never does.
    pub fn active(&self) -> bool {
        self.session.is_some()
    }

    fn or_halt<T>(&self, read: Result<T, Unreadable>) -> T {
        match (read, &self.session) {
            (Ok(value), _) => value,
            (Err(error), Some(session)) => halt(session, error.into()),
            (Err(error), None) => halt(&Session::detached(), error.into()),
        }
    }
}

impl From<Unreadable> for Outcome {
    fn from(error: Unreadable) -> Outcome {
        match error {
            Unreadable::Incompatible(what) => Outcome::Incompatible(what),
            Unreadable::Damaged(message) => Outcome::Damaged { message },
        }
    }
}

/// A checkpoint that is due.
pub struct Due {
    session: Session,
    point: Point,
}

impl Due {
    pub(crate) fn new(session: Session, point: Point) -> Due {
        Due { session, point }
    }

    /// Saves what `put` puts. A store that fails may be offered it again, so `put` leaves the values where they are.
    #[cold]
    #[inline(never)]
    pub fn save(self, put: &dyn Fn(&mut Save)) -> Taken {
        let head = (self.point.number, self.point.label.clone());
        let saved = self.session.save(&|target| {
            let mut save = Save { to: Ok(StateWriter::new(target)) };
            save.write(|to| to.raw(&head));
            put(&mut save);
            save.to.and_then(StateWriter::finish)
        });
        let outcome = match saved {
            Ok(()) => Outcome::Suspended(self.point),
            Err(source) => Outcome::SaveFailed { point: self.point, source },
        };
        Taken { session: self.session, outcome }
    }
}

/// A checkpoint being written. Errors are kept until the end, so that hooks stay short.
pub struct Save {
    to: std::io::Result<StateWriter>,
}

impl Save {
    pub(crate) fn write(&mut self, write: impl FnOnce(&mut StateWriter) -> std::io::Result<()>) {
        if let Ok(to) = &mut self.to
            && let Err(error) = write(to)
        {
            self.to = Err(error);
        }
    }

    pub(crate) fn put<T: Keep>(&mut self, name: &'static str, value: &T) {
        self.write(|to| to.value(name, value));
    }

    /// Saves a range's operands.
    #[cold]
    #[inline(never)]
    pub fn put_operands<T: Keep + Copy>(&mut self, name: &'static str, operands: T) {
        self.put(name, &operands);
    }
}

/// A checkpoint that was taken, or could not be: the handler ends here.
pub struct Taken {
    session: Session,
    outcome: Outcome,
}

impl Taken {
    /// Unwinds the handler.
    pub fn suspend(self) -> ! {
        halt(&self.session, self.outcome)
    }

    /// The returned future never resolves, and the runtime drops the handler.
    pub fn park(self) -> Parked {
        self.session.end(self.outcome);
        Parked
    }
}

/// The future in which a suspended handler stays until it is dropped.
pub struct Parked;

impl Future for Parked {
    type Output = Infallible;

    fn poll(self: Pin<&mut Self>, _: &mut Waker<'_>) -> Poll<Infallible> {
        Poll::Pending
    }
}
