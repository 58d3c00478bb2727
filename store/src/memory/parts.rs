//! A value in memory, in parts that never move.

use std::io::{self, Read, Seek, SeekFrom, Write};
use std::sync::Arc;

use bytes::{BufMut, Bytes, BytesMut};
use memmap2::MmapMut;

use crate::BlobReader;
use crate::blob::sought;

/// A part is as long as all before it together, within these bounds: nothing is copied as a value grows, and at most half of it is spare.
const SHORTEST_BYTES: usize = 4 << 10;
const LONGEST_BYTES: usize = 64 << 20;
/// From here on a part has pages of its own. The system makes them huge where it can: of the time to fill memory that nobody had before,
/// most is otherwise spent on one small page after the other.
const PAGES_BYTES: usize = 2 << 20;

/// The bytes of a value that is complete.
#[derive(Debug, Clone)]
pub(super) struct Parts(Arc<[Bytes]>);

/// Where the bytes of a value arrive.
#[derive(Debug, Default)]
pub(super) struct PartsWriter {
    full: Vec<Bytes>,
    full_bytes: usize,
    open: Option<Open>,
}

/// The part that is being filled.
#[derive(Debug)]
enum Open {
    Heap(BytesMut),
    Pages { pages: MmapMut, filled: usize },
}

impl Parts {
    pub(super) fn len(&self) -> usize {
        self.0.iter().map(Bytes::len).sum()
    }

    /// All of it in one piece, which is copied where there are several.
    pub(super) fn to_bytes(&self) -> Bytes {
        match &*self.0 {
            [only] => only.clone(),
            parts => parts.concat().into(),
        }
    }
}

impl From<Bytes> for Parts {
    fn from(bytes: Bytes) -> Self {
        Self([bytes].into())
    }
}

impl PartsWriter {
    pub(super) fn finish(mut self) -> Parts {
        self.close();
        Parts(self.full.into())
    }

    fn close(&mut self) {
        if let Some(open) = self.open.take() {
            let part = open.close();
            self.full_bytes += part.len();
            self.full.push(part);
        }
    }

    fn open(&mut self) -> io::Result<&mut Open> {
        if self.open.as_ref().is_none_or(|open| open.free() == 0) {
            self.close();
            self.open = Some(Open::new(self.full_bytes.clamp(SHORTEST_BYTES, LONGEST_BYTES))?);
        }
        self.open.as_mut().ok_or_else(|| io::ErrorKind::OutOfMemory.into())
    }
}

impl Write for PartsWriter {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let open = self.open()?;
        let fits = bytes.len().min(open.free());
        open.extend(&bytes[..fits]);
        Ok(fits)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Open {
    fn new(len_bytes: usize) -> io::Result<Self> {
        if len_bytes < PAGES_BYTES {
            return Ok(Self::Heap(BytesMut::with_capacity(len_bytes)));
        }
        let pages = MmapMut::map_anon(len_bytes)?;
        // Where the system refuses, its small pages serve as well.
        #[cfg(target_os = "linux")]
        let _ = pages.advise(memmap2::Advice::HugePage);
        Ok(Self::Pages { pages, filled: 0 })
    }

    fn free(&self) -> usize {
        match self {
            Self::Heap(bytes) => bytes.capacity() - bytes.len(),
            Self::Pages { pages, filled } => pages.len() - filled,
        }
    }

    fn extend(&mut self, more: &[u8]) {
        match self {
            Self::Heap(bytes) => bytes.put_slice(more),
            Self::Pages { pages, filled } => {
                pages[*filled..*filled + more.len()].copy_from_slice(more);
                *filled += more.len();
            }
        }
    }

    fn close(self) -> Bytes {
        match self {
            Self::Heap(bytes) => bytes.freeze(),
            Self::Pages { pages, filled } => Bytes::from_owner(pages).slice(..filled),
        }
    }
}

/// Reads a value from anywhere.
#[derive(Debug)]
pub(super) struct PartsReader {
    parts: Parts,
    at: u64,
}

impl PartsReader {
    pub(super) fn new(parts: Parts) -> Self {
        Self { parts, at: 0 }
    }

    /// What is left of the part that the reader stands in.
    fn rest(&self) -> &[u8] {
        let mut at = usize::try_from(self.at).unwrap_or(usize::MAX);
        for part in self.parts.0.iter() {
            if at < part.len() {
                return &part[at..];
            }
            at -= part.len();
        }
        &[]
    }
}

impl Read for PartsReader {
    fn read(&mut self, bytes: &mut [u8]) -> io::Result<usize> {
        let read = self.rest().read(bytes)?;
        self.at += read as u64;
        Ok(read)
    }
}

impl Seek for PartsReader {
    fn seek(&mut self, to: SeekFrom) -> io::Result<u64> {
        self.at = sought(to, self.at, self.len_bytes())?;
        Ok(self.at)
    }
}

impl BlobReader for PartsReader {
    fn len_bytes(&self) -> u64 {
        self.parts.len() as u64
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_written_in_any_pieces_is_read_from_anywhere() {
        let bytes: Vec<u8> = (0..9_000_001_u32).map(|i| (i % 251) as u8).collect();
        let mut writer = PartsWriter::default();
        for piece in bytes.chunks(123_457) {
            writer.write_all(piece).unwrap();
        }
        let parts = writer.finish();
        assert!(parts.0.len() > 2, "{} parts", parts.0.len());
        assert!(parts.to_bytes() == bytes);
        let mut reader = PartsReader::new(parts);
        for from in [0, 1, 4096, 4_095, 8_388_607, 8_999_999] {
            reader.seek(SeekFrom::Start(from as u64)).unwrap();
            let mut rest = Vec::new();
            reader.read_to_end(&mut rest).unwrap();
            assert!(rest == bytes[from..], "from {from}");
        }
        reader.seek(SeekFrom::End(7)).unwrap();
        assert_eq!(reader.read(&mut [0; 8]).unwrap(), 0);
    }

    #[test]
    fn a_value_without_bytes_has_none() {
        let parts = PartsWriter::default().finish();
        assert_eq!((parts.len(), parts.to_bytes().len()), (0, 0));
    }
}
