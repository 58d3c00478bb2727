//! Blobs: values of any size that are written and read as streams.

use std::io::{self, Read, Seek, SeekFrom, Write};

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

/// Where a reader stands after seeking, that stood at `at` in a blob of `len_bytes`. Past the end there is nothing to read, and that is
/// no error.
pub(crate) fn sought(to: SeekFrom, at: u64, len_bytes: u64) -> io::Result<u64> {
    let sought = match to {
        SeekFrom::Start(at) => Some(at),
        SeekFrom::End(by) => len_bytes.checked_add_signed(by),
        SeekFrom::Current(by) => at.checked_add_signed(by),
    };
    sought.ok_or_else(|| io::Error::new(io::ErrorKind::InvalidInput, "a seek to before the beginning"))
}
