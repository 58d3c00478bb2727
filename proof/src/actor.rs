//! One delivery: core's state machine, the commands it gave, and the handler it runs.

use std::collections::VecDeque;

use limitless_faas_core::invocation::{
    Answer, Call, Command, Delivery, Event, Finished, Given, Invocation, Snapshot, Verdict, Written,
};
use limitless_faas_core::log::{Driver, Entry, Kind, Saved, Wake};

use crate::guard::Guard;
use crate::model::Protocol;
use crate::world::{TICK_MS, World, away, clock_ms, id, nonce, policy};

/// A delivery under way.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Actor {
    pub(crate) number: u8,
    pub(crate) invocation: Invocation,
    /// Commands that were not performed yet.
    pub(crate) todo: VecDeque<Command>,
    pub(crate) alarm_us: Option<u64>,
    pub(crate) handler: Option<Handler>,
    /// What the handler returned, as the process knows it.
    own_result: Option<String>,
    is_behind: bool,
}

/// A handler that computes, runs one recorded step, and returns who ran the step and who returned.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Handler {
    epoch: u64,
    at: At,
    /// What an earlier owner recorded.
    recorded: Option<u8>,
    is_asked_to_suspend: bool,
    is_asked_to_report: bool,
    lease_until_ms: Option<u64>,
    waits_for_lease: bool,
    /// Acknowledged records in its own segment.
    steps: usize,
}

/// Who ran the step of a handler that has none.
const NOBODY: u8 = u8::MAX;

/// How far a handler has come. A hook stands before each.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum At {
    Computing,
    /// It needs an event to go on.
    BeforeEvent,
    /// It sleeps, and goes on when that is over.
    BeforeSleep,
    BeforeStep,
    /// The effect ran and the append was sent and is durable; the owner does not know yet.
    Appended,
    /// The step's value.
    AfterStep(u8),
}

/// How a command that leaves the process may turn out.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Fate {
    /// As it should.
    Well,
    /// It happened, and the answer is lost.
    Unheard,
    /// It may still happen, and the answer is lost.
    Adrift,
    /// It did not happen, and nobody says so.
    Vanished,
    /// It happened twice.
    Doubled,
}

impl Actor {
    pub(crate) fn new(protocol: &Protocol, number: u8, call: Call, now: u8, is_behind: bool) -> Self {
        let shares_nonce = protocol.lacks(Guard::NoncePerDelivery);
        let delivery = Delivery {
            execution: id(),
            handler: "squares".to_owned(),
            nonce: nonce(if shares_nonce { 0 } else { number }),
            call,
            deadline_ms: clock_ms(now) + protocol.bounds.limit_ms(),
            driver: Driver { limit_ms: protocol.bounds.limit_ms(), ..Driver::default() },
            is_owner_dead: protocol.lacks(Guard::WaitForLease),
            is_signed: false,
            has_store: true,
            policy: policy(protocol),
        };
        let mut invocation = Invocation::new(delivery);
        let arrived_us = clock_ms(now - u8::from(is_behind)) * 1000;
        let todo = invocation.on(arrived_us, Event::Arrived).into();
        Self { number, invocation, todo, alarm_us: None, handler: None, own_result: None, is_behind }
    }

    /// What its clock says.
    pub(crate) fn clock_us(&self, now: u8) -> u64 {
        clock_ms(now - u8::from(self.is_behind)) * 1000
    }

    pub(crate) fn is_alarm_due(&self, now: u8) -> bool {
        self.alarm_us.is_some_and(|at_us| at_us <= self.clock_us(now))
    }

    pub(crate) fn can_compute(&self) -> bool {
        self.handler.as_ref().is_some_and(|handler| !handler.waits_for_lease)
    }

    fn is_own(&self, entry: &Entry) -> bool {
        entry.nonce == self.invocation.delivery().nonce
    }
}

impl World {
    pub(crate) fn tell(&mut self, protocol: &Protocol, at: usize, event: Event) {
        let actor = &mut self.actors[at];
        let now_us = actor.clock_us(self.now);
        let more = actor.invocation.on(now_us, event);
        actor.todo.extend(more);
        self.settle(protocol, at);
    }

    /// Performs what does not leave the process: nobody else could tell when it happened.
    pub(crate) fn settle(&mut self, protocol: &Protocol, at: usize) {
        while let Some(command) = self.actors[at].todo.front() {
            if leaves_the_process(command) {
                return;
            }
            let Some(command) = self.actors[at].todo.pop_front() else { return };
            match command {
                Command::Run(given) => self.start(at, &given),
                Command::Report => self.ask(at, |handler| handler.is_asked_to_report = true),
                Command::Suspend { .. } => self.ask(at, |handler| handler.is_asked_to_suspend = true),
                Command::AllowSteps { lease_until_ms } => self.ask(at, |handler| {
                    handler.lease_until_ms = Some(lease_until_ms);
                    handler.waits_for_lease = false;
                }),
                Command::Abandon => self.actors[at].handler = None,
                Command::Alarm { at_us } => self.actors[at].alarm_us = Some(at_us),
                Command::Verify { saved, .. } => {
                    let is_seen = self.is_damaged(&saved) && !protocol.lacks(Guard::VerifyBeforeClaiming);
                    let verdict =
                        if is_seen { Verdict::Damaged("a flipped bit".to_owned()) } else { Verdict::Good };
                    return self.tell(protocol, at, Event::Verified(verdict));
                }
                Command::Answer(answer) => return self.answer(protocol, at, answer),
                _ => {}
            }
        }
    }

    fn answer(&mut self, protocol: &Protocol, at: usize, answer: Answer) {
        let actor = self.actors.remove(at);
        let own = actor.own_result.filter(|_| protocol.lacks(Guard::AnswerFromLog));
        let told = own.map_or(answer, |json| Answer::Result(limitless_faas_core::log::Stored::Json(json)));
        self.answered(protocol, &told);
    }

    fn ask(&mut self, at: usize, change: impl FnOnce(&mut Handler)) {
        if let Some(handler) = &mut self.actors[at].handler {
            change(handler);
        }
    }

    /// The handler begins where it is told to, and finds the steps that count.
    fn start(&mut self, at: usize, given: &Given) {
        let recorded = given.segments.iter().find_map(|segment| {
            let records = self.segments.get(&(segment.epoch, segment.nonce))?;
            let counted =
                segment.length.and_then(|length| usize::try_from(length).ok()).unwrap_or(records.len());
            records.iter().take(counted).next().copied()
        });
        let begins_at = match given.from.as_ref().map(|saved| saved.checkpoint.as_str()) {
            None | Some("computing") => At::Computing,
            Some(value) => value.parse().map_or(At::BeforeStep, At::AfterStep),
        };
        let own = self.actors[at].invocation.delivery().nonce;
        let steps = self.segments.get(&(given.epoch, own)).map_or(0, Vec::len);
        self.actors[at].handler = Some(Handler {
            epoch: given.epoch,
            at: begins_at,
            recorded,
            is_asked_to_suspend: false,
            is_asked_to_report: false,
            lease_until_ms: None,
            waits_for_lease: false,
            steps,
        });
    }

    /// The handler of one delivery goes on to its next hook.
    pub(crate) fn compute(&mut self, protocol: &Protocol, at: usize) {
        let clock_us = self.actors[at].clock_us(self.now);
        let (own, number) = (self.actors[at].invocation.delivery().nonce, self.actors[at].number);
        let Some(handler) = &mut self.actors[at].handler else { return };
        if handler.at == At::Appended {
            return self.acknowledge(protocol, at, clock_us);
        }
        if std::mem::take(&mut handler.is_asked_to_report) {
            return self.tell(protocol, at, Event::HookPassed);
        }
        if handler.is_asked_to_suspend {
            return self.save(protocol, at);
        }
        let after_event = if protocol.bounds.has_no_step { At::AfterStep(NOBODY) } else { At::BeforeStep };
        match handler.at {
            At::Computing if protocol.bounds.has_wait => handler.at = At::BeforeEvent,
            At::Computing if protocol.bounds.has_sleep => handler.at = At::BeforeSleep,
            At::BeforeSleep if self.sleeps_until_ms.is_none_or(|until_ms| clock_us / 1000 < until_ms) => {
                self.sleep(protocol, at, clock_us / 1000);
            }
            At::BeforeEvent if !self.has_happened => {
                let steps = handler.steps as u64;
                let wake = Wake { events: vec!["word".to_owned()], ..Wake::default() };
                self.actors[at].handler = None;
                self.tell(protocol, at, Event::Waiting { wake, steps });
            }
            At::Computing | At::BeforeEvent | At::BeforeSleep => handler.at = after_event,
            At::BeforeStep if handler.recorded.is_some() => {
                handler.at = handler.recorded.map_or(At::BeforeStep, At::AfterStep);
            }
            At::BeforeStep if handler.lease_until_ms.is_none() => {
                handler.waits_for_lease = true;
                self.tell(protocol, at, Event::StepWanted);
            }
            At::BeforeStep => {
                handler.at = At::Appended;
                self.segments.entry((handler.epoch, own)).or_default().push(number);
            }
            At::Appended => {}
            At::AfterStep(by) => {
                let result = format!("{by}, then {number}");
                self.actors[at].handler = None;
                self.actors[at].own_result = Some(result.clone());
                self.tell(protocol, at, Event::Finished(Finished::Returned(result)));
            }
        }
    }

    /// The handler leaves until its sleep is over. When that is was recorded where it was met first.
    fn sleep(&mut self, protocol: &Protocol, at: usize, clock_ms: u64) {
        let until_ms = *self.sleeps_until_ms.get_or_insert(clock_ms + 2 * TICK_MS);
        let Some(handler) = self.actors[at].handler.take() else { return };
        let wake = Wake { at_ms: Some(until_ms), ..Wake::default() };
        self.tell(protocol, at, Event::Waiting { wake, steps: handler.steps as u64 });
    }

    /// The durable answer of an append has arrived.
    fn acknowledge(&mut self, protocol: &Protocol, at: usize, clock_us: u64) {
        let (own, number) = (self.actors[at].invocation.delivery().nonce, self.actors[at].number);
        let Some(handler) = &mut self.actors[at].handler else { return };
        let is_leased = handler.lease_until_ms.is_some_and(|end_ms| clock_us / 1000 < end_ms);
        if !is_leased && !protocol.lacks(Guard::AcknowledgeWithinLease) {
            let steps = handler.steps as u64;
            self.actors[at].handler = None;
            let unable = Finished::Unable { failure: away(), steps };
            return self.tell(protocol, at, Event::Finished(unable));
        }
        handler.at = At::AfterStep(number);
        handler.steps += 1;
        let place = handler.steps - 1;
        let epoch = handler.epoch;
        self.acknowledged.insert((epoch, own, place));
        self.effects.insert(number);
        self.check_log();
    }

    fn save(&mut self, protocol: &Protocol, at: usize) {
        let Some(handler) = self.actors[at].handler.take() else { return };
        let state = match handler.at {
            At::AfterStep(by) => by.to_string(),
            At::BeforeStep => "before".to_owned(),
            At::Computing | At::BeforeEvent | At::BeforeSleep | At::Appended => "computing".to_owned(),
        };
        let saved = Saved {
            checkpoint: state.clone(),
            state,
            steps: handler.steps as u64,
            cost_us: 2000,
            ..Saved::default()
        };
        self.tell(protocol, at, Event::Suspended(Snapshot { saved, is_on_its_way: false }));
    }

    /// The first command of a delivery leaves the process and meets its fate.
    pub(crate) fn perform(&mut self, protocol: &Protocol, at: usize, fate: Fate) {
        match self.actors[at].todo.front() {
            Some(Command::Create { .. }) => self.create(protocol, at, fate),
            Some(Command::Read { from, .. }) => {
                let from = usize::try_from(*from).unwrap_or(usize::MAX);
                let entries =
                    self.log.iter().skip(from).cloned().map(|entry| as_read(protocol, entry)).collect();
                self.done(protocol, at, Event::Read(Ok(entries)));
            }
            Some(Command::Measure { segment, .. }) => {
                let length = self.segments.get(&(segment.epoch, segment.nonce)).map_or(0, Vec::len);
                self.done(protocol, at, Event::Measured(Ok(length as u64)));
            }
            Some(Command::Look { .. }) => {
                // Who leaves wrote the newest entry.
                let is_leaving = self.log.last().is_some_and(|entry| self.actors[at].is_own(entry));
                let looks = !is_leaving || !protocol.lacks(Guard::LookAfterWriting);
                self.done(protocol, at, Event::Happened(Ok(looks && self.has_happened)));
            }
            Some(Command::Invoke { entry, .. }) => {
                let call = Call::Resume { entry: Some(*entry) };
                let times = match fate {
                    Fate::Doubled => 2,
                    Fate::Vanished => 0,
                    _ => 1,
                };
                (0..times).for_each(|_| self.arrive(protocol, call.clone(), false));
                self.done(protocol, at, Event::Invoked(Ok(())));
            }
            Some(Command::Deliver { answer, .. }) => {
                let answer = answer.clone();
                self.is_delivered = true;
                self.told(&answer);
                self.done(protocol, at, Event::Delivered(Ok(())));
            }
            _ => {}
        }
    }

    fn done(&mut self, protocol: &Protocol, at: usize, event: Event) {
        self.actors[at].todo.pop_front();
        self.tell(protocol, at, event);
    }

    fn create(&mut self, protocol: &Protocol, at: usize, fate: Fate) {
        let Some(Command::Create { number, entry, .. }) = self.actors[at].todo.front().cloned() else {
            return;
        };
        if matches!(entry.kind, Kind::Suspended { .. }) && protocol.lacks(Guard::SuspendBeforeInvoking) {
            return self.invoke_too_early(protocol, at, number, &entry);
        }
        match fate {
            Fate::Unheard => drop(self.try_create(protocol, number, &entry)),
            Fate::Adrift => self.strays.push((number, (*entry).clone())),
            Fate::Vanished => {}
            Fate::Well | Fate::Doubled => {
                let written = self.written(protocol, at, number, &entry);
                return self.done(protocol, at, Event::Wrote(written));
            }
        }
        let believed =
            if protocol.lacks(Guard::AwaitOutcome) { Written::New } else { Written::Unknown(away()) };
        self.done(protocol, at, Event::Wrote(believed));
    }

    fn written(&mut self, protocol: &Protocol, at: usize, number: u64, entry: &Entry) -> Written {
        if self.try_create(protocol, number, entry) {
            return Written::New;
        }
        let there = usize::try_from(number).ok().and_then(|number| self.log.get(number)).cloned();
        match there {
            Some(there) if !self.actors[at].is_own(&there) && protocol.lacks(Guard::DecideAnew) => {
                self.try_create(protocol, self.log.len() as u64, entry);
                Written::New
            }
            Some(there) => Written::Taken(Box::new(there)),
            None => Written::Unknown(away()),
        }
    }

    /// What a performer would do that does not wait for the suspension to stand.
    fn invoke_too_early(&mut self, protocol: &Protocol, at: usize, number: u64, entry: &Entry) {
        if !self.actors[at].todo.iter().any(|command| matches!(command, Command::Note(_))) {
            self.actors[at].todo.push_back(Command::Note("invoked".to_owned()));
            return self.arrive(protocol, Call::Resume { entry: Some(number) }, false);
        }
        self.actors[at].todo.retain(|command| !matches!(command, Command::Note(_)));
        let written = self.written(protocol, at, number, entry);
        self.done(protocol, at, Event::Wrote(written));
        // The machine now asks for what has been done already.
        if let Some(at) = self.actors.iter().position(
            |actor| matches!(actor.todo.front(), Some(Command::Invoke { entry, .. }) if *entry == number),
        ) {
            self.done(protocol, at, Event::Invoked(Ok(())));
        }
    }

    /// A process dies; what it had sent may still land.
    pub(crate) fn crash(&mut self, at: usize) {
        let actor = self.actors.remove(at);
        if let Some(Command::Create { number, entry, .. }) = actor.todo.into_iter().next() {
            self.strays.push((number, *entry));
        }
    }
}

/// The entry, in which nobody sees a sleep where that guard is gone.
fn as_read(protocol: &Protocol, mut entry: Entry) -> Entry {
    if let Kind::Suspended { wake, .. } = &mut entry.kind
        && protocol.lacks(Guard::SleepUntilDue)
    {
        *wake = None;
    }
    entry
}

fn leaves_the_process(command: &Command) -> bool {
    matches!(
        command,
        Command::Read { .. }
            | Command::Measure { .. }
            | Command::Look { .. }
            | Command::Create { .. }
            | Command::Invoke { .. }
            | Command::Deliver { .. }
    )
}
