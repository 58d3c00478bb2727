//! Steps: side effects whose results are recorded.

use std::any::Any;
use std::sync::Arc;
use std::time::Duration;

use limitless_faas_core::{Code, Failure};
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::checkpoint::Context;
use crate::engine::{Step, Steps};
use crate::error::Error;
use crate::retry::{Retry, StepOptions};

fn codec() -> bincode::config::Configuration<bincode::config::LittleEndian, bincode::config::Fixint> {
    bincode::config::legacy()
}

impl<S> Context<S> {
    /// Runs a side effect once, and records its result under `key`.
    ///
    /// Where the execution comes this way again after a crash, the recorded result is given back and `effect` does not run.
    /// It does run again where it had not been recorded: the process may end between the effect and the record. Give the
    /// effect an idempotency key of its own where that matters; `key` together with the execution's id is one.
    ///
    /// A key names one step of an execution: in a loop put the iteration into it.
    ///
    /// ```
    /// # use limitless_faas::{Context, Result};
    /// # async fn post(_: u32) -> Result<u32> { Ok(1) }
    /// # async fn f(ctx: Context) -> Result<()> {
    /// for month in 1..=12 {
    ///     let receipt = ctx.step(format!("invoice-{month}"), async || post(month).await).await?;
    /// }
    /// # Ok(()) }
    /// ```
    ///
    /// In a unit test, where there is no execution, `effect` just runs.
    ///
    /// # Errors
    /// The effect's own error, which is not recorded: the step runs again when it is met again. An error of ours where the
    /// key was used before, or the result can't be recorded.
    pub async fn step<T, E>(
        &self,
        key: impl Into<String>,
        effect: impl AsyncFnOnce() -> Result<T, E>,
    ) -> Result<T, Error>
    where
        T: Serialize + DeserializeOwned,
        E: Into<Error>,
    {
        let Some(steps) = self.steps() else { return effect().await.map_err(Into::into) };
        let key = key.into();
        if let Step::Recorded(bytes) = steps.begin(&key)? {
            return decode(&key, &bytes);
        }
        steps.ready().await?;
        let result = effect().await.map_err(Into::into).inspect_err(|_| steps.give_up(&key))?;
        let bytes = encode(&key, &result)?;
        steps.record(&key, bytes).await?;
        Ok(result)
    }

    /// [`Context::step`], tried again where it fails, given up after a while, or begun once at most: as `options` say.
    ///
    /// A wait between two tries that is long is a [`Context::sleep`]: nothing is charged for it, and the tries made so far are
    /// remembered.
    ///
    /// ```
    /// # use limitless_faas::{Context, Result, Retry, StepOptions};
    /// # use std::time::Duration;
    /// # async fn charge() -> Result<u32> { Ok(1) }
    /// # async fn f(ctx: Context) -> Result<()> {
    /// let options = StepOptions::new().retry(Retry::times(5)).time_limit(Duration::from_secs(10));
    /// let receipt = ctx.step_with("charge", options, async || charge().await).await?;
    /// # Ok(()) }
    /// ```
    ///
    /// # Errors
    /// As [`Context::step`]; [`Code::StepInterrupted`](crate::Code::StepInterrupted) where it may run once at most and was
    /// interrupted.
    pub async fn step_with<T, E>(
        &self,
        key: impl Into<String>,
        options: StepOptions,
        mut effect: impl AsyncFnMut() -> Result<T, E>,
    ) -> Result<T, Error>
    where
        T: Serialize + DeserializeOwned,
        E: Into<Error>,
    {
        let key = key.into();
        let steps = self.steps();
        if let Some(steps) = steps.as_ref().filter(|_| options.is_at_most_once) {
            return once_at_most(steps, &key, timed(&key, options.time_limit, effect())).await;
        }
        let retry = options.retry.unwrap_or(Retry::times(1));
        let mut number = 1;
        loop {
            let (pause, wait) = (format!("\0try {number} of {key}"), retry.wait_after(number, &key));
            // A try that failed before the execution was suspended is not made again.
            let has_failed = steps.as_ref().is_some_and(|steps| steps.is_met_again(&pause));
            if !has_failed {
                let tried = self.step(&*key, async || timed(&key, options.time_limit, effect()).await).await;
                match tried {
                    Err(error) if wait.is_some() && !error.is_terminal() => {}
                    ended => return ended,
                }
            }
            self.sleep(pause, wait.unwrap_or_default()).await?;
            number += 1;
        }
    }

    /// [`Context::step`] for handlers that are not async.
    ///
    /// # Errors
    /// As [`Context::step`].
    pub fn blocking_step<T, E>(
        &self,
        key: impl Into<String>,
        effect: impl FnOnce() -> Result<T, E>,
    ) -> Result<T, Error>
    where
        T: Serialize + DeserializeOwned,
        E: Into<Error>,
    {
        let Some(steps) = self.steps() else { return effect().map_err(Into::into) };
        // The thread of a handler that is not async may wait: it is nobody else's.
        let runtime =
            steps.blocking().ok_or_else(|| Error::msg("call step in an async handler, not blocking_step"))?;
        let key = key.into();
        if let Step::Recorded(bytes) = steps.begin(&key)? {
            return decode(&key, &bytes);
        }
        runtime.block_on(steps.ready())?;
        // The effect runs outside of the runtime, so that it may bring one of its own.
        let result = effect().map_err(Into::into).inspect_err(|_| steps.give_up(&key))?;
        let bytes = encode(&key, &result)?;
        runtime.block_on(steps.record_alone(&key, bytes))?;
        Ok(result)
    }

    /// What the platform says of this run under this name, such as `__OW_ACTIVATION_ID` on `OpenWhisk`.
    ///
    /// The values belong to one invocation: after a suspension they are the new invocation's. They are not environment
    /// variables, since those can't be changed soundly while other threads run.
    pub fn platform_var(&self, name: &str) -> Option<String> {
        self.steps()?.var(name)
    }

    pub(crate) fn steps(&self) -> Option<Arc<Steps>> {
        let services: Arc<dyn Any + Send + Sync> = self.services()?;
        services.downcast().ok()
    }
}

/// A step whose beginning is recorded before its effect.
async fn once_at_most<T>(
    steps: &Arc<Steps>,
    key: &str,
    effect: impl Future<Output = Result<T, Error>>,
) -> Result<T, Error>
where
    T: Serialize + DeserializeOwned,
{
    let begun = format!("\0begun {key}");
    if let Step::Recorded(bytes) = steps.begin(key)? {
        steps.begin(&begun)?;
        return decode(key, &bytes);
    }
    if let Step::Recorded(_) = steps.begin(&begun)? {
        let message = format!(
            "step `{key}` may run once at most and was interrupted before its result was recorded: whether its effect \
             happened has to be found out where it would have happened"
        );
        return Err(Error::from(Failure::new(Code::StepInterrupted, message)));
    }
    steps.ready().await?;
    steps.record(&begun, Vec::new()).await?;
    let result = effect.await?;
    steps.record(key, encode(key, &result)?).await?;
    Ok(result)
}

/// An effect that is given up after a while.
async fn timed<T, E: Into<Error>>(
    key: &str,
    limit: Option<Duration>,
    effect: impl Future<Output = Result<T, E>>,
) -> Result<T, Error> {
    let Some(limit) = limit else { return effect.await.map_err(Into::into) };
    match tokio::time::timeout(limit, effect).await {
        Ok(result) => result.map_err(Into::into),
        Err(_) => Err(Error::msg(format!("step `{key}` was given up after {} ms", limit.as_millis()))),
    }
}

pub(crate) fn encode<T: Serialize + DeserializeOwned>(key: &str, result: &T) -> Result<Vec<u8>, Error> {
    let bytes = bincode::serde::encode_to_vec(result, codec())
        .map_err(|error| Error::msg(format!("the result of step `{key}` can't be recorded: {error}")))?;
    // A type that can be written and not read back would be noticed only after a crash.
    decode::<T>(key, &bytes)?;
    Ok(bytes)
}

pub(crate) fn decode<T: DeserializeOwned>(key: &str, bytes: &[u8]) -> Result<T, Error> {
    let unreadable = |why: String| {
        let name = std::any::type_name::<T>();
        Error::msg(format!("the recorded result of step `{key}` can't be read as `{name}`: {why}"))
    };
    match bincode::serde::decode_from_slice(bytes, codec()) {
        Ok((result, read)) if read == bytes.len() => Ok(result),
        Ok(_) => Err(unreadable("it is longer than that".to_owned())),
        Err(error) => Err(unreadable(error.to_string())),
    }
}
