//! A node on a thread of this process.

use std::sync::Arc;

use tokio::sync::oneshot;

use super::{Call, Runner, Saved, Started, Stop, compute};
use crate::checkpoint::Request;
use crate::error::Error;
use crate::workflow::crew::{Crew, Job};

/// The threads of a workflow; of the runtime around it, where the workflow is an ordinary function.
pub(super) struct Thread<'a>(pub(super) Option<&'a Arc<Crew>>);

impl Runner for Thread<'_> {
    fn start(&self, call: Call) -> Result<Started, Error> {
        let saved = Saved::default();
        let session = saved.session(call.from);
        let stopped = session.clone();
        let (done, ended) = oneshot::channel();
        let running = session.clone();
        let run = move || {
            // Nobody listens any more where the node was called off.
            if done.is_closed() {
                return;
            }
            let ended = compute(&running, call.handler, &call.input, &saved);
            drop(call.turn);
            let _ = done.send(ended);
        };
        if let Some(crew) = self.0 {
            crew.add(Job { session, run: Box::new(run) });
        } else {
            let runtime = tokio::runtime::Handle::try_current()
                .map_err(|_| Error::msg("a workflow runs within a tokio runtime, and there is none"))?;
            drop(runtime.spawn_blocking(run));
        }
        // A node that is called off stops at its next hook too.
        let stop = move |why| match why {
            Stop::Suspend => stopped.request(Request::Suspend),
            Stop::Leave | Stop::Cancel => stopped.call_off(),
        };
        Ok(Started { ended, far: None, stop: Box::new(stop) })
    }
}
