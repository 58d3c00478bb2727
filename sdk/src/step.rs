//! Steps: side effects whose results are recorded.

use std::any::Any;
use std::sync::Arc;

use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::checkpoint::Context;
use crate::engine::{Step, Steps};
use crate::error::Error;

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
        runtime.block_on(steps.record(&key, bytes))?;
        Ok(result)
    }

    /// What the platform says of this run under this name, such as `__OW_ACTIVATION_ID` on `OpenWhisk`.
    ///
    /// The values belong to one invocation: after a suspension they are the new invocation's. They are not environment
    /// variables, since those can't be changed soundly while other threads run.
    pub fn platform_var(&self, name: &str) -> Option<String> {
        self.steps()?.var(name)
    }

    fn steps(&self) -> Option<Arc<Steps>> {
        let services: Arc<dyn Any + Send + Sync> = self.services()?;
        services.downcast().ok()
    }
}

fn encode<T: Serialize + DeserializeOwned>(key: &str, result: &T) -> Result<Vec<u8>, Error> {
    let bytes = bincode::serde::encode_to_vec(result, codec())
        .map_err(|error| Error::msg(format!("the result of step `{key}` can't be recorded: {error}")))?;
    // A type that can be written and not read back would be noticed only after a crash.
    decode::<T>(key, &bytes)?;
    Ok(bytes)
}

fn decode<T: DeserializeOwned>(key: &str, bytes: &[u8]) -> Result<T, Error> {
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
