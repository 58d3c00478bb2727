//! Every store of this crate passes the suite, also while it fails on purpose.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::path::Path;
use std::sync::Arc;

use limitless_faas_store::conformance::{Extent, check_all};
use limitless_faas_store::{Faulty, FolderStore, Key, MemoryStore, Store};

async fn passes(store: impl Store, extent: Extent) {
    let store: Arc<dyn Store> = Arc::new(store);
    check_all(&store, &Key::new("suite").unwrap(), extent).await.unwrap();
}

fn folder(root: &Path) -> FolderStore {
    FolderStore::new(root.join("store")).unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn memory_passes() {
    passes(MemoryStore::new(), Extent::default()).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_folder_passes() {
    let root = tempfile::tempdir().unwrap();
    passes(folder(root.path()), Extent::default()).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_folder_with_named_temporaries_passes() {
    let root = tempfile::tempdir().unwrap();
    let store = FolderStore::with_named_temporaries(root.path().join("store")).unwrap();
    passes(store, Extent { names: 1_000, ..Extent::default() }).await;
    let left: Vec<_> = std::fs::read_dir(root.path().join("store/.tmp")).unwrap().collect();
    assert!(left.is_empty(), "{left:?}");
}

/// Failing and losing acknowledgements does not make two winners, lose what was acknowledged, or tear anything.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn stores_that_fail_and_lose_acknowledgements_pass() {
    let extent = Extent { names: 300, rounds: 40, ..Extent::default() };
    for seed in 0..4 {
        let faults = format!("seed={seed},fail=0.2,lost-ack=0.3").parse().unwrap();
        passes(Faulty::new(Arc::new(MemoryStore::new()), faults), extent).await;
    }
    let root = tempfile::tempdir().unwrap();
    let faults = "seed=9,fail=0.2,lost-ack=0.3".parse().unwrap();
    passes(Faulty::new(Arc::new(folder(root.path())), faults), extent).await;
}

/// The suite itself notices: a store that breaks one promise does not pass.
mod broken {
    use super::*;
    use bytes::Bytes;
    use limitless_faas_store::{BlobReader, BlobWriter, BoxFuture, Created, StoreError};

    /// Which promise is broken.
    #[derive(Debug, Clone, Copy, PartialEq)]
    enum Break {
        EveryoneWins,
        ReadsHalf,
        ListsUnsorted,
        KeepsDeleted,
        AppendsBlindly,
    }

    #[derive(Debug)]
    struct Broken(MemoryStore, Break);

    impl Store for Broken {
        fn create(&self, key: &Key, bytes: Bytes) -> BoxFuture<'_, Result<Created, StoreError>> {
            let created = self.0.create(key, bytes);
            let lies = self.1 == Break::EveryoneWins;
            Box::pin(async move { created.await.map(|created| if lies { Created::New } else { created }) })
        }
        fn read(&self, key: &Key) -> BoxFuture<'_, Result<Option<Bytes>, StoreError>> {
            let read = self.0.read(key);
            let halves = self.1 == Break::ReadsHalf;
            let half = move |bytes: Bytes| if halves { bytes.slice(..bytes.len() / 2) } else { bytes };
            Box::pin(async move { read.await.map(|found| found.map(half)) })
        }
        fn write_blob(&self, key: &Key) -> BoxFuture<'_, Result<Box<dyn BlobWriter>, StoreError>> {
            self.0.write_blob(key)
        }
        fn read_blob(&self, key: &Key) -> BoxFuture<'_, Result<Option<Box<dyn BlobReader>>, StoreError>> {
            self.0.read_blob(key)
        }
        fn append(&self, key: &Key, at: u64, bytes: Bytes) -> BoxFuture<'_, Result<u64, StoreError>> {
            let (store, key, blindly) = (self.0.clone(), key.clone(), self.1 == Break::AppendsBlindly);
            Box::pin(async move {
                let there = store.read(&key).await?.map_or(0, |there| there.len() as u64);
                store.append(&key, if blindly { there } else { at }, bytes).await
            })
        }
        fn children(&self, folder: &Key) -> BoxFuture<'_, Result<Vec<String>, StoreError>> {
            let children = self.0.children(folder);
            let reverses = self.1 == Break::ListsUnsorted;
            Box::pin(async move {
                let mut names = children.await?;
                if reverses {
                    names.reverse();
                }
                Ok(names)
            })
        }
        fn delete(&self, key: &Key) -> BoxFuture<'_, Result<(), StoreError>> {
            if self.1 == Break::KeepsDeleted { Box::pin(async { Ok(()) }) } else { self.0.delete(key) }
        }
        fn describe(&self) -> String {
            format!("{:?}", self.1)
        }
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 4)]
    async fn a_broken_store_is_found_out() {
        use Break::{AppendsBlindly, EveryoneWins, KeepsDeleted, ListsUnsorted, ReadsHalf};
        for how in [EveryoneWins, ReadsHalf, ListsUnsorted, KeepsDeleted, AppendsBlindly] {
            let store: Arc<dyn Store> = Arc::new(Broken(MemoryStore::new(), how));
            let extent =
                Extent { names: 20, rounds: 3, writers: 4, blob_bytes: 1 << 20, ..Extent::default() };
            let breach = check_all(&store, &Key::new("suite").unwrap(), extent).await.unwrap_err();
            assert!(breach.to_string().contains(&format!("{how:?}")), "{breach}");
        }
    }
}
