//! Large blobs of which the next one moves only what changed.
//!
//! A blob is cut into pieces of [`PIECE_BYTES`], each known by the hash of its content. Those that the blob before it has not are written
//! one after the other into a *pack*, a plain blob; what stands under the key is a *manifest* of where each piece is. So a blob
//! costs two requests and what is new, however many pieces it has; and every piece is verified as it is read.
//!
//! Pieces are shared between the blobs of one folder, and folders are of one execution: what one execution deletes, no other needs.
//!
//! ```
//! # tokio::runtime::Builder::new_current_thread().build().unwrap().block_on(async {
//! use std::io::{Read, Write};
//! use limitless_faas_store::{Key, Pieces, open};
//!
//! let pieces = Pieces::new(open("memory:")?, Key::new("executions/0f/packs")?);
//! let mut image = vec![7; 1 << 20];
//! let mut writer = pieces.write(&Key::new("executions/0f/images/1")?, None).await?;
//! writer.write_all(&image)?;
//! let first = writer.finish()?;
//!
//! image[100] = 8;
//! let mut writer = pieces.write(&Key::new("executions/0f/images/2")?, Some(&first.manifest)).await?;
//! writer.write_all(&image)?;
//! let second = writer.finish()?;
//! assert!(second.moved_bytes < 100_000);
//!
//! let mut found = Vec::new();
//! let mut reader = pieces.open(&Key::new("executions/0f/images/2")?).await?.ok_or("it is there")?;
//! reader.read_to_end(&mut found)?;
//! assert!(found == image);
//! # Ok::<(), Box<dyn std::error::Error>>(()) }).unwrap();
//! ```

mod manifest;
mod read;
mod shelf;
mod write;

use std::io::{self, Read, Seek};
use std::sync::Arc;

pub use manifest::Manifest;
pub use read::PiecesReader;
pub use shelf::Shelf;
pub use write::{LaterWriter, PiecesWriter, Waiting, Written};

use crate::{BlobReader, Key, Store, StoreError};

/// The length of a piece: small enough that a change moves little, large enough that a manifest is a thousandth of its blob.
pub const PIECE_BYTES: usize = 64 << 10;

/// Writes and reads blobs in pieces; the packs stand in one folder.
#[derive(Debug, Clone)]
pub struct Pieces {
    store: Arc<dyn Store>,
    packs: Key,
    shelf: Option<Shelf>,
}

impl Pieces {
    /// Pieces in packs below the folder `packs`, which one execution uses alone.
    pub fn new(store: Arc<dyn Store>, packs: Key) -> Self {
        Self { store, packs, shelf: None }
    }

    /// With pieces at hand: what is written or read is kept there, and what is there is not fetched.
    #[must_use]
    pub fn with_shelf(self, shelf: Option<Shelf>) -> Self {
        Self { shelf, ..self }
    }

    /// Begins a blob under `key`, whose last name no other blob of this folder has. Pieces that `base`, an earlier blob, has
    /// are not written again.
    ///
    /// # Errors
    /// As [`Store::write_blob`].
    pub async fn write(&self, key: &Key, base: Option<&Arc<Manifest>>) -> Result<PiecesWriter, StoreError> {
        let manifest = self.store.write_blob(key).await?;
        let pack = self.store.write_blob(&self.packs.join(key.name())?).await?;
        // Behind a network a byte that is not sent saves more than compressing it takes.
        Ok(PiecesWriter::for_store(
            manifest,
            pack,
            key.name(),
            base,
            self.store.is_remote(),
            self.shelf.clone(),
        ))
    }

    /// As [`write`](Pieces::write), but the store gets the blob later, from [`Waiting::upload`]; until then the process has it. None where
    /// there is no shelf for that.
    pub fn write_later(&self, key: &Key, base: Option<&Arc<Manifest>>) -> Option<LaterWriter> {
        let shelf = self.shelf.clone()?;
        Some(LaterWriter::new(self.clone(), key.clone(), base.cloned(), shelf))
    }

    /// Opens the blob under `key`, or none if there is none.
    ///
    /// # Errors
    /// As [`Store::read_blob`]; [`StoreErrorKind::Damaged`](crate::StoreErrorKind::Damaged) if the manifest is damaged.
    pub async fn open(&self, key: &Key) -> Result<Option<PiecesReader>, StoreError> {
        let Some(mut blob) = self.store.read_blob(key).await? else { return Ok(None) };
        let manifest = Manifest::read(&mut blob, key)?;
        self.open_known(&Arc::new(manifest)).await.map(Some)
    }

    /// Opens what `blob` is the manifest of; gives `blob` back where it is no manifest.
    ///
    /// # Errors
    /// As [`Pieces::open`].
    pub async fn open_if_manifest(
        &self,
        mut blob: Box<dyn BlobReader>,
        key: &Key,
    ) -> Result<Result<PiecesReader, Box<dyn BlobReader>>, StoreError> {
        let failed = |error: io::Error| StoreError::from_io("read", key, &self.store.describe(), &error);
        let is_manifest = is_manifest(&mut blob).map_err(failed)?;
        if !is_manifest {
            return Ok(Err(blob));
        }
        let manifest = Manifest::read(&mut blob, key)?;
        self.open_known(&Arc::new(manifest)).await.map(Ok)
    }

    /// Opens the blob that this is the manifest of, as it was written or read before. Only packs that have pieces which are not at
    /// hand are looked for.
    ///
    /// # Errors
    /// As [`Store::read_blob`].
    pub async fn open_known(&self, manifest: &Arc<Manifest>) -> Result<PiecesReader, StoreError> {
        let mut opening = Vec::new();
        let needed = manifest.packs_needed(|piece| self.shelf.as_ref().is_some_and(|shelf| shelf.has(piece)));
        for (pack, is_needed) in manifest.packs().zip(needed) {
            let (store, key) = (Arc::clone(&self.store), self.packs.join(pack)?);
            opening.push(tokio::spawn(async move {
                if is_needed { store.read_blob(&key).await } else { Ok(None) }
            }));
        }
        let mut packs = Vec::with_capacity(opening.len());
        let lost = |_| StoreError::unknown_outcome("opening a pack was interrupted");
        for opened in opening {
            packs.push(opened.await.map_err(lost)??);
        }
        Ok(PiecesReader::new(Arc::clone(manifest), packs, self.shelf.clone()))
    }
}

fn is_manifest(blob: &mut (impl Read + Seek)) -> io::Result<bool> {
    let mut begin = Vec::new();
    blob.by_ref().take(manifest::MAGIC.len() as u64).read_to_end(&mut begin)?;
    blob.rewind()?;
    Ok(begin == manifest::MAGIC)
}

#[cfg(test)]
mod tests;
