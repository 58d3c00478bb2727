//! A node on a thread of this process.

use tokio::sync::oneshot;

use super::{Call, Runner, Saved, Started, compute};
use crate::checkpoint::Request;
use crate::error::Error;

pub(super) struct Thread;

impl Runner for Thread {
    fn start(&self, call: Call) -> Result<Started, Error> {
        let saved = Saved::default();
        let session = saved.session(call.from);
        let stopped = session.clone();
        let (done, ended) = oneshot::channel();
        let runtime = tokio::runtime::Handle::try_current()
            .map_err(|_| Error::msg("a workflow runs within a tokio runtime, and there is none"))?;
        runtime.spawn_blocking(move || {
            let _turn = call.turn;
            // Nobody listens any more where the node was called off.
            let _ = done.send(compute(&session, call.handler, &call.input, &saved));
        });
        // A node that is called off stops at its next hook too.
        Ok(Started { ended, stop: Box::new(move |_| stopped.request(Request::Suspend)) })
    }
}
