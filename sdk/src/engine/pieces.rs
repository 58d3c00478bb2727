//! Which large checkpoint this process saw last: the next one moves what it has not.

use std::sync::{Arc, Mutex};

use limitless_faas_core::{ExecutionId, key};
use limitless_faas_store::pieces::{Manifest, Pieces};
use limitless_faas_store::{Key, Log, StoreError};

use super::handler::lock;

/// Written or read, it was verified by this very process. One is enough: a process has one execution at a time.
static LAST: Mutex<Option<(ExecutionId, Arc<Manifest>)>> = Mutex::new(None);

pub(crate) fn remember(execution: &ExecutionId, manifest: &Arc<Manifest>) {
    *lock(&LAST) = Some((execution.clone(), manifest.clone()));
}

/// What the next large checkpoint of this execution is compared with.
pub(crate) fn base(execution: &ExecutionId) -> Option<Arc<Manifest>> {
    let last = lock(&LAST);
    last.as_ref().filter(|(of, _)| of == execution).map(|(_, manifest)| manifest.clone())
}

pub(crate) fn of(log: &Log) -> Result<Pieces, StoreError> {
    Ok(Pieces::new(log.store().clone(), Key::new(&key::packs(log.id()))?))
}
