//! A handler that runs as an execution of its own because another execution wants its result: a node in another wrap, or a call.
//!
//! Its id follows from the one that wants it, so that calling it again joins it. It saves its state and goes on by itself; what it came to
//! stands in its log.

use std::collections::BTreeMap;
use std::sync::{Arc, mpsc};
use std::time::Duration;

use limitless_faas_core::log::{Phase, Wake, end_of};
use limitless_faas_core::{Advice, Code, ExecutionId, Failure};
use limitless_faas_store::Log;
use reqwest::StatusCode;
use serde::Deserialize;
use serde_json::value::{RawValue, to_raw_value};
use tokio::sync::watch;
use tokio::time::{Instant, timeout_at};

use crate::engine::{Steps, call_off, no_store};
use crate::handler::HandlerDef;
use crate::large;
use crate::runtime::control::{self, Control};

/// How long to leave it after its function said that it goes on, or nothing: at first, and at most.
const AGAIN: (Duration, Duration) = (Duration::from_millis(20), Duration::from_millis(500));
/// How long the end of an execution waits until a child is called off.
const CALL_OFF: Duration = Duration::from_secs(2);
/// A function that dies so often in a row, and leaves no trace in the child's log, is given up: the call may be what ends it.
const DEATHS: u32 = 10;
/// For how long whoever only waits for a function that does not answer goes on calling it.
const PATIENCE: Duration = Duration::from_secs(10);

/// An execution that another one wants the result of.
pub(crate) struct Child {
    steps: Arc<Steps>,
    handler: &'static str,
    /// The function that runs it, beside this one.
    function: String,
    body: String,
    /// Its input, where that does not go with the call.
    large: Option<large::Input>,
    log: Log,
    silence: watch::Sender<Option<Silence>>,
}

/// A function that does not answer.
#[derive(Clone, Debug)]
struct Silence {
    /// When it did not for the first time, and when for the last.
    since: Instant,
    until: Instant,
    /// What was said instead.
    why: Failure,
}

impl Silence {
    fn time(&self) -> Duration {
        self.until - self.since
    }
}

/// What it came to: its result as JSON, or why there is none.
pub(crate) type Ended = Result<String, Failure>;

/// What a call came to.
enum Called {
    Ended(Ended),
    /// It goes on by itself.
    GoesOn,
    /// Its function died, as the platform says, before it had begun to write its log.
    Died(String),
}

/// What a function answers to who calls one of its handlers by name.
#[derive(Deserialize)]
struct Said {
    #[serde(default)]
    result: Option<Box<RawValue>>,
    #[serde(default)]
    status: Option<String>,
    /// The platform did not wait any longer.
    #[serde(default, rename = "activationId")]
    activation: Option<String>,
    #[serde(default)]
    error: Option<String>,
    #[serde(default)]
    code: Option<Code>,
}

impl Child {
    /// The one of this key; it begins once it is waited for. It is told of an end where `stay` has passed by then.
    ///
    /// # Errors
    /// Where there is no store, or the input is no object.
    pub(crate) fn new(
        steps: &Arc<Steps>,
        function: &str,
        handler: &'static HandlerDef,
        key: String,
        input: &RawValue,
        stay: Duration,
    ) -> Result<Self, Failure> {
        let log = steps.log().ok_or_else(no_store)?;
        let log = Log::new(log.store().clone(), ExecutionId::derive(handler.name, &key));
        let large = large::Input::new(input.get());
        let control = Control {
            idempotency_key: Some(key),
            node: Some(handler.name.to_owned()),
            caller: steps.caller(stay),
            input: large.as_ref().map(large::Input::at),
            ..Control::default()
        };
        let body = body(large.is_none().then_some(input), &control)?;
        Ok(Self {
            steps: steps.clone(),
            handler: handler.name,
            function: function.to_owned(),
            body,
            large,
            log,
            silence: watch::Sender::new(None),
        })
    }

    pub(crate) fn id(&self) -> &ExecutionId {
        self.log.id()
    }

    /// Calls until there is an end. A function that does not answer is called again, and [`Child::is_long`] and [`Child::silent_for`]
    /// tell of it: whether that is waited for is for who waits.
    pub(crate) async fn wait(&self) -> Ended {
        let (mut pause, mut deaths) = (AGAIN.0, 0);
        // One that ended while nobody waited is not called: on a slow platform the caller would leave again before the answer, be woken by
        // the same end, and so for ever.
        if self.steps.is_resumed()
            && let Ok(Some(ended)) = self.logged().await
        {
            return ended;
        }
        if let Some(input) = &self.large {
            input.store(&self.steps, &self.log).await?;
        }
        loop {
            match self.call().await {
                Ok(Called::Ended(ended)) => {
                    self.heard();
                    return ended;
                }
                Ok(Called::GoesOn) => {
                    deaths = 0;
                    self.heard();
                }
                Ok(Called::Died(how)) => {
                    deaths += 1;
                    if deaths >= DEATHS {
                        return Err(self.died(&how));
                    }
                    self.missed(Failure::new(Code::SuccessorRefused, how));
                }
                Err(failure) if failure.code.advice() != Advice::Retry => return Err(failure),
                // Its log can't be read just now, which says nothing of its function.
                Err(failure) if failure.code == Code::StoreAway => {}
                Err(failure) => self.missed(failure),
            }
            tokio::time::sleep(pause).await;
            pause = (pause * 2).min(AGAIN.1);
        }
    }

    /// One call.
    async fn call(&self) -> Result<Called, Failure> {
        let wraps = self.steps.wraps();
        let (status, said) =
            wraps.outgoing.call_wrap(&wraps.beside, &self.function, self.body.clone()).await?;
        let no_answer = |what: &str| {
            let message = format!("the platform answered {status} for `{}`{what}", self.function);
            Failure::new(Code::SuccessorRefused, message)
        };
        let said: Said = serde_json::from_str(said.get()).map_err(|_| no_answer(""))?;
        match (said.result, said.status, said.error, said.code) {
            (Some(result), ..) => Ok(Called::Ended(Ok(result.get().to_owned()))),
            (_, Some(_), ..) => self.looked().await,
            _ if said.activation.is_some() => self.looked().await,
            (.., Some(error), Some(code)) => match code.advice() {
                Advice::Retry | Advice::Fenced => self.looked().await,
                _ => Ok(Called::Ended(Err(numbered(code, &error)))),
            },
            // The platform's own words for a function that ended before it answered. What has a log counts its losses there.
            (.., Some(error), None) if status == StatusCode::BAD_GATEWAY => {
                let has_begun = self.log.execution().await?.is_some();
                if has_begun { self.looked().await } else { Ok(Called::Died(error)) }
            }
            (.., Some(error), None) => Err(no_answer(&format!(": {error}"))),
            _ => Err(no_answer(", which is nothing that a function answers")),
        }
    }

    async fn looked(&self) -> Result<Called, Failure> {
        Ok(self.logged().await?.map_or(Called::GoesOn, Called::Ended))
    }

    fn died(&self, how: &str) -> Failure {
        let (function, handler) = (&self.function, self.handler);
        let message = format!(
            "its function `{function}` ended {DEATHS} times in a row when handler `{handler}` was called: {how}"
        );
        Failure::new(Code::NoProgress, message)
    }

    fn heard(&self) {
        self.steps.wraps().outgoing.heard(&self.function);
        self.silence.send_replace(None);
    }

    fn missed(&self, why: Failure) {
        let since = self.steps.wraps().outgoing.missed(&self.function);
        self.silence.send_replace(Some(Silence { since, until: Instant::now(), why }));
    }

    /// Is over where it was waited for so long, or where its function has not answered for longer than anybody should wait. A call that
    /// lasts after others had failed is waited for as one that lasts at once.
    pub(crate) async fn is_long(&self, stay: Duration) {
        let mut until = Instant::now() + stay;
        let mut silence = self.silence.subscribe();
        loop {
            match &*silence.borrow_and_update() {
                Some(silence) if silence.time() >= PATIENCE => return,
                Some(silence) => until = until.max(silence.until + AGAIN.1 + stay),
                None => {}
            }
            if timeout_at(until, silence.changed()).await.is_err() {
                return;
            }
        }
    }

    /// Why it can't be waited for, where its function has not answered for so long, or for longer than anybody should wait.
    pub(crate) fn silent_for(&self, time: Duration) -> Option<Failure> {
        let silence = self.silence.borrow();
        let silence = silence.as_ref().filter(|silence| silence.time() >= time.min(PATIENCE))?;
        let (function, seconds, why) = (&self.function, silence.time().as_secs_f32(), &silence.why);
        let message =
            format!("its function `{function}` has not answered for {seconds:.1} s: {}", why.message);
        Some(Failure::new(why.code, message))
    }

    /// How it ended by its log.
    async fn logged(&self) -> Result<Option<Ended>, Failure> {
        let Some(execution) = self.log.execution().await? else { return Ok(None) };
        Ok(match execution.phase {
            Phase::Completed(stored) => Some(Ok(self.log.json(&stored).await?)),
            Phase::Failed(failure) => Some(Err(failure)),
            Phase::Cancelled { .. } => Some(Err(Failure::new(Code::Cancelled, "it was called off"))),
            _ => None,
        })
    }

    /// What an execution waits for that leaves this one to itself: its end; and where nobody says that it waits itself, some time, since
    /// it may have been lost before it wrote anything.
    pub(crate) async fn wake(&self) -> Wake {
        let found = self.log.execution().await.ok().flatten();
        let own = found.and_then(|execution| match execution.phase {
            Phase::Suspended { wake, .. } => wake,
            _ => None,
        });
        let returns_at_ms = self.steps.returns_at_ms();
        let at_ms = match own {
            Some(own) => own.at_ms.map(|at_ms| at_ms.max(returns_at_ms)),
            None => Some(returns_at_ms),
        };
        Wake { at_ms, events: vec![self.end()] }
    }

    /// The event that is its end.
    pub(crate) fn end(&self) -> String {
        end_of(self.id())
    }

    /// Nobody wants its result any more.
    pub(crate) fn call_off(&self) {
        let (log, handler, (called, off)) = (self.log.clone(), self.handler, mpsc::channel());
        self.steps.process().spawn(async move {
            call_off(&log, handler).await;
            let _ = called.send(());
        });
        // Before the caller tells its own end: after that its sandbox may be frozen. A store that takes longer leaves the child to end by
        // itself, which costs and harms nothing.
        let _ = off.recv_timeout(CALL_OFF);
    }
}

/// The number stands in the text too, as a person would read it there.
fn numbered(code: Code, text: &str) -> Failure {
    let number = format!(" ({code})");
    Failure::new(code, text.strip_suffix(&number).unwrap_or(text))
}

/// The child's input, unless it goes by the store, and beside it what is meant.
fn body(input: Option<&RawValue>, control: &Control) -> Result<String, Failure> {
    let unwritable = |error: serde_json::Error| {
        Failure::new(Code::BadInput, format!("the input is not an object: {error}"))
    };
    let mut fields: BTreeMap<String, Box<RawValue>> =
        serde_json::from_str(input.map_or("{}", RawValue::get)).map_err(unwritable)?;
    fields.insert(control::FIELD.to_owned(), to_raw_value(control).map_err(unwritable)?);
    serde_json::to_string(&fields).map_err(unwritable)
}
