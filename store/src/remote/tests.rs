//! The common part on objects in memory, with parts so small that everything has several.

use std::collections::BTreeMap;
use std::sync::Mutex;

use super::*;
use crate::conformance::{Extent, check_all};

/// The least that a store of others can do; it fails every so often, before or after it did what was asked.
#[derive(Debug, Default)]
struct InMemory {
    objects: Mutex<BTreeMap<String, Bytes>>,
    requests: Mutex<u64>,
    fails: bool,
}

impl InMemory {
    /// What befalls the next request: done and lost, or not done.
    fn fault(&self) -> (bool, Option<StoreError>) {
        let mut requests = self.requests.lock().unwrap();
        *requests += 1;
        let fault = |what: &str| Some(StoreError::unknown_outcome(what));
        // Without a period, which would meet the same request of each attempt.
        match requests.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 60 {
            3 if self.fails => (false, fault("not done")),
            5 if self.fails => (true, fault("done, and the answer lost")),
            _ => (true, None),
        }
    }

    fn put(&self, name: &str, bytes: Bytes) -> Result<Created, StoreError> {
        assert!(bytes.len() <= self.part_bytes() || !name.contains('='), "{name} has {} bytes", bytes.len());
        let (is_done, fault) = self.fault();
        let mut objects = self.objects.lock().unwrap();
        let exists = objects.contains_key(name);
        if is_done && !exists {
            objects.insert(name.to_owned(), bytes);
        }
        fault.map_or(Ok(if exists { Created::Exists } else { Created::New }), Err)
    }

    fn names(&self, folder: &str) -> Vec<String> {
        let (objects, prefix) = (self.objects.lock().unwrap(), format!("{folder}/"));
        let below = objects.keys().filter_map(|name| name.strip_prefix(&prefix));
        below.filter_map(|below| below.split('/').next().map(str::to_owned)).collect()
    }
}

impl Objects for InMemory {
    fn put_new<'a>(&'a self, name: &'a str, bytes: Bytes) -> BoxFuture<'a, Result<Created, StoreError>> {
        Box::pin(async move { self.put(name, bytes) })
    }

    fn get<'a>(&'a self, name: &'a str, limit: u64) -> BoxFuture<'a, Result<Option<Bytes>, StoreError>> {
        Box::pin(async move {
            let found = self.objects.lock().unwrap().get(name).cloned();
            refuse_large(name, found.as_ref().map_or(0, |bytes| bytes.len() as u64), limit)?;
            self.fault().1.map_or(Ok(found), Err)
        })
    }

    fn list<'a>(&'a self, folder: &'a str) -> BoxFuture<'a, Result<Vec<String>, StoreError>> {
        Box::pin(async move { self.fault().1.map_or_else(|| Ok(self.names(folder)), Err) })
    }

    fn delete<'a>(&'a self, name: &'a str) -> BoxFuture<'a, Result<(), StoreError>> {
        Box::pin(async move {
            let (is_done, fault) = self.fault();
            if is_done {
                self.objects.lock().unwrap().remove(name);
            }
            fault.map_or(Ok(()), Err)
        })
    }

    fn part_bytes(&self) -> usize {
        64 << 10
    }
}

fn extent() -> Extent {
    Extent { names: 300, rounds: 20, blob_bytes: 8 << 20, ..Extent::default() }
}

async fn passes(objects: InMemory) {
    let store: Arc<dyn Store> = Arc::new(Remote::new(objects, "objects:".to_owned()));
    check_all(&store, &Key::new("suite").unwrap(), extent()).await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn the_least_that_a_store_can_do_is_enough() {
    passes(InMemory::default()).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn requests_that_fail_or_lose_their_answers_break_no_promise() {
    passes(InMemory { fails: true, ..InMemory::default() }).await;
}

#[tokio::test]
async fn a_value_that_looks_like_an_index_is_none() {
    let store = Remote::new(InMemory::default(), "objects:".to_owned());
    let key = Key::new("a/b").unwrap();
    let value = Index::new(7).to_bytes();
    assert_eq!(store.create(&key, value.clone()).await.unwrap(), Created::New);
    assert_eq!(store.create(&key, "other".into()).await.unwrap(), Created::Exists);
    assert_eq!(store.read(&key).await.unwrap(), Some(value));
    assert_eq!(store.children(&Key::new("a").unwrap()).await.unwrap(), ["b"]);
}

#[tokio::test]
async fn a_damaged_index_and_a_missing_part_are_named() {
    let store = Remote::new(InMemory::default(), "objects:".to_owned());
    let key = Key::new("a/b").unwrap();
    let index = Index::of_one(3).to_bytes();
    store.shared.put_new("a/b", index.slice(..index.len() - 1)).await.unwrap();
    assert!(store.read(&key).await.unwrap_err().to_string().contains("damaged"));
    store.shared.put_new("a/c", index).await.unwrap();
    let error = store.read(&Key::new("a/c").unwrap()).await.unwrap_err();
    assert!(error.to_string().contains("part 0 is missing"), "{error}");
}
