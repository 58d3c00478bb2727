//! The envelope of a checkpoint: what stands before and after the state, and which checks it must pass.
//!
//! ```text
//! magic "LFCP" | format u16 | header length u32 | header (JSON) | payload | trailer
//! ```
//!
//! The payload is the encoded state, perhaps compressed. The [`Trailer`] repeats the lengths and seals everything. All
//! numbers are little-endian. Reading and writing the payload as a stream is the store's part.

use serde::{Deserialize, Serialize};

use crate::{ExecutionId, Nonce};

/// The first bytes of every checkpoint.
pub const MAGIC: [u8; 4] = *b"LFCP";
/// The format this version writes and reads.
pub const FORMAT: u16 = 1;
/// The most bytes the header's JSON may have.
pub const HEADER_LIMIT_BYTES: u32 = 256 << 10;

/// What a checkpoint says of itself: enough to refuse it where it does not belong.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Header {
    /// How the state was encoded.
    pub codec: Codec,
    /// How the encoded state was compressed.
    pub compression: Compression,
    /// The handler that saved it.
    pub handler: String,
    /// The fingerprint of that handler's body.
    pub fingerprint: String,
    /// The type of the state.
    pub state: StateType,
    /// The execution whose state it is.
    pub execution: ExecutionId,
    /// The writer's epoch.
    pub epoch: u64,
    /// The writer's delivery.
    pub nonce: Nonce,
    /// Its place among the writer's checkpoints.
    pub sequence: u64,
}

/// The type of a saved state.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct StateType {
    /// The name the user gave it, or the live set's.
    pub name: String,
    /// The version the user gave it, 0 without one.
    #[serde(default)]
    pub version: u32,
    /// Changes with names, types and order of fields and variants.
    pub fingerprint: String,
    /// The type's shape as the SDK wrote it, so that a difference can be named and not only noticed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub shape: Option<String>,
}

/// How a state is encoded.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
#[non_exhaustive]
pub enum Codec {
    /// bincode 2 in its legacy configuration: fixed-width, little-endian.
    BincodeLegacy,
    /// JSON: the manifest of a program's images, which stand beside it.
    Json,
}

/// How an encoded state is compressed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
#[non_exhaustive]
pub enum Compression {
    /// Not at all.
    None,
    /// As one zstd stream.
    Zstd,
}

/// Why bytes are not a checkpoint that this version can use.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum EnvelopeFlaw {
    /// It does not begin as a checkpoint does.
    #[error("it does not begin with the mark of a checkpoint")]
    Magic,
    /// Another version wrote it.
    #[error("it has format {found}, and this version reads format {FORMAT}")]
    Format {
        /// The format it says it has.
        found: u16,
    },
    /// A length in it can't be true.
    #[error("it says that its {part} has {says} bytes, which can't be where {there} are there")]
    Length {
        /// Which part.
        part: &'static str,
        /// What it says.
        says: u64,
        /// How many bytes there are, or may be.
        there: u64,
    },
    /// It ends too early.
    #[error("it is cut off: {there} bytes are too few")]
    Truncated {
        /// How many bytes there are.
        there: u64,
    },
    /// A part does not have its checksum.
    #[error("its {part} does not match its checksum")]
    Checksum {
        /// Which part.
        part: &'static str,
    },
    /// The header is sealed but can't be understood.
    #[error("its header can't be read: {reason}")]
    Header {
        /// What the parser said.
        reason: String,
    },
}

impl Header {
    /// Everything that goes before the payload.
    ///
    /// # Errors
    /// [`EnvelopeFlaw::Length`] if the header is too long, because of a name or shape that is.
    pub fn to_head(&self) -> Result<Vec<u8>, EnvelopeFlaw> {
        let json =
            serde_json::to_vec(self).map_err(|error| EnvelopeFlaw::Header { reason: error.to_string() })?;
        let length = Preamble { header_len: check_header_len(json.len() as u64)? };
        let mut head = Vec::with_capacity(Preamble::LEN + json.len());
        head.extend_from_slice(&length.to_bytes());
        head.extend_from_slice(&json);
        Ok(head)
    }

    /// The header in the JSON behind the preamble.
    ///
    /// # Errors
    /// [`EnvelopeFlaw::Header`] with what the parser says.
    pub fn from_json(json: &[u8]) -> Result<Self, EnvelopeFlaw> {
        serde_json::from_slice(json).map_err(|error| EnvelopeFlaw::Header { reason: error.to_string() })
    }
}

/// The bytes before the header.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Preamble {
    /// Length of the header's JSON in bytes.
    pub header_len: u32,
}

impl Preamble {
    /// Length of a preamble in bytes.
    pub const LEN: usize = 10;

    /// The preamble as bytes.
    pub fn to_bytes(self) -> [u8; Self::LEN] {
        let mut bytes = [0; Self::LEN];
        bytes[..4].copy_from_slice(&MAGIC);
        bytes[4..6].copy_from_slice(&FORMAT.to_le_bytes());
        bytes[6..].copy_from_slice(&self.header_len.to_le_bytes());
        bytes
    }

    /// Reads a preamble.
    ///
    /// # Errors
    /// Another magic, another format, a header longer than allowed.
    pub fn from_bytes(bytes: &[u8; Self::LEN]) -> Result<Self, EnvelopeFlaw> {
        let [m0, m1, m2, m3, f0, f1, l0, l1, l2, l3] = *bytes;
        if [m0, m1, m2, m3] != MAGIC {
            return Err(EnvelopeFlaw::Magic);
        }
        let found = u16::from_le_bytes([f0, f1]);
        if found != FORMAT {
            return Err(EnvelopeFlaw::Format { found });
        }
        let header_len = u32::from_le_bytes([l0, l1, l2, l3]);
        Ok(Self { header_len: check_header_len(header_len.into())? })
    }
}

fn check_header_len(len: u64) -> Result<u32, EnvelopeFlaw> {
    let too_long = EnvelopeFlaw::Length { part: "header", says: len, there: HEADER_LIMIT_BYTES.into() };
    u32::try_from(len).ok().filter(|len| *len <= HEADER_LIMIT_BYTES).ok_or(too_long)
}

/// The bytes behind the payload: lengths, and two checksums.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Trailer {
    /// Length of the encoded state before compression.
    pub state_len: u64,
    /// Length of the payload as it is stored.
    pub payload_len: u64,
    /// blake3 of the payload.
    pub payload_hash: [u8; 32],
    /// blake3 of the head, the lengths and the payload's hash: it stands for the whole envelope.
    pub seal: [u8; 32],
}

impl Trailer {
    /// Length of a trailer in bytes.
    pub const LEN: usize = 80;

    /// The trailer of a payload behind `head`.
    pub fn new(head: &[u8], state_len: u64, payload_len: u64, payload_hash: [u8; 32]) -> Self {
        let mut hash = blake3::Hasher::new();
        hash.update(&(head.len() as u64).to_le_bytes());
        hash.update(head);
        hash.update(&state_len.to_le_bytes());
        hash.update(&payload_len.to_le_bytes());
        hash.update(&payload_hash);
        Self { state_len, payload_len, payload_hash, seal: *hash.finalize().as_bytes() }
    }

    /// The trailer as bytes.
    pub fn to_bytes(&self) -> [u8; Self::LEN] {
        let mut bytes = [0; Self::LEN];
        bytes[..8].copy_from_slice(&self.state_len.to_le_bytes());
        bytes[8..16].copy_from_slice(&self.payload_len.to_le_bytes());
        bytes[16..48].copy_from_slice(&self.payload_hash);
        bytes[48..].copy_from_slice(&self.seal);
        bytes
    }

    /// Reads a trailer; whether it is true is for [`Trailer::check`].
    pub fn from_bytes(bytes: &[u8; Self::LEN]) -> Self {
        let number = |from: usize| {
            let mut number = [0; 8];
            number.copy_from_slice(&bytes[from..from + 8]);
            u64::from_le_bytes(number)
        };
        let hash = |from: usize| {
            let mut hash = [0; 32];
            hash.copy_from_slice(&bytes[from..from + 32]);
            hash
        };
        Self { state_len: number(0), payload_len: number(8), payload_hash: hash(16), seal: hash(48) }
    }

    /// Checks the lengths against the length of the whole envelope.
    ///
    /// # Errors
    /// [`EnvelopeFlaw::Length`], also for bytes too many.
    pub fn check_lengths(&self, head_len: u64, envelope_len: u64) -> Result<(), EnvelopeFlaw> {
        let there = envelope_len.saturating_sub(head_len).saturating_sub(Self::LEN as u64);
        if self.payload_len == there {
            Ok(())
        } else {
            Err(EnvelopeFlaw::Length { part: "payload", says: self.payload_len, there })
        }
    }

    /// Checks both checksums against the head and the payload's hash as they were read.
    ///
    /// # Errors
    /// [`EnvelopeFlaw::Checksum`] that names the damaged part.
    pub fn check(&self, head: &[u8], payload_hash: [u8; 32]) -> Result<(), EnvelopeFlaw> {
        let sealed = Self::new(head, self.state_len, self.payload_len, self.payload_hash);
        if sealed.seal != self.seal {
            return Err(EnvelopeFlaw::Checksum { part: "header or trailer" });
        }
        if payload_hash != self.payload_hash {
            return Err(EnvelopeFlaw::Checksum { part: "payload" });
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn header() -> Header {
        Header {
            codec: Codec::BincodeLegacy,
            compression: Compression::None,
            handler: "factors".to_owned(),
            fingerprint: "00ff".to_owned(),
            state: StateType { name: "Progress".to_owned(), version: 2, ..StateType::default() },
            execution: ExecutionId::from_random([7; 16]),
            epoch: 3,
            nonce: Nonce::from_random([1; 8]),
            sequence: 5,
        }
    }

    #[test]
    fn the_head_reads_back() {
        let head = header().to_head().unwrap();
        let (preamble, json) = head.split_first_chunk().unwrap();
        assert_eq!(Preamble::from_bytes(preamble).unwrap().header_len as usize, json.len());
        assert_eq!(Header::from_json(json).unwrap(), header());
    }

    #[test]
    fn other_formats_and_lengths_are_refused() {
        let good = Preamble { header_len: 9 }.to_bytes();
        let with = |at: usize, byte: u8| {
            let mut bytes = good;
            bytes[at] = byte;
            Preamble::from_bytes(&bytes)
        };
        assert_eq!(with(0, b'X'), Err(EnvelopeFlaw::Magic));
        assert_eq!(with(4, 2), Err(EnvelopeFlaw::Format { found: 2 }));
        assert!(matches!(with(9, 1), Err(EnvelopeFlaw::Length { part: "header", .. })));
        let long = Header { handler: "x".repeat(300 << 10), ..header() };
        assert!(matches!(long.to_head(), Err(EnvelopeFlaw::Length { part: "header", .. })));
    }

    #[test]
    fn the_seal_covers_head_lengths_and_payload() {
        let good = Trailer::new(b"head", 10, 8, [5; 32]);
        assert_eq!(Trailer::from_bytes(&good.to_bytes()), good);
        assert_eq!(good.check(b"head", [5; 32]), Ok(()));
        assert_eq!(good.check(b"heaD", [5; 32]), Err(EnvelopeFlaw::Checksum { part: "header or trailer" }));
        assert_eq!(good.check(b"head", [6; 32]), Err(EnvelopeFlaw::Checksum { part: "payload" }));
        let other_len = Trailer { state_len: 11, ..good };
        assert!(other_len.check(b"head", [5; 32]).is_err());
        assert_eq!(good.check_lengths(4, 4 + 8 + 80), Ok(()));
        assert!(good.check_lengths(4, 4 + 8 + 81).is_err());
    }
}
