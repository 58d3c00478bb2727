//! One run of a workflow.

use std::any::Any;
use std::future::{Future, poll_fn};
use std::panic::resume_unwind;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use std::task::Poll;

use limitless_faas_core::Failure;
use limitless_faas_core::placement::Place;
use serde::de::DeserializeOwned;
use serde_json::value::RawValue;
use tokio::sync::Semaphore;

use super::call::{Argument, Arguments, Callable, Returns, input};
use super::crew::Crew;
use super::far::Far;
use super::join::all;
use super::late::{Before, Turn};
use super::place::{self, Call, Ended, Started, Stop};
use super::tell::Told;
use crate::checkpoint::{Context, Outcome, Request, Session, Starting, StateCodec};
use crate::config::NODES_AT_ONCE;
use crate::engine::{Step, Steps};
use crate::error::Error;
use crate::handler::HandlerDef;
use crate::large;
use crate::step::{decode, encode};

/// What `.await` on a call of `H` gives, for a value `V`.
type Awaited<H, V> = <<H as Callable>::Returns as Returns>::Awaited<V>;
type Value<H> = <<H as Callable>::Returns as Returns>::Value;

/// The orchestrator: runs nodes where the deployment places them, records their results, and suspends when no node is under
/// way any more.
///
/// Near the deadline it asks the nodes to save and stop; one without a checkpoint is waited for. What they saved is
/// recorded, the workflow suspends, and goes on from there in another invocation.
pub struct Flow {
    pub(super) session: Session,
    context: Context<u64>,
    is_detached: bool,
    /// The threads of nodes, and how many nodes compute or have a result that is being recorded.
    crew: Option<Arc<Crew>>,
    /// Results and node states recorded: what the workflow's own checkpoint says.
    recorded: AtomicU64,
    /// As many as nodes may compute at once.
    turns: Arc<Semaphore>,
    at_once: usize,
    /// Calls of nodes so far.
    started: AtomicU32,
    pub(super) far: Far,
}

/// What every workflow does first.
pub fn enter() -> Flow {
    let session = Starting::take();
    let is_detached = session.is_none();
    let session = session.unwrap_or_else(Session::detached);
    let context = Context::of(session.clone(), StateCodec::of());
    let recorded = AtomicU64::new(context.state());
    let at_once = steps(&session).map_or(NODES_AT_ONCE, |steps| steps.wraps().nodes_at_once);
    let turns = Arc::new(Semaphore::new(at_once));
    let crew = steps(&session).map(|steps| steps.crew().clone());
    let started = AtomicU32::new(0);
    let far = Far::default();
    Flow { session, context, is_detached, crew, recorded, turns, at_once, started, far }
}

impl Flow {
    /// Runs a node: calls the handler once, whatever happens to the invocation, and gives back what it returned.
    ///
    /// `retries` is how often it is called again where it returns `Err`.
    pub async fn node<H>(&self, name: &str, retries: u32, arguments: H::Arguments) -> Awaited<H, Value<H>>
    where
        H: Callable<Arguments: Arguments>,
        Value<H>: DeserializeOwned,
    {
        let ended = self.call::<H>(name, retries, &arguments).await;
        self.awaited::<H, _>(ended).await
    }

    /// Runs a node if `condition` holds.
    pub async fn when<H>(
        &self,
        name: &str,
        retries: u32,
        condition: bool,
        arguments: H::Arguments,
    ) -> Awaited<H, Option<Value<H>>>
    where
        H: Callable<Arguments: Arguments>,
        Value<H>: DeserializeOwned,
    {
        let ended =
            if condition { self.call::<H>(name, retries, &arguments).await.map(Some) } else { Ok(None) };
        self.awaited::<H, _>(ended).await
    }

    /// Runs a node for each item, as many at once as the machine bears, and gives their results in the items' order.
    pub async fn map<H, T, A>(
        &self,
        name: &str,
        retries: u32,
        items: impl IntoIterator<Item = A>,
    ) -> Awaited<H, Vec<Value<H>>>
    where
        H: Callable<Arguments = (T,)>,
        (T,): Arguments,
        A: Argument<T>,
        Value<H>: DeserializeOwned,
    {
        let calls = items.into_iter().enumerate().map(|(index, item)| {
            let arguments = (item.into_argument(),);
            let name = format!("{name}[{index}]");
            async move { self.call::<H>(&name, retries, &arguments).await }
        });
        let ended = all(calls, self.at_once).await;
        self.awaited::<H, _>(ended).await
    }

    async fn call<H>(&self, name: &str, retries: u32, arguments: &H::Arguments) -> Result<Value<H>, Error>
    where
        H: Callable<Arguments: Arguments>,
        Value<H>: DeserializeOwned,
    {
        let handler = H::definition();
        let input = input(handler, arguments).map_err(|error| {
            Error::msg(format!("the input of node `{name}` can't be written as JSON: {error}"))
        })?;
        let node = Node { handler, name, retries, input: &input };
        // A workflow's future holds those of all its nodes: what they need is put where it does not make that large.
        let result = Box::pin(self.recorded(&node)).await?;
        serde_json::from_str(&result)
            .map_err(|error| Error::msg(format!("the result of node `{name}` can't be read: {error}")))
    }

    /// The node's result, from the record or by running it.
    async fn recorded(&self, node: &Node<'_>) -> Result<String, Error> {
        let Some(steps) = self.steps() else {
            let mut under_way = Some(UnderWay::begin(self));
            return Ok(node.run(self, &mut under_way).await?.json);
        };
        let key = format!("node {}", node.name);
        if let Step::Recorded(bytes) = steps.begin(&key)? {
            return Ok(large::found(&steps, decode(&key, &bytes)?).await?);
        }
        steps.ready().await?;
        self.settle().await;
        let mut under_way = Some(UnderWay::begin(self));
        let result = node.run(self, &mut under_way).await.inspect_err(|_| steps.give_up(&key))?;
        match (result.is_durable, large::is_large(&result.json)) {
            (true, false) => steps.record_behind(&key, encode(&key, &result.json)?)?,
            // Whoever asks again is told where it stands.
            (true, true) => {}
            (false, false) => steps.record_aside(&key, encode(&key, &result.json)?).await?,
            (false, true) => {
                let at = large::put_aside(&steps, &result.json).await?;
                steps.record_aside(&key, encode(&key, &at)?).await?;
            }
        }
        drop(under_way);
        self.recorded.fetch_add(1, Ordering::Relaxed);
        self.settle().await;
        Ok(result.json)
    }

    async fn awaited<H: Callable, V>(&self, ended: Result<V, Error>) -> Awaited<H, V> {
        match <H::Returns as Returns>::awaited(ended) {
            Ok(awaited) => awaited,
            Err(error) => self.fail(&error).await,
        }
    }

    /// Ends the workflow with a node's failure, which the handler's type has no place for.
    async fn fail(&self, error: &Error) -> ! {
        if self.is_detached {
            resume_unwind(Box::new(error.to_string()));
        }
        let message = error.to_string();
        self.session.end(Outcome::Returned(Err(crate::checkpoint::ApplicationError { message })));
        std::future::pending().await
    }

    /// Ends the workflow with an error of ours, whatever it would make of it.
    async fn give_up(&self, steps: &Steps, failure: Failure) -> ! {
        self.end(steps, failure);
        std::future::pending().await
    }

    /// As [`Flow::give_up`], once what polls the workflow looks at it again.
    pub(super) fn end(&self, steps: &Steps, failure: Failure) {
        let message = failure.to_string();
        steps.fail(failure);
        self.session.end(Outcome::Returned(Err(crate::checkpoint::ApplicationError { message })));
    }

    /// How many nodes compute, or have a result that is being recorded.
    pub(super) fn under_way(&self) -> usize {
        self.crew.as_ref().map_or(0, |crew| crew.under_way().load(Ordering::Acquire))
    }

    pub(super) fn is_suspending(&self) -> bool {
        self.session.flag().load(Ordering::Relaxed) == Request::Suspend as u8
    }

    /// Answers the runtime, and suspends the workflow where that is due and nothing is under way.
    async fn settle(&self) {
        while self.is_suspending() {
            let changed = self.session.requested().notified();
            if self.under_way() == 0 {
                if let (Some(failure), Some(steps)) = (self.far.down(), self.steps()) {
                    self.give_up(&steps, failure).await;
                }
                self.context.checkpoint(&self.recorded.load(Ordering::Relaxed)).await;
                return;
            }
            changed.await;
        }
    }

    pub(super) fn steps(&self) -> Option<Arc<Steps>> {
        steps(&self.session)
    }
}

pub(super) fn steps(session: &Session) -> Option<Arc<Steps>> {
    let services: Arc<dyn Any + Send + Sync> = session.services()?;
    services.downcast().ok()
}

/// Counts a node that is under way; whoever waits for it is told when it is not any more.
struct UnderWay<'f>(&'f Flow);

impl<'f> UnderWay<'f> {
    fn begin(flow: &'f Flow) -> Self {
        if let Some(crew) = &flow.crew {
            crew.under_way().fetch_add(1, Ordering::AcqRel);
        }
        Self(flow)
    }
}

impl Drop for UnderWay<'_> {
    fn drop(&mut self) {
        if let Some(crew) = &self.0.crew {
            crew.under_way().fetch_sub(1, Ordering::AcqRel);
        }
        // All that happens on the workflow's thread: who is to suspend later on looks for itself.
        if self.0.is_suspending() || self.0.far.is_waited_for() {
            self.0.session.requested().notify_waiters();
        }
    }
}

/// One handler call.
pub(super) struct Node<'a> {
    pub(super) handler: &'static HandlerDef,
    pub(super) name: &'a str,
    retries: u32,
    pub(super) input: &'a RawValue,
}

/// What is known of a node from before.
struct Kept {
    /// What it saved last.
    from: Option<Vec<u8>>,
    /// The key under which it saves next.
    key: String,
    before: Before,
}

/// A node's result, as JSON.
struct Returned {
    json: String,
    /// It stands in a log of its own.
    is_durable: bool,
}

/// A node whose process or wrap is lost so often is given up: it may be what ends them.
const LOSSES: u32 = 3;

impl Node<'_> {
    async fn run<'f>(&self, flow: &'f Flow, under_way: &mut Option<UnderWay<'f>>) -> Result<Returned, Error> {
        let Kept { mut from, key, before } = self.kept(flow)?;
        if let Some(steps) = flow.steps()
            && let Some(failure) = before.exhausted(self, steps.limit_ms())
        {
            flow.give_up(&steps, failure).await;
        }
        let (mut attempt, mut lost) = (0, 0);
        loop {
            let (ended, place) = self.attempt(flow, from.clone(), attempt, before).await?;
            match ended {
                Ended::Returned(json) => {
                    return Ok(Returned { json, is_durable: matches!(place, Place::Remote(_)) });
                }
                Ended::Refused(_) if attempt < self.retries => {
                    attempt += 1;
                    from = None;
                }
                Ended::Lost(_) if lost < LOSSES => lost += 1,
                Ended::Suspended(bytes) => {
                    self.keep(flow, &key, bytes).await?;
                    *under_way = None;
                    flow.settle().await;
                    return std::future::pending().await;
                }
                Ended::Refused(why) | Ended::Failed(why) | Ended::Lost(why) => return Err(self.failed(&why)),
            }
        }
    }

    fn failed(&self, why: &str) -> Error {
        Error::msg(format!("node `{}` failed: {why}", self.name))
    }

    fn kept(&self, flow: &Flow) -> Result<Kept, Error> {
        let mut latest = None;
        for number in 1.. {
            let key = format!("state {number} of node {}", self.name);
            match flow.steps().map(|steps| steps.begin(&key)).transpose()? {
                Some(Step::Recorded(bytes)) => latest = Some(bytes).filter(|bytes| !bytes.is_empty()),
                Some(Step::Fresh) | None => {
                    let before = Before::of(flow.steps().as_deref(), self.name, number - 1);
                    return Ok(Kept { from: latest, key, before });
                }
            }
        }
        Err(self.failed("it saved its state more often than can be counted"))
    }

    async fn keep(&self, flow: &Flow, key: &str, bytes: Vec<u8>) -> Result<(), Error> {
        let steps = flow.steps().ok_or_else(|| self.failed("there is nowhere to save its state"))?;
        steps.record_aside(key, bytes).await?;
        flow.recorded.fetch_add(1, Ordering::Relaxed);
        Ok(())
    }

    /// Runs the handler where the deployment places it; passes the runtime's wish to suspend on to it.
    async fn attempt(
        &self,
        flow: &Flow,
        from: Option<Vec<u8>>,
        attempt: u32,
        before: Before,
    ) -> Result<(Ended, Place), Error> {
        let permit = flow.turns.clone().acquire_owned().await?;
        let (name, input) = (self.name.to_owned(), self.input.to_owned());
        let steps = flow.steps();
        let turn = Turn::begin(steps.as_deref(), self.name, before, permit);
        let call = Call { handler: self.handler, name, attempt, input, from, turn };
        let place = place::find(steps.as_ref(), self.name, flow.started.fetch_add(1, Ordering::Relaxed));
        let mut told = Told::begin(steps.as_deref(), self, &place);
        let started =
            place::start(steps.as_ref(), &place, call).map_err(|error| self.failed(&error.to_string()))?;
        let mut node = CalledOff { flow, started, has_ended: false };
        let ended = wait(flow, self.name, &mut node.started).await;
        node.has_ended = true;
        let ended = ended.unwrap_or_else(|| Ended::Lost("its thread ended without a result".to_owned()));
        told.end(&ended);
        Ok((ended, place))
    }
}

async fn wait(flow: &Flow, name: &str, node: &mut Started) -> Option<Ended> {
    let mut long = pin!(flow.long(name, node.far.clone()));
    let mut is_long = None;
    loop {
        let mut requested = pin!(flow.session.requested().notified());
        // What is asked from here on is heard.
        requested.as_mut().enable();
        let asked = flow.session.flag().load(Ordering::Relaxed);
        if asked == Request::Suspend as u8 {
            if let (Some(child), Some(steps)) = (&node.far, flow.steps()) {
                flow.far.leaves(name, child, steps.limit_ms());
            }
            node.stop(Stop::Suspend);
        } else if asked != 0 {
            flow.session.answer();
        }
        if is_long.is_some() {
            flow.leave_to_far_nodes();
        }
        let ended = poll_fn(|waker| {
            if let Poll::Ready(ended) = pin!(&mut node.ended).poll(waker) {
                return Poll::Ready(Some(ended.ok()));
            }
            if is_long.is_none()
                && let Poll::Ready(long) = long.as_mut().poll(waker)
            {
                is_long = Some(long);
                return Poll::Ready(None);
            }
            requested.as_mut().poll(waker).map(|()| None)
        });
        if let Some(ended) = ended.await {
            return ended;
        }
    }
}

/// A node that nobody waits for any more is stopped: for good, unless the workflow itself is about to go on elsewhere.
struct CalledOff<'f> {
    flow: &'f Flow,
    started: Started,
    has_ended: bool,
}

impl Drop for CalledOff<'_> {
    fn drop(&mut self) {
        if !self.has_ended {
            let is_called_off = self.flow.steps().is_some_and(|steps| steps.is_called_off());
            let goes_on = !is_called_off && (self.flow.is_suspending() || self.flow.far.is_left());
            self.started.stop(if goes_on { Stop::Leave } else { Stop::Cancel });
        }
    }
}
