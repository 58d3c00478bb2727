//! A node in another wrap: an execution of its own there, named after this one and the node.

use std::sync::{Arc, Mutex, PoisonError};

use limitless_faas_core::Code;
use tokio::sync::oneshot;

use super::{Call, Ended, Runner, Started, Stop};
use crate::child::{self, Child};
use crate::engine::{Steps, no_store};
use crate::error::Error;

/// Another wrap, by the name of its function.
pub(super) struct Remote<'a> {
    pub(super) wrap: &'a str,
    pub(super) steps: &'a Arc<Steps>,
}

impl Runner for Remote<'_> {
    fn start(&self, call: Call) -> Result<Started, Error> {
        let workflow = self.steps.log().ok_or_else(no_store)?.id();
        let key = format!("{workflow} {} {}", call.name, call.attempt);
        let stay = self.steps.wraps().stay;
        let child = Arc::new(Child::new(self.steps, self.wrap, call.handler, key, &call.input, stay)?);
        let far = Some(child.clone());
        let (done, ended) = oneshot::channel();
        let done = Arc::new(Mutex::new(Some(done)));
        let (end, waited_for, turn) = (done.clone(), child.clone(), call.turn);
        let waiting = self.steps.process().spawn(async move {
            let _turn = turn;
            tell(&end, waited_for.wait().await.into());
        });
        let stop = move |why| {
            waiting.abort();
            // It goes on over there; whoever resumes the workflow asks again.
            tell(&done, Ended::Suspended(Vec::new()));
            if why == Stop::Cancel {
                child.call_off();
            }
        };
        Ok(Started { ended, far, stop: Box::new(stop) })
    }
}

impl From<child::Ended> for Ended {
    fn from(ended: child::Ended) -> Self {
        match ended {
            Ok(json) => Self::Returned(json),
            Err(failure) if failure.code == Code::Application => Self::Refused(failure.message),
            Err(failure) => Self::Failed(failure.to_string()),
        }
    }
}

fn tell(done: &Mutex<Option<oneshot::Sender<Ended>>>, ended: Ended) {
    if let Some(done) = done.lock().unwrap_or_else(PoisonError::into_inner).take() {
        // Nobody listens any more where the node was called off.
        let _ = done.send(ended);
    }
}
