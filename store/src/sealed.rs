//! How a sealed value begins; every build can tell it, also one that can't open it.

use std::fmt;

use crate::{Key, StoreError, StoreErrorKind};

/// The setting that holds the keys of an encrypted store: 64 hexadecimal digits each, the one to encrypt with first.
pub const KEY_VARIABLE: &str = "LIMITLESS_KEY";
const MAGIC: &[u8; 19] = b"limitless sealed 1\n";
pub(crate) const HEAD_LEN: usize = MAGIC.len() + 1 + 8;

/// What names a key: it follows from it, and says nothing of it.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) struct KeyId(pub(crate) [u8; 8]);

impl fmt::Display for KeyId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl fmt::Debug for KeyId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "KeyId({self})")
    }
}

/// The beginning of a sealed value.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Head {
    /// Whether it is a segment: frames, and not chunks of one length.
    pub(crate) is_segment: bool,
    pub(crate) key: KeyId,
}

impl Head {
    #[cfg(feature = "encryption")]
    pub(crate) fn to_bytes(self) -> [u8; HEAD_LEN] {
        let mut bytes = [0; HEAD_LEN];
        bytes[..MAGIC.len()].copy_from_slice(MAGIC);
        bytes[MAGIC.len()] = if self.is_segment { b's' } else { b'v' };
        bytes[MAGIC.len() + 1..].copy_from_slice(&self.key.0);
        bytes
    }

    pub(crate) fn of(bytes: &[u8]) -> Option<Self> {
        let rest = bytes.strip_prefix(MAGIC)?;
        let is_segment = match rest.first()? {
            b'v' => false,
            b's' => true,
            _ => return None,
        };
        Some(Self { is_segment, key: KeyId(*rest[1..].first_chunk()?) })
    }
}

/// The error of a value that is sealed, where nothing was given to open it with.
pub(crate) fn refuse_sealed(key: &Key, bytes: &[u8]) -> Result<(), StoreError> {
    let Some(head) = Head::of(bytes) else { return Ok(()) };
    let message = format!(
        "{key} is encrypted with the key {}: set {KEY_VARIABLE} to it, here and in the function",
        head.key
    );
    Err(StoreError::new(StoreErrorKind::Terminal, message))
}
