//! Blobs: values of any size that are written and read as streams.

use std::io::{Read, Seek, Write};

use crate::StoreError;

/// A blob being written, by plain blocking writes from the thread that has the bytes.
///
/// Nothing is visible under the blob's key until [`finish`](BlobWriter::finish). Dropped before, nothing is left. Write in
/// pieces of 64 KiB or more, or wrap it in a buffer.
pub trait BlobWriter: Write + Send {
    /// Makes the blob durable and visible under its key; answers its length in bytes.
    ///
    /// # Errors
    /// [`StoreErrorKind::Conflict`](crate::StoreErrorKind::Conflict) if the key exists. After
    /// [`StoreErrorKind::Retry`](crate::StoreErrorKind::Retry) write the blob again under another name.
    fn finish(self: Box<Self>) -> Result<u64, StoreError>;
}

/// A blob being read, by plain blocking reads. Seeking is cheap in every store; reading far apart may not be.
pub trait BlobReader: Read + Seek + Send {
    /// The length of the whole blob in bytes, wherever the reader stands.
    fn len_bytes(&self) -> u64;
}
