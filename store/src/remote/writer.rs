//! A blob on its way: full parts are sent while the writer fills the next one.

use std::io::{self, Write};
use std::sync::Arc;
use std::sync::mpsc::{Receiver, Sender, channel};

use bytes::Bytes;

use super::index::Index;
use super::{Shared, runtime};
use crate::{BlobWriter, Created, Key, StoreError};

/// So many parts are under way at once: enough to fill a line, and few enough to hold in memory.
const AT_ONCE: usize = 4;

type Outcome = Result<(), StoreError>;

pub(super) struct Writer {
    shared: Arc<Shared>,
    key: Key,
    /// What is not sent yet; less than a part.
    part: Vec<u8>,
    index: Index,
    /// Parts that were handed to the traffic's thread.
    begun: u64,
    under_way: usize,
    outcomes: (Sender<Outcome>, Receiver<Outcome>),
    is_finished: bool,
}

impl Writer {
    pub(super) fn new(shared: Arc<Shared>, key: Key) -> Self {
        let index = Index::new(shared.objects.part_bytes());
        let (part, outcomes) = (Vec::new(), channel());
        Self { shared, key, part, index, begun: 0, under_way: 0, outcomes, is_finished: false }
    }

    /// Sends the part; waits only while too many are under way.
    fn send(&mut self) -> Result<(), StoreError> {
        while self.under_way >= AT_ONCE {
            self.wait_for_one()?;
        }
        let bytes = Bytes::from(std::mem::take(&mut self.part));
        let name = self.index.part(self.key.as_str(), self.begun);
        let (shared, outcome) = (Arc::clone(&self.shared), self.outcomes.0.clone());
        self.begun += 1;
        self.under_way += 1;
        runtime::spawn(async move {
            // The writer may be gone, and nobody is left to tell.
            let _ = outcome.send(shared.put_own(&name, bytes).await);
        })
    }

    fn wait_for_one(&mut self) -> Result<(), StoreError> {
        let outcome = self.outcomes.1.recv().unwrap_or_else(|_| Err(runtime::interrupted()));
        self.under_way -= 1;
        outcome
    }

    /// Creates what stands under the key, and waits for it.
    fn publish(&self, bytes: Bytes) -> Result<Created, StoreError> {
        let (shared, key) = (Arc::clone(&self.shared), self.key.clone());
        wait(async move {
            match shared.create(key.as_str(), bytes.clone()).await? {
                // It may be ours, created by an attempt whose answer was lost.
                Created::Exists if shared.holds(&key, &bytes).await? => Ok(Created::New),
                created => Ok(created),
            }
        })
    }

    fn complete(&mut self) -> Result<Created, StoreError> {
        if self.begun == 0 {
            let bytes = Bytes::from(std::mem::take(&mut self.part));
            return self.publish(bytes);
        }
        if !self.part.is_empty() {
            self.send()?;
        }
        while self.under_way > 0 {
            self.wait_for_one()?;
        }
        let shared = Arc::clone(&self.shared);
        let (key, index) = (self.key.clone(), self.index.to_bytes());
        wait(async move {
            match shared.put_new(key.as_str(), index.clone()).await? {
                Created::Exists if shared.holds(&key, &index).await? => Ok(Created::New),
                created => Ok(created),
            }
        })
    }
}

/// Blocks until the traffic's thread has done it.
pub(super) fn wait<T: Send + 'static>(
    traffic: impl Future<Output = Result<T, StoreError>> + Send + 'static,
) -> Result<T, StoreError> {
    let (sender, receiver) = std::sync::mpsc::sync_channel(1);
    runtime::spawn(async move {
        let _ = sender.send(traffic.await);
    })?;
    receiver.recv().unwrap_or_else(|_| Err(runtime::interrupted()))
}

impl Write for Writer {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let part_bytes = usize::try_from(self.index.part_bytes).unwrap_or(usize::MAX);
        // A full part is sent only when there is more: what fits into one is no part but the value itself.
        if self.part.len() == part_bytes {
            self.send()?;
        }
        let taken = bytes.len().min(part_bytes - self.part.len());
        self.part.extend_from_slice(&bytes[..taken]);
        self.index.len_bytes += taken as u64;
        Ok(taken)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl BlobWriter for Writer {
    fn finish(mut self: Box<Self>) -> Result<u64, StoreError> {
        let created = self.complete();
        // After an unknown outcome the index may be there, and its parts must not go.
        self.is_finished = match &created {
            Ok(created) => *created == Created::New,
            Err(error) => error.may_have_happened(),
        };
        match created? {
            Created::New => Ok(self.index.len_bytes),
            Created::Exists => Err(StoreError::blob_exists(&self.key, &self.shared.url)),
        }
    }
}

impl Drop for Writer {
    /// Nothing is left of a blob that was not finished.
    fn drop(&mut self) {
        if self.is_finished || self.begun == 0 {
            return;
        }
        let (shared, key, index) = (Arc::clone(&self.shared), self.key.clone(), self.index.clone());
        let (mut under_way, begun) = (self.under_way, self.begun);
        let outcomes = std::mem::replace(&mut self.outcomes, channel()).1;
        let _ = runtime::spawn(async move {
            // A part that is still being sent would come after its deletion.
            let _ = tokio::task::spawn_blocking(move || {
                while under_way > 0 && outcomes.recv().is_ok() {
                    under_way -= 1;
                }
            })
            .await;
            for number in 0..begun {
                let _ = shared.delete_own(&index.part(key.as_str(), number)).await;
            }
        });
    }
}
