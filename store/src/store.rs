//! The one trait every store implements.

use std::fmt::Debug;
use std::future::Future;
use std::pin::Pin;

use bytes::Bytes;

use crate::{BlobReader, BlobWriter, Key, StoreError, StoreErrorKind};

/// A boxed future that may move between threads: what the methods of the object-safe [`Store`] return.
pub type BoxFuture<'a, T> = Pin<Box<dyn Future<Output = T> + Send + 'a>>;

/// The most bytes one record may have: [`Store::create`] refuses more, and [`Store::read`] refuses to load more.
///
/// Larger values are blobs: [`Store::write_blob`] and [`Store::read_blob`].
pub const RECORD_LIMIT_BYTES: usize = 8 << 20;

/// What [`Store::create`] found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Created {
    /// The key was absent; it now holds the bytes, durably.
    New,
    /// The key already held something, which is unchanged. It may be this very write, sent before and acknowledged to
    /// nobody: read it back and compare the writer's nonce before calling it lost.
    Exists,
}

/// What whoever reads a segment may find behind the bytes that were appended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Behind {
    /// The segment's end.
    Nothing,
    /// Zeros, which were never appended. What is appended says itself where it ends, and a reader tells it from what a loss of power
    /// left of an append that was not acknowledged.
    Zeros,
}

/// A place that keeps bytes under keys, with the guarantees the execution log stands on.
///
/// - [`create`](Store::create) is linearizable: of any number of racing writers exactly one gets [`Created::New`].
/// - What was acknowledged survives `kill -9` and, in a store that outlives its process, loss of power.
/// - A read that starts after an acknowledgement sees it; nobody ever sees part of a record or blob.
/// - Nothing that was written changes: records and blobs are immutable, segments only grow.
/// - No key is also a folder: whoever uses `a/b` does not use `a/b/c`.
///
/// Bytes come back as they are stored. Damage is for the reader to detect, by a checksum of its own.
///
/// # Errors
/// [`StoreError::kind`] says what the caller can do. The outcome of a failed write is unknown, unless
/// [`StoreError::may_have_happened`] says otherwise; then the *same* bytes are sent to the *same* key again until it is
/// decided.
pub trait Store: Send + Sync + Debug + 'static {
    /// Creates `key` holding `bytes` if it is absent, atomically, and durably before this answers.
    ///
    /// # Errors
    /// [`StoreErrorKind::TooLarge`] over [`RECORD_LIMIT_BYTES`].
    fn create(&self, key: &Key, bytes: Bytes) -> BoxFuture<'_, Result<Created, StoreError>>;

    /// The whole value of `key`, or `None` if it is absent.
    ///
    /// # Errors
    /// [`StoreErrorKind::TooLarge`] over [`RECORD_LIMIT_BYTES`].
    fn read(&self, key: &Key) -> BoxFuture<'_, Result<Option<Bytes>, StoreError>>;

    /// As [`read`](Store::read), of a key that holds a record or nothing: over a network that nothing is there costs no more requests
    /// than what is.
    ///
    /// # Errors
    /// As [`read`](Store::read).
    fn read_record(&self, key: &Key) -> BoxFuture<'_, Result<Option<Bytes>, StoreError>> {
        self.read(key)
    }

    /// Begins a blob that will be stored under `key` when it is finished.
    ///
    /// Name every attempt anew (by epoch, nonce and sequence): a blob can't be replaced, and after an unknown outcome of
    /// [`BlobWriter::finish`] the name may be taken.
    fn write_blob(&self, key: &Key) -> BoxFuture<'_, Result<Box<dyn BlobWriter>, StoreError>>;

    /// Opens `key` for streaming, or `None` if it is absent. Works on records and segments as well.
    fn read_blob(&self, key: &Key) -> BoxFuture<'_, Result<Option<Box<dyn BlobReader>>, StoreError>>;

    /// Appends `bytes` to the segment `key` at offset `at`, durably; answers its new length. The first append, at 0,
    /// makes the segment.
    ///
    /// A segment has one writer, which passes the length that was last acknowledged to it. So a repetition after an
    /// unknown outcome lands on itself and never behind a torn copy; what a crash left half-written is completed by it.
    ///
    /// # Errors
    /// [`StoreErrorKind::Conflict`] if the segment is shorter than `at`, or already
    /// holds other bytes there: it has a second writer.
    fn append(&self, key: &Key, at: u64, bytes: Bytes) -> BoxFuture<'_, Result<u64, StoreError>>;

    /// [`append`](Store::append) on the calling thread, which waits for it: where that takes less time than passing it to another
    /// thread does, as with a folder of this machine. `None`, and nothing done, where it does not or `append` has to look first.
    ///
    /// With [`Behind::Zeros`] the store may make room for what comes next, which spares a file system from growing the file each
    /// time.
    ///
    /// Not for threads on which others wait.
    fn append_here(
        &self,
        key: &Key,
        at: u64,
        bytes: &Bytes,
        behind: Behind,
    ) -> Option<Result<u64, StoreError>> {
        let _ = (key, at, bytes, behind);
        None
    }

    /// Makes durable what can be read of the segment `key`, also where its writer did not live to do so.
    ///
    /// A store whose readers see nothing before it is durable has nothing to do.
    ///
    /// # Errors
    /// Where it may not be durable.
    fn settle(&self, key: &Key) -> BoxFuture<'_, Result<(), StoreError>> {
        let _ = key;
        Box::pin(async { Ok(()) })
    }

    /// The names directly below `folder`, sorted; of records, blobs and segments as well as of folders that are not empty.
    fn children(&self, folder: &Key) -> BoxFuture<'_, Result<Vec<String>, StoreError>>;

    /// Removes `key`, durably. It is no error if it is absent.
    fn delete(&self, key: &Key) -> BoxFuture<'_, Result<(), StoreError>>;

    /// What messages call this store: its URL without any secret.
    fn describe(&self) -> String;

    /// Whether the store is a server over a network: then it may not do what its protocol promises, and each request takes a
    /// round trip.
    fn is_remote(&self) -> bool {
        false
    }
}

/// Refuses a record over the limit, whether it is to be written or was found.
pub(crate) fn refuse_large_record(key: &Key, len_bytes: u64) -> Result<(), StoreError> {
    if len_bytes <= RECORD_LIMIT_BYTES as u64 {
        return Ok(());
    }
    let message =
        format!("{key} has {len_bytes} bytes; a record has at most {RECORD_LIMIT_BYTES}, more is a blob");
    Err(StoreError::new(StoreErrorKind::TooLarge, message))
}
