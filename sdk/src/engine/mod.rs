//! Performs what [`Invocation`](limitless_faas_core::invocation::Invocation) decides.
//!
//! The core says *what*; this module does it: reads and creates log entries, runs the handler on a thread that waits for nothing else,
//! saves what its hook gives, invokes successors. It knows no platform.

mod caller;
mod drive;
mod growth;
mod handler;
mod login;
pub(crate) mod pieces;
mod saving;
mod signing;
#[cfg(test)]
mod simulation;
mod state;
mod steps;
pub(crate) mod world;

use std::collections::BTreeMap;
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, OnceLock};
use std::task::{Context, Poll};
use std::time::{SystemTime, UNIX_EPOCH};

use limitless_faas_core::callback::LOGIN_VARIABLE;
use limitless_faas_core::invocation::{Answer, Call, Delivery};
use limitless_faas_core::log::{Caller, Driver, Input, Origin, RESULT_INLINE_LIMIT, Stored};
use limitless_faas_core::signature::{SecretKeys, Signature};
use limitless_faas_core::{Code, ExecutionId, Failure, Nonce, key};
use limitless_faas_store::{Log, Settings, Store, open_with_faults};
use serde_json::value::RawValue;
use tokio::sync::watch;

use crate::config::Config;
use crate::handler::HandlerDef;
use crate::large;
use crate::runtime::outgoing::{Outgoing, Successor};
use crate::runtime::turns::Turns;
use world::World;

pub(crate) use caller::call_off;
pub(crate) use drive::note;
pub(crate) use handler::lock;
pub(crate) use state::fingerprint;
#[cfg(feature = "programs")]
pub(crate) use steps::Place;
pub(crate) use steps::{Step, Steps, Wraps, yield_once};

/// A call as a platform's contract understood it.
pub(crate) struct Incoming {
    /// The handler it asks for.
    pub(crate) handler: &'static HandlerDef,
    /// What it asks.
    pub(crate) asked: Asked,
    /// Whether it calls a node of a workflow in this wrap, which runs several handlers.
    pub(crate) is_node: bool,
    /// What the platform calls it.
    pub(crate) activation: String,
    /// When it came, µs since 1970.
    pub(crate) received_us: u64,
    /// When the platform kills, ms since 1970.
    pub(crate) deadline_ms: u64,
    /// The platform vouches that whoever worked on it before is dead.
    pub(crate) is_owner_dead: bool,
    /// How to invoke the successor.
    pub(crate) successor: Successor,
    /// What the platform says of this run, by the names it uses.
    pub(crate) vars: Vars,
}

/// Names and values that a platform gives to one run, over those it gave to the container.
#[derive(Clone, Default)]
pub(crate) struct Vars {
    of_run: Arc<Vec<(&'static str, String)>>,
    of_container: Arc<BTreeMap<String, String>>,
}

impl Vars {
    pub(crate) fn new(
        of_run: Vec<(&'static str, String)>,
        of_container: Arc<BTreeMap<String, String>>,
    ) -> Self {
        Self { of_run: Arc::new(of_run), of_container }
    }

    fn get(&self, name: &str) -> Option<String> {
        let of_run = self.of_run.iter().find(|(known, value)| *known == name && !value.is_empty());
        of_run.map(|(_, value)| value).or_else(|| self.of_container.get(name)).cloned()
    }

    /// The callback with the login that the deployment has for it.
    fn with_login(&self, callback: &str) -> Result<String, Failure> {
        login::with_login(callback, || self.settings().get(LOGIN_VARIABLE))
    }

    /// Credentials of stores: from the environment, from what the platform gave the container, or from secret files.
    fn settings(&self) -> Settings {
        let of_container = self.of_container.clone();
        Settings::new(move |name| {
            let of_container = || of_container.get(name).cloned();
            std::env::var(name)
                .ok()
                .filter(|value| !value.is_empty())
                .or_else(of_container)
                .or_else(|| secret(name))
        })
    }
}

/// A secret that the platform mounts as a file, whose name has `-` for `_` and small letters.
fn secret(name: &str) -> Option<String> {
    let name = name.to_lowercase().replace('_', "-");
    let read = |folder: &str| std::fs::read_to_string(std::path::Path::new(folder).join(&name)).ok();
    crate::runtime::SECRET_FOLDERS
        .iter()
        .find_map(|folder| read(folder))
        .map(|text| text.trim_end().to_owned())
}

/// What a call asks.
pub(crate) enum Asked {
    /// Run the handler on this input, canonical JSON.
    First {
        execution: ExecutionId,
        input: String,
        is_durable: bool,
        callback: Option<String>,
        caller: Option<Caller>,
        /// Which of the execution's inputs in the store it is, where it did not come with the call.
        input_at: Option<Nonce>,
        keep_ms: Option<u64>,
    },
    /// Go on with an execution.
    Resume { execution: ExecutionId, entry: Option<u64>, signature: Option<Signature> },
}

/// What the caller is to be told.
#[derive(Debug)]
pub(crate) enum Reply {
    /// The result's JSON.
    Result(String),
    /// The execution failed for good.
    Failed(Failure),
    /// It goes on in another invocation, or waits for one.
    Running { execution: ExecutionId, note: Option<Failure> },
    /// This call could do nothing.
    Refused(Failure),
}

/// The part of a function process that outlives single calls.
pub(crate) struct Engine {
    /// What the environment says.
    config: Config,
    /// What the platform said since.
    told: OnceLock<Config>,
    handlers: &'static [&'static HandlerDef],
    outgoing: Outgoing,
    turns: Arc<Turns>,
    world: Arc<dyn World>,
    store: OnceLock<Arc<dyn Store>>,
    /// What successors are signed with, once it was looked up.
    keys: OnceLock<Option<SecretKeys>>,
    was_used: AtomicBool,
    /// Whether the store was found to keep its word.
    #[cfg(feature = "remote")]
    is_trusted: tokio::sync::OnceCell<()>,
    stopping: watch::Sender<bool>,
    /// How many deliveries are being worked on.
    drives: watch::Sender<usize>,
}

/// Microseconds since 1970. A clock before that counts as 1970.
pub(crate) fn now_us() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_micros()).unwrap_or(u64::MAX)
}

/// An id for a call that has none of its own.
pub(crate) fn random_execution() -> ExecutionId {
    let mut bytes = [0; 16];
    fill(&mut bytes);
    ExecutionId::from_random(bytes)
}

fn fill(bytes: &mut [u8]) {
    // The kernel's generator fails on no system this runs on; should it, the clock and this address still differ
    // between deliveries, which is all that a nonce is for.
    if getrandom::fill(bytes).is_err() {
        let seed = blake3::hash(format!("{} {bytes:p} {}", now_us(), std::process::id()).as_bytes());
        bytes.iter_mut().zip(seed.as_bytes()).for_each(|(byte, seed)| *byte = *seed);
    }
}

impl Engine {
    pub(crate) fn new(config: Config, handlers: &'static [&'static HandlerDef]) -> Self {
        let (outgoing, turns) = (Outgoing::default(), Arc::<Turns>::default());
        Self {
            config,
            told: OnceLock::new(),
            handlers,
            world: Arc::new(world::Real { outgoing: outgoing.clone(), turns: turns.clone() }),
            turns,
            outgoing,
            store: OnceLock::new(),
            keys: OnceLock::new(),
            was_used: AtomicBool::new(false),
            #[cfg(feature = "remote")]
            is_trusted: tokio::sync::OnceCell::new(),
            stopping: watch::Sender::new(false),
            drives: watch::Sender::new(0),
        }
    }

    pub(crate) fn config(&self) -> &Config {
        self.told.get().unwrap_or(&self.config)
    }

    /// Takes what the platform says to a fresh process over what its environment says. Only the first word counts: a
    /// process is set up once.
    ///
    /// # Errors
    /// [`Code::NotConfigured`] where a value makes no sense.
    pub(crate) fn configure(&self, told: &BTreeMap<String, String>) -> Result<(), Failure> {
        let told =
            Config::from(told).map_err(|error| Failure::new(Code::NotConfigured, error.to_string()))?;
        // Whoever comes second was told the same.
        let _ = self.told.set(told);
        Ok(())
    }

    pub(crate) fn handler_names(&self) -> Vec<&'static str> {
        self.handlers.iter().map(|handler| handler.name).collect()
    }

    /// The handler that a deployment of this name serves: the configured one, the only one, or the one of that name.
    pub(crate) fn handler_for(&self, name: &str) -> Result<&'static HandlerDef, Failure> {
        let wanted = match (&self.config().handler, self.handlers) {
            (Some(configured), _) => configured.as_str(),
            (None, [only]) => return Ok(only),
            (None, _) => name,
        };
        self.handlers.iter().find(|handler| handler.name == wanted).copied().ok_or_else(|| {
            let names = self.handler_names().join(", ");
            let message =
                format!("there is no handler `{wanted}` here (there is: {names}); set LIMITLESS_HANDLER to one of them");
            Failure::new(Code::UnknownHandler, message)
        })
    }

    /// The handler that a call asks for: the one it names, in a wrap, or the one that the deployment serves.
    pub(crate) fn handler_of(
        &self,
        node: Option<&str>,
        deployment: &str,
    ) -> Result<&'static HandlerDef, Failure> {
        let Some(node) = node else { return self.handler_for(deployment) };
        self.handlers.iter().find(|handler| handler.name == node).copied().ok_or_else(|| {
            let names = self.handler_names().join(", ");
            Failure::new(
                Code::UnknownHandler,
                format!("there is no handler `{node}` in this wrap (there is: {names})"),
            )
        })
    }

    /// The threads that drive the process and compute.
    pub(crate) fn turns(&self) -> &Arc<Turns> {
        &self.turns
    }

    /// Says that the process shall end: running handlers save and hand over.
    pub(crate) fn stop(&self) {
        self.stopping.send_replace(true);
    }

    /// Waits until no delivery is being worked on.
    pub(crate) fn idle(&self) -> impl Future<Output = ()> + use<> {
        let mut drives = self.drives.subscribe();
        async move {
            let _ = drives.wait_for(|drives| *drives == 0).await;
        }
    }

    pub(crate) fn stopping(&self) -> watch::Receiver<bool> {
        self.stopping.subscribe()
    }

    /// One delivery, from its arrival to its answer.
    pub(crate) async fn answer(self: &Arc<Self>, mut incoming: Incoming) -> Reply {
        if let Err(failure) = self.admit(&incoming) {
            return Reply::Refused(failure);
        }
        if let Err(failure) = self.fetch_input(&mut incoming).await {
            return Reply::Refused(failure);
        }
        let (delivery, input) = self.delivery(&incoming);
        let execution = delivery.execution.clone();
        let log = match self.log(&execution, &incoming.vars) {
            Ok(log) => log,
            Err(failure) => return Reply::Refused(failure),
        };
        #[cfg(feature = "remote")]
        self.trust_in_time(&delivery.call, log.as_ref());
        let drive = drive::Drive::new(self.clone(), incoming, delivery, input, log.clone());
        let counted = Counted::new(&self.drives);
        let answer = Kept(Some(Box::pin(async move {
            let _counted = counted;
            drive.run().await
        })));
        let answer = answer.await;
        match answer {
            Answer::Running { note } => Reply::Running { execution, note },
            Answer::Failed(failure) => Reply::Failed(failure),
            Answer::Refused(failure) => Reply::Refused(failure),
            Answer::Result(Stored::Json(json)) => Reply::Result(json),
            Answer::Result(stored) => match log {
                Some(log) => log.json(&stored).await.map_or_else(Reply::Refused, Reply::Result),
                None => Reply::Refused(no_store()),
            },
        }
    }

    /// Reads an input that was too large for its call.
    async fn fetch_input(&self, incoming: &mut Incoming) -> Result<(), Failure> {
        let Asked::First { execution, input, input_at: Some(at), .. } = &mut incoming.asked else {
            return Ok(());
        };
        let log = self.log(execution, &incoming.vars)?.ok_or_else(no_store)?;
        let json = large::input(&log, *at).await?;
        let json: &RawValue = serde_json::from_str(&json).map_err(|error| {
            Failure::new(
                Code::BadInput,
                format!("the stored input of handler `{}`: {error}", incoming.handler.name),
            )
        })?;
        *input = crate::runtime::input::canonical_value(json)?;
        Ok(())
    }

    /// The log of an execution. The store is opened once; one that can't be opened is tried again with the next delivery.
    fn log(&self, execution: &ExecutionId, vars: &Vars) -> Result<Option<Log>, Failure> {
        let Some(url) = &self.config().store_url else { return Ok(None) };
        let store = if let Some(store) = self.store.get() {
            store.clone()
        } else {
            let settings = vars.settings();
            let store = open_with_faults(url, &settings, self.config().store_faults.as_deref())
                .map_err(|error| limitless_faas_store::log::failure(&error))?;
            self.store.get_or_init(|| store).clone()
        };
        Ok(Some(Log::new(store, execution.clone())))
    }

    /// Whether the store keeps its word; asked once, before the first execution begins in it. Those that go on began after it.
    #[cfg(feature = "remote")]
    async fn trust(&self, log: &Log) -> Result<(), Failure> {
        if !log.store().is_remote() {
            return Ok(());
        }
        let probed = self.is_trusted.get_or_try_init(|| limitless_faas_store::probe(log.store()));
        probed.await.map(drop).map_err(|error| limitless_faas_store::log::failure(&error))
    }

    /// Asks while the handler computes: a call that is recorded needs the answer at its deadline at the latest.
    #[cfg(feature = "remote")]
    fn trust_in_time(self: &Arc<Self>, call: &Call, log: Option<&Log>) {
        let Some(log) = log.filter(|log| log.store().is_remote() && !self.is_trusted.initialized()) else {
            return;
        };
        if matches!(call, Call::First { is_durable: true, .. }) {
            let (engine, log) = (self.clone(), log.clone());
            // What it came to is asked for again where it counts.
            tokio::spawn(async move { engine.trust(&log).await.unwrap_or_default() });
        }
    }

    #[cfg(not(feature = "remote"))]
    #[expect(clippy::unused_async, reason = "stores over a network are asked")]
    async fn trust(&self, _: &Log) -> Result<(), Failure> {
        Ok(())
    }

    fn delivery(&self, incoming: &Incoming) -> (Delivery, Option<String>) {
        let mut nonce = [0; 8];
        self.world.fill(&mut nonce);
        let nonce = Nonce::from_random(nonce);
        let (execution, call, input) = match &incoming.asked {
            Asked::Resume { execution, entry, .. } => {
                (execution.clone(), Call::Resume { entry: *entry }, None)
            }
            Asked::First { execution, input, is_durable, callback, caller, input_at, keep_ms } => {
                let origin = Origin {
                    input: described(execution, nonce, input, *input_at),
                    callback: callback.clone(),
                    caller: caller.clone(),
                    keep_ms: *keep_ms,
                };
                (execution.clone(), Call::First { origin, is_durable: *is_durable }, Some(input.clone()))
            }
        };
        let driver = Driver {
            activation: incoming.activation.clone(),
            received_us: incoming.received_us,
            limit_ms: as_set(incoming.deadline_ms.saturating_sub(incoming.received_us / 1000)),
            cold: !self.was_used.swap(true, Ordering::Relaxed),
        };
        let is_signed = self.keys.get().is_some_and(Option::is_some);
        let delivery = Delivery {
            execution,
            handler: incoming.handler.name.to_owned(),
            nonce,
            call,
            deadline_ms: incoming.deadline_ms,
            driver,
            is_owner_dead: incoming.is_owner_dead,
            is_signed,
            has_store: self.config().store_url.is_some(),
            policy: self.config().policy.clone(),
        };
        (delivery, input)
    }
}

/// A caller that leaves takes its connection along, not the execution: dropped before its end, the work goes on by itself.
struct Kept(Option<Pin<Box<dyn Future<Output = Answer> + Send>>>);

impl Future for Kept {
    type Output = Answer;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Answer> {
        let Some(work) = &mut self.0 else { return Poll::Pending };
        let polled = work.as_mut().poll(cx);
        if polled.is_ready() {
            self.0 = None;
        }
        polled
    }
}

impl Drop for Kept {
    fn drop(&mut self) {
        if let Some(work) = self.0.take() {
            tokio::spawn(work);
        }
    }
}

/// Counts what is being worked on, so that the process does not end before.
struct Counted(watch::Sender<usize>);

impl Counted {
    fn new(count: &watch::Sender<usize>) -> Self {
        count.send_modify(|count| *count += 1);
        Self(count.clone())
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        self.0.send_modify(|count| *count -= 1);
    }
}

/// The input as the log has it: a large one stands under a key of its own, written when the log begins or `at` before its call.
fn described(execution: &ExecutionId, nonce: Nonce, json: &str, at: Option<Nonce>) -> Input {
    let digest = blake3::hash(json.as_bytes()).to_hex().to_string();
    let stored = match at {
        Some(at) => Stored::Key(key::input(execution, at)),
        None if json.len() <= RESULT_INLINE_LIMIT => Stored::Json(json.to_owned()),
        None => Stored::Key(key::input(execution, nonce)),
    };
    Input { digest, stored }
}

/// The time limit as somebody set it: what is left when a call arrives is a little less, and 1998 ms in a message would
/// puzzle whoever wrote 2 s.
fn as_set(left_ms: u64) -> u64 {
    let step = 10_u64.pow(left_ms.checked_ilog10().unwrap_or(0).saturating_sub(1));
    left_ms.checked_next_multiple_of(step).unwrap_or(left_ms)
}

pub(crate) fn no_store() -> Failure {
    let message = "this function has to save its state and has no store: set LIMITLESS_STORE to a URL such as \
                   file:/var/lib/limitless";
    Failure::new(Code::NotConfigured, message)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_limit_is_shown_as_it_was_set() {
        for (left_ms, limit_ms) in [(299, 300), (1998, 2000), (59_987, 60_000), (250, 250), (7, 7), (0, 0)] {
            assert_eq!(as_set(left_ms), limit_ms);
        }
    }
}
