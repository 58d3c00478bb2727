//! The store as a process sees it: slow, failing, forgetful of its answers; and every access a boundary.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use limitless_faas_store::{BlobReader, BlobWriter, BoxFuture, Created, Key, MemoryStore, Store, StoreError};
use tokio::time::sleep;

use super::world::{Lie, Process};

/// A store that one process uses.
#[derive(Debug)]
pub(super) struct Seen {
    pub(super) process: Arc<Process>,
    pub(super) below: MemoryStore,
}

/// A store that lies does so in so many of 10,000 cases.
const LIES: u32 = 1_000;

fn unknown() -> StoreError {
    StoreError::unknown_outcome("the store did not answer")
}

impl Seen {
    /// Whether the operation fails before it does anything.
    async fn ask(&self, what: &str) -> Result<(), StoreError> {
        self.process.pass(what).await;
        let shared = &self.process.shared;
        if shared.happens(shared.faults.fail) { Err(unknown()) } else { Ok(()) }
    }

    /// A write: `done` does it, and may be done later.
    async fn write<T: Send + 'static>(
        &self,
        what: &str,
        done: impl Future<Output = Result<T, StoreError>> + Send + 'static,
    ) -> Result<T, StoreError> {
        self.ask(what).await?;
        let shared = self.process.shared.clone();
        if shared.happens(shared.faults.land_late) {
            let late_ms = shared.draw(|rng| rng.u64(1..5_000));
            let what = what.to_owned();
            tokio::spawn(async move {
                sleep(Duration::from_millis(late_ms)).await;
                let landed = done.await.is_ok();
                shared.note(format!("lands late ({landed}): {what}"));
            });
            return Err(unknown());
        }
        let result = done.await;
        self.process.pass(&format!("done: {what}")).await;
        if shared.happens(shared.faults.lose_answer) { Err(unknown()) } else { result }
    }

    fn lies(&self, lie: Lie) -> bool {
        let shared = &self.process.shared;
        shared.faults.lie == Some(lie) && shared.happens(LIES)
    }
}

impl Store for Seen {
    fn create(&self, key: &Key, bytes: Bytes) -> BoxFuture<'_, Result<Created, StoreError>> {
        let (key, below) = (key.clone(), self.below.clone());
        let what = format!("creates {key}");
        let (is_forgotten, is_twice) = (self.lies(Lie::ForgetCreate), self.lies(Lie::CreateTwice));
        Box::pin(async move {
            let done = async move {
                if is_forgotten {
                    return Ok(Created::New);
                }
                if is_twice {
                    below.delete(&key).await?;
                }
                below.create(&key, bytes).await
            };
            self.write(&what, done).await
        })
    }

    fn read(&self, key: &Key) -> BoxFuture<'_, Result<Option<Bytes>, StoreError>> {
        let key = key.clone();
        Box::pin(async move {
            self.ask(&format!("reads {key}")).await?;
            self.below.read(&key).await
        })
    }

    fn write_blob(&self, key: &Key) -> BoxFuture<'_, Result<Box<dyn BlobWriter>, StoreError>> {
        self.below.write_blob(key)
    }

    fn read_blob(&self, key: &Key) -> BoxFuture<'_, Result<Option<Box<dyn BlobReader>>, StoreError>> {
        let key = key.clone();
        Box::pin(async move {
            self.ask(&format!("opens {key}")).await?;
            self.below.read_blob(&key).await
        })
    }

    fn append(&self, key: &Key, at: u64, bytes: Bytes) -> BoxFuture<'_, Result<u64, StoreError>> {
        let (key, below) = (key.clone(), self.below.clone());
        let what = format!("appends {} bytes at {at} to {key}", bytes.len());
        let is_forgotten = self.lies(Lie::ForgetAppend);
        Box::pin(async move {
            let done = async move {
                if is_forgotten {
                    return Ok(at + bytes.len() as u64);
                }
                below.append(&key, at, bytes).await
            };
            self.write(&what, done).await
        })
    }

    fn children(&self, folder: &Key) -> BoxFuture<'_, Result<Vec<String>, StoreError>> {
        self.below.children(folder)
    }

    fn delete(&self, key: &Key) -> BoxFuture<'_, Result<(), StoreError>> {
        self.below.delete(key)
    }

    fn describe(&self) -> String {
        "simulated:".to_owned()
    }
}
