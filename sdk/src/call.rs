//! Calls: handlers that run as executions of their own, and whose results are recorded like those of steps.

use std::sync::Arc;
use std::time::Duration;

use limitless_faas_core::{Advice, Code, ExecutionId, Failure, segment};
use serde::de::DeserializeOwned;
use serde_json::value::RawValue;
use tokio::task::JoinHandle;

use crate::checkpoint::{Context, Outcome, Session};
use crate::child::{Child, Ended};
use crate::engine::{Step, Steps, yield_once};
use crate::workflow::{Arguments, Callable, Returns, input};

type Value<H> = <<H as Callable>::Returns as Returns>::Value;

/// A called handler that came to no result.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("call `{key}` of handler `{handler}` (execution {execution}) failed: {failure}")]
pub struct CallError {
    /// The call's key.
    pub key: String,
    /// The handler that was called.
    pub handler: String,
    /// The execution that it was: `cargo faas status` tells of it.
    pub execution: ExecutionId,
    /// Why: [`Code::Application`] where the handler returned `Err`.
    pub failure: Failure,
}

impl<S> Context<S> {
    /// Calls another handler of this binary as an execution of its own, and gives back its result.
    ///
    /// The execution's id follows from this one's and `key`: coming this way again, after a crash or a suspension, joins it and never
    /// starts a second one. Its end is recorded under `key` as a step's result is. It runs in this deployment's function, with that
    /// one's limits, in invocations of its own, where it may checkpoint, take steps, sleep and call; a short one is waited for, and
    /// where it takes longer (`LIMITLESS_STAY_MS`, 1000 by default) this execution suspends, as [`Context::sleep`] does, and goes on once the
    /// other has ended.
    ///
    /// Once this execution has ended, be it cancelled, failed or completed, calls that have not are called off.
    ///
    /// In a unit test, where there is no execution, the handler just runs.
    ///
    /// ```
    /// # use limitless_faas::{Context, Result, handler};
    /// /// How many words a page has.
    /// #[handler]
    /// fn count(page: String) -> usize {
    ///     page.split_whitespace().count()
    /// }
    ///
    /// /// How many words these pages have.
    /// #[handler]
    /// async fn total(ctx: Context, pages: Vec<String>) -> Result<usize> {
    ///     let mut words = 0;
    ///     for (number, page) in pages.into_iter().enumerate() {
    ///         words += ctx.call::<count>(format!("page-{number}"), (page,)).await?;
    ///     }
    ///     Ok(words)
    /// }
    /// # let words = total(Context::default(), vec!["one two".into(), "three".into()]);
    /// # let runtime = tokio::runtime::Builder::new_current_thread().build()?;
    /// # assert_eq!(runtime.block_on(words)?, 3);
    /// # Ok::<(), limitless_faas::Error>(())
    /// ```
    ///
    /// # Errors
    /// What the handler came to, where it is no result, with the other execution's id. An error of ours where the key was used before,
    /// came with other arguments the last time ([`Code::InputChanged`]), or the function can't be called.
    pub async fn call<H>(
        &self,
        key: impl Into<String>,
        arguments: H::Arguments,
    ) -> Result<Value<H>, CallError>
    where
        H: Callable<Arguments: Arguments>,
        Value<H>: DeserializeOwned,
    {
        let call = Call::new::<H>(self.steps(), key.into());
        let ended = match given::<H>(&arguments) {
            // What a call needs is put where it does not make its handler's future large.
            Ok(given) => Box::pin(self.called::<H>(&call, &given)).await,
            Err(failure) => Err(failure),
        };
        call.value(ended)
    }

    /// [`Context::call`] for handlers that are not async.
    ///
    /// # Errors
    /// As [`Context::call`].
    #[expect(clippy::needless_pass_by_value, reason = "as `call`, whose future keeps them")]
    pub fn blocking_call<H>(
        &self,
        key: impl Into<String>,
        arguments: H::Arguments,
    ) -> Result<Value<H>, CallError>
    where
        H: Callable<Arguments: Arguments>,
        Value<H>: DeserializeOwned,
    {
        let call = Call::new::<H>(self.steps(), key.into());
        let ended = given::<H>(&arguments).and_then(|given| self.called_here::<H>(&call, &given));
        call.value(ended)
    }

    async fn called<H: Callable>(&self, call: &Call, given: &RawValue) -> Ended {
        let Some(steps) = &call.steps else {
            return without_execution(Session::detached().run_definition_async(H::definition(), given).await);
        };
        if let Some(ended) = call.begin(steps).await? {
            return ended;
        }
        let mut child = call.start::<H>(steps, given)?;
        if let Some(ended) = child.within_its_stay().await {
            return call.end(steps, ended);
        }
        self.wait_beside(child.child.wake().await);
        // Where that ends the run, nothing of the handler's happens any more. In a race it goes on beside the other side.
        yield_once().await;
        let ended = child.ended().await;
        call.end(steps, ended)
    }

    fn called_here<H: Callable>(&self, call: &Call, given: &RawValue) -> Ended {
        let Some(steps) = &call.steps else {
            return without_execution(Session::detached().run_definition(H::definition(), given));
        };
        let is_async =
            || Failure::new(Code::NotConfigured, "use call in an async handler, not blocking_call");
        let runtime = steps.blocking().ok_or_else(is_async)?;
        if let Some(ended) = runtime.block_on(call.begin(steps))? {
            return ended;
        }
        let mut child = call.start::<H>(steps, given)?;
        let ended = runtime.block_on(async {
            match child.within_its_stay().await {
                Some(ended) => Ok::<_, Failure>(Ok(ended)),
                None => Ok(Err(child.child.wake().await)),
            }
        });
        match ended? {
            Ok(ended) => call.end(steps, ended),
            Err(wake) => self.leave(wake),
        }
    }
}

/// One call, from its key to its end.
struct Call {
    steps: Option<Arc<Steps>>,
    key: String,
    handler: &'static str,
    execution: ExecutionId,
}

impl Call {
    fn new<H: Callable>(steps: Option<Arc<Steps>>, key: String) -> Self {
        let handler = H::definition().name;
        let execution = ExecutionId::derive(handler, &name(steps.as_deref(), &key));
        Self { steps, key, handler, execution }
    }

    /// Its end, where that was recorded; else it may start.
    async fn begin(&self, steps: &Arc<Steps>) -> Result<Option<Ended>, Failure> {
        let begun = segment::begun_call(&self.key);
        if let Step::Recorded(bytes) = steps.begin(&self.key)? {
            steps.begin(&begun)?;
            let unreadable = |error: serde_json::Error| {
                Failure::new(Code::Damaged, format!("its recorded end can't be read: {error}"))
            };
            return serde_json::from_slice(&bytes).map(Some).map_err(unreadable);
        }
        steps.ready().await?;
        if let Step::Fresh = steps.begin(&begun)? {
            // For who asks which calls are open. That it is not made twice does not rest on it.
            steps.record_behind(&begun, format!("{} {}", self.execution, self.handler).into_bytes())?;
        }
        Ok(None)
    }

    fn start<H: Callable>(&self, steps: &Arc<Steps>, given: &RawValue) -> Result<WaitedFor, Failure> {
        let function = steps.wraps().beside.function().unwrap_or_default();
        let (key, stay) = (name(Some(steps), &self.key), steps.stay());
        let child = Child::new(steps, function, H::definition(), key, given, stay)?;
        let child = Arc::new(child);
        let waited_for = child.clone();
        let waiting = steps.process().spawn(async move { waited_for.wait().await });
        Ok(WaitedFor { steps: steps.clone(), child, stay, waiting, has_ended: false })
    }

    /// Its end is recorded, unless another try may come to another one.
    fn end(&self, steps: &Arc<Steps>, ended: Ended) -> Ended {
        if ended.as_ref().is_err_and(|failure| failure.code.advice() != Advice::Terminal) {
            steps.give_up(&segment::begun_call(&self.key));
            steps.give_up(&self.key);
            return ended;
        }
        let unwritable = |error: serde_json::Error| Failure::new(Code::SaveFailed, error.to_string());
        let bytes = serde_json::to_vec(&ended).map_err(unwritable)?;
        // It stands in the other execution's log: without the record it is asked for there again.
        if bytes.len() <= segment::VALUE_LIMIT_BYTES {
            steps.record_behind(&self.key, bytes)?;
        }
        ended
    }

    fn value<T: DeserializeOwned>(self, ended: Ended) -> Result<T, CallError> {
        let value = ended.and_then(|json| {
            serde_json::from_str(&json).map_err(|error| {
                let name = std::any::type_name::<T>();
                Failure::new(Code::Incompatible, format!("its result can't be read as `{name}`: {error}"))
            })
        });
        let Self { key, handler, execution, .. } = self;
        value.map_err(|failure| CallError { key, handler: handler.to_owned(), execution, failure })
    }
}

/// The arguments as the input that a platform would carry.
fn given<H>(arguments: &H::Arguments) -> Result<Box<RawValue>, Failure>
where
    H: Callable<Arguments: Arguments>,
{
    input(H::definition(), arguments).map_err(|error| {
        Failure::new(Code::BadInput, format!("the arguments can't be written as JSON: {error}"))
    })
}

/// What names the other execution. A node's name is set apart by a space, so that no call is taken for one.
fn name(steps: Option<&Steps>, key: &str) -> String {
    let caller = steps.and_then(Steps::log).map_or("", |log| log.id().as_str());
    format!("{caller}/{key}")
}

/// A called handler that is waited for.
struct WaitedFor {
    steps: Arc<Steps>,
    child: Arc<Child>,
    stay: Duration,
    /// On the process's runtime, where connections outlive the handler.
    waiting: JoinHandle<Ended>,
    has_ended: bool,
}

impl WaitedFor {
    /// Its end, where it comes soon.
    async fn within_its_stay(&mut self) -> Option<Ended> {
        tokio::time::timeout(self.stay, self.ended()).await.ok()
    }

    async fn ended(&mut self) -> Ended {
        let ended = (&mut self.waiting).await;
        self.has_ended = true;
        ended.unwrap_or_else(|_| Err(Failure::new(Code::StoreAway, "waiting for it was interrupted")))
    }
}

impl Drop for WaitedFor {
    /// It goes on by itself, and whoever comes this way again joins it; unless the execution was called off.
    fn drop(&mut self) {
        self.waiting.abort();
        if !self.has_ended && self.steps.is_called_off() {
            self.child.call_off();
        }
    }
}

/// How a handler ended that just ran, as in a unit test.
fn without_execution(outcome: Outcome) -> Ended {
    match outcome {
        Outcome::Returned(Ok(json)) => Ok(json.get().to_owned()),
        Outcome::Returned(Err(error)) => Err(Failure::new(Code::Application, error.message)),
        Outcome::Panicked { message } => {
            Err(Failure::new(Code::Panicked, format!("the handler panicked: {message}")))
        }
        Outcome::BadInput { message } => Err(Failure::new(Code::BadInput, message)),
        other => Err(Failure::new(
            Code::NotConfigured,
            format!("it ended as it only can in an execution: {other:?}"),
        )),
    }
}
