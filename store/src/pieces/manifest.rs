//! Where each piece of a blob is.

use std::io::Read;

use super::PIECE_BYTES;
use crate::{BlobReader, Key, StoreError, StoreErrorKind};

pub(super) const MAGIC: &[u8] = b"limitless pieces 1\n";
const PIECE_LEN: usize = 32 + 4 + 8 + 4 + 4;
/// A manifest of the largest state there may be has some megabytes.
const LIMIT_BYTES: u64 = 64 << 20;

/// Where each piece of a blob is: what the next blob needs to know, to write only what this one has not.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Manifest {
    pub(super) packs: Vec<Pack>,
    pub(super) pieces: Vec<Piece>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Pack {
    pub(super) name: String,
    pub(super) len_bytes: u64,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Piece {
    pub(super) hash: [u8; 32],
    pub(super) pack: u32,
    /// Where it begins in the pack.
    pub(super) at: u64,
    /// How many bytes it has there; fewer than `len` if it is compressed.
    pub(super) stored: u32,
    pub(super) len: u32,
}

impl Manifest {
    /// The length of the blob.
    pub fn len_bytes(&self) -> u64 {
        self.pieces.iter().map(|piece| u64::from(piece.len)).sum()
    }

    /// How many bytes its packs have, with what only earlier blobs need.
    pub fn packed_bytes(&self) -> u64 {
        self.packs.iter().map(|pack| pack.len_bytes).sum()
    }

    pub(super) fn packs(&self) -> impl Iterator<Item = &str> {
        self.packs.iter().map(|pack| pack.name.as_str())
    }

    /// Of each pack, whether it has a piece that is not at hand.
    pub(super) fn packs_needed(&self, is_at_hand: impl Fn(&[u8; 32]) -> bool) -> Vec<bool> {
        let mut needed = vec![false; self.packs.len()];
        for piece in &self.pieces {
            if let Some(is_needed) = needed.get_mut(piece.pack as usize) {
                *is_needed = *is_needed || !is_at_hand(&piece.hash);
            }
        }
        needed
    }

    pub(super) fn to_bytes(&self) -> Vec<u8> {
        let mut bytes = MAGIC.to_vec();
        let count = |len: usize| u32::try_from(len).unwrap_or(u32::MAX).to_le_bytes();
        bytes.extend(count(self.packs.len()));
        bytes.extend(count(self.pieces.len()));
        for pack in &self.packs {
            bytes.extend(count(pack.name.len()));
            bytes.extend(pack.name.as_bytes());
            bytes.extend(pack.len_bytes.to_le_bytes());
        }
        for piece in &self.pieces {
            bytes.extend(piece.hash);
            bytes.extend(piece.pack.to_le_bytes());
            bytes.extend(piece.at.to_le_bytes());
            bytes.extend(piece.stored.to_le_bytes());
            bytes.extend(piece.len.to_le_bytes());
        }
        let hash = blake3::hash(&bytes);
        bytes.extend(hash.as_bytes());
        bytes
    }

    pub(super) fn read(blob: &mut Box<dyn BlobReader>, key: &Key) -> Result<Self, StoreError> {
        let damaged = || {
            let message = format!("failed to read {key}: the manifest of its pieces is damaged");
            StoreError::new(StoreErrorKind::Damaged, message)
        };
        if blob.len_bytes() > LIMIT_BYTES {
            return Err(damaged());
        }
        let mut bytes = Vec::new();
        blob.read_to_end(&mut bytes).map_err(|error| {
            StoreError::new(StoreErrorKind::Retry, format!("failed to read {key}: {error}"))
        })?;
        Self::from_bytes(&bytes).ok_or_else(damaged)
    }

    pub(super) fn from_bytes(bytes: &[u8]) -> Option<Self> {
        let (content, hash) = bytes.split_at_checked(bytes.len().checked_sub(32)?)?;
        if blake3::hash(content).as_bytes() != hash {
            return None;
        }
        let mut rest = content.strip_prefix(MAGIC)?;
        let (packs, pieces) = (number(&mut rest)?, number(&mut rest)?);
        if pieces.checked_mul(PIECE_LEN)? > rest.len() {
            return None;
        }
        let mut manifest = Self::default();
        for _ in 0..packs {
            let len = number(&mut rest)?;
            let name = String::from_utf8(take(&mut rest, len)?.to_vec()).ok()?;
            let len_bytes = u64::from_le_bytes(take(&mut rest, 8)?.try_into().ok()?);
            manifest.packs.push(Pack { name, len_bytes });
        }
        for _ in 0..pieces {
            manifest.pieces.push(piece(&mut rest, packs)?);
        }
        rest.is_empty().then_some(manifest)
    }
}

fn piece(rest: &mut &[u8], packs: usize) -> Option<Piece> {
    let hash = take(rest, 32)?.try_into().ok()?;
    let pack = u32::from_le_bytes(take(rest, 4)?.try_into().ok()?);
    let at = u64::from_le_bytes(take(rest, 8)?.try_into().ok()?);
    let stored = u32::from_le_bytes(take(rest, 4)?.try_into().ok()?);
    let len = u32::from_le_bytes(take(rest, 4)?.try_into().ok()?);
    let is_sound = (pack as usize) < packs && stored <= len && len as usize <= PIECE_BYTES;
    is_sound.then_some(Piece { hash, pack, at, stored, len })
}

fn number(rest: &mut &[u8]) -> Option<usize> {
    usize::try_from(u32::from_le_bytes(take(rest, 4)?.try_into().ok()?)).ok()
}

fn take<'a>(rest: &mut &'a [u8], len: usize) -> Option<&'a [u8]> {
    let (taken, left) = rest.split_at_checked(len)?;
    *rest = left;
    Some(taken)
}
