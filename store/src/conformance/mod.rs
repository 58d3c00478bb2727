//! What every store must pass, as a suite that runs against any of them.
//!
//! Each check says what it saw if the store breaks a promise of [`Store`]; none panics. Errors that are worth another attempt are
//! retried as the execution log does it, so the suite also passes on a store that fails and loses acknowledgements, if it keeps its
//! promises.

mod blobs;
mod races;
mod records;
mod segments;

use std::fmt;
use std::sync::Arc;

use bytes::Bytes;

use crate::{Created, Key, RECORD_LIMIT_BYTES, Store, StoreError};

/// How often an operation that is worth another attempt is repeated.
const ATTEMPTS: usize = 200;

/// A promise that a store broke, or an error that ended a check.
#[derive(Debug, thiserror::Error)]
#[error("{check}: {what}")]
pub struct Breach {
    /// The check, such as `create races`.
    pub check: &'static str,
    /// What was seen.
    pub what: String,
}

/// How much the suite does.
#[derive(Debug, Clone, Copy)]
pub struct Extent {
    /// Rounds of the create race.
    pub rounds: usize,
    /// Racing writers.
    pub writers: usize,
    /// Names in the folder that is listed.
    pub names: usize,
    /// Bytes of the large blob.
    pub blob_bytes: u64,
    /// Bytes of the largest record that the store must take.
    pub record_bytes: usize,
}

impl Default for Extent {
    fn default() -> Self {
        Self {
            rounds: 100,
            writers: 16,
            names: 10_000,
            blob_bytes: 64 << 20,
            record_bytes: RECORD_LIMIT_BYTES,
        }
    }
}

/// Runs every check below `folder`, which must be empty; it is empty again after success. Needs a tokio runtime, with several
/// threads so that races are races.
///
/// # Errors
/// The first [`Breach`].
pub async fn check_all(store: &Arc<dyn Store>, folder: &Key, extent: Extent) -> Result<(), Breach> {
    let suite = Suite { store: Arc::clone(store), folder: folder.clone(), check: "", extent };
    records::check(&suite.named("records")).await?;
    records::check_listing(&suite.named("listing")).await?;
    races::check(&suite.named("create races")).await?;
    blobs::check(&suite.named("blobs")).await?;
    blobs::check_large(&suite.named("a large blob")).await?;
    segments::check(&suite.named("segments")).await?;
    let suite = suite.named("afterwards");
    let left = suite.retried(|| suite.store.children(&suite.folder)).await?;
    suite.expect(left.is_empty(), || format!("{left:?} are left although everything was deleted"))
}

/// A store under test, and where.
#[derive(Clone)]
struct Suite {
    store: Arc<dyn Store>,
    folder: Key,
    check: &'static str,
    extent: Extent,
}

impl Suite {
    fn named(&self, check: &'static str) -> Self {
        Self { check, ..self.clone() }
    }

    fn breach(&self, what: impl fmt::Display) -> Breach {
        Breach { check: self.check, what: format!("{}: {what}", self.store.describe()) }
    }

    fn expect(&self, is_kept: bool, otherwise: impl FnOnce() -> String) -> Result<(), Breach> {
        if is_kept { Ok(()) } else { Err(self.breach(otherwise())) }
    }

    fn key(&self, below: &str) -> Result<Key, Breach> {
        self.folder.join(below).map_err(|error| self.breach(error))
    }

    /// Does the same until the store says how it ended.
    async fn retried<T, F: Future<Output = Result<T, StoreError>>>(
        &self,
        operation: impl Fn() -> F,
    ) -> Result<T, Breach> {
        settled(operation).await.map_err(|error| self.breach(error))
    }

    /// Creates `key` as the log does: true if it holds these bytes because of this writer, whatever was acknowledged.
    async fn wins(&self, key: &Key, bytes: &Bytes) -> Result<bool, Breach> {
        match self.retried(|| self.store.create(key, bytes.clone())).await? {
            Created::New => Ok(true),
            Created::Exists => Ok(self.read(key).await?.as_ref() == Some(bytes)),
        }
    }

    async fn read(&self, key: &Key) -> Result<Option<Bytes>, Breach> {
        self.retried(|| self.store.read(key)).await
    }

    async fn delete(&self, key: &Key) -> Result<(), Breach> {
        self.retried(|| self.store.delete(key)).await
    }

    async fn children(&self, below: &str) -> Result<Vec<String>, Breach> {
        let folder = self.key(below)?;
        self.retried(|| self.store.children(&folder)).await
    }
}

async fn settled<T, F: Future<Output = Result<T, StoreError>>>(
    operation: impl Fn() -> F,
) -> Result<T, StoreError> {
    let mut attempt = 1;
    loop {
        match operation().await {
            Err(error) if error.is_retryable() && attempt < ATTEMPTS => attempt += 1,
            done => return done,
        }
    }
}

/// Bytes that differ everywhere and follow from `seed`.
fn pattern(seed: u64, len: usize) -> Vec<u8> {
    let mut bytes = vec![0; len];
    blake3::Hasher::new().update(&seed.to_le_bytes()).finalize_xof().fill(&mut bytes);
    bytes
}
