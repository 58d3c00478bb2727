//! Values as streams of sealed chunks.

use std::io::{self, Read, Seek, SeekFrom, Write};

use super::{CHUNK_BYTES, HEAD_LEN, SEAL_LEN, Sealer};
use crate::blob::sought;
use crate::{BlobReader, BlobWriter, StoreError};

const SEALED_CHUNK_BYTES: u64 = (CHUNK_BYTES + SEAL_LEN) as u64;

/// Seals a blob on its way.
pub(super) struct ValueWriter {
    below: Box<dyn BlobWriter>,
    sealer: Sealer,
    /// Not sealed before more comes, since the last chunk says that it is.
    chunk: Vec<u8>,
    sealed: Vec<u8>,
    place: u64,
    len_bytes: u64,
}

impl ValueWriter {
    pub(super) fn new(below: Box<dyn BlobWriter>, sealer: Sealer) -> Self {
        let sealed = sealer.head.to_bytes().to_vec();
        Self { below, sealer, chunk: Vec::new(), sealed, place: 0, len_bytes: 0 }
    }

    fn pass_on(&mut self, is_last: bool) -> io::Result<()> {
        self.sealer.seal(self.place, is_last, &self.chunk, &mut self.sealed)?;
        self.below.write_all(&self.sealed)?;
        self.sealed.clear();
        self.chunk.clear();
        self.place += 1;
        Ok(())
    }
}

impl Write for ValueWriter {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if self.chunk.len() == CHUNK_BYTES && !bytes.is_empty() {
            self.pass_on(false)?;
        }
        let taken = bytes.len().min(CHUNK_BYTES - self.chunk.len());
        self.chunk.extend_from_slice(&bytes[..taken]);
        self.len_bytes += taken as u64;
        Ok(taken)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl BlobWriter for ValueWriter {
    fn finish(mut self: Box<Self>) -> Result<u64, StoreError> {
        let name = self.sealer.name.clone();
        // Before the store below finishes it, nothing is visible.
        self.pass_on(true)
            .map_err(|error| StoreError::from_io("write", &name, "an encrypted store", &error))?;
        let len_bytes = self.len_bytes;
        self.below.finish()?;
        Ok(len_bytes)
    }
}

/// Opens a blob chunk by chunk.
pub(super) struct ValueReader {
    below: Box<dyn BlobReader>,
    opener: Sealer,
    len_bytes: u64,
    last: u64,
    at: u64,
    /// The chunk that was opened last, and its number.
    current: Option<u64>,
    chunk: Vec<u8>,
    sealed: Vec<u8>,
}

impl ValueReader {
    pub(super) fn new(below: Box<dyn BlobReader>, opener: Sealer) -> Result<Self, StoreError> {
        let body = below.len_bytes().saturating_sub(HEAD_LEN as u64);
        let chunks = body.div_ceil(SEALED_CHUNK_BYTES);
        let len_bytes = body.checked_sub(chunks * SEAL_LEN as u64).filter(|_| chunks > 0);
        let len_bytes = len_bytes.ok_or_else(|| opener.damaged(0))?;
        let mut reader = Self {
            below,
            opener,
            len_bytes,
            last: chunks - 1,
            at: 0,
            current: None,
            chunk: Vec::new(),
            sealed: Vec::new(),
        };
        if len_bytes == 0 {
            // Nothing will be read of it, and that it is empty is to be verified too.
            reader.load(0).map_err(|error| {
                let failed =
                    |error| StoreError::from_io("read", &reader.opener.name, "an encrypted store", &error);
                error.downcast::<StoreError>().unwrap_or_else(failed)
            })?;
        }
        Ok(reader)
    }

    fn load(&mut self, number: u64) -> io::Result<()> {
        self.current = None;
        self.below.seek(SeekFrom::Start(HEAD_LEN as u64 + number * SEALED_CHUNK_BYTES))?;
        self.sealed.clear();
        self.below.by_ref().take(SEALED_CHUNK_BYTES).read_to_end(&mut self.sealed)?;
        self.chunk.clear();
        self.opener.open(number, number == self.last, &self.sealed, &mut self.chunk)?;
        self.current = Some(number);
        Ok(())
    }
}

impl Read for ValueReader {
    fn read(&mut self, bytes: &mut [u8]) -> io::Result<usize> {
        if self.at >= self.len_bytes || bytes.is_empty() {
            return Ok(0);
        }
        let number = self.at / CHUNK_BYTES as u64;
        if self.current != Some(number) {
            self.load(number)?;
        }
        let from = usize::try_from(self.at % CHUNK_BYTES as u64).unwrap_or_default();
        let there = self.chunk.get(from..).unwrap_or_default();
        let taken = there.len().min(bytes.len());
        bytes[..taken].copy_from_slice(&there[..taken]);
        self.at += taken as u64;
        Ok(taken)
    }
}

impl Seek for ValueReader {
    fn seek(&mut self, to: SeekFrom) -> io::Result<u64> {
        self.at = sought(to, self.at, self.len_bytes)?;
        Ok(self.at)
    }
}

impl BlobReader for ValueReader {
    fn len_bytes(&self) -> u64 {
        self.len_bytes
    }
}
