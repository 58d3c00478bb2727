//! Blobs in files.

use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::num::NonZeroU64;
use std::sync::Arc;

use super::Folder;
use super::temporary::{Published, Temporary};
use crate::{BlobReader, BlobWriter, Key, StoreError};

/// A blob on its way into a temporary file.
#[derive(Debug)]
pub(super) struct FolderWriter {
    folder: Arc<Folder>,
    key: Key,
    temporary: Temporary,
    len_bytes: u64,
    /// How much of that the disk was asked to write.
    begun_bytes: u64,
}

/// The disk begins to write whenever so much is at hand, while the rest is still being made; else all of it would wait for the sync.
const BEGIN_BYTES: u64 = 256 << 10;

impl FolderWriter {
    pub(super) fn begin(folder: &Arc<Folder>, key: Key) -> Result<Self, StoreError> {
        let temporary = folder.begin().map_err(|error| folder.error("begin the blob", &key, &error))?;
        Ok(Self { folder: Arc::clone(folder), key, temporary, len_bytes: 0, begun_bytes: 0 })
    }

    /// Says that nobody reads here soon what was written, upon which the system begins to write it. Where it does not, the sync does.
    fn begin_to_write(&mut self) {
        let written = NonZeroU64::new(self.len_bytes - self.begun_bytes);
        if written.is_some_and(|written| written.get() >= BEGIN_BYTES) {
            #[cfg(target_os = "linux")]
            let _ = rustix::fs::fadvise(
                self.temporary.file(),
                self.begun_bytes,
                written,
                rustix::fs::Advice::DontNeed,
            );
            self.begun_bytes = self.len_bytes;
        }
    }
}

impl Write for FolderWriter {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let written = self.temporary.file().write(bytes);
        // Said in the store's words, so that whoever streams into it knows a full disk from a mistake of its own.
        let written = written.map_err(|error| self.folder.error("write the blob", &self.key, &error))?;
        self.len_bytes += written as u64;
        self.begin_to_write();
        Ok(written)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl BlobWriter for FolderWriter {
    fn finish(self: Box<Self>) -> Result<u64, StoreError> {
        match self.folder.publish("store the blob", &self.key, &self.temporary)? {
            Published::New => Ok(self.len_bytes),
            Published::Exists => Err(StoreError::blob_exists(&self.key, &self.folder.place)),
        }
    }
}

/// A blob in a file, which never changes.
#[derive(Debug)]
pub(super) struct FolderReader {
    file: File,
    len_bytes: u64,
}

impl FolderReader {
    pub(super) fn new(file: File) -> io::Result<Self> {
        let len_bytes = file.metadata()?.len();
        Ok(Self { file, len_bytes })
    }
}

impl Read for FolderReader {
    fn read(&mut self, bytes: &mut [u8]) -> io::Result<usize> {
        self.file.read(bytes)
    }
}

impl Seek for FolderReader {
    fn seek(&mut self, to: SeekFrom) -> io::Result<u64> {
        self.file.seek(to)
    }
}

impl BlobReader for FolderReader {
    fn len_bytes(&self) -> u64 {
        self.len_bytes
    }
}
