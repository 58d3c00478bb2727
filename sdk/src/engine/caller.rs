//! A node of a workflow in another wrap, and the workflow that called it: the node stops once its workflow has ended, and the workflow,
//! where it did not stay to wait, goes on once the node has.

use std::time::Duration;

use limitless_faas_core::invocation::{Answer, Event, Written};
use limitless_faas_core::log::{Caller, Entry, Kind, Phase, end_of};
use limitless_faas_core::signature::Resumption;
use limitless_faas_core::{Advice, Code, Failure, Nonce};
use limitless_faas_store::Log;
use tokio::time::sleep;

use super::drive::note;
use super::{Engine, Incoming, now_us};
use crate::runtime::control::Control;

/// How often the workflow is told of an end, where the store or the platform fails for a moment.
const TRIES: u32 = 6;

/// Looks now and then whether the workflow has ended, and calls the node off then. `pause` is how long to leave it.
pub(super) async fn watch(log: Log, caller: Caller, handler: &'static str, pause: Duration) -> Event {
    let of_caller = Log::new(log.store().clone(), caller.execution);
    let mut known = None;
    // A store that does not answer is asked again: that the node runs on costs, and harms nothing.
    while !has_ended(&of_caller, &mut known).await.unwrap_or(false) {
        sleep(pause).await;
    }
    call_off(&log, handler).await;
    Event::LogMoved
}

/// Whether an execution has ended; what is `known` of it is not read again.
async fn has_ended(
    log: &Log,
    known: &mut Option<limitless_faas_core::log::Execution>,
) -> Result<bool, Failure> {
    let unreadable =
        |error: limitless_faas_core::log::LogError| Failure::new(Code::UnreadableLog, error.to_string());
    match known {
        None => *known = log.execution().await?,
        Some(execution) => {
            for entry in log.entries(execution.length).await? {
                execution.apply(&entry).map_err(unreadable)?;
            }
        }
    }
    Ok(known.as_ref().is_some_and(|execution| execution.status().is_terminal()))
}

/// Writes into a node's log that nobody wants its result; that may be the first thing that stands there.
pub(crate) async fn call_off(node: &Log, handler: &str) {
    let by = "the workflow that called it";
    let nonce = nonce(node);
    let unknown = |failure: &Failure| failure.code == Code::UnknownExecution;
    if !node.cancel(by, nonce, now_us()).await.is_err_and(|failure| unknown(&failure)) {
        return;
    }
    let entry = Entry {
        execution: node.id().clone(),
        handler: handler.to_owned(),
        epoch: 0,
        nonce,
        at_us: now_us(),
        kind: Kind::Cancelled { by: by.to_owned() },
    };
    if !matches!(node.create(0, &entry).await, Written::New) {
        // It began at this moment. One that has ended has nothing to call off.
        let _ = node.cancel(by, nonce, now_us()).await;
    }
}

/// The canceller's name in the log; one execution is called off by one workflow.
fn nonce(node: &Log) -> Nonce {
    let hash = blake3::hash(format!("cancel {} {}", node.id(), now_us()).as_bytes());
    let mut bytes = [0; 8];
    bytes.copy_from_slice(&hash.as_bytes()[..8]);
    Nonce::from_random(bytes)
}

impl Engine {
    /// Lets the workflow go on that waits for this node's end and did not stay for it. The log says so: whoever leaves writes first and
    /// looks then, and whoever ends does too. What is lost here is made good by whoever asks for the workflow next.
    pub(super) async fn tell_caller(
        &self,
        incoming: &Incoming,
        node: &Log,
        caller: &Caller,
        answer: &Answer,
    ) {
        let stays_until_ms = caller.stays_until_ms.saturating_sub(self.config().policy.skew_ms);
        let is_end = matches!(answer, Answer::Result(_) | Answer::Failed(_));
        if !is_end || self.world.now_us() / 1000 < stays_until_ms {
            return;
        }
        let mut pause = Duration::from_millis(20);
        for tries in 1.. {
            match self.wake_caller(incoming, node, caller).await {
                Ok(()) => return,
                Err(failure) if failure.code.advice() == Advice::Retry && tries < TRIES => {}
                Err(failure) => {
                    return note(&format!(
                        "execution {} waits for this node, and could not be woken ({failure}); `cargo faas wake` does that",
                        caller.execution
                    ));
                }
            }
            sleep(pause).await;
            pause *= 2;
        }
    }

    async fn wake_caller(&self, incoming: &Incoming, node: &Log, caller: &Caller) -> Result<(), Failure> {
        let log = Log::new(node.store().clone(), caller.execution.clone());
        let Some(execution) = log.execution().await? else { return Ok(()) };
        let Phase::Suspended { wake: Some(wake), .. } = &execution.phase else { return Ok(()) };
        if !wake.events.contains(&end_of(node.id())) {
            return Ok(());
        }
        let asked = Resumption {
            execution: &caller.execution,
            entry: Some(execution.length - 1),
            node: caller.node.as_deref(),
        };
        let control = Control::successor(&asked, self.sign(&asked, &incoming.vars)?);
        let successor = incoming.successor.beside(&caller.function);
        self.world.invoke(successor, control, Duration::from_secs(5)).await
    }
}
