//! Putting a blob together again; every piece is verified.

use std::io::{self, Read, Seek, SeekFrom};
use std::sync::Arc;

use super::manifest::{Manifest, Piece};
use super::shelf::Shelf;
use crate::blob::sought;
use crate::{BlobReader, StoreError, StoreErrorKind};

/// A blob in pieces being read. A piece that is missing or is not what the manifest says is an error of the kind
/// [`InvalidData`](io::ErrorKind::InvalidData): the blob is damaged.
pub struct PiecesReader {
    manifest: Arc<Manifest>,
    packs: Vec<Option<Box<dyn BlobReader>>>,
    /// Where each piece ends in the blob.
    ends: Vec<u64>,
    at: u64,
    /// The piece that was read last, and its number.
    current: Option<usize>,
    piece: Vec<u8>,
    shelf: Option<Shelf>,
}

impl PiecesReader {
    pub(super) fn new(
        manifest: Arc<Manifest>,
        packs: Vec<Option<Box<dyn BlobReader>>>,
        shelf: Option<Shelf>,
    ) -> Self {
        let mut end = 0;
        let ends = manifest.pieces.iter().map(|piece| {
            end += u64::from(piece.len);
            end
        });
        let ends = ends.collect();
        Self { manifest, packs, ends, at: 0, current: None, piece: Vec::new(), shelf }
    }

    /// What the next blob is to be compared with.
    pub fn manifest(&self) -> &Arc<Manifest> {
        &self.manifest
    }

    fn load(&mut self, number: usize) -> io::Result<()> {
        let piece = self.manifest.pieces[number];
        self.current = None;
        if let Some(shelf) = &self.shelf {
            let was_there = shelf.has(&piece.hash);
            if shelf.find(&piece.hash, &mut self.piece) {
                self.current = Some(number);
                return Ok(());
            }
            // Its pack was perhaps not looked for; it will be the next time, since it is not at hand any more.
            if was_there && self.packs.get(piece.pack as usize).is_none_or(Option::is_none) {
                let message = format!("piece {number} at hand is damaged; the store has it");
                return Err(StoreError::new(StoreErrorKind::Retry, message).into());
            }
        }
        let name = self.manifest.packs[piece.pack as usize].name.as_str();
        let pack = self.packs.get_mut(piece.pack as usize).and_then(Option::as_mut);
        let pack = pack.ok_or_else(|| damaged(&format!("its pack {name} is missing")))?;
        self.piece.resize(piece.stored as usize, 0);
        pack.seek(SeekFrom::Start(piece.at))?;
        pack.read_exact(&mut self.piece).map_err(|error| match error.kind() {
            io::ErrorKind::UnexpectedEof => damaged(&format!("its pack {name} is cut off")),
            _ => error,
        })?;
        if piece.stored < piece.len {
            self.piece = decompressed(&self.piece, &piece)?;
        }
        if self.piece.len() != piece.len as usize || *blake3::hash(&self.piece).as_bytes() != piece.hash {
            return Err(damaged(&format!("piece {number} in its pack {name} is another")));
        }
        if let Some(shelf) = &self.shelf {
            shelf.keep(piece.hash, &self.piece);
        }
        self.current = Some(number);
        Ok(())
    }
}

#[cfg(feature = "zstd")]
fn decompressed(stored: &[u8], piece: &Piece) -> io::Result<Vec<u8>> {
    zstd::bulk::decompress(stored, piece.len as usize)
        .map_err(|error| damaged(&format!("a piece can't be decompressed: {error}")))
}

#[cfg(not(feature = "zstd"))]
fn decompressed(_: &[u8], _: &Piece) -> io::Result<Vec<u8>> {
    Err(io::Error::new(
        io::ErrorKind::Unsupported,
        "it is compressed, and this build lacks the feature `zstd`",
    ))
}

fn damaged(what: &str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, format!("the blob is damaged: {what}"))
}

impl Read for PiecesReader {
    fn read(&mut self, bytes: &mut [u8]) -> io::Result<usize> {
        let number = self.ends.partition_point(|end| *end <= self.at);
        let (Some(end), false) = (self.ends.get(number).copied(), bytes.is_empty()) else { return Ok(0) };
        if self.current != Some(number) {
            self.load(number)?;
        }
        let left = usize::try_from(end - self.at).unwrap_or(usize::MAX);
        let there = &self.piece[self.piece.len() - left..];
        let taken = there.len().min(bytes.len());
        bytes[..taken].copy_from_slice(&there[..taken]);
        self.at += taken as u64;
        Ok(taken)
    }
}

impl Seek for PiecesReader {
    fn seek(&mut self, to: SeekFrom) -> io::Result<u64> {
        self.at = sought(to, self.at, self.len_bytes())?;
        Ok(self.at)
    }
}

impl BlobReader for PiecesReader {
    fn len_bytes(&self) -> u64 {
        self.ends.last().copied().unwrap_or_default()
    }
}
