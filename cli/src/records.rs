//! Executions in a store: find, read, call off.

use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use bytes::Bytes;
use limitless_faas_core::log::{Entry, Execution, Phase, Status, Stored};
use limitless_faas_core::{Code, ExecutionId, Failure, Nonce, key};
use limitless_faas_store::{Key, Log, Store, StoreError};
use serde::Serialize;
use serde_json::value::RawValue;

use crate::error::{Error, Result};
use crate::exit::Exit;
use crate::history::History;

/// The executions of one store.
#[derive(Clone, Debug)]
pub struct Records {
    store: Arc<dyn Store>,
    url: String,
}

/// How often a read that may succeed later is tried.
const READS: u32 = 5;

/// A call that has begun and whose end its caller has not recorded.
#[derive(Clone, Debug, Serialize)]
pub struct OpenCall {
    pub execution: ExecutionId,
    pub handler: String,
    /// None where it has not written anything yet.
    pub status: Option<Status>,
}

impl Records {
    /// Opens the store; nothing is read yet.
    ///
    /// # Errors
    /// Where the URL names none.
    pub fn open(url: &str) -> Result<Self> {
        let store = limitless_faas_store::open(url)?;
        // What is shown carries no password.
        let url = if store.is_remote() { store.describe() } else { url.to_owned() };
        Ok(Self { store, url })
    }

    /// Sees that the store takes writes, before a function tries for as long as it may run.
    ///
    /// # Errors
    /// Where it takes none.
    pub async fn probe(&self) -> Result<()> {
        let name = ExecutionId::from_random(random()?);
        let key = Key::new(&format!("probes/{name}")).map_err(StoreError::from)?;
        self.store.create(&key, Bytes::from_static(b"probe")).await?;
        #[cfg(feature = "all-stores")]
        if self.store.is_remote() {
            limitless_faas_store::probe(&self.store).await?;
        }
        Ok(self.store.delete(&key).await?)
    }

    /// The store's URL.
    pub fn url(&self) -> &str {
        &self.url
    }

    /// The store itself.
    pub fn store(&self) -> &Arc<dyn Store> {
        &self.store
    }

    /// This execution's log.
    pub fn log(&self, id: &ExecutionId) -> Log {
        Log::new(Arc::clone(&self.store), id.clone())
    }

    /// The log's entries from `from` on.
    ///
    /// # Errors
    /// Where the store does not answer, or an entry can't be read.
    pub async fn entries(&self, id: &ExecutionId, from: u64) -> Result<Vec<Entry>> {
        let log = self.log(id);
        retried(|| log.entries(from)).await.map_err(|failure| self.unreadable(id, &failure))
    }

    /// What became of the execution.
    ///
    /// # Errors
    /// As [`Records::entries`], and where there is none.
    pub async fn history(&self, id: &ExecutionId) -> Result<History> {
        let entries = self.entries(id, 0).await?;
        let history = History::of(&entries)
            .map_err(|error| self.unreadable(id, &Failure::new(Code::UnreadableLog, error.to_string())))?;
        history.ok_or_else(|| self.unknown(id.as_str()))
    }

    /// The JSON of a result or input, to the letter.
    ///
    /// # Errors
    /// Where it can't be read.
    pub async fn json(&self, id: &ExecutionId, stored: &Stored) -> Result<Box<RawValue>> {
        let log = self.log(id);
        let text = retried(|| log.json(stored)).await.map_err(|failure| match failure.code {
            Code::Damaged => Error::failure(&failure).help(
                "`cargo faas gc` may have removed it: large results go some time after the execution ended",
            ),
            _ => self.unreadable(id, &failure),
        })?;
        RawValue::from_string(text).map_err(|error| {
            Error::new(Exit::Store, format!("execution {id} has a result that is no JSON")).because(error)
        })
    }

    /// Calls the execution off; answers what its log says then.
    ///
    /// # Errors
    /// Where the store does not answer, or there is no such execution.
    pub async fn cancel(&self, id: &ExecutionId, by: &str) -> Result<Execution> {
        let (log, nonce) = (self.log(id), nonce()?);
        log.cancel(by, nonce, now_us()).await.map_err(|failure| match failure.code {
            Code::UnknownExecution => self.unknown(id.as_str()),
            _ => self.unreadable(id, &failure),
        })
    }

    /// The calls of this execution that have begun and not ended, as far as it goes on; they may hold more of their own.
    ///
    /// # Errors
    /// Where the store does not answer.
    pub async fn open_calls(&self, execution: &Execution) -> Result<Vec<OpenCall>> {
        let unreadable = |failure: Failure| self.unreadable(&execution.id, &failure);
        let log = self.log(&execution.id);
        let open = retried(|| log.open_calls(execution)).await.map_err(unreadable)?;
        let mut calls = Vec::new();
        for (id, handler) in open {
            let log = self.log(&id);
            let found =
                retried(|| log.execution()).await.map_err(|failure| self.unreadable(&id, &failure))?;
            let status = found.map(|found| found.status());
            calls.push(OpenCall { execution: id, handler, status });
        }
        Ok(calls)
    }

    /// [`Records::open_calls`] of one that goes on; those of one that has ended are called off.
    ///
    /// # Errors
    /// Where the store does not answer.
    pub async fn open_calls_of(&self, history: &History) -> Result<Vec<OpenCall>> {
        if history.status().is_terminal() {
            Ok(Vec::new())
        } else {
            self.open_calls(&history.execution).await
        }
    }

    /// Calls off what an execution called that was called off, and what that called. What begins only now notices by itself.
    ///
    /// # Errors
    /// Where the store does not answer.
    pub async fn cancel_calls(&self, execution: &Execution, by: &str) -> Result<u64> {
        let mut cancelled = 0;
        let mut open = self.open_calls(execution).await?;
        while let Some(call) = open.pop() {
            if call.status.is_some_and(|status| !status.is_terminal()) {
                let called = self.cancel(&call.execution, by).await?;
                cancelled += u64::from(called.status() == Status::Cancelled);
                open.extend(self.open_calls(&called).await?);
            }
        }
        Ok(cancelled)
    }

    /// Whether an event has happened that this execution waits for.
    ///
    /// # Errors
    /// Where the store does not answer.
    pub async fn has_happened(&self, execution: &Execution) -> Result<bool> {
        let Phase::Suspended { wake: Some(wake), .. } = &execution.phase else { return Ok(false) };
        let log = self.log(&execution.id);
        for event in &wake.events {
            let happened = retried(|| log.has_happened(event, now_us() / 1000)).await;
            if happened.map_err(|failure| self.unreadable(&execution.id, &failure))? {
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// Records that an event happened to this execution; false where it had happened before.
    ///
    /// # Errors
    /// Where the store does not answer.
    pub async fn record_event(&self, id: &ExecutionId, event: &str, data: &str) -> Result<bool> {
        let log = self.log(id);
        let recorded = retried(|| log.record_event(event, data.to_owned())).await;
        recorded.map_err(|failure| self.unreadable(id, &failure))
    }

    /// All executions, in no particular order.
    ///
    /// # Errors
    /// Where the store does not answer.
    pub async fn ids(&self) -> Result<Vec<ExecutionId>> {
        let names = self.store.children(&Key::new(key::EXECUTIONS).map_err(StoreError::from)?).await?;
        Ok(names.iter().filter_map(|name| name.parse().ok()).collect())
    }

    /// The execution that a person calls `text`: an id, the beginning of one, or `last`.
    ///
    /// # Errors
    /// Where none or several are called so.
    pub async fn resolve(&self, text: &str) -> Result<ExecutionId> {
        if let Ok(id) = text.parse() {
            return Ok(id);
        }
        if text == "last" {
            return self.last().await;
        }
        if text.is_empty() || !text.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f')) || text.len() > 32
        {
            let shown: String = text.chars().take(40).collect();
            return Err(Error::usage(format!("`{}` is no execution", shown.escape_default()))
                .help("an execution's id has 32 hexadecimal digits, which may be shortened; `last` is the latest one"));
        }
        let mut alike = self.ids().await?;
        alike.retain(|id| id.as_str().starts_with(text));
        match &alike[..] {
            [one] => Ok(one.clone()),
            [] => Err(self.unknown(text)),
            many => Err(Error::usage(format!("{} executions begin with {text}", many.len()))
                .help("write more digits of the id; `cargo faas list` shows them")),
        }
    }

    async fn last(&self) -> Result<ExecutionId> {
        let mut latest: Option<(u64, ExecutionId)> = None;
        for id in self.ids().await? {
            let begun = self.log(&id).entry(0).await.ok().flatten().map(|entry| entry.at_us);
            if let Some(at_us) = begun.filter(|at_us| latest.as_ref().is_none_or(|(last, _)| at_us > last)) {
                latest = Some((at_us, id));
            }
        }
        let none = || Error::usage(format!("there is no execution in {}", self.url)).help(other_store());
        latest.map(|(_, id)| id).ok_or_else(none)
    }

    fn unknown(&self, id: &str) -> Error {
        Error::usage(format!("there is no execution {id} in {}", self.url))
            .help("`cargo faas list` shows those there are")
            .help(other_store())
    }

    fn unreadable(&self, id: &ExecutionId, failure: &Failure) -> Error {
        let error = Error::new(Exit::Store, format!("failed to read execution {id} in {}", self.url));
        let error = error.because(failure.clone());
        match failure.code {
            Code::UnreadableLog => {
                error.help("use the cargo-faas of the same version as the function's limitless-faas")
            }
            _ => error.help("try again, or check the store"),
        }
    }
}

fn other_store() -> &'static str {
    "executions of another project or platform stand in another store: name it with --store"
}

/// Tries again what may succeed later.
async fn retried<T, F: Future<Output = std::result::Result<T, Failure>>>(
    mut attempt: impl FnMut() -> F,
) -> std::result::Result<T, Failure> {
    let mut pause = Duration::from_millis(20);
    for _ in 1..READS {
        match attempt().await {
            Err(failure) if failure.code == Code::StoreAway => tokio::time::sleep(pause).await,
            other => return other,
        }
        pause *= 3;
    }
    attempt().await
}

/// A random mark for an entry of ours.
///
/// # Errors
/// Where the system has no randomness.
pub fn nonce() -> Result<Nonce> {
    random().map(Nonce::from_random)
}

/// Random bytes.
///
/// # Errors
/// Where the system has no randomness.
pub fn random<const N: usize>() -> Result<[u8; N]> {
    let mut bytes = [0; N];
    getrandom::fill(&mut bytes)
        .map_err(|error| Error::new(Exit::Platform, "failed to draw random bytes").because(error))?;
    Ok(bytes)
}

/// Microseconds since 1970.
pub fn now_us() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_micros()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use limitless_faas_core::invocation::Written;
    use limitless_faas_core::segment::{Record, begun_call};

    use super::*;
    use crate::history::samples::three;

    #[tokio::test]
    async fn an_execution_is_found_by_its_beginning() {
        let folder = tempfile::tempdir().unwrap();
        let records = Records::open(&format!("file:{}", folder.path().display())).unwrap();
        assert!(records.resolve("last").await.unwrap_err().to_string().contains("no execution"));
        let entries = three().entries;
        let id = entries[0].execution.clone();
        for (number, entry) in entries.iter().enumerate() {
            let written = records.log(&id).create(number as u64, entry).await;
            assert!(matches!(written, Written::New));
        }
        assert_eq!(records.resolve("last").await.unwrap(), id);
        assert_eq!(records.resolve(&id.as_str()[..4]).await.unwrap(), id);
        assert_eq!(records.history(&id).await.unwrap().invocations.len(), 3);
        for wrong in ["", "zz", "../..", "ABCD", "Last"] {
            assert_eq!(records.resolve(wrong).await.unwrap_err().exit(), Exit::Usage, "{wrong}");
        }
    }

    /// An execution that runs and has called these.
    async fn caller(records: &Records, handler: &str, calls: &[(&str, &ExecutionId)]) -> ExecutionId {
        let id = ExecutionId::derive(handler, "k");
        let mut started = three().entries[0].clone();
        (started.execution, started.handler) = (id.clone(), handler.to_owned());
        assert!(matches!(records.log(&id).create(0, &started).await, Written::New));
        let mut segment = Vec::new();
        for (sequence, (handler, called)) in calls.iter().enumerate() {
            let (key, value) = (begun_call(called.as_str()), format!("{called} {handler}").into_bytes());
            segment.extend(Record { sequence: sequence as u64, key, value }.encode().unwrap());
        }
        let key = Key::new(&key::segment(&id, started.epoch, started.nonce)).unwrap();
        records.store().append(&key, 0, segment.into()).await.unwrap();
        id
    }

    #[tokio::test]
    async fn calls_are_called_off_with_who_made_them() {
        let records = Records::open("memory:").unwrap();
        let inner = caller(&records, "inner", &[]).await;
        let middle = caller(&records, "middle", &[("inner", &inner)]).await;
        let to_begin = ExecutionId::derive("late", "k");
        let outer = caller(&records, "outer", &[("middle", &middle), ("late", &to_begin)]).await;
        let history = records.history(&outer).await.unwrap();
        let mut open = records.open_calls_of(&history).await.unwrap();
        open.sort_by_key(|call| call.handler.clone());
        let told: Vec<_> = open.iter().map(|call| (call.handler.as_str(), call.status)).collect();
        assert_eq!(told, [("late", None), ("middle", Some(Status::Running))]);
        let execution = records.cancel(&outer, "a test").await.unwrap();
        assert_eq!(records.cancel_calls(&execution, "a test").await.unwrap(), 2);
        for id in [&inner, &middle] {
            assert_eq!(records.history(id).await.unwrap().status(), Status::Cancelled);
        }
        let history = records.history(&outer).await.unwrap();
        assert!(records.open_calls_of(&history).await.unwrap().is_empty());
    }
}
