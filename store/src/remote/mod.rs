//! Every store that is not this machine's: one [`Store`] over the few things that all of them can do.
//!
//! A store of others ([`Objects`]) creates, reads, lists and deletes small objects. What it lacks is built here, once:
//!
//! | value | objects |
//! | --- | --- |
//! | record, small blob | one object under the key |
//! | large blob | parts `<key>=p/<nonce>-<number>`, sent while the writer goes on; then, under the key, an index of them |
//! | segment | pieces `<key>=s/<offset>`, one for each append |
//!
//! No [`Key`] contains `=`, so these never meet a value of somebody else. Everything becomes visible by creating one object that was
//! absent: so a blob, too, is created once, and what a crash leaves behind is never seen.
//!
//! All traffic runs on one thread of its own: a writer may block the thread it is on, which may be the one that polls the caller's runtime.

mod index;
mod objects;
mod reader;
mod runtime;
mod segments;
mod writer;

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;

use crate::store::refuse_large_record;
use crate::{
    BlobReader, BlobWriter, BoxFuture, Created, Key, RECORD_LIMIT_BYTES, Store, StoreError, StoreErrorKind,
};
use index::Index;
pub(crate) use objects::{Objects, refuse_large};
use runtime::run;

/// One request, whatever its size: an object has [`Objects::part_bytes`] at most.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(30);
/// How often a part that is held in memory is offered to a store that fails, and how long it is given in between.
const ATTEMPTS: u32 = 8;
const BETWEEN: Duration = Duration::from_millis(50);

/// A store of others, behind the trait of ours.
#[derive(Debug, Clone)]
pub(crate) struct Remote {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    objects: Box<dyn Objects>,
    /// What messages call it.
    url: String,
    /// Where the segments end that this process appends to.
    ends: segments::Ends,
}

impl Remote {
    /// `url` is for messages and has no secret in it.
    pub(crate) fn new(objects: impl Objects, url: String) -> Self {
        Self { shared: Arc::new(Shared { objects: Box::new(objects), url, ends: segments::Ends::default() }) }
    }
}

impl Shared {
    /// Creates an object; an error is of an unknown outcome, unless the store is sure.
    async fn put_new(&self, name: &str, bytes: Bytes) -> Result<Created, StoreError> {
        let late = || StoreError::unknown_outcome(self.timed_out("create", name));
        within(self.objects.put_new(name, bytes), late).await
    }

    /// Creates an object of a name that only this writer uses, again and again until it is there.
    async fn put_own(&self, name: &str, bytes: Bytes) -> Result<(), StoreError> {
        // It exists: an earlier attempt of ours came through.
        again(|| self.put_new(name, bytes.clone())).await.map(drop)
    }

    async fn get(&self, name: &str, limit_bytes: u64) -> Result<Option<Bytes>, StoreError> {
        let late = || StoreError::new(StoreErrorKind::Retry, self.timed_out("read", name));
        within(self.objects.get(name, limit_bytes), late).await
    }

    /// As [`get`](Shared::get), again and again where the store fails: for one of many that make up a value.
    async fn get_one_of_many(&self, name: &str, limit_bytes: u64) -> Result<Option<Bytes>, StoreError> {
        again(|| self.get(name, limit_bytes)).await
    }

    /// Removes a part that only this writer knows of, and that nobody will remove later.
    async fn delete_own(&self, name: &str) -> Result<(), StoreError> {
        again(|| self.delete(name)).await
    }

    /// The most bytes that an object has which this crate wrote.
    fn object_limit_bytes(&self) -> u64 {
        self.objects.part_bytes().max(RECORD_LIMIT_BYTES) as u64
    }

    async fn list(&self, folder: &str) -> Result<Vec<String>, StoreError> {
        let late = || StoreError::new(StoreErrorKind::Retry, self.timed_out("list", folder));
        // A long listing is several requests, each of which its client limits.
        let listing = tokio::time::timeout(REQUEST_TIMEOUT * 10, self.objects.list(folder));
        listing.await.unwrap_or_else(|_| Err(late()))
    }

    async fn delete(&self, name: &str) -> Result<(), StoreError> {
        let late = || StoreError::unknown_outcome(self.timed_out("delete", name));
        within(self.objects.delete(name), late).await
    }

    fn timed_out(&self, action: &str, name: &str) -> String {
        let seconds = REQUEST_TIMEOUT.as_secs();
        format!("failed to {action} {name} in {}: no answer in {seconds} s", self.url)
    }

    /// Deletes `key` and all that belongs to it. The key goes first: a blob whose parts are missing must not be seen.
    async fn delete_all(self: &Arc<Self>, key: &str) -> Result<(), StoreError> {
        let (parts, pieces) = (index::folder(key), segments::folder(key));
        let (deleted, parts_below, pieces_below) =
            tokio::join!(self.delete(key), self.list(&parts), self.list(&pieces));
        deleted?;
        self.ends.forget(key);
        let of = |folder: String, names: Vec<String>| {
            names.into_iter().map(move |name| format!("{folder}/{name}"))
        };
        let names: Vec<_> = of(parts, parts_below?).chain(of(pieces, pieces_below?)).collect();
        for some in names.chunks(16) {
            let mut deleting = tokio::task::JoinSet::new();
            for name in some {
                let (shared, name) = (Arc::clone(self), name.clone());
                deleting.spawn(async move { shared.delete(&name).await });
            }
            while let Some(deleted) = deleting.join_next().await {
                deleted.map_err(|_| runtime::interrupted())??;
            }
        }
        Ok(())
    }

    async fn create(&self, key: &str, bytes: Bytes) -> Result<Created, StoreError> {
        if !Index::is_one(&bytes) {
            return self.put_new(key, bytes).await;
        }
        // Bytes that look like an index are kept as a part of their own, so that they are never taken for one.
        let index = Index::of_one(bytes.len());
        self.put_own(&index.part(key, 0), bytes).await?;
        self.put_new(key, index.to_bytes()).await
    }

    /// The whole of a record, segment or small blob.
    async fn read(self: &Arc<Self>, key: &Key) -> Result<Option<Bytes>, StoreError> {
        match self.read_record(key).await? {
            None => segments::read(self, key, RECORD_LIMIT_BYTES as u64).await,
            found => Ok(found),
        }
    }

    /// The whole of a record or small blob.
    async fn read_record(&self, key: &Key) -> Result<Option<Bytes>, StoreError> {
        let Some(object) = self.get(key.as_str(), RECORD_LIMIT_BYTES as u64).await? else { return Ok(None) };
        let Some(index) = Index::find(key, &object)? else { return Ok(Some(object)) };
        refuse_large_record(key, index.len_bytes)?;
        let mut bytes = Vec::new();
        for number in 0..index.parts() {
            bytes.extend_from_slice(&reader::part(self, key.as_str(), &index, number).await?);
        }
        Ok(Some(bytes.into()))
    }

    /// Whether `key` holds just these bytes: created by an attempt of ours whose answer was lost.
    async fn holds(&self, key: &Key, bytes: &Bytes) -> Result<bool, StoreError> {
        Ok(self.get(key.as_str(), self.object_limit_bytes()).await?.as_ref() == Some(bytes))
    }
}

/// The same until the store answers, a few times.
async fn again<T, F: Future<Output = Result<T, StoreError>>>(
    request: impl Fn() -> F,
) -> Result<T, StoreError> {
    let mut attempt = 1;
    loop {
        match request().await {
            Err(error) if error.is_retryable() && attempt < ATTEMPTS => {
                tokio::time::sleep(BETWEEN * attempt).await;
                attempt += 1;
            }
            answer => return answer,
        }
    }
}

async fn within<T>(
    request: impl Future<Output = Result<T, StoreError>>,
    late: impl FnOnce() -> StoreError,
) -> Result<T, StoreError> {
    tokio::time::timeout(REQUEST_TIMEOUT, request).await.unwrap_or_else(|_| Err(late()))
}

impl Store for Remote {
    fn create(&self, key: &Key, bytes: Bytes) -> BoxFuture<'_, Result<Created, StoreError>> {
        let (shared, key) = (Arc::clone(&self.shared), key.clone());
        run(async move {
            refuse_large_record(&key, bytes.len() as u64)?;
            shared.create(key.as_str(), bytes).await
        })
    }

    fn read(&self, key: &Key) -> BoxFuture<'_, Result<Option<Bytes>, StoreError>> {
        let (shared, key) = (Arc::clone(&self.shared), key.clone());
        run(async move { shared.read(&key).await })
    }

    fn read_record(&self, key: &Key) -> BoxFuture<'_, Result<Option<Bytes>, StoreError>> {
        let (shared, key) = (Arc::clone(&self.shared), key.clone());
        run(async move { shared.read_record(&key).await })
    }

    fn write_blob(&self, key: &Key) -> BoxFuture<'_, Result<Box<dyn BlobWriter>, StoreError>> {
        let writer = writer::Writer::new(Arc::clone(&self.shared), key.clone());
        Box::pin(std::future::ready(Ok(Box::new(writer) as Box<dyn BlobWriter>)))
    }

    fn read_blob(&self, key: &Key) -> BoxFuture<'_, Result<Option<Box<dyn BlobReader>>, StoreError>> {
        let (shared, key) = (Arc::clone(&self.shared), key.clone());
        run(async move { reader::open(shared, &key).await })
    }

    fn append(&self, key: &Key, at: u64, bytes: Bytes) -> BoxFuture<'_, Result<u64, StoreError>> {
        let (shared, key) = (Arc::clone(&self.shared), key.clone());
        run(async move { segments::append(&shared, &key, at, bytes).await })
    }

    fn children(&self, folder: &Key) -> BoxFuture<'_, Result<Vec<String>, StoreError>> {
        let (shared, folder) = (Arc::clone(&self.shared), folder.clone());
        run(async move {
            let below = shared.list(folder.as_str()).await?;
            let names: BTreeSet<_> = below.iter().filter_map(|name| visible(name)).collect();
            Ok(names.into_iter().map(str::to_owned).collect())
        })
    }

    fn delete(&self, key: &Key) -> BoxFuture<'_, Result<(), StoreError>> {
        let (shared, key) = (Arc::clone(&self.shared), key.clone());
        run(async move { shared.delete_all(key.as_str()).await })
    }

    fn describe(&self) -> String {
        self.shared.url.clone()
    }

    fn is_remote(&self) -> bool {
        true
    }
}

/// What a name is listed as: a segment is the folder of its pieces, and a blob is its index, not its parts.
fn visible(name: &str) -> Option<&str> {
    match name.split_once('=') {
        Some((key, kind)) => (kind == "s").then_some(key),
        None => Some(name),
    }
}

#[cfg(test)]
mod tests;
