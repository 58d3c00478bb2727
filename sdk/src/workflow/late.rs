//! Nodes that neither end nor come to a checkpoint before the deadline.
//!
//! The platform kills such a node, and its workflow with it. Before it does, that they were late is recorded, from the process's runtime:
//! the workflow's own thread may be the one that computes. Whoever goes on then knows which node was late and how often in a row,
//! and ends the execution with its name instead of calling it again for ever.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, OnceLock};
use std::time::Duration;

use limitless_faas_core::{Code, Failure};
use tokio::sync::OwnedSemaphorePermit;

use super::crew::Crew;
use super::flow::{Node, steps};
use crate::checkpoint::Session;
use crate::engine::{Steps, lock, note};

/// So often in a row a node may be late.
const LIMIT: u32 = 5;
/// How long before the deadline a node is late, at most: recording it takes an append.
const LAST: Duration = Duration::from_millis(250);

/// The calls that compute in this process or its pool.
#[derive(Default)]
pub(super) struct Computing {
    calls: Mutex<BTreeMap<u64, Call>>,
    next: AtomicU64,
    is_watched: AtomicBool,
    /// What [watches](watch) them, from the first one on: programs without workflows are linked without it.
    watch: OnceLock<fn(&Session)>,
}

impl Computing {
    /// The workflow was asked to suspend for good.
    pub(super) fn watch(&self, workflow: &Session) {
        if let Some(watch) = self.watch.get() {
            watch(workflow);
        }
    }
}

struct Call {
    node: String,
    began_us: u64,
    before: Before,
}

/// What is known of a node's calls in earlier invocations.
#[derive(Clone, Copy)]
pub(super) struct Before {
    /// How often it saved its state.
    states: u64,
    /// How often it was late since then.
    late: u32,
}

/// The right of a call to compute, while it does.
pub(super) struct Turn {
    crew: Option<Arc<Crew>>,
    number: u64,
    _permit: OwnedSemaphorePermit,
}

impl Turn {
    pub(super) fn begin(
        steps: Option<&Steps>,
        node: &str,
        before: Before,
        permit: OwnedSemaphorePermit,
    ) -> Self {
        let Some(steps) = steps else { return Self { crew: None, number: 0, _permit: permit } };
        let crew = steps.crew().clone();
        crew.computing().watch.get_or_init(|| watch);
        let number = crew.computing().next.fetch_add(1, Ordering::Relaxed);
        let call = Call { node: node.to_owned(), began_us: steps.now_us(), before };
        lock(&crew.computing().calls).insert(number, call);
        Self { crew: Some(crew), number, _permit: permit }
    }
}

impl Drop for Turn {
    fn drop(&mut self) {
        if let Some(crew) = &self.crew {
            lock(&crew.computing().calls).remove(&self.number);
        }
    }
}

impl Before {
    pub(super) fn of(steps: Option<&Steps>, node: &str, states: u64) -> Self {
        let was_late = |times: &u32| {
            let key = key(node, states, *times);
            steps.is_some_and(|steps| steps.is_resumed() && steps.is_met_again(&key))
        };
        let late = (1..=LIMIT).take_while(was_late).count();
        Self { states, late: u32::try_from(late).unwrap_or(LIMIT) }
    }

    /// Why the node is not called again, if so.
    pub(super) fn exhausted(self, node: &Node<'_>, limit_ms: u64) -> Option<Failure> {
        (self.late >= LIMIT).then(|| {
            let (name, handler) = (node.name, node.handler.name);
            let message = format!(
                "node `{name}` made no progress: {LIMIT} invocations in a row came to their end before handler `{handler}` \
                 returned or passed a checkpoint (time limit {limit_ms} ms). Raise the time limit, or put #[checkpoint] on a loop \
                 in `{handler}` whose body is shorter"
            );
            Failure::new(Code::NoProgress, message)
        })
    }
}

fn key(node: &str, states: u64, times: u32) -> String {
    format!("late {times} of node {node} after state {states}")
}

/// What still computes right before the deadline is late.
fn watch(workflow: &Session) {
    let Some(steps) = steps(workflow) else { return };
    let computing = steps.crew().computing();
    if lock(&computing.calls).is_empty() || computing.is_watched.swap(true, Ordering::Relaxed) {
        return;
    }
    let left = steps.left();
    steps.process().clone().spawn(async move {
        tokio::time::sleep(left.saturating_sub(LAST.min(left / 2))).await;
        record(&steps).await;
    });
}

async fn record(steps: &Arc<Steps>) {
    for key in told(steps) {
        // It was late once more than is known: it is called that once more.
        if steps.record_aside(&key, Vec::new()).await.is_err() {
            return;
        }
    }
}

/// Tells who is late; answers the keys for those that were given time enough.
fn told(steps: &Steps) -> Vec<String> {
    let (now_us, limit_ms) = (steps.now_us(), steps.limit_ms());
    let calls = lock(&steps.crew().computing().calls);
    let mut keys = Vec::new();
    for Call { node, began_us, before } in calls.values() {
        note(&format!(
            "node `{node}` has neither returned nor passed a checkpoint, and the time limit of {limit_ms} ms is about to end"
        ));
        if now_us.saturating_sub(*began_us) >= limit_ms * 1000 / 2 {
            keys.push(key(node, before.states, before.late + 1));
        }
    }
    keys
}
