//! The threads of a workflow's nodes.
//!
//! Calls that are made while the workflow's future is polled begin once it waits. Where it then waits for one of them and for
//! nothing else, the workflow's own thread runs it: no thread is woken to begin it, and none to hear of its end. Others are run by
//! threads that each take one call after the other, and wake the next thread while more are waiting.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use tokio::runtime::Handle;

use super::late::Computing;
use crate::checkpoint::{Request, Session};
use crate::engine::lock;

/// A node's call that has a thread's work to do.
pub(crate) struct Job {
    /// What is asked to stop it.
    pub(super) session: Session,
    pub(super) run: Box<dyn FnOnce() + Send>,
}

/// See the [module](self).
pub(crate) struct Crew {
    /// The runtime whose threads these are.
    process: Handle,
    jobs: Mutex<Jobs>,
    /// Nodes of the workflow that are called, and whose result is not recorded yet.
    under_way: AtomicUsize,
    computing: Computing,
}

#[derive(Default)]
struct Jobs {
    /// Made since the workflow's future was polled last.
    fresh: Vec<Job>,
    waiting: VecDeque<Job>,
    /// A thread was woken and has not looked yet. It wakes the next one.
    is_waking: bool,
    /// What the workflow's own thread runs.
    alone: Option<Session>,
}

impl Crew {
    pub(crate) fn new(process: Handle) -> Arc<Self> {
        Arc::new(Self {
            process,
            jobs: Mutex::default(),
            under_way: AtomicUsize::new(0),
            computing: Computing::default(),
        })
    }

    /// How many nodes are under way.
    pub(super) fn under_way(&self) -> &AtomicUsize {
        &self.under_way
    }

    /// The calls that compute here.
    pub(super) fn computing(&self) -> &Computing {
        &self.computing
    }

    /// Leaves a call for when the workflow waits.
    pub(super) fn add(&self, job: Job) {
        lock(&self.jobs).fresh.push(job);
    }

    /// The workflow waits: its calls begin. The only one that it waits for is given back, to [`run_alone`](Self::run_alone).
    pub(crate) fn pause(self: &Arc<Self>, session: &Session) -> Option<Job> {
        let mut jobs = lock(&self.jobs);
        // A poll that used up its budget left wakers behind, which are forgotten where it ends before the runtime calls them.
        if tokio::task::coop::has_budget_remaining()
            && jobs.fresh.len() == 1
            && self.under_way.load(Ordering::Acquire) == 1
            && let Some(job) = jobs.fresh.pop()
        {
            jobs.alone = Some(job.session.clone());
            drop(jobs);
            // What is asked from here on is passed on. What was asked before is the workflow's to answer, so it must not compute.
            if session.flag().load(Ordering::Relaxed) == 0 {
                return Some(job);
            }
            jobs = lock(&self.jobs);
            jobs.alone = None;
            jobs.fresh.push(job);
        }
        let fresh = std::mem::take(&mut jobs.fresh);
        jobs.waiting.extend(fresh);
        let is_needed = jobs.wants_a_thread();
        drop(jobs);
        if is_needed {
            self.wake();
        }
        None
    }

    /// Runs a call on the workflow's own thread.
    pub(crate) fn run_alone(&self, job: Job) {
        (job.run)();
        lock(&self.jobs).alone = None;
    }

    /// Passes on what the workflow is asked while its thread computes.
    pub(crate) fn pass_on(&self, workflow: &Session, request: Request) {
        let Some(alone) = lock(&self.jobs).alone.clone() else { return };
        match request {
            // The workflow would have answered at once.
            Request::Report => {
                workflow.answer();
            }
            Request::Suspend => alone.request(request),
        }
    }

    /// The workflow was asked to suspend for good: whoever goes on shall know which nodes did not stop in time.
    pub(crate) fn watch(&self, workflow: &Session) {
        self.computing.watch(workflow);
    }

    fn wake(self: &Arc<Self>) {
        let crew = self.clone();
        drop(self.process.spawn_blocking(move || crew.work()));
    }

    /// Takes one call after the other while there are any.
    fn work(self: Arc<Self>) {
        lock(&self.jobs).is_waking = false;
        loop {
            let (job, is_needed) = {
                let mut jobs = lock(&self.jobs);
                let Some(job) = jobs.waiting.pop_front() else { return };
                (job, jobs.wants_a_thread())
            };
            if is_needed {
                self.wake();
            }
            (job.run)();
        }
    }
}

impl Jobs {
    /// Whether another thread is to be woken, which is woken then.
    fn wants_a_thread(&mut self) -> bool {
        let is_needed = !self.waiting.is_empty() && !self.is_waking;
        self.is_waking |= is_needed;
        is_needed
    }
}
