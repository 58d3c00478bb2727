//! The index of a large blob: what stands under its key.

use bytes::Bytes;

use crate::{Key, StoreError, StoreErrorKind};

/// No value that begins so is ever stored under a key itself, so an index is told from a value by its first bytes.
const MAGIC: &[u8] = b"\0limitless parts 1\n";
const LEN: usize = MAGIC.len() + 8 + 8 + 8;

/// Where the parts of a blob stand.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Index {
    /// Chosen by the writer, so that no two ever write the same part.
    nonce: u64,
    /// The length of each part but the last.
    pub(super) part_bytes: u64,
    /// The length of the blob.
    pub(super) len_bytes: u64,
}

impl Index {
    pub(super) fn new(part_bytes: usize) -> Self {
        Self { nonce: fastrand::u64(..), part_bytes: part_bytes as u64, len_bytes: 0 }
    }

    /// The index of a value that is one part.
    pub(super) fn of_one(len: usize) -> Self {
        Self { len_bytes: len as u64, ..Self::new(len) }
    }

    pub(super) fn is_one(bytes: &[u8]) -> bool {
        bytes.starts_with(MAGIC)
    }

    /// The index that `object` is, if it is one.
    pub(super) fn find(key: &Key, object: &Bytes) -> Result<Option<Self>, StoreError> {
        if !Self::is_one(object) {
            return Ok(None);
        }
        let number = |at: usize| {
            let bytes = object.get(at..at + 8)?;
            bytes.try_into().ok().map(u64::from_le_bytes)
        };
        let at = MAGIC.len();
        let index = number(at).zip(number(at + 8)).zip(number(at + 16));
        match index {
            Some(((nonce, part_bytes), len_bytes))
                if object.len() == LEN && (1..=1 << 30).contains(&part_bytes) =>
            {
                Ok(Some(Self { nonce, part_bytes, len_bytes }))
            }
            _ => Err(StoreError::new(
                StoreErrorKind::Damaged,
                format!("failed to read {key}: the index of its parts is damaged"),
            )),
        }
    }

    pub(super) fn to_bytes(&self) -> Bytes {
        let mut bytes = MAGIC.to_vec();
        for number in [self.nonce, self.part_bytes, self.len_bytes] {
            bytes.extend_from_slice(&number.to_le_bytes());
        }
        bytes.into()
    }

    pub(super) fn parts(&self) -> u64 {
        self.len_bytes.div_ceil(self.part_bytes)
    }

    /// How long part `number` is.
    pub(super) fn len_of(&self, number: u64) -> u64 {
        (self.len_bytes - number * self.part_bytes).min(self.part_bytes)
    }

    /// The name of part `number`.
    pub(super) fn part(&self, key: &str, number: u64) -> String {
        format!("{}/{:016x}-{number:06}", folder(key), self.nonce)
    }
}

/// The folder of the parts of a blob.
pub(super) fn folder(key: &str) -> String {
    format!("{key}=p")
}
