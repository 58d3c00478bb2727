//! Nodes in other wraps that take long: a workflow that has nothing else to wait for suspends until one of them has ended, so that
//! nobody pays for its waiting.

use std::collections::BTreeSet;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};

use limitless_faas_core::log::Wake;

use super::flow::Flow;
use crate::engine::lock;

/// The nodes that are waited for longer than suspending and coming back takes, each by the event that is its end.
#[derive(Default)]
pub(super) struct Far {
    long: Mutex<BTreeSet<String>>,
    is_left: AtomicBool,
}

impl Far {
    /// Whether there is such a node.
    pub(super) fn is_waited_for(&self) -> bool {
        !lock(&self.long).is_empty()
    }

    /// Whether the workflow has left them to themselves.
    pub(super) fn is_left(&self) -> bool {
        self.is_left.load(Ordering::Relaxed)
    }
}

/// A node that is waited for long, until it is not any more.
pub(super) struct Long<'f> {
    far: &'f Far,
    event: String,
}

impl Drop for Long<'_> {
    fn drop(&mut self) {
        lock(&self.far.long).remove(&self.event);
    }
}

impl Flow {
    /// Is over once a node has been waited for long; never, where it only goes on while it is waited for.
    pub(super) async fn long(&self, event: Option<String>) -> Long<'_> {
        let (Some(event), Some(steps)) = (event, self.steps()) else { return std::future::pending().await };
        tokio::time::sleep(steps.wraps().stay).await;
        lock(&self.far.long).insert(event.clone());
        Long { far: &self.far, event }
    }

    /// Suspends where nodes that take long are all there is to wait for. They go on by themselves, and whichever ends first lets the
    /// workflow go on.
    pub(super) fn leave_to_far_nodes(&self) {
        let Some(steps) = self.steps() else { return };
        let events: Vec<String> = lock(&self.far.long).iter().cloned().collect();
        if self.is_suspending() || events.len() != self.under_way() {
            return;
        }
        self.far.is_left.store(true, Ordering::Relaxed);
        self.session.wait(Wake { at_ms: Some(steps.returns_at_ms()), events });
    }
}
