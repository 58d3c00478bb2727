//! Segments: each append is a frame of its own.
//!
//! A frame is the length of its text, a check of that, and the sealed text. So a frame that a crash left half-written is told from one
//! that was altered: it ends the segment, and is completed by the repetition of its append.

use std::collections::HashMap;
use std::io::Read;
use std::sync::{Mutex, MutexGuard, PoisonError};

use bytes::Bytes;

use super::{Encrypted, HEAD_LEN, SEAL_LEN, Sealer};
use crate::{Behind, BlobReader, Key, StoreError, StoreErrorKind};

/// So many segments' ends are remembered; a process appends to one at a time.
const REMEMBERED: usize = 64;
const LIMIT_BYTES: u64 = 1 << 30;
const FRAME_HEAD_LEN: usize = 4 + 8;

/// Where the next append to a segment goes.
#[derive(Debug, Clone)]
struct End {
    /// The length of its text.
    at: u64,
    /// Where that is in the store below.
    sealed_at: u64,
    sealer: Sealer,
}

impl End {
    /// What is appended for this text: a frame, behind the head where the segment begins.
    fn sealed(&self, text: &[u8]) -> Result<Bytes, StoreError> {
        let mut bytes = if self.at == 0 { self.sealer.head.to_bytes().to_vec() } else { Vec::new() };
        if !text.is_empty() {
            frame(&self.sealer, self.at, text, &mut bytes)?;
        }
        Ok(bytes.into())
    }
}

/// The ends of the segments that this process appends to.
#[derive(Debug, Default)]
pub(super) struct Ends(Mutex<HashMap<Key, End>>);

impl Ends {
    fn map(&self) -> MutexGuard<'_, HashMap<Key, End>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn get(&self, key: &Key, at: u64) -> Option<End> {
        self.map().get(key).filter(|end| end.at == at).cloned()
    }

    fn set(&self, key: &Key, end: End) {
        let mut ends = self.map();
        if ends.len() >= REMEMBERED {
            ends.clear();
        }
        ends.insert(key.clone(), end);
    }

    pub(super) fn forget(&self, key: &Key) {
        self.map().remove(key);
    }
}

impl Encrypted {
    /// Appends a frame. Where this process made the append before, nothing is read for it.
    pub(super) async fn append_frame(&self, key: &Key, at: u64, text: &[u8]) -> Result<u64, StoreError> {
        let end = match self.ends.get(key, at) {
            Some(end) => end,
            None if at == 0 => self.beginning(key),
            None => self.find_end(key, at).await?,
        };
        let bytes = end.sealed(text)?;
        let sealed_at = self.store.append(key, end.sealed_at, bytes).await?;
        Ok(self.appended(key, end, text, sealed_at))
    }

    /// The same on this thread, where the end is known and the store below can.
    pub(super) fn append_frame_here(
        &self,
        key: &Key,
        at: u64,
        text: &[u8],
    ) -> Option<Result<u64, StoreError>> {
        let end = match self.ends.get(key, at) {
            Some(end) => end,
            None if at == 0 => self.beginning(key),
            None => return None,
        };
        let bytes = match end.sealed(text) {
            Ok(bytes) => bytes,
            Err(error) => return Some(Err(error)),
        };
        let sealed_at = self.store.append_here(key, end.sealed_at, &bytes, Behind::Nothing)?;
        Some(sealed_at.map(|sealed_at| self.appended(key, end, text, sealed_at)))
    }

    /// Remembers the new end; answers the length of its text.
    fn appended(&self, key: &Key, end: End, text: &[u8], sealed_at: u64) -> u64 {
        let at = end.at + text.len() as u64;
        if at > 0 {
            self.ends.set(key, End { at, sealed_at, sealer: end.sealer });
        }
        at
    }

    fn beginning(&self, key: &Key) -> End {
        End { at: 0, sealed_at: 0, sealer: Sealer::new(self.keys.first(), true, key) }
    }

    /// Where the frame begins whose text is at `at`, in a segment that somebody else wrote or that was written before.
    async fn find_end(&self, key: &Key, at: u64) -> Result<End, StoreError> {
        let none = |len| StoreError::second_writer(key, at, len);
        let blob = self.store.read_blob(key).await?.ok_or_else(|| none(0))?;
        let bytes = rest(blob, key, &self.store.describe())?;
        let sealer = self.opener(key, &bytes)?;
        let mut frames = Frames::new(&sealer, bytes.get(HEAD_LEN..).unwrap_or_default());
        while frames.at < at && frames.next_frame()?.is_some() {}
        if frames.at != at {
            while frames.next_frame()?.is_some() {}
            return Err(none(frames.at));
        }
        let sealed_at = (HEAD_LEN + frames.sealed_at) as u64;
        Ok(End { at, sealed_at, sealer })
    }
}

/// What is left of a segment, to its end.
pub(super) fn rest(blob: Box<dyn BlobReader>, key: &Key, place: &str) -> Result<Vec<u8>, StoreError> {
    if blob.len_bytes() > LIMIT_BYTES {
        let message = format!("{key} has more than {LIMIT_BYTES} bytes");
        return Err(StoreError::new(StoreErrorKind::TooLarge, message));
    }
    let mut bytes = Vec::new();
    blob.take(LIMIT_BYTES)
        .read_to_end(&mut bytes)
        .map_err(|error| StoreError::from_io("read", key, place, &error))?;
    Ok(bytes)
}

/// The text of a segment, of which these are the bytes behind the head.
pub(super) fn open(opener: &Sealer, sealed: &[u8]) -> Result<Vec<u8>, StoreError> {
    let mut frames = Frames::new(opener, sealed);
    let mut text = Vec::with_capacity(sealed.len());
    loop {
        let at = frames.at;
        let Some(frame) = frames.next_frame()? else { return Ok(text) };
        opener.open(at, false, frame, &mut text)?;
    }
}

fn frame(sealer: &Sealer, at: u64, text: &[u8], out: &mut Vec<u8>) -> Result<(), StoreError> {
    let len = u32::try_from(text.len()).map_err(|_| {
        StoreError::new(StoreErrorKind::TooLarge, format!("{} bytes are appended at once", text.len()))
    })?;
    out.extend_from_slice(&len.to_le_bytes());
    out.extend_from_slice(&check(sealer, at, len));
    sealer.seal(at, false, text, out)
}

fn check(sealer: &Sealer, at: u64, len: u32) -> [u8; 8] {
    let mut bound = sealer.bound(at, false);
    bound.extend_from_slice(&len.to_le_bytes());
    sealer.key.check(&bound)
}

/// The frames of a segment one after the other.
struct Frames<'a> {
    sealer: &'a Sealer,
    bytes: &'a [u8],
    at: u64,
    sealed_at: usize,
}

impl<'a> Frames<'a> {
    fn new(sealer: &'a Sealer, bytes: &'a [u8]) -> Self {
        Self { sealer, bytes, at: 0, sealed_at: 0 }
    }

    /// The sealed text of the next frame; none at the end, and where the rest of it was never written.
    fn next_frame(&mut self) -> Result<Option<&'a [u8]>, StoreError> {
        let rest = &self.bytes[self.sealed_at..];
        let Some((head, rest)) = rest.split_at_checked(FRAME_HEAD_LEN) else { return Ok(None) };
        let (len, found) = head.split_at(4);
        let len = len.try_into().map_or(0, u32::from_le_bytes);
        if found != check(self.sealer, self.at, len) {
            return Err(self.sealer.damaged(self.at));
        }
        let sealed_len = len as usize + SEAL_LEN;
        let Some(frame) = rest.get(..sealed_len) else { return Ok(None) };
        self.at += u64::from(len);
        self.sealed_at += FRAME_HEAD_LEN + sealed_len;
        Ok(Some(frame))
    }
}
