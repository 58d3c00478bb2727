//! Cutting a blob into pieces, and writing those that are new.

use std::collections::HashMap;
use std::io::{self, Write};
use std::sync::Arc;

use super::PIECE_BYTES;
use super::manifest::{Manifest, Pack, Piece};
use super::shelf::Shelf;
use crate::{BlobWriter, Key, Pieces, StoreError, StoreErrorKind};

/// A blob that would be read from more packs than this is written anew.
const MOST_PACKS: usize = 64;

/// A blob being written in pieces; blocking, as every [`BlobWriter`]. Nothing is visible until [`finish`](PiecesWriter::finish).
pub struct PiecesWriter {
    out: Out,
    known: HashMap<[u8; 32], Piece>,
    manifest: Manifest,
    /// This blob's own pack among those of the manifest.
    own: u32,
    pack_len: u64,
    /// How many bytes of the blob are new pieces.
    new_bytes: u64,
    piece: Vec<u8>,
    compresses: bool,
    shelf: Option<Shelf>,
}

/// Where new pieces go.
enum Out {
    /// To the store.
    Store { manifest: Box<dyn BlobWriter>, pack: Box<dyn BlobWriter> },
    /// They wait on the shelf.
    Shelf(Shelf),
}

/// A blob being written that the store gets later: its new pieces wait on the shelf, so writing waits for nothing but that.
pub struct LaterWriter {
    writer: PiecesWriter,
    pieces: Pieces,
    key: Key,
    base: Option<Arc<Manifest>>,
    shelf: Shelf,
}

/// A blob in pieces that this process has, and the store not yet.
///
/// It can be read with [`Pieces::open_known`](super::Pieces::open_known) from its manifest while the shelf is there.
pub struct Waiting {
    pieces: Pieces,
    key: Key,
    base: Option<Arc<Manifest>>,
    shelf: Shelf,
    /// Where its new pieces stand in the store is not known yet.
    manifest: Arc<Manifest>,
    new_bytes: u64,
}

/// A blob in pieces that is durable.
#[derive(Debug, Clone)]
pub struct Written {
    /// The length of the blob.
    pub len_bytes: u64,
    /// How many bytes were written for it: new pieces and the manifest.
    pub moved_bytes: u64,
    /// How many bytes of the blob the store had not: those of its new pieces, before compression.
    pub new_bytes: u64,
    /// What the next blob is to be compared with.
    pub manifest: Arc<Manifest>,
}

impl PiecesWriter {
    pub(super) fn for_store(
        manifest: Box<dyn BlobWriter>,
        pack: Box<dyn BlobWriter>,
        name: &str,
        base: Option<&Arc<Manifest>>,
        compresses: bool,
        shelf: Option<Shelf>,
    ) -> Self {
        Self::new(Out::Store { manifest, pack }, name, base, compresses, shelf)
    }

    fn new(
        out: Out,
        name: &str,
        base: Option<&Arc<Manifest>>,
        compresses: bool,
        shelf: Option<Shelf>,
    ) -> Self {
        // What nobody needs any more must not be kept, and carried along, for ever.
        let is_worthwhile = |base: &&Arc<Manifest>| {
            base.packs.len() < MOST_PACKS && base.packed_bytes() <= 2 * base.len_bytes()
        };
        let base = base.filter(is_worthwhile);
        let known = base.map(|base| base.pieces.iter().map(|piece| (piece.hash, *piece)).collect());
        let mut packs = base.map(|base| base.packs.clone()).unwrap_or_default();
        let own = u32::try_from(packs.len()).unwrap_or(u32::MAX);
        packs.push(Pack { name: name.to_owned(), len_bytes: 0 });
        Self {
            out,
            known: known.unwrap_or_default(),
            manifest: Manifest { packs, pieces: Vec::new() },
            own,
            pack_len: 0,
            new_bytes: 0,
            piece: Vec::with_capacity(PIECE_BYTES),
            compresses,
            shelf,
        }
    }

    /// Ends the piece here: after a part whose length varies, so that what follows is cut as it was the last time.
    ///
    /// # Errors
    /// Those of the store.
    pub fn cut(&mut self) -> io::Result<()> {
        let piece = std::mem::take(&mut self.piece);
        let added = if piece.is_empty() { Ok(()) } else { self.add(&piece) };
        self.piece = piece;
        self.piece.clear();
        added
    }

    /// Adds whole pieces, in this order, of at most 4 GiB each. They are hashed and compressed side by side, on all CPUs.
    ///
    /// # Errors
    /// Those of the store.
    pub fn write_pieces(&mut self, pieces: &[&[u8]]) -> io::Result<()> {
        self.cut()?;
        let (known, compresses) = (&self.known, self.compresses);
        let prepared = side_by_side(pieces, &|piece| Prepared::of(piece, known, compresses));
        pieces.iter().zip(prepared).try_for_each(|(piece, prepared)| self.add_prepared(piece, prepared))
    }

    fn add(&mut self, bytes: &[u8]) -> io::Result<()> {
        let prepared = Prepared::of(bytes, &self.known, self.compresses);
        self.add_prepared(bytes, prepared)
    }

    fn add_prepared(&mut self, bytes: &[u8], Prepared { hash, compressed }: Prepared) -> io::Result<()> {
        if let Some(shelf) = &self.shelf {
            shelf.keep(hash, bytes);
        }
        let stored = compressed.as_deref().unwrap_or(bytes);
        if self.add_known(&hash) { Ok(()) } else { self.add_new(hash, bytes, stored) }
    }

    fn add_known(&mut self, hash: &[u8; 32]) -> bool {
        let known = self.known.get(hash).copied();
        self.manifest.pieces.extend(known);
        known.is_some()
    }

    fn add_new(&mut self, hash: [u8; 32], bytes: &[u8], stored: &[u8]) -> io::Result<()> {
        match &mut self.out {
            Out::Store { pack, .. } => pack.write_all(stored)?,
            Out::Shelf(shelf) if shelf.has(&hash) => {}
            Out::Shelf(_) => {
                let message = "the folder for temporary files takes no more of the state";
                return Err(StoreError::new(StoreErrorKind::Retry, message).into());
            }
        }
        let len = |len: usize| u32::try_from(len).unwrap_or(u32::MAX);
        let piece = Piece {
            hash,
            pack: self.own,
            at: self.pack_len,
            stored: len(stored.len()),
            len: len(bytes.len()),
        };
        self.pack_len += stored.len() as u64;
        self.new_bytes += bytes.len() as u64;
        self.known.insert(hash, piece);
        self.manifest.pieces.push(piece);
        Ok(())
    }

    /// Makes the blob durable and visible under its key.
    ///
    /// # Errors
    /// As [`BlobWriter::finish`].
    pub fn finish(mut self) -> Result<Written, StoreError> {
        self.cut().map_err(|error| write_error(&error))?;
        let Out::Store { manifest: mut manifest_out, pack } = self.out else {
            return Err(StoreError::new(
                StoreErrorKind::NotSupported,
                "its pieces wait: they are to be uploaded",
            ));
        };
        if let Some(own) = self.manifest.packs.last_mut() {
            own.len_bytes = self.pack_len;
        }
        let manifest = self.manifest.without_unused_packs();
        let bytes = manifest.to_bytes();
        manifest_out.write_all(&bytes).map_err(|error| write_error(&error))?;
        both(manifest_out, (self.pack_len > 0).then_some(pack))?;
        let moved_bytes = self.pack_len + bytes.len() as u64;
        let new_bytes = self.new_bytes;
        Ok(Written { len_bytes: manifest.len_bytes(), moved_bytes, new_bytes, manifest: Arc::new(manifest) })
    }
}

impl LaterWriter {
    pub(super) fn new(pieces: Pieces, key: Key, base: Option<Arc<Manifest>>, shelf: Shelf) -> Self {
        let out = Out::Shelf(shelf.clone());
        let writer = PiecesWriter::new(out, key.name(), base.as_ref(), false, Some(shelf.clone()));
        Self { writer, pieces, key, base, shelf }
    }

    /// Ends the piece here, as [`PiecesWriter::cut`].
    ///
    /// # Errors
    /// Where the shelf takes no more.
    pub fn cut(&mut self) -> io::Result<()> {
        self.writer.cut()
    }

    /// Ends the blob: the process has all of it.
    ///
    /// # Errors
    /// Where the shelf takes no more.
    pub fn finish(mut self) -> io::Result<Waiting> {
        self.writer.cut()?;
        let new_bytes = self.writer.new_bytes;
        let manifest = Arc::new(self.writer.manifest);
        let Self { pieces, key, base, shelf, .. } = self;
        Ok(Waiting { pieces, key, base, shelf, manifest, new_bytes })
    }
}

impl Waiting {
    /// Where it will stand.
    pub fn key(&self) -> &Key {
        &self.key
    }

    /// How many bytes of it the store has not yet.
    pub fn new_bytes(&self) -> u64 {
        self.new_bytes
    }

    /// What it can be read by here.
    pub fn manifest(&self) -> &Arc<Manifest> {
        &self.manifest
    }

    /// Makes it durable and visible under its key; blocks until then. `runtime` is where the blob is begun.
    ///
    /// # Errors
    /// As [`BlobWriter::finish`]; and where the shelf does not give back what it was given.
    pub fn upload(self, runtime: &tokio::runtime::Handle) -> Result<Written, StoreError> {
        let mut writer = runtime.block_on(self.pieces.write(&self.key, self.base.as_ref()))?;
        let mut bytes = Vec::new();
        for piece in &self.manifest.pieces {
            if writer.add_known(&piece.hash) {
                continue;
            }
            if !self.shelf.find(&piece.hash, &mut bytes) {
                return Err(StoreError::new(
                    StoreErrorKind::Damaged,
                    format!("a piece of {} was lost", self.key),
                ));
            }
            let compressed = if writer.compresses { compressed(&bytes) } else { None };
            let stored = compressed.as_deref().unwrap_or(&bytes);
            writer.add_new(piece.hash, &bytes, stored).map_err(|error| write_error(&error))?;
        }
        writer.finish()
    }
}

/// Finishes both at once, which over a network is one round trip rather than two. Who looks for the blob does so by what is written once
/// both are durable; a manifest whose pack is missing, as a crash in between leaves it, is refused as damaged.
fn both(manifest: Box<dyn BlobWriter>, pack: Option<Box<dyn BlobWriter>>) -> Result<(), StoreError> {
    let interrupted = |_| Err(StoreError::unknown_outcome("finishing a pack was interrupted"));
    std::thread::scope(|scope| {
        let pack = pack.map(|pack| scope.spawn(|| pack.finish()));
        let manifest = manifest.finish();
        pack.map_or(Ok(0), |pack| pack.join().unwrap_or_else(interrupted))?;
        manifest.map(drop)
    })
}

impl Manifest {
    /// Packs of which no piece is left are not to be looked for.
    fn without_unused_packs(self) -> Self {
        let mut new_number = HashMap::new();
        let mut packs = Vec::new();
        let mut pieces = self.pieces;
        for piece in &mut pieces {
            piece.pack = *new_number.entry(piece.pack).or_insert_with(|| {
                packs.extend(self.packs.get(piece.pack as usize).cloned());
                u32::try_from(packs.len() - 1).unwrap_or(u32::MAX)
            });
        }
        Self { packs, pieces }
    }
}

/// What is computed of a piece before it is written.
struct Prepared {
    hash: [u8; 32],
    /// Where that is worthwhile, and the piece is new.
    compressed: Option<Vec<u8>>,
}

impl Prepared {
    fn of(piece: &[u8], known: &HashMap<[u8; 32], Piece>, compresses: bool) -> Self {
        let hash = *blake3::hash(piece).as_bytes();
        let is_new = !known.contains_key(&hash);
        Self { hash, compressed: if compresses && is_new { compressed(piece) } else { None } }
    }
}

/// Computes this of all pieces, on as many threads as there are CPUs; what a thread can't be had for is computed here.
fn side_by_side(pieces: &[&[u8]], of: &(impl Fn(&[u8]) -> Prepared + Sync)) -> Vec<Prepared> {
    let here = |pieces: &[&[u8]]| pieces.iter().map(|piece| of(piece)).collect::<Vec<_>>();
    let cpus = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
    let mut parts = pieces.chunks(pieces.len().div_ceil(cpus).max(1));
    let Some(first) = parts.next() else { return Vec::new() };
    std::thread::scope(|scope| {
        let begin = |part| (part, std::thread::Builder::new().spawn_scoped(scope, move || here(part)));
        let begun: Vec<_> = parts.map(begin).collect();
        let mut prepared = here(first);
        for (part, thread) in begun {
            let computed = thread.ok().and_then(|thread| thread.join().ok());
            prepared.extend(computed.unwrap_or_else(|| here(part)));
        }
        prepared
    })
}

/// The piece compressed, if that saves an eighth or more.
#[cfg(feature = "zstd")]
fn compressed(bytes: &[u8]) -> Option<Vec<u8>> {
    let compressed = zstd::bulk::compress(bytes, 1).ok()?;
    (compressed.len() < bytes.len() - bytes.len() / 8).then_some(compressed)
}

#[cfg(not(feature = "zstd"))]
fn compressed(_: &[u8]) -> Option<Vec<u8>> {
    None
}

fn write_error(error: &io::Error) -> StoreError {
    StoreError::unknown_outcome(error.to_string())
}

impl Write for PiecesWriter {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        // A whole piece need not be copied.
        if self.piece.is_empty() && bytes.len() >= PIECE_BYTES {
            self.add(&bytes[..PIECE_BYTES])?;
            return Ok(PIECE_BYTES);
        }
        let taken = bytes.len().min(PIECE_BYTES - self.piece.len());
        self.piece.extend_from_slice(&bytes[..taken]);
        if self.piece.len() == PIECE_BYTES {
            self.cut()?;
        }
        Ok(taken)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Write for LaterWriter {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.writer.write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
