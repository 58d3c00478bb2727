//! What a handler is given of its run.

use std::future::{Future, poll_fn};
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::task::Poll;

use limitless_faas_core::log::Wake;

use super::frame::{Due, Parked, Taken};
use super::outcome::{Outcome, Point};
use super::run::halt;
use super::session::{Services, Session};
use super::state::{STATE_POINT, State, StateCodec};

/// A handler's first parameter, if it wants one: its state, its checkpoints, its steps.
///
/// `Context` alone is `Context<()>`. Outside a function process, as in a unit test,
/// `Context::default()` has no saved state and never suspends.
pub struct Context<S = ()> {
    session: Session,
    codec: StateCodec<S>,
}

impl<S> Clone for Context<S> {
    fn clone(&self) -> Self {
        Context { session: self.session.clone(), codec: self.codec }
    }
}

impl<S: State> Default for Context<S> {
    fn default() -> Self {
        Context::of(Session::detached(), StateCodec::of())
    }
}

impl<S> Context<S> {
    pub(crate) fn of(session: Session, codec: StateCodec<S>) -> Context<S> {
        Context { session, codec }
    }

    pub(crate) fn services(&self) -> Option<Arc<dyn Services>> {
        self.session.services()
    }

    /// Ends the run of a handler that is not async with a wait: it unwinds.
    pub(crate) fn leave(&self, wake: Wake) -> ! {
        halt(&self.session, Outcome::Waiting(wake))
    }

    /// Ends the run with a wait: the returned future never resolves, and the runtime drops the handler.
    pub(crate) fn park(&self, wake: Wake) -> Parked {
        self.session.wait(wake);
        Parked
    }

    /// Ends the run with a wait, where this does not stand in a race; there it may go on.
    pub(crate) fn wait_beside(&self, wake: Wake) {
        self.session.wait(wake);
    }

    /// Whichever of these is over first, by its place. The run ends with a wait once all of them wait.
    pub(crate) async fn first<F: Future + Unpin>(&self, sides: &mut [F]) -> (usize, F::Output) {
        let mut waits: Vec<Option<Wake>> = vec![None; sides.len()];
        poll_fn(|cx| {
            for (place, (side, waits)) in sides.iter_mut().zip(&mut waits).enumerate() {
                let (polled, wake) = self.session.race(|| Pin::new(&mut *side).poll(cx));
                if let Poll::Ready(value) = polled {
                    return Poll::Ready((place, value));
                }
                *waits = wake.or(waits.take());
            }
            let all: Option<Vec<Wake>> = waits.iter().cloned().collect();
            if let Some(wake) = all.and_then(|all| all.into_iter().reduce(Wake::or)) {
                self.session.wait(wake);
            }
            Poll::Pending
        })
        .await
    }

    /// The state of the last checkpoint, or the default. Ask once, at the beginning.
    pub fn state(&self) -> S {
        match self.session.take_from().map(self.codec.read) {
            None => (self.codec.initial)(),
            Some(Ok(state)) => state,
            Some(Err(error)) => halt(&self.session, error.into()),
        }
    }

    /// Offers a moment to go on from later: near the deadline it saves `state` and never returns.
    ///
    /// Away from the deadline it costs one relaxed load.
    pub async fn checkpoint(&self, state: &S) {
        if let Some(taken) = self.due(state) {
            match taken.park().await {}
        }
    }

    /// [`Context::checkpoint`] for handlers that are not async; near the deadline it unwinds the handler.
    pub fn blocking_checkpoint(&self, state: &S) {
        if let Some(taken) = self.due(state) {
            taken.suspend()
        }
    }

    #[inline]
    fn due(&self, state: &S) -> Option<Taken> {
        if self.session.flag().load(Ordering::Relaxed) == 0 { None } else { self.save(state) }
    }

    #[cold]
    fn save(&self, state: &S) -> Option<Taken> {
        if !self.session.answer() {
            return None;
        }
        let due = Due::new(self.session.clone(), Point::find(&[], STATE_POINT));
        Some(due.save(&|save| save.write(|to| (self.codec.write)(to, state))))
    }
}
