//! One delivery: events in, commands performed.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use limitless_faas_core::invocation::{Answer, Call, Command, Delivery, Event, Given, Invocation, Written};
use limitless_faas_core::log::{Caller, Entry, Kind, Status, Stored};
use limitless_faas_core::signature::Resumption;
use limitless_faas_core::{Code, Failure, key};
use limitless_faas_store::Log;
use serde_json::json;
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep, timeout_at};

use super::handler::{Run, RunEvent};
use super::{Asked, Engine, Incoming, no_store, state};
use crate::engine::{Steps, Wraps};
use crate::runtime::control::Control;

/// Performs one delivery's commands.
pub(super) struct Drive {
    engine: Arc<Engine>,
    incoming: Incoming,
    invocation: Invocation,
    log: Option<Log>,
    /// The input of a first call, as JSON.
    input: Option<String>,
    /// Commands that are under way, each ending in an event.
    under_way: JoinSet<Event>,
    of_handler: (mpsc::UnboundedSender<RunEvent>, mpsc::UnboundedReceiver<RunEvent>),
    run: Option<Run>,
    /// Counts runs of the handler, so that a late word of an earlier one is not taken for the present one's.
    generation: u64,
    alarm: Option<Instant>,
    verified: state::Verified,
    steps: Arc<Steps>,
    is_stopping: bool,
    /// Whether the end of the workflow is looked for whose node this is.
    is_watching: bool,
}

impl Drive {
    pub(super) fn new(
        engine: Arc<Engine>,
        incoming: Incoming,
        delivery: Delivery,
        input: Option<String>,
        log: Option<Log>,
    ) -> Self {
        let of_handler = mpsc::unbounded_channel();
        let vars = incoming.vars.clone();
        let wraps = Wraps {
            // The nodes of a workflow that is itself a node are nobody's to place.
            placement: (engine.config().placement.clone())
                .filter(|placement| placement.workflow == incoming.handler.name),
            tells_nodes: engine.config().tells_nodes,
            nodes_at_once: engine.config().nodes_at_once,
            stay: engine.config().stay,
            node: incoming.is_node.then_some(incoming.handler.name),
            outgoing: engine.outgoing.clone(),
            beside: incoming.successor.clone(),
        };
        let world = engine.world.clone();
        let steps =
            Steps::new(log.clone(), &delivery, of_handler.0.clone(), vars, incoming.handler, wraps, world);
        let verified = state::Verified::new(engine.world.clone());
        Self {
            engine,
            incoming,
            invocation: Invocation::new(delivery),
            log,
            input,
            under_way: JoinSet::new(),
            of_handler,
            run: None,
            generation: 0,
            alarm: None,
            verified,
            steps: Arc::new(steps),
            is_stopping: false,
            is_watching: false,
        }
    }

    /// Until the answer.
    pub(super) async fn run(mut self) -> Answer {
        let mut event = Event::Arrived;
        loop {
            let mut commands: VecDeque<_> = self.invocation.on(self.engine.world.now_us(), event).into();
            while let Some(command) = commands.pop_front() {
                if let Command::Answer(answer) = command {
                    self.tell_caller(&answer).await;
                    return answer;
                }
                if let Some(event) = self.perform(command) {
                    commands.extend(self.invocation.on(self.engine.world.now_us(), event));
                }
            }
            event = match self.next_event().await {
                Ok(event) => event,
                Err(failure) => return Answer::Refused(failure),
            };
        }
    }

    /// Whatever happens first: something under way ends, the handler says something, the process is to stop, or the alarm
    /// goes off.
    async fn next_event(&mut self) -> Result<Event, Failure> {
        loop {
            let alarm = self.alarm.unwrap_or_else(|| Instant::now() + Duration::from_secs(3600));
            let mut stopping = self.engine.stopping();
            let (under_way, of_handler) = (&mut self.under_way, &mut self.of_handler.1);
            let is_stopping = self.is_stopping;
            let mut stop = std::pin::pin!(async move { stopping.wait_for(|is| *is).await.is_ok() });
            let first = std::future::poll_fn(|cx| {
                use std::task::Poll;
                if let Poll::Ready(Some(joined)) = under_way.poll_join_next(cx) {
                    return Poll::Ready(Happened::Ended(joined));
                }
                if let Poll::Ready(Some(event)) = of_handler.poll_recv(cx) {
                    return Poll::Ready(Happened::Handler(event));
                }
                if !is_stopping && stop.as_mut().poll(cx).is_ready() {
                    return Poll::Ready(Happened::Stopping);
                }
                Poll::Pending
            });
            let event = match timeout_at(alarm, first).await {
                Err(_) => {
                    self.alarm = None;
                    Some(Event::Alarm)
                }
                Ok(Happened::Ended(joined)) => Some(joined.map_err(|_| lost_command())?),
                Ok(Happened::Handler(event)) => self.of_run(event),
                Ok(Happened::Stopping) => {
                    self.is_stopping = true;
                    Some(Event::Stopping)
                }
            };
            if let Some(event) = event {
                return Ok(event);
            }
        }
    }

    fn of_run(&mut self, event: RunEvent) -> Option<Event> {
        // What an earlier run left to be uploaded is still wanted.
        if event.generation != self.generation && !matches!(event.event, Event::Uploaded { .. }) {
            return None;
        }
        if let Some(envelope) = event.envelope {
            self.verified.remember(envelope);
        }
        Some(event.event)
    }

    /// Performs a command; answers its event where that is known at once.
    fn perform(&mut self, command: Command) -> Option<Event> {
        match command {
            Command::Read { from, wait_ms } => self.read(from, wait_ms),
            Command::Measure { segment, wait_ms } => {
                let steps = self.steps.clone();
                self.under_way.spawn(async move {
                    pause(wait_ms).await;
                    Event::Measured(steps.measure(&segment).await)
                });
            }
            Command::Verify { saved, wait_ms } => {
                let task = self.verified.open(self.log.clone(), *saved, self.incoming.handler);
                self.under_way.spawn(async move {
                    pause(wait_ms).await;
                    Event::Verified(task.await)
                });
            }
            Command::Look { events, wait_ms } => self.look(events, wait_ms),
            Command::Create { number, entry, wait_ms } => self.create(number, *entry, wait_ms),
            Command::Run(given) => self.start(*given),
            Command::Report => self.with_run(Run::report),
            Command::Suspend { offer_until_us, may_follow } => {
                self.with_run(|run| run.suspend(offer_until_us, may_follow));
            }
            Command::AllowSteps { lease_until_ms } => self.steps.allow(lease_until_ms),
            Command::Abandon => {
                if self.invocation.log().is_some_and(|log| log.status() == Status::Cancelled) {
                    self.steps.call_off();
                }
                self.abandon();
            }
            Command::StoreOutput(json) => self.store_output(json),
            Command::Invoke { entry, wait_ms, within_ms } => self.invoke(entry, wait_ms, within_ms),
            Command::Deliver { to, answer, wait_ms } => self.deliver(&to, *answer, wait_ms),
            Command::Alarm { at_us } => {
                let wait = Duration::from_micros(at_us.saturating_sub(self.engine.world.now_us()));
                self.alarm = Some(Instant::now() + wait);
            }
            Command::Note(text) => note(&text),
            Command::Answer(_) => {}
        }
        None
    }

    fn read(&mut self, from: u64, wait_ms: u64) {
        let log = self.log.clone();
        self.under_way.spawn(async move {
            pause(wait_ms).await;
            Event::Read(match log {
                Some(log) => log.entries(from).await,
                None => Err(no_store()),
            })
        });
    }

    fn look(&mut self, events: Vec<String>, wait_ms: u64) {
        let (log, world) = (self.log.clone(), self.engine.world.clone());
        self.under_way.spawn(async move {
            pause(wait_ms).await;
            let Some(log) = log else { return Event::Happened(Err(no_store())) };
            let now_ms = world.now_us() / 1000;
            for event in &events {
                match log.has_happened(event, now_ms).await {
                    Ok(false) => {}
                    found => return Event::Happened(found),
                }
            }
            Event::Happened(Ok(false))
        });
    }

    fn create(&mut self, number: u64, entry: Entry, wait_ms: u64) {
        let (engine, log) = (self.engine.clone(), self.log.clone());
        let input = self.large_input(&entry);
        self.under_way.spawn(async move {
            pause(wait_ms).await;
            let Some(log) = log else { return Event::Wrote(Written::Unknown(no_store())) };
            if number == 0
                && let Err(failure) = engine.trust(&log).await
            {
                return Event::Wrote(Written::Unknown(failure));
            }
            // What an entry refers to stands before the entry does.
            if let Some((name, json)) = input
                && let Err(failure) = log.store_json(&name, json).await
            {
                return Event::Wrote(Written::Unknown(failure));
            }
            Event::Wrote(log.create(number, &entry).await)
        });
    }

    /// The input that an entry refers to by key, for the entries that begin a log.
    fn large_input(&self, entry: &Entry) -> Option<(String, String)> {
        if matches!(self.incoming.asked, Asked::First { input_at: Some(_), .. }) {
            return None;
        }
        let origin = match &entry.kind {
            Kind::Started { origin, .. } => origin,
            Kind::Completed { origin, .. } | Kind::Failed { origin, .. } => origin.as_ref()?,
            _ => return None,
        };
        match (&origin.input.stored, &self.input) {
            (Stored::Key(name), Some(json)) => Some((name.clone(), json.clone())),
            _ => None,
        }
    }

    /// A node stops once its workflow has ended.
    fn watch_caller(&mut self, caller: Option<Caller>) {
        if let (Some(caller), Some(log), false) = (caller, &self.log, self.is_watching) {
            self.is_watching = true;
            let pause = Duration::from_millis(self.invocation.delivery().policy.peek_ms);
            let (log, handler) = (log.clone(), self.incoming.handler.name);
            let is_first = matches!(self.incoming.asked, Asked::First { .. });
            self.under_way.spawn(async move {
                // Whoever calls has not ended.
                sleep(if is_first { pause } else { Duration::ZERO }).await;
                super::caller::watch(log, caller, handler, pause).await
            });
        }
    }

    async fn tell_caller(&self, answer: &Answer) {
        let of_log = self.invocation.log().and_then(|log| log.origin.as_ref());
        let origin = match &self.invocation.delivery().call {
            Call::First { origin, .. } => of_log.or(Some(origin)),
            Call::Resume { .. } => of_log,
        };
        if let (Some(caller), Some(log)) = (origin.and_then(|origin| origin.caller.as_ref()), &self.log) {
            self.engine.tell_caller(&self.incoming, log, caller, answer).await;
        }
    }

    fn start(&mut self, given: Given) {
        self.watch_caller(given.origin.caller.clone());
        self.generation += 1;
        let to = self.of_handler.0.clone();
        let run = Run::new(
            self.generation,
            to,
            self.incoming.handler,
            self.log.clone(),
            self.invocation.delivery(),
            self.engine.world.clone(),
        );
        self.run = Some(run.clone());
        let opening = given
            .from
            .clone()
            .map(|saved| self.verified.open_again(self.log.clone(), saved, self.incoming.handler));
        let (input, generation) = (self.input.clone(), self.generation);
        let (log, steps) = (self.log.clone(), self.steps.clone());
        let prepare = async move {
            pause(given.wait_ms).await;
            let input = match (input, &log) {
                (Some(json), _) => json,
                (None, Some(log)) => log.json(&given.origin.input.stored).await?,
                (None, None) => return Err(no_store()),
            };
            steps.load(&given, generation).await?;
            let state = match opening {
                Some(opening) => Some(opening.await?),
                None => None,
            };
            Ok((input, state, given.epoch, steps))
        };
        run.start(prepare);
    }

    fn with_run(&self, f: impl Fn(&Run)) {
        if let Some(run) = &self.run {
            f(run);
        }
    }

    fn abandon(&mut self) {
        self.generation += 1;
        self.steps.close();
        if let Some(run) = self.run.take() {
            run.abandon();
        }
    }

    fn store_output(&mut self, json: String) {
        let (log, nonce) = (self.log.clone(), self.invocation.delivery().nonce);
        let deadline_ms = self.invocation.delivery().deadline_ms;
        let world = self.engine.world.clone();
        self.under_way.spawn(async move {
            let Some(log) = log else { return Event::OutputStored(Err(no_store())) };
            let name = key::result(log.id(), nonce);
            let mut stored = log.store_json(&name, json.clone()).await;
            while stored.as_ref().is_err_and(|failure| failure.code == Code::StoreAway)
                && world.now_us() / 1000 < deadline_ms
            {
                pause(20).await;
                stored = log.store_json(&name, json.clone()).await;
            }
            Event::OutputStored(stored.map(|()| Stored::Key(name)))
        });
    }

    fn invoke(&mut self, entry: u64, wait_ms: u64, within_ms: u64) {
        let within = Duration::from_millis(within_ms);
        let (engine, successor) = (self.engine.clone(), self.incoming.successor.clone());
        let asked = Resumption {
            execution: &self.invocation.delivery().execution,
            entry: Some(entry),
            node: self.incoming.is_node.then_some(self.incoming.handler.name),
        };
        let signed = engine.sign(&asked, &self.incoming.vars);
        let control = signed.map(|signature| Control::successor(&asked, signature));
        self.under_way.spawn(async move {
            pause(wait_ms).await;
            Event::Invoked(match control {
                Ok(control) => engine.world.invoke(successor, control, within).await,
                Err(failure) => Err(failure),
            })
        });
    }

    fn deliver(&mut self, to: &str, answer: Answer, wait_ms: u64) {
        let (world, log) = (self.engine.world.clone(), self.log.clone());
        let execution = self.invocation.delivery().execution.clone();
        let to = self.incoming.vars.with_login(to);
        self.under_way.spawn(async move {
            pause(wait_ms).await;
            let to = match to {
                Ok(to) => to,
                Err(failure) => return Event::Delivered(Err(failure)),
            };
            let body = match (answer, log) {
                // The result is passed on to the letter.
                (Answer::Result(output), Some(log)) => match log.json(&output).await {
                    Ok(result) => {
                        format!(r#"{{"execution":"{execution}","status":"completed","result":{result}}}"#)
                    }
                    Err(failure) => return Event::Delivered(Err(failure)),
                },
                (Answer::Failed(failure), _) => {
                    let (error, code) = (failure.message, failure.code);
                    json!({ "execution": execution, "status": "failed", "error": error, "code": code })
                        .to_string()
                }
                _ => return Event::Delivered(Err(no_store())),
            };
            Event::Delivered(world.deliver(to, execution, body).await)
        });
    }
}

enum Happened {
    Ended(Result<Event, tokio::task::JoinError>),
    Handler(RunEvent),
    Stopping,
}

impl Drop for Drive {
    /// Answered, or the platform gave up on us: what still runs has nobody to tell.
    fn drop(&mut self) {
        self.abandon();
    }
}

async fn pause(wait_ms: u64) {
    if wait_ms > 0 {
        sleep(Duration::from_millis(wait_ms)).await;
    }
}

/// A command whose performer panicked: nothing is known of it, so the delivery ends and the log decides.
fn lost_command() -> Failure {
    Failure::new(Code::StoreAway, "an operation ended without an outcome")
}

#[expect(clippy::print_stderr, reason = "a function's stderr is its log")]
pub(crate) fn note(text: &str) {
    eprintln!("limitless-faas: {text}");
}
