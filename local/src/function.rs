//! What the pool knows of a deployed function, whichever platform's API deployed it.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};

use uuid::Uuid;

/// One revision of a deployed action or function. An update makes another one, hence other processes.
#[derive(Debug)]
pub(crate) struct Function {
    /// Unique among all revisions of all functions.
    pub(crate) revision: u64,
    /// `name` or `package/name`, for events.
    pub(crate) name: String,
    pub(crate) image: String,
    pub(crate) env: BTreeMap<String, String>,
    pub(crate) secrets: BTreeMap<String, Vec<u8>>,
    pub(crate) memory_bytes: Option<u64>,
    pub(crate) log_bytes: usize,
    pub(crate) habits: Habits,
    /// Proves to the function's processes that a word about a dead one comes from the platform.
    pub(crate) watchdog_token: String,
    /// How many processes are kept however long they idle.
    pub(crate) keep: AtomicUsize,
    retired: AtomicBool,
}

/// How a platform treats its containers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Habits {
    /// Paused when idle, removed by SIGKILL, logs end with sentinels.
    OpenWhisk,
    /// Never paused, removed by SIGTERM first, logs flow.
    OpenFaas,
}

static REVISIONS: AtomicU64 = AtomicU64::new(0);

impl Function {
    pub(crate) fn new(name: String, image: String, habits: Habits) -> Self {
        Self {
            revision: REVISIONS.fetch_add(1, Ordering::Relaxed),
            name,
            image,
            env: BTreeMap::new(),
            secrets: BTreeMap::new(),
            memory_bytes: None,
            log_bytes: usize::MAX,
            habits,
            watchdog_token: Uuid::new_v4().simple().to_string(),
            keep: AtomicUsize::new(0),
            retired: AtomicBool::new(false),
        }
    }

    /// Updated or deleted: its processes take no further call.
    pub(crate) fn retire(&self) {
        self.retired.store(true, Ordering::SeqCst);
    }

    pub(crate) fn is_retired(&self) -> bool {
        self.retired.load(Ordering::SeqCst)
    }
}
