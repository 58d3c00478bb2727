//! A store in this process's memory.

mod parts;

use std::collections::BTreeMap;
use std::future::ready;
use std::io::{self, Write};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bytes::Bytes;

use self::parts::{Parts, PartsReader, PartsWriter};
use crate::store::refuse_large_record;
use crate::{BlobReader, BlobWriter, BoxFuture, Created, Key, Store, StoreError, StoreErrorKind};

/// A store that lives as long as the process: for tests, and for handlers that only want to be resumed within it.
///
/// Clones share one content.
#[derive(Debug, Clone, Default)]
pub struct MemoryStore {
    values: Arc<Mutex<BTreeMap<Key, Value>>>,
}

#[derive(Debug)]
enum Value {
    Immutable(Parts),
    Segment(Vec<u8>),
}

impl Value {
    fn to_parts(&self) -> Parts {
        match self {
            Self::Immutable(parts) => parts.clone(),
            Self::Segment(bytes) => Bytes::copy_from_slice(bytes).into(),
        }
    }
}

impl MemoryStore {
    /// An empty store.
    pub fn new() -> Self {
        Self::default()
    }

    fn values(&self) -> MutexGuard<'_, BTreeMap<Key, Value>> {
        // Every change below is one insertion or one extension, so a panicking thread leaves nothing half-done.
        self.values.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn insert_absent(&self, key: &Key, parts: Parts) -> Result<Created, StoreError> {
        let mut values = self.values();
        if values.contains_key(key) {
            return Ok(Created::Exists);
        }
        let below = format!("{key}/");
        let is_folder = values
            .range(key.clone()..)
            .take_while(|(other, _)| other.as_str().starts_with(key.as_str()))
            .any(|(other, _)| other.as_str().starts_with(&below));
        if is_folder {
            return Err(StoreError::is_folder(key, "memory:"));
        }
        values.insert(key.clone(), Value::Immutable(parts));
        Ok(Created::New)
    }

    fn append_at(&self, key: &Key, at: u64, bytes: &[u8]) -> Result<u64, StoreError> {
        let mut values = self.values();
        let fresh = Value::Segment(Vec::new());
        let known = match values.get(key).unwrap_or(&fresh) {
            Value::Segment(segment) => overlap(key, at, segment, bytes)?,
            Value::Immutable(_) => {
                return Err(StoreError::new(StoreErrorKind::Conflict, format!("{key} is not a segment")));
            }
        };
        if let Value::Segment(segment) = values.entry(key.clone()).or_insert(fresh) {
            segment.extend_from_slice(&bytes[known..]);
        }
        Ok(at + bytes.len() as u64)
    }
}

/// How many of `bytes` the segment already holds at `at`, from an append that was not acknowledged.
fn overlap(key: &Key, at: u64, segment: &[u8], bytes: &[u8]) -> Result<usize, StoreError> {
    let there = usize::try_from(at).ok().and_then(|at| segment.get(at..));
    match there {
        Some(there) if bytes.starts_with(there) => Ok(there.len()),
        _ => Err(StoreError::second_writer(key, at, segment.len() as u64)),
    }
}

impl Store for MemoryStore {
    fn create(&self, key: &Key, bytes: Bytes) -> BoxFuture<'_, Result<Created, StoreError>> {
        let created =
            refuse_large_record(key, bytes.len() as u64).and_then(|()| self.insert_absent(key, bytes.into()));
        Box::pin(ready(created))
    }

    fn read(&self, key: &Key) -> BoxFuture<'_, Result<Option<Bytes>, StoreError>> {
        let found = self.values().get(key).map(Value::to_parts);
        let len = found.as_ref().map_or(0, Parts::len);
        let read = refuse_large_record(key, len as u64).map(|()| found.map(|parts| parts.to_bytes()));
        Box::pin(ready(read))
    }

    fn write_blob(&self, key: &Key) -> BoxFuture<'_, Result<Box<dyn BlobWriter>, StoreError>> {
        let writer = MemoryWriter { store: self.clone(), key: key.clone(), parts: PartsWriter::default() };
        Box::pin(ready(Ok(Box::new(writer) as Box<dyn BlobWriter>)))
    }

    fn read_blob(&self, key: &Key) -> BoxFuture<'_, Result<Option<Box<dyn BlobReader>>, StoreError>> {
        let found = self.values().get(key).map(Value::to_parts);
        Box::pin(ready(Ok(found.map(|parts| Box::new(PartsReader::new(parts)) as Box<dyn BlobReader>))))
    }

    fn append(&self, key: &Key, at: u64, bytes: Bytes) -> BoxFuture<'_, Result<u64, StoreError>> {
        Box::pin(ready(self.append_at(key, at, &bytes)))
    }

    fn children(&self, folder: &Key) -> BoxFuture<'_, Result<Vec<String>, StoreError>> {
        let prefix = format!("{folder}/");
        let values = self.values();
        let mut names: Vec<String> = values
            .range(folder.clone()..)
            .take_while(|(key, _)| key.as_str().starts_with(folder.as_str()))
            .filter_map(|(key, _)| key.as_str().strip_prefix(&prefix))
            .filter_map(|below| below.split('/').next().map(str::to_owned))
            .collect();
        names.sort_unstable();
        names.dedup();
        Box::pin(ready(Ok(names)))
    }

    fn delete(&self, key: &Key) -> BoxFuture<'_, Result<(), StoreError>> {
        self.values().remove(key);
        Box::pin(ready(Ok(())))
    }

    fn describe(&self) -> String {
        "memory:".to_owned()
    }
}

#[derive(Debug)]
struct MemoryWriter {
    store: MemoryStore,
    key: Key,
    parts: PartsWriter,
}

impl Write for MemoryWriter {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.parts.write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl BlobWriter for MemoryWriter {
    fn finish(self: Box<Self>) -> Result<u64, StoreError> {
        let parts = self.parts.finish();
        let len = parts.len() as u64;
        match self.store.insert_absent(&self.key, parts)? {
            Created::New => Ok(len),
            Created::Exists => Err(StoreError::blob_exists(&self.key, &self.store.describe())),
        }
    }
}
