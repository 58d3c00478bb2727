//! What a handler is given of its run.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use super::frame::Save;
use super::outcome::Point;
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
        if let Some(save) = self.due(state) {
            match save.park().await {}
        }
    }

    /// [`Context::checkpoint`] for handlers that are not async; near the deadline it unwinds the handler.
    pub fn blocking_checkpoint(&self, state: &S) {
        if let Some(save) = self.due(state) {
            save.suspend()
        }
    }

    #[inline]
    fn due(&self, state: &S) -> Option<Save> {
        if self.session.flag().load(Ordering::Relaxed) == 0 { None } else { self.save(state) }
    }

    #[cold]
    fn save(&self, state: &S) -> Option<Save> {
        if !self.session.answer() {
            return None;
        }
        let mut save = Save::open(self.session.clone(), Point::find(&[], STATE_POINT));
        save.write(|to| (self.codec.write)(to, state));
        Some(save)
    }
}
