//! What a handler is given of its run.

use std::marker::PhantomData;
use std::sync::Arc;

use super::frame::Save;
use super::outcome::Point;
use super::run::halt;
use super::session::{Services, Session};
use super::state::{STATE_POINT, State, head, read};

/// A handler's first parameter, if it wants one: its state, its checkpoints, its steps.
///
/// `Context` alone is `Context<()>`. Outside a function process, as in a unit test,
/// `Context::default()` has no saved state and never suspends.
#[derive(Clone)]
pub struct Context<S = ()> {
    session: Session,
    state: PhantomData<fn() -> S>,
}

impl<S> Default for Context<S> {
    fn default() -> Self {
        Context::of(Session::detached())
    }
}

impl<S> Context<S> {
    pub(crate) fn of(session: Session) -> Context<S> {
        Context { session, state: PhantomData }
    }

    pub(crate) fn services(&self) -> Option<Arc<dyn Services>> {
        self.session.services()
    }
}

impl<S: State> Context<S> {
    /// The state of the last checkpoint, or the default. Ask once, at the beginning.
    pub fn state(&self) -> S {
        match self.session.take_from().map(read::<S>) {
            None => S::default(),
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
        let raised = self.session.flag().load(std::sync::atomic::Ordering::Relaxed) != 0;
        if raised { self.save(state) } else { None }
    }

    #[cold]
    fn save(&self, state: &S) -> Option<Save> {
        if !self.session.answer() {
            return None;
        }
        let mut save = Save::open(self.session.clone(), Point::find(&[], STATE_POINT));
        save.write(|to| {
            to.raw(&head::<S>())?;
            to.raw(state)
        });
        Some(save)
    }
}
