//! The envelope around a checkpoint's state, written and read as a stream.
//!
//! The format is [`limitless_faas_core::checkpoint`]'s. [`EnvelopeWriter`] never holds the state: it hashes and passes it on
//! block by block. [`EnvelopeReader`] verifies everything before it hands out the first byte of state.

mod choose;
mod read;
mod write;

use std::io;

use limitless_faas_core::ExecutionId;
use limitless_faas_core::checkpoint::EnvelopeFlaw;

pub use read::EnvelopeReader;
pub use write::{EnvelopeWriter, Sealed};

/// How much is hashed, compressed and written at a time.
const BLOCK_BYTES: usize = 256 << 10;

/// What a writer of envelopes needs to know.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct EnvelopeOptions {
    /// How fast the store takes and gives bytes, as declared or measured. Without it, as on a local disk, nothing is compressed.
    pub bandwidth_bytes_per_s: Option<u64>,
    /// The most bytes an encoded state may have.
    pub limit_bytes: u64,
}

impl Default for EnvelopeOptions {
    fn default() -> Self {
        Self { bandwidth_bytes_per_s: None, limit_bytes: 4 << 30 }
    }
}

/// Why a checkpoint could not be read.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum EnvelopeError {
    /// Reading failed. That is no damage: another attempt may succeed.
    #[error("failed to read the checkpoint: {0}")]
    Io(#[from] io::Error),
    /// The bytes are no checkpoint that this version can use. The one before it may be.
    #[error("the checkpoint is not usable: {0}")]
    Flaw(#[from] EnvelopeFlaw),
    /// It is whole, but of another execution.
    #[error("the checkpoint belongs to execution {found}, not to {expected}")]
    Foreign {
        /// Whose checkpoint it is.
        found: ExecutionId,
        /// Whose was asked for.
        expected: ExecutionId,
    },
    /// It is larger than allowed.
    #[error("the checkpoint has {found_bytes} bytes, and the limit is {limit_bytes}")]
    TooLarge {
        /// The length of the envelope or of the state in it.
        found_bytes: u64,
        /// The limit.
        limit_bytes: u64,
    },
    /// The state has more bytes than were read.
    #[error("the checkpoint has {left_bytes} more bytes of state than its type takes")]
    LeftOver {
        /// How many at least.
        left_bytes: u64,
    },
    /// It is compressed, and this build can't decompress.
    #[error("the checkpoint is compressed with zstd, and this build lacks the feature `zstd`")]
    NoZstd,
}

impl EnvelopeError {
    /// Whether the checkpoint itself is bad, so that an earlier one should be tried; not a failure of reading it.
    pub fn is_damage(&self) -> bool {
        match self {
            // A store that verifies what it reads says so of bytes that are not what was written.
            Self::Io(error) => error.kind() == io::ErrorKind::InvalidData,
            Self::NoZstd | Self::Flaw(EnvelopeFlaw::Format { .. }) => false,
            _ => true,
        }
    }
}
