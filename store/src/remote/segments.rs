//! Segments: a piece for each append, named by its offset and created once.
//!
//! That the offset can be created once is what fences a second writer, and what lets a repetition land on itself.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bytes::{Bytes, BytesMut};

use super::{Shared, runtime};
use crate::{Created, Key, StoreError, StoreErrorKind};

/// So many segments' ends are remembered; a process appends to one at a time.
const REMEMBERED: usize = 64;
/// So many pieces are fetched at once.
const AT_ONCE: usize = 16;

/// Where the segments end that this process appends to, as the store acknowledged it.
#[derive(Debug, Default)]
pub(super) struct Ends(Mutex<HashMap<String, u64>>);

impl Ends {
    fn map(&self) -> MutexGuard<'_, HashMap<String, u64>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn is(&self, key: &Key, at: u64) -> bool {
        self.map().get(key.as_str()) == Some(&at)
    }

    fn set(&self, key: &Key, end: u64) {
        let mut ends = self.map();
        if ends.len() >= REMEMBERED {
            ends.clear();
        }
        ends.insert(key.as_str().to_owned(), end);
    }

    pub(super) fn forget(&self, key: &str) {
        self.map().remove(key);
    }
}

/// The folder of the pieces of a segment.
pub(super) fn folder(key: &str) -> String {
    format!("{key}=s")
}

fn piece(key: &Key, at: u64) -> String {
    format!("{}/{at:020}", folder(key.as_str()))
}

/// Appends. In the ordinary case, where this process made the append before, it is one request.
pub(super) async fn append(
    shared: &Arc<Shared>,
    key: &Key,
    at: u64,
    bytes: Bytes,
) -> Result<u64, StoreError> {
    let end = at + bytes.len() as u64;
    let mut missing = bytes;
    if at > 0 && !shared.ends.is(key, at) {
        missing = missing_of(shared, key, at, missing).await?;
    }
    if missing.is_empty() {
        return Ok(end);
    }
    let name = piece(key, end - missing.len() as u64);
    if shared.put_new(&name, missing.clone()).await? == Created::Exists {
        let still = missing_of(shared, key, at.max(end - missing.len() as u64), missing).await?;
        if !still.is_empty() {
            // Another piece came in between: the next attempt finds it.
            return Err(StoreError::unknown_outcome(format!("{key} grew while it was appended to")));
        }
    }
    shared.ends.set(key, end);
    Ok(end)
}

/// What the segment lacks of `bytes` at `at`, if it holds the same where it holds something.
async fn missing_of(shared: &Arc<Shared>, key: &Key, at: u64, bytes: Bytes) -> Result<Bytes, StoreError> {
    let there = read(shared, key, u64::MAX).await?.unwrap_or_default();
    let overlap = usize::try_from(at).ok().and_then(|at| there.get(at..));
    match overlap {
        Some(overlap) if bytes.starts_with(overlap) => Ok(bytes.slice(overlap.len()..)),
        Some(overlap) if overlap.starts_with(&bytes) => Ok(Bytes::new()),
        _ => Err(StoreError::second_writer(key, at, there.len() as u64)),
    }
}

/// The whole segment, or none where there is none.
pub(super) async fn read(
    shared: &Arc<Shared>,
    key: &Key,
    limit_bytes: u64,
) -> Result<Option<Bytes>, StoreError> {
    let names = shared.list(&folder(key.as_str())).await?;
    let mut offsets: Vec<u64> = names.iter().filter_map(|name| name.parse().ok()).collect();
    offsets.sort_unstable();
    if offsets.is_empty() {
        return Ok(None);
    }
    let mut segment = BytesMut::new();
    for some in offsets.chunks(AT_ONCE) {
        for (at, bytes) in fetch(shared, key, some).await? {
            // Pieces follow each other: each was created after the one before was acknowledged.
            if at != segment.len() as u64 {
                return Err(damaged(key, at));
            }
            segment.extend_from_slice(&bytes);
            if segment.len() as u64 > limit_bytes {
                let message = format!("{key} has more than {limit_bytes} bytes");
                return Err(StoreError::new(StoreErrorKind::TooLarge, message));
            }
        }
    }
    Ok(Some(segment.freeze()))
}

async fn fetch(shared: &Arc<Shared>, key: &Key, offsets: &[u64]) -> Result<Vec<(u64, Bytes)>, StoreError> {
    let fetching: Vec<_> = offsets
        .iter()
        .map(|at| {
            let (shared, name) = (Arc::clone(shared), piece(key, *at));
            tokio::spawn(async move { shared.get_one_of_many(&name, shared.object_limit_bytes()).await })
        })
        .collect();
    let mut pieces = Vec::with_capacity(offsets.len());
    for (at, fetched) in offsets.iter().zip(fetching) {
        let found = fetched.await.map_err(|_| runtime::interrupted())??;
        pieces.push((*at, found.ok_or_else(|| damaged(key, *at))?));
    }
    Ok(pieces)
}

fn damaged(key: &Key, at: u64) -> StoreError {
    let message = format!("failed to read the segment {key}: its pieces do not follow each other at {at}");
    StoreError::new(StoreErrorKind::Damaged, message)
}
