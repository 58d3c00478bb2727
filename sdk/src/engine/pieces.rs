//! The large checkpoint that this process saw last: the next one moves what it has not, and going on from it fetches nothing.
//!
//! A successor that lands in this process, warm, goes on from what is at hand here; what it reads there is verified all the same.

use std::sync::{Arc, Mutex};

use limitless_faas_core::{ExecutionId, key};
use limitless_faas_store::pieces::{Manifest, Pieces, Shelf};
use limitless_faas_store::{Key, Log, StoreError};

use super::handler::lock;

/// A checkpoint that was written or read, and verified, by this very process.
#[derive(Clone)]
struct Last {
    execution: ExecutionId,
    /// The checkpoint's name; empty for the images of a program, which have their own place on the disk.
    name: String,
    manifest: Arc<Manifest>,
}

/// One of each is enough: a process has one execution at a time.
static LAST: Mutex<Option<Last>> = Mutex::new(None);
static SHELF: Mutex<Option<(ExecutionId, Shelf)>> = Mutex::new(None);

/// A shelf with so much more on it than the state has is begun anew.
const LEFT_OVER: u64 = 3;
const LEFT_OVER_BYTES: u64 = 64 << 20;

pub(crate) fn remember(execution: &ExecutionId, name: &str, manifest: &Arc<Manifest>) {
    *lock(&LAST) =
        Some(Last { execution: execution.clone(), name: name.to_owned(), manifest: manifest.clone() });
}

/// What the next large checkpoint of this execution is compared with.
pub(crate) fn base(execution: &ExecutionId) -> Option<Arc<Manifest>> {
    lock(&LAST).as_ref().filter(|last| last.execution == *execution).map(|last| last.manifest.clone())
}

/// The manifest of just this checkpoint, where this process wrote or read it last.
pub(super) fn known(execution: &ExecutionId, name: &str) -> Option<Arc<Manifest>> {
    let last = lock(&LAST);
    last.as_ref()
        .filter(|last| last.execution == *execution && last.name == name)
        .map(|last| last.manifest.clone())
}

pub(crate) fn of(log: &Log) -> Result<Pieces, StoreError> {
    Ok(Pieces::new(log.store().clone(), Key::new(&key::packs(log.id()))?))
}

/// As [`of`], with what is at hand of this execution's states.
pub(super) fn at_hand(log: &Log) -> Result<Pieces, StoreError> {
    let mut held = lock(&SHELF);
    let most = base(log.id()).map_or(0, |base| LEFT_OVER * base.len_bytes()) + LEFT_OVER_BYTES;
    let shelf = held.take().filter(|(of, shelf)| of == log.id() && shelf.len_bytes() <= most);
    // Without a folder for temporary files all of it comes from the store, as in a process that is cold.
    *held = shelf.or_else(|| Shelf::new().ok().map(|shelf| (log.id().clone(), shelf)));
    Ok(of(log)?.with_shelf(held.as_ref().map(|(_, shelf)| shelf.clone())))
}
