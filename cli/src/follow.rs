//! Waiting for a result: reads the log, listens to the platform, and acts where an execution would stand still.

use std::time::Duration;

use limitless_faas_core::log::LogError;
use limitless_faas_core::node::NodeEvent;
use limitless_faas_core::{Advice, ExecutionId, Failure};
use limitless_faas_local::{Event, EventKind};
use tokio::sync::broadcast::Receiver;
use tokio::sync::broadcast::error::RecvError;

use crate::capture::Capture;
use crate::deliveries::{Deliveries, Hopeless};
use crate::error::{Error, Result};
use crate::exit::Exit;
use crate::history::History;
use crate::platform::{Answer, Ask, Client, Said, failure_in};
use crate::records::{Records, now_us};
use crate::recover::{Next, Patience, Situation, next};
use crate::report::advise;

/// How an execution that was waited for ended.
#[derive(Debug)]
pub enum Ended {
    /// As its log says.
    Log(Box<History>),
    /// The function answered, and there is no log.
    Answer(Said),
}

/// Is told what happens.
pub trait Watcher {
    /// The log or the deliveries changed, or time passed.
    fn changed(&mut self, seen: &Seen);
    /// The function printed a line.
    fn printed(&mut self, line: &str);
    /// We did something, or something happened that no invocation shows.
    fn noted(&mut self, text: &str);
    /// Something happened to a node of a workflow.
    fn node(&mut self, event: &NodeEvent);
}

/// What is known of the execution.
#[derive(Debug, Default)]
pub struct Seen {
    /// Its log; none before the first entry.
    pub history: Option<History>,
    /// The platform's side, where it is ours.
    pub deliveries: Option<Deliveries>,
    /// What happened to its nodes, where it is a workflow that tells.
    pub nodes: Vec<NodeEvent>,
}

/// The platform's events, where it is ours.
#[derive(Debug)]
pub struct View {
    /// The events.
    pub events: Receiver<Event>,
    /// Keeps what functions print.
    pub capture: Capture,
    /// The time limit of each delivery.
    pub time_limit: Duration,
}

/// Between two looks at the log while the platform's events tell when to look: for checkpoints that no event tells of.
const LOOK: Duration = Duration::from_millis(100);
/// The first look at a platform that tells nothing by itself; the next ones are ever rarer.
const FIRST_LOOK: Duration = Duration::from_millis(40);

/// One execution that is waited for.
#[derive(Debug)]
pub struct Follow<'a> {
    records: &'a Records,
    client: &'a Client,
    id: ExecutionId,
    ask: Ask,
    view: Option<View>,
    patience: Patience,
    seen: Seen,
    quiet_since_ms: u64,
    attempts: u32,
    /// It has a receiver, and is waited for until that has the result.
    awaits_delivery: bool,
    /// Deliveries that the platform lost since the log last grew.
    losses: u32,
    /// Something was sent already.
    is_begun: bool,
    /// Until the next look at a platform and a log that tell nothing by themselves.
    pause: Duration,
    /// The latest failure of a delivery that another one might not have met.
    passing: Option<Failure>,
    /// The delivery whose answer may say why the log does not grow.
    answered: Option<String>,
}

impl<'a> Follow<'a> {
    /// An execution that `ask` begins or goes on with. Nothing is sent yet.
    pub fn new(records: &'a Records, client: &'a Client, ask: Ask, view: Option<View>) -> Self {
        let deliveries = view.as_ref().map(|view| Deliveries::within(view.time_limit));
        // Whoever wants it to go on waits for nothing but the lease of an owner that may live.
        let quiet_since_ms = if matches!(ask, Ask::Resume { .. }) { 0 } else { now_us() / 1000 };
        Self {
            records,
            client,
            id: ask.execution(),
            ask,
            view,
            patience: Patience::default(),
            seen: Seen { history: None, deliveries, nodes: Vec::new() },
            quiet_since_ms,
            attempts: 0,
            awaits_delivery: false,
            losses: 0,
            is_begun: false,
            pause: FIRST_LOOK,
            passing: None,
            answered: None,
        }
    }

    /// Waits as patiently as this.
    #[must_use]
    pub fn with_patience(mut self, patience: Patience) -> Self {
        self.patience = patience;
        self
    }

    /// Waits until the receiver has the result, where there is one.
    #[must_use]
    pub fn until_delivered(mut self) -> Self {
        self.awaits_delivery = true;
        self
    }

    /// What is known by now.
    pub fn into_seen(self) -> Seen {
        self.seen
    }

    /// Sends the call, unless the execution exists and somebody drives it.
    ///
    /// # Errors
    /// Where the platform or the store does not answer.
    pub async fn begin(&mut self) -> Result<()> {
        self.read_log().await?;
        match (&self.ask, &self.seen.history) {
            (Ask::First(call), None) => self.client.call(call).await.map(|activation| self.sent(activation)),
            // Whoever drives it may still do so: the decision below is the same as for a lost successor.
            _ => Ok(()),
        }
    }

    /// Waits for the end.
    ///
    /// # Errors
    /// Where platform or store do not answer, or nothing we do has any effect.
    pub async fn wait_for_end(&mut self, watcher: &mut dyn Watcher) -> Result<Ended> {
        loop {
            self.read_log().await?;
            watcher.changed(&self.seen);
            if let Some(answer) = self.early_answer().await? {
                return Ok(Ended::Answer(answer));
            }
            let has_happened = self.has_happened().await?;
            match self.next(has_happened)? {
                Next::Done => break self.settle(watcher).await?,
                Next::Wait(time) => self.wait(time, watcher).await?,
                Next::Call => self.act(false, watcher).await?,
                Next::Resume => self.act(true, watcher).await?,
                Next::GiveUp => return Err(self.given_up()),
            }
        }
        let history = self.seen.history.clone().ok_or_else(|| Error::bug("an end without a log"))?;
        Ok(Ended::Log(Box::new(history)))
    }

    /// Whether an event has happened that the execution waits for.
    async fn has_happened(&self) -> Result<bool> {
        match &self.seen.history {
            Some(history) => self.records.has_happened(&history.execution).await,
            None => Ok(false),
        }
    }

    fn next(&self, has_happened: bool) -> Result<Next> {
        let hopeless = self.seen.deliveries.as_ref().and_then(Deliveries::hopeless);
        if let (None, Some(hopeless)) = (&self.seen.history, hopeless) {
            return Err(self.hopeless(hopeless));
        }
        let situation = Situation {
            execution: self.seen.history.as_ref().map(|history| &history.execution),
            is_owed: self.awaits_delivery && self.seen.history.as_ref().is_some_and(History::is_owed),
            has_happened,
            in_flight: self.seen.deliveries.as_ref().map(Deliveries::in_flight),
            now_ms: now_us() / 1000,
            quiet_since_ms: self.quiet_since_ms,
            attempts: self.attempts,
        };
        Ok(next(&situation, &self.patience))
    }

    async fn read_log(&mut self) -> Result<()> {
        let from = self.seen.history.as_ref().map_or(0, |history| history.execution.length);
        let entries = self.records.entries(&self.id, from).await?;
        if entries.is_empty() {
            return Ok(());
        }
        let unreadable = |error: LogError| {
            Error::new(Exit::Store, format!("failed to read the log of execution {}", self.id)).because(error)
        };
        for entry in &entries {
            match &mut self.seen.history {
                Some(history) => history.push(entry).map_err(unreadable)?,
                none => *none = Some(History::begin(entry).map_err(unreadable)?),
            }
        }
        (self.attempts, self.losses) = (0, 0);
        self.answered = None;
        self.pause = FIRST_LOOK;
        if self.is_begun {
            self.stir();
        }
        Ok(())
    }

    /// Why a delivery that was answered left nothing in the log; a result, where it is one.
    async fn early_answer(&mut self) -> Result<Option<Said>> {
        let is_over = self.seen.history.as_ref().is_some_and(|history| history.status().is_terminal());
        let is_idle = self.seen.deliveries.as_ref().is_none_or(|deliveries| deliveries.in_flight() == 0);
        // A platform without records has to be asked anew, which makes sense only where all else was without effect.
        let may_ask = self.client.keeps_answers() || self.seen.history.is_none() || self.attempts > 0;
        let Some(activation) = self.answered.clone().filter(|_| is_idle && !is_over && may_ask) else {
            return Ok(None);
        };
        let answer = match self.client.answer(&self.ask, &activation).await? {
            Answer::Pending => return Ok(None),
            // The platform's patience or a fault ended it: that says nothing about the next delivery.
            Answer::Lost(_) => {
                self.answered = None;
                return Ok(None);
            }
            Answer::Function(answer) => answer,
        };
        self.answered = None;
        // The log may have grown while we asked; then it has the last word.
        self.read_log().await?;
        match failure_in(&answer.value) {
            Some(failure) => self.refused(&failure),
            None if answer.value.get("execution").is_some() && answer.value.get("status").is_some() => {
                Ok(None)
            }
            None => Ok(self.seen.history.is_none().then_some(answer)),
        }
    }

    /// A failure that only a delivery tells: the execution is as it was.
    fn refused(&mut self, failure: &Failure) -> Result<Option<Said>> {
        if is_passing(failure) {
            self.passing = Some(failure.clone());
            return Ok(None);
        }
        Err(advise(Error::failure(failure), failure, self.id.as_str()))
    }

    async fn wait(&mut self, time: Duration, watcher: &mut dyn Watcher) -> Result<()> {
        let until = tokio::time::Instant::now() + time.min(LOOK);
        loop {
            let Some(view) = &mut self.view else {
                tokio::time::sleep(time.min(self.pause)).await;
                self.pause = (self.pause * 3 / 2).min(LOOK);
                return Ok(());
            };
            let event = tokio::select! {
                event = view.events.recv() => event,
                () = tokio::time::sleep_until(until) => return Ok(()),
            };
            match event {
                Ok(event) => {
                    self.heard(&event, watcher)?;
                    if !matches!(event.kind, EventKind::Log { .. }) {
                        return Ok(());
                    }
                }
                Err(RecvError::Lagged(_)) => {
                    self.seen.deliveries.as_mut().map(Deliveries::missed).unwrap_or_default();
                    return Ok(());
                }
                Err(RecvError::Closed) => {
                    return Err(Error::platform("the platform on this machine has ended"));
                }
            }
        }
    }

    /// What was printed before the end may arrive after it.
    async fn settle(&mut self, watcher: &mut dyn Watcher) -> Result<()> {
        const LONGEST: Duration = Duration::from_millis(500);
        const QUIET: Duration = Duration::from_millis(20);
        let until = tokio::time::Instant::now() + LONGEST;
        loop {
            let Some(view) = &mut self.view else { return Ok(()) };
            let is_idle = self.seen.deliveries.as_ref().is_none_or(|deliveries| deliveries.in_flight() == 0);
            let patience = if is_idle { until.min(tokio::time::Instant::now() + QUIET) } else { until };
            match tokio::time::timeout_at(patience, view.events.recv()).await {
                Ok(Ok(event)) => self.heard(&event, watcher)?,
                // Nothing more came, or it can't be had any more.
                _ => return Ok(()),
            }
        }
    }

    fn heard(&mut self, event: &Event, watcher: &mut dyn Watcher) -> Result<()> {
        if let EventKind::Log { line, .. } = &event.kind {
            if let Some(node) = NodeEvent::in_line(line) {
                watcher.node(&node);
                self.seen.nodes.push(node);
                return Ok(());
            }
            watcher.printed(line);
        } else if event.function != self.ask.handler() {
            // A node in another wrap: the platform is not quiet, and that is all.
            self.stir();
        } else {
            self.happened(event, watcher);
        }
        self.view.as_mut().map_or(Ok(()), |view| view.capture.on(event))
    }

    fn happened(&mut self, event: &Event, watcher: &mut dyn Watcher) {
        self.stir();
        if let Some(deliveries) = &mut self.seen.deliveries {
            deliveries.on(event);
        }
        match &event.kind {
            EventKind::Answered { .. } => self.answered = Some(event.activation.clone()),
            EventKind::Lost => self.lost(),
            EventKind::Killed { .. } | EventKind::Died { .. } if self.seen.history.is_none() => {
                let attempt = self.seen.deliveries.as_ref();
                let attempt = attempt.and_then(|all| all.attempt(&event.activation, event.at_us));
                if let Some((_, end)) = attempt.and_then(|attempt| attempt.end.as_ref()) {
                    watcher.noted(&format!("{} before it saved anything", end.describe()));
                }
            }
            _ => {}
        }
    }

    /// The platform lost it, so it says nothing about the function: it does not count as one without effect.
    fn lost(&mut self) {
        /// A platform that loses everything is not waited for for ever.
        const MOST: u32 = 50;
        self.losses += 1;
        if self.losses < MOST {
            self.attempts = self.attempts.saturating_sub(1);
            self.quiet_since_ms = 0;
        }
    }

    async fn act(&mut self, resume: bool, watcher: &mut dyn Watcher) -> Result<()> {
        self.attempts += 1;
        let activation = match &self.ask {
            Ask::First(call) if !resume => {
                let why = if self.losses > 0 { "the call was lost" } else { "nothing came of the call" };
                watcher.noted(&format!("{why}: calling again"));
                self.client.call(call).await?
            }
            ask => {
                // A person who asked for it need not be told.
                if self.is_begun {
                    let why =
                        if self.losses > 0 { "the delivery was lost" } else { "nobody goes on with it" };
                    watcher.noted(&format!("{why}: resuming"));
                }
                // What the log tells by now counts, not what it did when this was asked.
                let entry = self.seen.history.as_ref().and_then(|history| history.suspended);
                self.client.resume(&ask.place(), &self.id, entry).await?
            }
        };
        self.sent(activation);
        Ok(())
    }

    fn sent(&mut self, activation: String) {
        self.is_begun = true;
        self.stir();
        // A platform that is not ours tells nothing: its answer is asked for.
        if self.view.is_none() && self.client.keeps_answers() {
            self.answered = Some(activation);
        }
    }

    fn stir(&mut self) {
        self.quiet_since_ms = now_us() / 1000;
    }

    fn given_up(&self) -> Error {
        if self.seen.history.as_ref().is_some_and(History::is_owed) {
            return Error::platform(format!("failed to deliver the result of execution {}", self.id))
                .help(format!("`cargo faas result {}` prints it", self.id))
                .help(format!("see that the receiver answers, then `cargo faas resume {}`", self.id));
        }
        let message = format!("failed to get execution {} to go on in {} deliveries", self.id, self.attempts);
        let error = match &self.passing {
            Some(failure) => Error::new(Exit::of_failure(failure.code), message).because(failure.clone()),
            None => Error::platform(message),
        };
        error
            .help(format!("`cargo faas logs {}` shows what the function printed", self.id))
            .help(format!("`cargo faas resume {}` tries again", self.id))
    }

    fn hopeless(&self, hopeless: Hopeless) -> Error {
        let handler = self.ask.handler();
        let message =
            |what: &str| format!("handler `{handler}` {what} again and again before it saved anything");
        match hopeless {
            Hopeless::TimeLimit => Error::new(Exit::NoProgress, message("was killed at its time limit"))
                .help("put #[checkpoint] on its longest loop, or raise --time-limit"),
            Hopeless::Memory => {
                Error::new(Exit::NoProgress, message("was killed for its memory")).help("raise --memory")
            }
            Hopeless::Died => {
                Error::new(Exit::Application, message("died")).help("what it printed stands above")
            }
        }
    }
}

/// Whether another delivery may do better.
fn is_passing(failure: &Failure) -> bool {
    matches!(failure.code.advice(), Advice::Retry | Advice::Fenced)
}
