//! The execution log on top of a store: read, create, cancel.

use std::sync::Arc;
use std::task::Poll;

use bytes::Bytes;
use limitless_faas_core::invocation::Written;
use limitless_faas_core::log::{Entry, EntryError, Execution, Kind, Stored, ended_by, fold};
use limitless_faas_core::pace::Policy;
use limitless_faas_core::{Code, ExecutionId, Failure, Nonce, key};

use crate::sealed::refuse_sealed;
use crate::{Created, Key, Store, StoreError, StoreErrorKind};

/// One execution's log in a store.
///
/// It reads and creates single entries; what may be created when is decided by
/// [`Invocation`](limitless_faas_core::invocation::Invocation), or by the rules for a cancellation here.
#[derive(Clone, Debug)]
pub struct Log {
    store: Arc<dyn Store>,
    execution: ExecutionId,
}

/// How often an entry is read that stands among others.
const READS: u32 = 4;

impl Log {
    /// The log of this execution. Nothing is read yet.
    pub fn new(store: Arc<dyn Store>, execution: ExecutionId) -> Self {
        Self { store, execution }
    }

    /// The execution whose log it is.
    pub fn id(&self) -> &ExecutionId {
        &self.execution
    }

    /// The store it stands in.
    pub fn store(&self) -> &Arc<dyn Store> {
        &self.store
    }

    /// The entry with this number, or none where the log ends before it.
    ///
    /// # Errors
    /// [`Code::StoreAway`]: try again. [`Code::UnreadableLog`]: the entry is damaged or of another version.
    pub async fn entry(&self, number: u64) -> Result<Option<Entry>, Failure> {
        let key = self.key(number)?;
        let Some(bytes) = self.store.read_record(&key).await.map_err(|error| failure(&error))? else {
            return Ok(None);
        };
        // Each execution begins with its log, so this tells it of all that is encrypted.
        refuse_sealed(&key, &bytes).map_err(|error| failure(&error))?;
        Entry::decode(&bytes).map(Some).map_err(|error| unreadable(&key, &error))
    }

    /// The entries from this number on, in order, to the end of the log.
    ///
    /// # Errors
    /// As [`Log::entry`].
    pub async fn entries(&self, from: u64) -> Result<Vec<Entry>, Failure> {
        let mut entries = Vec::new();
        loop {
            let next = from + entries.len() as u64;
            // Two at once: whoever reads the last entry has to see that none follows, and a round trip may be long.
            let (entry, following) = both(self.one_of_many(next), self.one_of_many(next + 1)).await;
            let Some(entry) = entry? else { return Ok(entries) };
            entries.push(entry);
            let Some(following) = following? else { return Ok(entries) };
            entries.push(following);
        }
    }

    /// As [`Log::entry`], a few times where the store fails for a moment: a long log would never be read through if one failure
    /// meant beginning anew.
    async fn one_of_many(&self, number: u64) -> Result<Option<Entry>, Failure> {
        for _ in 1..READS {
            match self.entry(number).await {
                Err(failure) if failure.code == Code::StoreAway => {}
                found => return found,
            }
        }
        self.entry(number).await
    }

    /// The state of the execution, or none where it has no log.
    ///
    /// # Errors
    /// As [`Log::entry`].
    pub async fn execution(&self) -> Result<Option<Execution>, Failure> {
        let entries = self.entries(0).await?;
        fold(&entries).map_err(|error| Failure::new(Code::UnreadableLog, error.to_string()))
    }

    /// Creates this entry if its number is free.
    ///
    /// "Taken" may be our own entry, created by an attempt whose answer was lost: it is read back for the caller to
    /// compare.
    pub async fn create(&self, number: u64, entry: &Entry) -> Written {
        match self.try_create(number, entry).await {
            Ok(written) => written,
            Err(failure) => Written::Unknown(failure),
        }
    }

    async fn try_create(&self, number: u64, entry: &Entry) -> Result<Written, Failure> {
        let key = self.key(number)?;
        let bytes = entry.encode().map_err(|error| unreadable(&key, &error))?;
        let created = self.store.create(&key, Bytes::from(bytes)).await.map_err(|error| failure(&error))?;
        if created == Created::New {
            return self.begun(number, &key).await;
        }
        match self.entry(number).await? {
            Some(taken) => Ok(Written::Taken(Box::new(taken))),
            // Some stores report a conflict although nobody wrote.
            None => Err(Failure::new(Code::StoreAway, format!("{key} is said to exist, but can't be read"))),
        }
    }

    /// A log that begins after its execution was removed is no execution: a late duplicate of its call must not run it again.
    async fn begun(&self, number: u64, key: &Key) -> Result<Written, Failure> {
        let end = Key::new(&key::end(&self.execution))
            .map_err(|e| Failure::new(Code::UnreadableLog, e.to_string()))?;
        if number > 0 || self.store.read_record(&end).await.map_err(|error| failure(&error))?.is_none() {
            return Ok(Written::New);
        }
        self.store.delete(key).await.map_err(|error| failure(&error))?;
        let message = format!("execution {} has ended and was removed", self.execution);
        Err(Failure::new(Code::UnknownExecution, message))
    }

    /// Calls the execution off: anyone may, in any state that is not terminal. Answers what the log says then, which is
    /// another end where that came first.
    ///
    /// # Errors
    /// [`Code::StoreAway`] where the store gives no answer, [`Code::UnknownExecution`] where there is no log.
    pub async fn cancel(&self, by: &str, nonce: Nonce, now_us: u64) -> Result<Execution, Failure> {
        const ATTEMPTS: u32 = 100;
        let mut last = Failure::new(Code::StoreAway, "the store gives no answer");
        for _ in 0..ATTEMPTS {
            // W2: whoever loses folds again and decides anew, since the number it wanted means something else now.
            let Some(mut execution) = self.execution().await? else {
                let message =
                    format!("there is no execution {} in {}", self.execution, self.store.describe());
                return Err(Failure::new(Code::UnknownExecution, message));
            };
            if execution.status().is_terminal() {
                return Ok(execution);
            }
            let entry = Entry {
                execution: self.execution.clone(),
                handler: execution.handler.clone(),
                epoch: execution.epoch,
                nonce,
                at_us: now_us,
                kind: Kind::Cancelled { by: by.to_owned() },
            };
            match self.create(execution.length, &entry).await {
                Written::Taken(taken) if !taken.is_same(&entry) => {}
                Written::Unknown(failure) => last = failure,
                Written::New | Written::Taken(_) => {
                    execution.apply(&entry).map_err(|e| Failure::new(Code::UnreadableLog, e.to_string()))?;
                    return Ok(execution);
                }
            }
        }
        Err(last)
    }

    /// The data of an event, where it has happened.
    ///
    /// # Errors
    /// As [`Log::entry`].
    pub async fn event(&self, name: &str) -> Result<Option<String>, Failure> {
        let key = self.event_key(name)?;
        let Some(bytes) = self.store.read_record(&key).await.map_err(|error| failure(&error))? else {
            return Ok(None);
        };
        let text = |error: std::str::Utf8Error| Failure::new(Code::Damaged, format!("{key}: {error}"));
        std::str::from_utf8(&bytes).map(|json| Some(json.to_owned())).map_err(text)
    }

    /// Whether an event has happened: it was recorded, or it is [the end of an execution](limitless_faas_core::log::end_of) that has ended, or
    /// that nobody drives any more at `now_ms`.
    ///
    /// # Errors
    /// As [`Log::entry`].
    pub async fn has_happened(&self, event: &str, now_ms: u64) -> Result<bool, Failure> {
        if self.event(event).await?.is_some() {
            return Ok(true);
        }
        let Some(other) = ended_by(event) else { return Ok(false) };
        let other = Self::new(self.store.clone(), other).execution().await?;
        Ok(other.is_some_and(|other| other.is_left(now_ms, Policy::default().skew_ms)))
    }

    /// Records that an event happened, with its data as JSON; false where it had happened before, whose data stays.
    ///
    /// The execution goes on once a successor is invoked: record first, and invoke then.
    ///
    /// # Errors
    /// As [`Log::entry`].
    pub async fn record_event(&self, name: &str, json: String) -> Result<bool, Failure> {
        let key = self.event_key(name)?;
        let created = self.store.create(&key, Bytes::from(json)).await.map_err(|error| failure(&error))?;
        Ok(created == Created::New)
    }

    fn event_key(&self, name: &str) -> Result<Key, Failure> {
        Key::new(&key::event(&self.execution, name))
            .map_err(|error| Failure::new(Code::UnreadableLog, error.to_string()))
    }

    /// The JSON of an input or result, wherever it stands.
    ///
    /// # Errors
    /// [`Code::StoreAway`] or [`Code::Damaged`] where the blob is missing or is no text.
    pub async fn json(&self, stored: &Stored) -> Result<String, Failure> {
        let name = match stored {
            Stored::Json(json) => return Ok(json.clone()),
            Stored::Key(name) => name,
        };
        let key = Key::new(name).map_err(|error| Failure::new(Code::UnreadableLog, error.to_string()))?;
        if !name.starts_with(&format!("{}/", key::execution(&self.execution))) {
            return Err(Failure::new(
                Code::UnreadableLog,
                format!("{key} is not one of execution {}", self.execution),
            ));
        }
        let missing =
            || Failure::new(Code::Damaged, format!("{key} is missing in {}", self.store.describe()));
        let mut blob =
            self.store.read_blob(&key).await.map_err(|error| failure(&error))?.ok_or_else(missing)?;
        let mut text = String::new();
        std::io::Read::read_to_string(&mut blob, &mut text)
            .map_err(|error| Failure::new(Code::Damaged, format!("failed to read {key}: {error}")))?;
        Ok(text)
    }

    /// Stores JSON that is too large for an entry. It is no error if it is there already.
    ///
    /// # Errors
    /// As [`Log::entry`].
    pub async fn store_json(&self, name: &str, json: String) -> Result<(), Failure> {
        let key = Key::new(name).map_err(|error| Failure::new(Code::UnreadableLog, error.to_string()))?;
        let mut blob = self.store.write_blob(&key).await.map_err(|error| failure(&error))?;
        let stored = tokio::task::spawn_blocking(move || {
            std::io::Write::write_all(&mut blob, json.as_bytes())
                .map_err(|error| StoreError::unknown_outcome(error.to_string()))?;
            blob.finish()
        });
        match stored.await {
            Ok(Err(error)) if error.kind() != StoreErrorKind::Conflict => Err(failure(&error)),
            Ok(_) => Ok(()),
            Err(_) => Err(Failure::new(Code::StoreAway, format!("storing {key} was interrupted"))),
        }
    }

    fn key(&self, number: u64) -> Result<Key, Failure> {
        Key::new(&key::entry(&self.execution, number))
            .map_err(|e| Failure::new(Code::UnreadableLog, e.to_string()))
    }
}

/// Both outcomes, once both are there.
async fn both<A, B>(a: impl Future<Output = A>, b: impl Future<Output = B>) -> (A, B) {
    let (mut a, mut b) = (std::pin::pin!(a), std::pin::pin!(b));
    let (mut of_a, mut of_b) = (None, None);
    std::future::poll_fn(|cx| {
        if of_a.is_none()
            && let Poll::Ready(outcome) = a.as_mut().poll(cx)
        {
            of_a = Some(outcome);
        }
        if of_b.is_none()
            && let Poll::Ready(outcome) = b.as_mut().poll(cx)
        {
            of_b = Some(outcome);
        }
        match (of_a.take(), of_b.take()) {
            (Some(a), Some(b)) => Poll::Ready((a, b)),
            (a, b) => {
                (of_a, of_b) = (a, b);
                Poll::Pending
            }
        }
    })
    .await
}

/// A store's error as the protocol knows it: worth another try, or not before somebody mends something.
pub fn failure(error: &StoreError) -> Failure {
    let code = match error.kind() {
        StoreErrorKind::Retry | StoreErrorKind::Full => Code::StoreAway,
        StoreErrorKind::Conflict => Code::AlreadyClaimed,
        StoreErrorKind::Damaged => Code::Damaged,
        _ => Code::NotConfigured,
    };
    Failure::new(code, error.to_string())
}

fn unreadable(key: &Key, error: &EntryError) -> Failure {
    Failure::new(Code::UnreadableLog, format!("{key}: {error}"))
}

#[cfg(test)]
mod tests {
    use limitless_faas_core::log::{Driver, Input, Origin, Status};

    use super::*;
    use crate::{Faulty, MemoryStore};

    fn id() -> ExecutionId {
        ExecutionId::derive("h", "call")
    }

    fn started() -> Entry {
        let origin = Origin {
            input: Input { digest: "d".into(), stored: Stored::Json("{}".into()) },
            callback: None,
            caller: None,
            keep_ms: None,
        };
        Entry {
            execution: id(),
            handler: "h".into(),
            epoch: 1,
            nonce: Nonce::from_random([1; 8]),
            at_us: 0,
            kind: Kind::Started { origin, lease_until_ms: 9, driver: Driver::default(), saved: None },
        }
    }

    #[tokio::test]
    async fn entries_read_back_in_order() {
        let log = Log::new(Arc::new(MemoryStore::new()), id());
        assert!(log.execution().await.unwrap().is_none());
        assert!(matches!(log.create(0, &started()).await, Written::New));
        let Written::Taken(taken) = log.create(0, &started()).await else { panic!("created twice") };
        assert!(taken.is_same(&started()));
        assert_eq!(log.entries(0).await.unwrap(), [started()]);
        assert_eq!(log.execution().await.unwrap().unwrap().status(), Status::Running);
    }

    #[tokio::test]
    async fn a_long_log_is_read_through_a_store_that_fails_now_and_then() {
        let store = Arc::new(MemoryStore::new());
        let log = Log::new(store.clone(), id());
        for number in 0..100 {
            log.create(number, &started()).await;
        }
        let faults = "seed=4,fail=0.1".parse().unwrap();
        let log = Log::new(Arc::new(Faulty::new(store, faults)), id());
        assert_eq!(log.entries(0).await.unwrap().len(), 100);
    }

    #[tokio::test]
    async fn a_cancellation_survives_a_store_that_loses_acknowledgements() {
        let faults = "seed=3,lost-ack=0.5,fail=0.2".parse().unwrap();
        let store = Arc::new(MemoryStore::new());
        Log::new(store.clone(), id()).create(0, &started()).await;
        let log = Log::new(Arc::new(Faulty::new(store.clone(), faults)), id());
        let mut cancelled = log.cancel("a test", Nonce::from_random([2; 8]), 1).await;
        while matches!(&cancelled, Err(failure) if failure.code == Code::StoreAway) {
            cancelled = log.cancel("a test", Nonce::from_random([2; 8]), 1).await;
        }
        assert_eq!(cancelled.unwrap().status(), Status::Cancelled);
        assert_eq!(Log::new(store, id()).entries(0).await.unwrap().len(), 2);
    }

    #[tokio::test]
    async fn a_removed_execution_does_not_begin_again() {
        let store = Arc::new(MemoryStore::new());
        store.create(&Key::new(&key::end(&id())).unwrap(), "gone".into()).await.unwrap();
        let log = Log::new(store, id());
        let Written::Unknown(failure) = log.create(0, &started()).await else { panic!("it began") };
        assert_eq!(failure.code, Code::UnknownExecution);
        assert!(log.execution().await.unwrap().is_none());
    }

    #[tokio::test]
    async fn a_damaged_entry_is_named() {
        let store = Arc::new(MemoryStore::new());
        store.create(&Key::new(&key::entry(&id(), 0)).unwrap(), "{}".into()).await.unwrap();
        let failure = Log::new(store, id()).execution().await.unwrap_err();
        assert_eq!(failure.code, Code::UnreadableLog);
        assert!(failure.message.contains("log/00000000"), "{failure}");
    }

    #[tokio::test]
    async fn a_key_of_another_execution_is_not_followed() {
        let log = Log::new(Arc::new(MemoryStore::new()), id());
        let other = ExecutionId::derive("h", "other");
        let stored = Stored::Key(key::result(&other, Nonce::from_random([1; 8])));
        assert_eq!(log.json(&stored).await.unwrap_err().code, Code::UnreadableLog);
    }
}
