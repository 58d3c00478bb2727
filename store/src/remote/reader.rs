//! A blob on its way back: the next parts are fetched while one is being read.

use std::collections::VecDeque;
use std::io::{self, Cursor, Read, Seek, SeekFrom};
use std::sync::Arc;
use std::sync::mpsc::{Receiver, sync_channel};

use bytes::Bytes;

use super::index::Index;
use super::{Shared, runtime, segments};
use crate::blob::sought;
use crate::{BlobReader, Key, StoreError, StoreErrorKind};

/// So many parts are fetched ahead.
const AHEAD: usize = 4;
/// A segment of step results is small; one that is not is not read into memory.
const SEGMENT_LIMIT_BYTES: u64 = 1 << 30;

type Fetched = Receiver<Result<Bytes, StoreError>>;

pub(super) async fn open(shared: Arc<Shared>, key: &Key) -> Result<Option<Box<dyn BlobReader>>, StoreError> {
    let whole = |bytes: Bytes| Box::new(Cursor::new(bytes)) as Box<dyn BlobReader>;
    let Some(object) = shared.get(key.as_str(), shared.object_limit_bytes()).await? else {
        return Ok(segments::read(&shared, key, SEGMENT_LIMIT_BYTES).await?.map(whole));
    };
    Ok(Some(match Index::find(key, &object)? {
        None => whole(object),
        Some(index) => Box::new(Parts::new(shared, key.as_str().to_owned(), index)),
    }))
}

/// One part, whole.
pub(super) async fn part(
    shared: &Shared,
    key: &str,
    index: &Index,
    number: u64,
) -> Result<Bytes, StoreError> {
    let (name, len) = (index.part(key, number), index.len_of(number));
    match shared.get_one_of_many(&name, len).await? {
        Some(part) if part.len() as u64 == len => Ok(part),
        // The key is deleted before its parts are.
        _ => Err(StoreError::new(
            StoreErrorKind::Damaged,
            format!(
                "failed to read {key} in {}: its part {number} is missing or of another length",
                shared.url
            ),
        )),
    }
}

struct Parts {
    shared: Arc<Shared>,
    key: String,
    index: Index,
    at: u64,
    /// The part that is being read.
    current: Option<(u64, Bytes)>,
    /// Parts that were asked for, in order.
    ahead: VecDeque<(u64, Fetched)>,
}

impl Parts {
    fn new(shared: Arc<Shared>, key: String, index: Index) -> Self {
        Self { shared, key, index, at: 0, current: None, ahead: VecDeque::new() }
    }

    fn load(&mut self, number: u64) -> Result<(), StoreError> {
        // After a seek what was asked for is not what is wanted.
        if self.ahead.front().is_some_and(|(first, _)| *first != number) {
            self.ahead.clear();
        }
        let mut next = self.ahead.back().map_or(number, |(last, _)| last + 1);
        while self.ahead.len() < AHEAD && next < self.index.parts() {
            let fetched = self.fetch(next)?;
            self.ahead.push_back((next, fetched));
            next += 1;
        }
        let Some((_, fetched)) = self.ahead.pop_front() else { return Ok(()) };
        let bytes = fetched.recv().unwrap_or_else(|_| Err(runtime::interrupted()))?;
        self.current = Some((number, bytes));
        Ok(())
    }

    fn fetch(&self, number: u64) -> Result<Fetched, StoreError> {
        let (sender, receiver) = sync_channel(1);
        let (shared, key, index) = (Arc::clone(&self.shared), self.key.clone(), self.index.clone());
        runtime::spawn(async move {
            let _ = sender.send(part(&shared, &key, &index, number).await);
        })?;
        Ok(receiver)
    }
}

impl Read for Parts {
    fn read(&mut self, bytes: &mut [u8]) -> io::Result<usize> {
        if self.at >= self.index.len_bytes || bytes.is_empty() {
            return Ok(0);
        }
        let number = self.at / self.index.part_bytes;
        if self.current.as_ref().is_none_or(|(current, _)| *current != number) {
            self.load(number)?;
        }
        let Some((_, part)) = &self.current else { return Ok(0) };
        let within = usize::try_from(self.at - number * self.index.part_bytes).unwrap_or(usize::MAX);
        let there = part.get(within..).unwrap_or_default();
        let taken = there.len().min(bytes.len());
        bytes[..taken].copy_from_slice(&there[..taken]);
        self.at += taken as u64;
        Ok(taken)
    }
}

impl Seek for Parts {
    fn seek(&mut self, to: SeekFrom) -> io::Result<u64> {
        self.at = sought(to, self.at, self.index.len_bytes)?;
        Ok(self.at)
    }
}

impl BlobReader for Parts {
    fn len_bytes(&self) -> u64 {
        self.index.len_bytes
    }
}
