//! Segments: files that their one writer keeps open and extends.

use std::collections::HashMap;
use std::fs::{File, OpenOptions};
use std::io;
use std::os::unix::fs::{FileExt, MetadataExt};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::Folder;
use crate::{Key, StoreError};

/// So many files are kept open at most; a process appends to few segments at a time.
const KEPT_OPEN: usize = 64;

/// The segments that this process appended to last.
#[derive(Debug, Default)]
pub(super) struct Segments(Mutex<HashMap<PathBuf, Arc<File>>>);

impl Segments {
    fn map(&self) -> MutexGuard<'_, HashMap<PathBuf, Arc<File>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn keep(&self, path: &Path, file: &Arc<File>) {
        let mut kept = self.map();
        if kept.len() >= KEPT_OPEN {
            kept.clear();
        }
        kept.insert(path.to_owned(), Arc::clone(file));
    }

    pub(super) fn close(&self, path: &Path) {
        self.map().remove(path);
    }

    /// The kept file and its length, unless its name is gone: somebody else may have deleted it.
    fn kept(&self, path: &Path) -> io::Result<Option<(Arc<File>, u64)>> {
        let Some(file) = self.map().get(path).cloned() else { return Ok(None) };
        let metadata = file.metadata()?;
        if metadata.nlink() > 0 {
            return Ok(Some((file, metadata.len())));
        }
        self.close(path);
        Ok(None)
    }
}

impl Folder {
    /// Appends with one write and one sync of the data; only the first append also makes the name durable.
    pub(super) fn append(&self, key: &Key, at: u64, bytes: &[u8]) -> Result<u64, StoreError> {
        let path = self.path(key);
        let opened = self.open_segment(&path);
        let (file, len) = opened.map_err(|error| self.error("append to", key, &error))?;
        self.check_overlap(key, &file, at, len, bytes)?;
        self.extend(key, &file, at, bytes)?;
        if at == 0 {
            self.settle(key, &path)?;
        }
        Ok(at + bytes.len() as u64)
    }

    fn open_segment(&self, path: &Path) -> io::Result<(Arc<File>, u64)> {
        if let Some(kept) = self.segments.kept(path)? {
            return Ok(kept);
        }
        let open = || OpenOptions::new().read(true).write(true).create(true).truncate(false).open(path);
        let file = Arc::new(self.directories.with_parent(path, open)?);
        let len = file.metadata()?.len();
        self.segments.keep(path, &file);
        Ok((file, len))
    }

    /// What the segment already holds at `at` must be the first of `bytes`, from an append that was not acknowledged.
    fn check_overlap(
        &self,
        key: &Key,
        file: &File,
        at: u64,
        len: u64,
        bytes: &[u8],
    ) -> Result<(), StoreError> {
        let conflict = || StoreError::second_writer(key, at, len);
        let known = len.checked_sub(at).and_then(|known| usize::try_from(known).ok()).ok_or_else(conflict)?;
        let mut there = vec![0; known.min(bytes.len())];
        file.read_exact_at(&mut there, at).map_err(|error| self.error("append to", key, &error))?;
        if known <= bytes.len() && bytes.starts_with(&there) { Ok(()) } else { Err(conflict()) }
    }

    /// Writes all of `bytes`, also those that are there: after a sync that failed the system takes pages for written
    /// that are not, and only a page that is written again is synced again.
    ///
    /// A full disk may have taken a part. It stays: a successor may have sealed it meanwhile, and only this append,
    /// repeated, goes there.
    fn extend(&self, key: &Key, file: &File, at: u64, bytes: &[u8]) -> Result<(), StoreError> {
        let failed = |action, error: io::Error| self.error(action, key, &error).with_unknown_outcome();
        file.write_all_at(bytes, at).map_err(|error| failed("append to", error))?;
        file.sync_data().map_err(|error| failed("sync", error))
    }
}
