//! Pieces at hand: what this process wrote or read lately need not come over the network again.

use std::collections::HashMap;
use std::fs::{File, OpenOptions};
use std::hash::{BuildHasher, RandomState};
use std::io;
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::sync::{Arc, Mutex, PoisonError};

/// A shelf takes no more than this.
const MOST_BYTES: u64 = 1 << 30;

/// Pieces of one execution, in a file without a name in the folder for temporary files: only this process can reach it, and
/// it is gone with the process.
///
/// What is found is verified as what comes from the store is; where the file takes or gives nothing, the store does.
#[derive(Debug, Clone)]
pub struct Shelf(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    file: File,
    places: Mutex<Places>,
}

#[derive(Debug, Default)]
struct Places {
    /// Where each piece begins, and its length.
    of: HashMap<[u8; 32], (u64, usize)>,
    end: u64,
}

impl Shelf {
    /// An empty one.
    ///
    /// # Errors
    /// Where no file can be made in the folder for temporary files.
    pub fn new() -> io::Result<Self> {
        let name = format!("limitless-{:016x}", RandomState::new().hash_one(std::process::id()));
        let path = std::env::temp_dir().join(name);
        let file = OpenOptions::new().read(true).write(true).create_new(true).mode(0o600).open(&path)?;
        std::fs::remove_file(&path)?;
        Ok(Self(Arc::new(Inner { file, places: Mutex::default() })))
    }

    /// How many bytes it holds, with what no blob needs any more.
    pub fn len_bytes(&self) -> u64 {
        self.places().end
    }

    /// Whether it holds nothing.
    pub fn is_empty(&self) -> bool {
        self.len_bytes() == 0
    }

    fn places(&self) -> std::sync::MutexGuard<'_, Places> {
        self.0.places.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Keeps a piece, if there is space.
    pub(super) fn keep(&self, hash: [u8; 32], piece: &[u8]) {
        let mut places = self.places();
        if places.of.contains_key(&hash) || places.end + piece.len() as u64 > MOST_BYTES {
            return;
        }
        if self.0.file.write_all_at(piece, places.end).is_ok() {
            let place = (places.end, piece.len());
            places.of.insert(hash, place);
            places.end += piece.len() as u64;
        }
    }

    pub(super) fn has(&self, hash: &[u8; 32]) -> bool {
        self.places().of.contains_key(hash)
    }

    /// Reads the piece of this hash into `piece`. One that is not what it was is forgotten, and not found.
    pub(super) fn find(&self, hash: &[u8; 32], piece: &mut Vec<u8>) -> bool {
        let Some((at, len)) = self.places().of.get(hash).copied() else { return false };
        piece.resize(len, 0);
        let is_it = self.0.file.read_exact_at(piece, at).is_ok() && blake3::hash(piece).as_bytes() == hash;
        if !is_it {
            self.places().of.remove(hash);
        }
        is_it
    }

    /// Changes a byte of what is kept.
    #[cfg(test)]
    pub(super) fn damage(&self, at: u64) {
        self.0.file.write_all_at(&[0xFF, 0xFE], at).unwrap();
    }
}
