//! Segments: files that their one writer keeps open and extends.

use std::collections::HashMap;
use std::fs::{File, OpenOptions};
use std::io;
use std::os::unix::fs::{FileExt, MetadataExt};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use rustix::fs::FallocateFlags;

use super::Folder;
use crate::{Behind, Key, StoreError};

/// So many files are kept open at most; a process appends to few segments at a time.
const KEPT_OPEN: usize = 64;

/// Room is made by multiples of this, which is what a file takes of a disk anyway.
const ROOM_BYTES: u64 = 4096;
/// And by no more than this at a time.
const LARGEST_ROOM_BYTES: u64 = 1 << 20;

/// The segments that this process appended to last.
#[derive(Debug, Default)]
pub(super) struct Segments(Mutex<HashMap<PathBuf, Arc<Segment>>>);

/// A segment's file, kept open.
#[derive(Debug)]
struct Segment {
    file: File,
    /// Where the last append of this process ended, if it made one; held while it appends.
    end: Mutex<Option<u64>>,
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Segments {
    fn keep(&self, path: &Path, segment: &Arc<Segment>) {
        let mut kept = lock(&self.0);
        if kept.len() >= KEPT_OPEN {
            kept.clear();
        }
        kept.insert(path.to_owned(), Arc::clone(segment));
    }

    pub(super) fn close(&self, path: &Path) {
        lock(&self.0).remove(path);
    }

    /// The kept file and its length, unless its name is gone: somebody else may have deleted it.
    fn kept(&self, path: &Path) -> io::Result<Option<(Arc<Segment>, u64)>> {
        let Some(segment) = lock(&self.0).get(path).cloned() else { return Ok(None) };
        let metadata = segment.file.metadata()?;
        if metadata.nlink() > 0 {
            return Ok(Some((segment, metadata.len())));
        }
        self.close(path);
        Ok(None)
    }
}

impl Folder {
    /// Appends with one write and one sync of the data; only the first append also makes the name durable.
    pub(super) fn append(&self, key: &Key, at: u64, bytes: &[u8], behind: Behind) -> Result<u64, StoreError> {
        let path = self.path(key);
        let opened = self.open_segment(&path);
        let (segment, len) = opened.map_err(|error| self.error("append to", key, &error))?;
        let mut end = lock(&segment.end);
        self.check_overlap(key, &segment.file, at, end.unwrap_or(len), len, bytes)?;
        let appended = at + bytes.len() as u64;
        if behind == Behind::Zeros && appended > len {
            make_room(&segment.file, len, appended);
        }
        self.extend(key, &segment.file, at, bytes)?;
        if at == 0 {
            self.settle(key, &path)?;
        }
        *end = Some(appended);
        Ok(appended)
    }

    /// Syncs what another process appended, and the name.
    pub(super) fn settle_segment(&self, key: &Key) -> Result<(), StoreError> {
        let path = self.path(key);
        let synced = File::open(&path).and_then(|file| file.sync_data());
        synced.map_err(|error| self.error("sync", key, &error))?;
        self.settle(key, &path)
    }

    fn open_segment(&self, path: &Path) -> io::Result<(Arc<Segment>, u64)> {
        if let Some(kept) = self.segments.kept(path)? {
            return Ok(kept);
        }
        let open = || OpenOptions::new().read(true).write(true).create(true).truncate(false).open(path);
        let file = self.directories.with_parent(path, open)?;
        let len = file.metadata()?.len();
        let segment = Arc::new(Segment { file, end: Mutex::default() });
        self.segments.keep(path, &segment);
        Ok((segment, len))
    }

    /// What the segment already holds at `at` must be the first of `bytes`, from an append that was not acknowledged. It ends at
    /// `end` as far as is known; what lies between that and the file's end is room.
    fn check_overlap(
        &self,
        key: &Key,
        file: &File,
        at: u64,
        end: u64,
        len: u64,
        bytes: &[u8],
    ) -> Result<(), StoreError> {
        let conflict = || StoreError::second_writer(key, at, end);
        let upto = end.max(at + bytes.len() as u64).min(len);
        let known = upto.checked_sub(at).filter(|_| at <= end).and_then(|known| usize::try_from(known).ok());
        let mut there = vec![0; known.ok_or_else(conflict)?];
        file.read_exact_at(&mut there, at).map_err(|error| self.error("append to", key, &error))?;
        let written = there.iter().rposition(|byte| *byte != 0).map_or(0, |last| last + 1);
        if bytes.starts_with(&there[..written]) { Ok(()) } else { Err(conflict()) }
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

/// Makes a file of `len` bytes longer than the next append needs, and twice as long at most: a sync of what lies within
/// a file spares the file system its journal.
///
/// Where there is no room to be had, the append itself finds out.
fn make_room(file: &File, len: u64, needed: u64) {
    let room = needed.min(LARGEST_ROOM_BYTES);
    let until = if len == 0 { needed } else { needed + room }.next_multiple_of(ROOM_BYTES);
    let _ = rustix::fs::fallocate(file, FallocateFlags::empty(), len, until - len);
}
