//! What is too large for where it would go: inputs for a call of a child, results of nodes for a record among those of steps. They stand
//! in the store by themselves, and what goes says where.

use std::time::Duration;

use limitless_faas_core::log::Stored;
use limitless_faas_core::{Advice, Failure, Nonce, key};
use limitless_faas_store::Log;

use crate::engine::{Steps, no_store};

/// A larger input does not go with a call: OpenWhisk takes no more than a megabyte, with all that is around it.
const INPUT_BYTES: usize = 256 << 10;
/// A larger result stands by itself.
const RESULT_BYTES: usize = 1 << 20;
/// Begins what says which result it is, by its hash. No JSON begins so.
const AT: char = '\0';
/// How often a store that does not answer is asked.
const TRIES: u32 = 20;

/// An input that stands in the store before its child is called.
pub(crate) struct Input {
    at: Nonce,
    json: String,
}

impl Input {
    /// This one, where it is too large to go with the call.
    pub(crate) fn new(json: &str) -> Option<Self> {
        let mut at = [0; 8];
        // The same content has the same place: nothing is stored twice where the call is made again.
        at.copy_from_slice(&blake3::hash(json.as_bytes()).as_bytes()[..8]);
        (json.len() > INPUT_BYTES).then(|| Self { at: Nonce::from_random(at), json: json.to_owned() })
    }

    /// Which of the child's inputs it is.
    pub(crate) fn at(&self) -> Nonce {
        self.at
    }

    pub(crate) async fn store(&self, steps: &Steps, child: &Log) -> Result<(), Failure> {
        put(steps, child, key::input(child.id(), self.at), &self.json).await
    }
}

/// Reads the input that was stored for this child.
pub(crate) async fn input(child: &Log, at: Nonce) -> Result<String, Failure> {
    child.json(&Stored::Key(key::input(child.id(), at))).await
}

/// Whether a result is too large to stand among others.
pub(crate) fn is_large(json: &str) -> bool {
    json.len() > RESULT_BYTES
}

/// Stores a result by itself; answers what is recorded of it.
pub(crate) async fn put_aside(steps: &Steps, json: &str) -> Result<String, Failure> {
    let log = steps.log().ok_or_else(no_store)?;
    let content = blake3::hash(json.as_bytes()).to_hex();
    put(steps, log, key::large_result(log.id(), &content), json).await?;
    Ok(format!("{AT}{content}"))
}

/// The result of which this was recorded.
pub(crate) async fn found(steps: &Steps, recorded: String) -> Result<String, Failure> {
    let Some(content) = recorded.strip_prefix(AT) else { return Ok(recorded) };
    let log = steps.log().ok_or_else(no_store)?;
    let stored = Stored::Key(key::large_result(log.id(), content));
    asked(steps, || {
        let (log, stored) = (log.clone(), stored.clone());
        async move { log.json(&stored).await }
    })
    .await
}

async fn put(steps: &Steps, log: &Log, key: String, json: &str) -> Result<(), Failure> {
    asked(steps, || {
        let (log, key, json) = (log.clone(), key.clone(), json.to_owned());
        async move { log.store_json(&key, json).await }
    })
    .await
}

/// Asks the store until it answers. Where it does not, the run ends, and not the execution.
async fn asked<T, A>(steps: &Steps, ask: impl Fn() -> A) -> Result<T, Failure>
where
    A: Future<Output = Result<T, Failure>>,
{
    let mut pause = Duration::from_millis(5);
    for tries in 1.. {
        match ask().await {
            Err(failure) if failure.code.advice() == Advice::Retry && tries < TRIES => {}
            Err(failure) => {
                steps.fail(failure.clone());
                return Err(failure);
            }
            answered => return answered,
        }
        tokio::time::sleep(pause).await;
        pause = (pause * 2).min(Duration::from_millis(500));
    }
    Err(no_store())
}
