//! The large checkpoint that this process saw last: the next one moves what it has not, and going on from it fetches nothing.
//!
//! A successor that lands in this process, warm, goes on from what is at hand here; what it reads there is verified all the same.

use std::sync::{Arc, Condvar, Mutex, PoisonError};

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

impl Last {
    fn new(execution: &ExecutionId, name: &str, manifest: &Arc<Manifest>) -> Self {
        Self { execution: execution.clone(), name: name.to_owned(), manifest: manifest.clone() }
    }
}

/// One of each is enough: a process has one execution at a time.
static LAST: Mutex<Option<Last>> = Mutex::new(None);
/// The newest that is here and perhaps not yet in the store: to be read, and not to be compared with.
static HERE: Mutex<Option<Last>> = Mutex::new(None);
/// How many checkpoints are on their way to the store.
static UPLOADS: (Mutex<usize>, Condvar) = (Mutex::new(0), Condvar::new());
static SHELF: Mutex<Option<(ExecutionId, Shelf)>> = Mutex::new(None);

/// A shelf with so much more on it than the state has is begun anew.
const LEFT_OVER: u64 = 3;
const LEFT_OVER_BYTES: u64 = 64 << 20;

pub(crate) fn remember(execution: &ExecutionId, name: &str, manifest: &Arc<Manifest>) {
    *lock(&LAST) = Some(Last::new(execution, name, manifest));
}

/// As [`remember`], of a checkpoint that the store has not yet.
pub(super) fn remember_here(execution: &ExecutionId, name: &str, manifest: &Arc<Manifest>) {
    *lock(&HERE) = Some(Last::new(execution, name, manifest));
}

/// A checkpoint on its way to the store, until this is dropped.
pub(super) struct Upload(());

pub(super) fn begin_upload() -> Upload {
    *lock(&UPLOADS.0) += 1;
    Upload(())
}

impl Drop for Upload {
    fn drop(&mut self) {
        *lock(&UPLOADS.0) -= 1;
        UPLOADS.1.notify_all();
    }
}

/// Until nothing is on its way: the next checkpoint moves only what the one before it has not.
pub(super) fn wait_for_upload() {
    let under_way = UPLOADS.1.wait_while(lock(&UPLOADS.0), |uploads| *uploads > 0);
    drop(under_way.unwrap_or_else(PoisonError::into_inner));
}

/// What the next large checkpoint of this execution is compared with.
pub(crate) fn base(execution: &ExecutionId) -> Option<Arc<Manifest>> {
    lock(&LAST).as_ref().filter(|last| last.execution == *execution).map(|last| last.manifest.clone())
}

/// The manifest of just this checkpoint, where this process wrote or read it last.
pub(super) fn known(execution: &ExecutionId, name: &str) -> Option<Arc<Manifest>> {
    let is_it = |last: &&Last| last.execution == *execution && last.name == name;
    let found =
        |last: &Mutex<Option<Last>>| lock(last).as_ref().filter(is_it).map(|last| last.manifest.clone());
    found(&LAST).or_else(|| found(&HERE))
}

pub(crate) fn of(log: &Log) -> Result<Pieces, StoreError> {
    Ok(Pieces::new(log.store().clone(), Key::new(&key::packs(log.id()))?))
}

/// As [`of`], with what is at hand of this execution's states.
pub(super) fn at_hand(log: &Log) -> Result<Pieces, StoreError> {
    let mut held = lock(&SHELF);
    let here =
        lock(&HERE).as_ref().filter(|here| here.execution == *log.id()).map(|here| here.manifest.clone());
    let longest =
        base(log.id()).into_iter().chain(here).map(|blob| blob.len_bytes()).max().unwrap_or_default();
    let most = LEFT_OVER * longest + LEFT_OVER_BYTES;
    let shelf = held.take().filter(|(of, shelf)| of == log.id() && shelf.len_bytes() <= most);
    // Without a folder for temporary files all of it comes from the store, as in a process that is cold.
    *held = shelf.or_else(|| Shelf::new().ok().map(|shelf| (log.id().clone(), shelf)));
    Ok(of(log)?.with_shelf(held.as_ref().map(|(_, shelf)| shelf.clone())))
}
