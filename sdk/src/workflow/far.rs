//! Nodes in other wraps. Those that take long: a workflow that has nothing else to wait for suspends until one of them has ended, so that
//! nobody pays for its waiting. Those whose wrap is down: nothing else is left to do, and the invocation ends with an error that names both;
//! what is recorded stands, and whoever resumes the workflow calls them again.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use limitless_faas_core::Failure;
use limitless_faas_core::log::Wake;

use super::flow::Flow;
use crate::child::Child;
use crate::engine::{Steps, lock};

/// What is known of the nodes in other wraps.
#[derive(Default)]
pub(super) struct Far {
    /// Those that are waited for longer than suspending and coming back takes, each by its name.
    long: Mutex<BTreeMap<String, Arc<Child>>>,
    is_left: AtomicBool,
    /// Why going on at once would be of no use.
    down: Mutex<Option<Failure>>,
}

impl Far {
    /// Whether there is a node that is waited for long.
    pub(super) fn is_waited_for(&self) -> bool {
        !lock(&self.long).is_empty()
    }

    /// Whether the workflow has left them to themselves.
    pub(super) fn is_left(&self) -> bool {
        self.is_left.load(Ordering::Relaxed)
    }

    /// The workflow is about to suspend while it waits for this node, whose wrap may be down: then its successor would only wait too.
    pub(super) fn leaves(&self, node: &str, child: &Child, limit_ms: u64) {
        if let Some(why) = child.silent_for(Duration::from_millis(limit_ms / 4)) {
            lock(&self.down).get_or_insert_with(|| unreached(node, &why));
        }
    }

    /// Why the workflow does not go on in a successor, if so.
    pub(super) fn down(&self) -> Option<Failure> {
        lock(&self.down).clone()
    }
}

/// A node that is waited for long, until it is not any more.
pub(super) struct Long<'f> {
    far: &'f Far,
    node: String,
}

impl Drop for Long<'_> {
    fn drop(&mut self) {
        lock(&self.far.long).remove(&self.node);
    }
}

impl Flow {
    /// Is over once a node has been waited for long; never, where it only goes on while it is waited for.
    pub(super) async fn long(&self, node: &str, child: Option<Arc<Child>>) -> Long<'_> {
        let (Some(child), Some(steps)) = (child, self.steps()) else { return std::future::pending().await };
        child.is_long(steps.wraps().stay).await;
        let node = node.to_owned();
        lock(&self.far.long).insert(node.clone(), child);
        Long { far: &self.far, node }
    }

    /// Suspends where nodes that take long are all there is to wait for. They go on by themselves, and whichever ends first lets the
    /// workflow go on. Where one of them can't be reached, the invocation ends with that.
    pub(super) fn leave_to_far_nodes(&self) {
        let Some(steps) = self.steps() else { return };
        let long = lock(&self.far.long);
        if self.is_suspending() || long.len() != self.under_way() {
            return;
        }
        self.far.is_left.store(true, Ordering::Relaxed);
        let down =
            long.iter().find_map(|(node, child)| Some(unreached(node, &child.silent_for(Duration::MAX)?)));
        match down {
            Some(failure) => self.end(&steps, failure),
            None => self.wait_for(&steps, long.values().map(|child| child.end()).collect()),
        }
    }

    fn wait_for(&self, steps: &Steps, events: Vec<String>) {
        self.session.wait(Wake { at_ms: Some(steps.returns_at_ms()), events });
    }
}

fn unreached(node: &str, why: &Failure) -> Failure {
    let message = format!(
        "node `{node}` can't be called: {}. What is recorded stands: resume the workflow once the function answers",
        why.message.trim_end_matches('.')
    );
    Failure::new(why.code, message)
}
