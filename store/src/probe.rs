//! Whether a store keeps its word, before anything is trusted to it.
//!
//! A server may ignore the condition of a conditional create without a word, or honour it except when two come at once. Both would
//! give an execution two owners and two results, and neither shows in ordinary use. So a store over a network is asked first.

use std::sync::Arc;

use bytes::Bytes;

use crate::{Created, Key, Store, StoreError, StoreErrorKind};

/// Writers at once, and rounds: of the servers known to race, each was found out within three.
const WRITERS: usize = 16;
const ROUNDS: usize = 4;
/// The checks' own version: a store that passed fewer is asked again.
const PASSED: &str = "probe/passed-1";

/// Asks `store` whether it creates a key only if it is absent. That it passed is remembered in it.
///
/// It writes some records below `probe/` and removes them again. A store that was found good before costs one read.
///
/// # Errors
/// [`StoreErrorKind::NotSupported`] if the store failed a check, which is named. Other errors are of the store's answers, and say nothing of
/// what it promises.
pub async fn probe(store: &Arc<dyn Store>) -> Result<(), StoreError> {
    let passed = Key::new(PASSED)?;
    if store.read_record(&passed).await?.is_some() {
        return Ok(());
    }
    let folder = Key::new(&format!("probe/{:016x}", fastrand::u64(..)))?;
    let probe = Probe { store: Arc::clone(store), folder };
    let outcome = probe.run().await;
    let cleaned = probe.clean_up().await;
    outcome?;
    cleaned?;
    store.create(&passed, Bytes::from_static(b"conditional creates")).await.map(drop)
}

struct Probe {
    store: Arc<dyn Store>,
    folder: Key,
}

impl Probe {
    async fn run(&self) -> Result<(), StoreError> {
        self.second_create().await?;
        for round in 0..ROUNDS {
            self.race(round).await?;
        }
        Ok(())
    }

    /// The second create of a key must fail, and change nothing.
    async fn second_create(&self) -> Result<(), StoreError> {
        let key = self.folder.join("second")?;
        let (first, second) = (Bytes::from_static(b"the first"), Bytes::from_static(b"the second"));
        let created = self.store.create(&key, first.clone()).await?;
        self.must(created == Created::New, "it says that a key exists which nobody created")?;
        let created = self.store.create(&key, second).await?;
        self.must(
            created == Created::Exists,
            "it ignores the condition: a key that exists was created again",
        )?;
        let found = self.store.read(&key).await?;
        self.must(found.as_ref() == Some(&first), "a create that it refused changed the value")
    }

    /// Of many at once exactly one must win, and its bytes must be there.
    async fn race(&self, round: usize) -> Result<(), StoreError> {
        let key = self.folder.join(&format!("race-{round}"))?;
        let bytes = |writer: usize| Bytes::from(format!("writer {writer:04}").repeat(500));
        let mut racing = tokio::task::JoinSet::new();
        for writer in 0..WRITERS {
            let (store, key, bytes) = (Arc::clone(&self.store), key.clone(), bytes(writer));
            racing.spawn(async move { (writer, store.create(&key, bytes).await) });
        }
        let mut winners = Vec::new();
        let mut unknown = None;
        while let Some(ended) = racing.join_next().await {
            match ended {
                Ok((writer, Ok(Created::New))) => winners.push(writer),
                Ok((_, Ok(Created::Exists))) => {}
                Ok((_, Err(error))) => unknown = Some(error),
                Err(_) => unknown = Some(StoreError::unknown_outcome("a create ended without an outcome")),
            }
        }
        self.must(winners.len() <= 1, "it races: several of the creates that came at once all won")?;
        if let Some(error) = unknown {
            return Err(error);
        }
        let found = self.store.read(&key).await?;
        let winner = winners.first().map(|winner| bytes(*winner));
        self.must(
            winner.is_some() && found == winner,
            "it races: the value is not that of the create that won",
        )
    }

    async fn clean_up(&self) -> Result<(), StoreError> {
        let mut deleting = tokio::task::JoinSet::new();
        for name in self.store.children(&self.folder).await? {
            let (store, key) = (Arc::clone(&self.store), self.folder.join(&name)?);
            deleting.spawn(async move { store.delete(&key).await });
        }
        while let Some(deleted) = deleting.join_next().await {
            deleted.map_err(|_| StoreError::unknown_outcome("a deletion ended without an outcome"))??;
        }
        Ok(())
    }

    fn must(&self, is_kept: bool, otherwise: &str) -> Result<(), StoreError> {
        if is_kept {
            return Ok(());
        }
        let message = format!(
            "{} can't be used: {otherwise}. An execution could have two owners and two results there. Use a server \
             that honours `create only if absent`; the documentation of stores lists some",
            self.store.describe()
        );
        Err(StoreError::new(StoreErrorKind::NotSupported, message))
    }
}
