//! A node in another wrap: an execution of its own there, named after this one and the node, so that calling it again
//! joins it. It saves its state and goes on by itself; what it came to stands in its log.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError, mpsc};
use std::time::Duration;

use limitless_faas_core::log::{Caller, Phase, end_of};
use limitless_faas_core::{Advice, Code, ExecutionId, Failure};
use limitless_faas_store::Log;
use serde::Deserialize;
use serde_json::value::{RawValue, to_raw_value};
use tokio::sync::oneshot;

use super::{Call, Ended, Runner, Started, Stop};
use crate::engine::{Steps, call_off, no_store};
use crate::error::Error;
use crate::runtime::control::{self, Control};

/// Another wrap, by the name of its function.
pub(super) struct Remote<'a> {
    pub(super) wrap: &'a str,
    pub(super) steps: &'a Arc<Steps>,
}

/// How long to leave it after the node's wrap said that it goes on, or nothing: at first, and at most.
const AGAIN: (Duration, Duration) = (Duration::from_millis(20), Duration::from_millis(500));
/// How long the end of a workflow waits until a node is called off.
const CALL_OFF: Duration = Duration::from_secs(2);
/// A wrap that is down for so many calls in a row is given up.
const CALLS: u32 = 40;

/// What a wrap answers.
#[derive(Deserialize)]
struct Said {
    #[serde(default)]
    result: Option<Box<RawValue>>,
    #[serde(default)]
    status: Option<String>,
    /// The platform did not wait any longer.
    #[serde(default, rename = "activationId")]
    activation: Option<String>,
    #[serde(default)]
    error: Option<String>,
    #[serde(default)]
    code: Option<Code>,
}

impl Runner for Remote<'_> {
    fn start(&self, call: Call) -> Result<Started, Error> {
        let log = self.steps.log().ok_or_else(no_store)?;
        let key = format!("{} {} {}", log.id(), call.name, call.attempt);
        let child = Log::new(log.store().clone(), ExecutionId::derive(call.handler.name, &key));
        let body = body(&call, key, self.steps.caller())?;
        let event = end_of(child.id());
        let far = Far { steps: self.steps.clone(), wrap: self.wrap.to_owned(), body, log: child.clone() };
        let handler = call.handler.name;
        let (done, ended) = oneshot::channel();
        let done = Arc::new(Mutex::new(Some(done)));
        let end = done.clone();
        let (turn, process) = (call.turn, self.steps.process().clone());
        let waiting = process.spawn(async move {
            let _turn = turn;
            tell(&end, far.wait().await);
        });
        let stop = move |why| {
            waiting.abort();
            // It goes on over there; whoever resumes the workflow asks again.
            tell(&done, Ended::Suspended(Vec::new()));
            if why == Stop::Cancel {
                let (child, (called, off)) = (child.clone(), mpsc::channel());
                process.spawn(async move {
                    call_off(&child, handler).await;
                    let _ = called.send(());
                });
                // Before the workflow tells its own end: after that its sandbox may be frozen. A store that takes longer
                // leaves the node to end by itself, which costs and harms nothing.
                let _ = off.recv_timeout(CALL_OFF);
            }
        };
        Ok(Started { ended, far: Some(event), stop: Box::new(stop) })
    }
}

fn tell(done: &Mutex<Option<oneshot::Sender<Ended>>>, ended: Ended) {
    if let Some(done) = done.lock().unwrap_or_else(PoisonError::into_inner).take() {
        // Nobody listens any more where the node was called off.
        let _ = done.send(ended);
    }
}

/// The node's input, and beside it which handler is meant and which execution.
fn body(call: &Call, key: String, caller: Option<Caller>) -> Result<String, Error> {
    let unwritable = |error: serde_json::Error| Error::msg(format!("the input is not an object: {error}"));
    let mut fields: BTreeMap<String, Box<RawValue>> =
        serde_json::from_str(call.input.get()).map_err(unwritable)?;
    let node = Some(call.handler.name.to_owned());
    let control = Control { idempotency_key: Some(key), node, caller, ..Control::default() };
    fields.insert(control::FIELD.to_owned(), to_raw_value(&control).map_err(unwritable)?);
    serde_json::to_string(&fields).map_err(unwritable)
}

/// A node's execution in another wrap.
struct Far {
    steps: Arc<Steps>,
    wrap: String,
    body: String,
    log: Log,
}

impl Far {
    /// Calls until there is an end.
    async fn wait(&self) -> Ended {
        let (mut pause, mut silent) = (AGAIN.0, 0);
        // One that ended while the workflow was away is not called: on a slow platform the workflow would leave again before the answer,
        // be woken by the same end, and so for ever.
        if self.steps.is_resumed()
            && let Ok(Some(ended)) = self.logged().await
        {
            return ended;
        }
        loop {
            match self.call().await {
                Ok(Some(ended)) => return ended,
                Ok(None) => silent = 0,
                Err(failure) if failure.code.advice() != Advice::Retry => {
                    return Ended::Failed(failure.to_string());
                }
                Err(failure) => {
                    silent += 1;
                    if silent >= CALLS {
                        return Ended::Failed(format!("its wrap `{}` does not answer: {failure}", self.wrap));
                    }
                }
            }
            tokio::time::sleep(pause).await;
            pause = (pause * 2).min(AGAIN.1);
        }
    }

    /// One call; none where the node goes on.
    async fn call(&self) -> Result<Option<Ended>, Failure> {
        let wraps = self.steps.wraps();
        let said = wraps.outgoing.call_wrap(&wraps.beside, &self.wrap, self.body.clone()).await?;
        let said: Said = serde_json::from_str(said.get())
            .map_err(|error| Failure::new(Code::SuccessorRefused, error.to_string()))?;
        match (said.result, said.status, said.error, said.code) {
            (Some(result), ..) => Ok(Some(Ended::Returned(result.get().to_owned()))),
            (_, Some(_), ..) => self.logged().await,
            _ if said.activation.is_some() => self.logged().await,
            (.., Some(error), Some(code)) => match code.advice() {
                Advice::Retry | Advice::Fenced => self.logged().await,
                _ if code == Code::Application => Ok(Some(Ended::Refused(error))),
                _ => Ok(Some(Ended::Failed(error))),
            },
            // The platform's own words: the wrap was killed, or is not there any more.
            (.., Some(error), None) => Err(Failure::new(Code::SuccessorRefused, error)),
            _ => Err(Failure::new(Code::SuccessorRefused, "an answer that a wrap does not give")),
        }
    }

    /// How the node ended by its log.
    async fn logged(&self) -> Result<Option<Ended>, Failure> {
        let Some(execution) = self.log.execution().await? else { return Ok(None) };
        Ok(match execution.phase {
            Phase::Completed(stored) => Some(Ended::Returned(self.log.json(&stored).await?)),
            Phase::Failed(failure) if failure.code == Code::Application => {
                Some(Ended::Refused(failure.message))
            }
            Phase::Failed(failure) => Some(Ended::Failed(failure.to_string())),
            Phase::Cancelled { .. } => Some(Ended::Failed("it was called off".to_owned())),
            _ => None,
        })
    }
}
