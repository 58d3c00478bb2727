//! What a handler is given of its run.

use std::future::{Future, poll_fn};
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::task::Poll;

use limitless_faas_core::log::Wake;

use super::frame::{Due, Parked, Taken};
use super::outcome::{Outcome, Point};
use super::run::halt;
use super::session::{Services, Session};
use super::state::{STATE_POINT, State, StateCodec};
use crate::wait::Race;

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

    /// Whichever of two is over first. The run ends with a wait once both of them wait.
    pub(crate) async fn first<A, B>(
        &self,
        left: impl Future<Output = A>,
        right: impl Future<Output = B>,
    ) -> Race<A, B> {
        let (mut left, mut right) = (pin!(left), pin!(right));
        let (mut left_waits, mut right_waits) = (None, None);
        poll_fn(|cx| {
            let (polled, wake) = self.session.race(|| left.as_mut().poll(cx));
            if let Poll::Ready(left) = polled {
                return Poll::Ready(Race::Left(left));
            }
            left_waits = wake.or(left_waits.take());
            let (polled, wake) = self.session.race(|| right.as_mut().poll(cx));
            if let Poll::Ready(right) = polled {
                return Poll::Ready(Race::Right(right));
            }
            right_waits = wake.or(right_waits.take());
            if let (Some(left), Some(right)) = (&left_waits, &right_waits) {
                self.session.wait(Wake::or(left.clone(), right.clone()));
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
