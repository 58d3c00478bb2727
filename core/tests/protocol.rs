//! The whole protocol under a random scheduler: crashes, duplicate and lost deliveries, delays, lost
//! acknowledgements, attempts that land late, checkpoints that are damaged or away for a moment, processes asked to stop,
//! zombies and cancellation; segments of steps that go on growing after they were sealed, and clocks that differ by as much
//! as the policy allows.
//!
//! Each seed is one history. In every one of them at most one `Completed` counts, every result that anybody is
//! answered is the right one, no acknowledged checkpoint is passed over unless it was damaged, no step is acknowledged
//! twice, and once the faults stop the execution comes to its end.

#![allow(clippy::unwrap_used, reason = "helper functions of a test")]

use std::collections::{BTreeMap, BTreeSet};

use limitless_faas_core::invocation::{
    Answer, Call, Command, Delivery, Event, Finished, Given, Invocation, Snapshot, Verdict, Written,
};
use limitless_faas_core::log::{
    Applied, Driver, Entry, Execution, Input, Kind, Origin, Phase, Saved, Status, Stored, Wake, fold,
};
use limitless_faas_core::pace::Policy;
use limitless_faas_core::{Code, ExecutionId, Failure, Nonce};
use proptest::prelude::*;

/// `SplitMix64`: small, seeded, good enough to shuffle with.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        z ^ (z >> 31)
    }

    fn below(&mut self, n: usize) -> usize {
        usize::try_from(self.next() % n as u64).unwrap()
    }

    fn chance(&mut self, percent: u64) -> bool {
        self.next() % 100 < percent
    }
}

const WORK: u64 = 12;
/// Where the handler waits for an event.
const WAITS_AT: u64 = 9;
const LIMIT_MS: u64 = 2_000;

/// The iterations that are recorded steps.
fn is_step(at: u64) -> bool {
    at >= WORK / 2 && at.is_multiple_of(2)
}

fn expected() -> String {
    (0..WORK).map(|i| i * i).sum::<u64>().to_string()
}

/// A handler that sums squares, one per tick; its state is how far it got and the sum.
#[expect(clippy::struct_excessive_bools, reason = "each is a request that it notices by itself")]
struct Handler {
    at: u64,
    sum: u64,
    is_asked_to_suspend: bool,
    /// What it saves may reach the store after it has gone on.
    may_follow: bool,
    is_asked_to_report: bool,
    waits_for_step: bool,
    has_passed_a_hook: bool,
    /// Steps that an owner before, or an earlier run of this one, recorded.
    recorded: BTreeSet<u64>,
    /// The step whose record is durable; the owner does not know yet.
    appended: Option<u64>,
}

struct Actor {
    invocation: Invocation,
    /// How much later its clock is than the world's, as much as the policy allows.
    late_us: u64,
    epoch: u64,
    /// The end of the lease, once steps may be recorded.
    lease_until_ms: Option<u64>,
    /// Acknowledged length of its own segment.
    steps: u64,
    handler: Option<Handler>,
    /// The checkpoint on its way to the store.
    upload: Option<String>,
    /// Commands not performed yet.
    todo: Vec<Command>,
    alarm_us: Option<u64>,
    is_abandoned: bool,
    missed: bool,
    deliveries: u32,
    /// Its container is frozen until then: its clock runs on, and it does nothing.
    frozen_until_us: u64,
}

impl Actor {
    fn clock_us(&self, now_us: u64) -> u64 {
        now_us - self.late_us
    }

    fn nonce(&self) -> Nonce {
        self.invocation.delivery().nonce
    }
}

/// A create whose sender no longer listens, and which may yet land.
type Stray = (u64, Entry);

struct World {
    random: Random,
    now_us: u64,
    log: Vec<Entry>,
    blobs: BTreeMap<String, (u64, u64)>,
    /// Blobs that only their process has.
    absent: BTreeSet<String>,
    damaged: Vec<String>,
    actors: Vec<Actor>,
    strays: Vec<Stray>,
    answers: Vec<Answer>,
    delivered: Vec<Answer>,
    /// Numbers of checkpoints whose writer was told that they stand.
    acknowledged: Vec<u64>,
    /// What was appended by whom: the steps' numbers, repeated where an answer was lost.
    segments: BTreeMap<(u64, Nonce), Vec<u64>>,
    /// Steps whose owner was told that they are recorded, and went on.
    done: BTreeSet<u64>,
    replayed: u32,
    too_late: u32,
    past_the_seal: u32,
    /// Checkpoints that were durable only after their handler had gone on.
    followed: u32,
    nonces: u64,
    faults: bool,
    wants_callback: bool,
    /// Whether the event that handlers wait for half-way has happened.
    has_happened: bool,
}

fn id() -> ExecutionId {
    ExecutionId::derive("squares", "call")
}

fn away() -> Failure {
    Failure::new(Code::StoreAway, "the store did not answer")
}

impl World {
    fn new(seed: u64) -> Self {
        let mut random = Random(seed);
        let wants_callback = random.chance(50);
        Self {
            random,
            now_us: 1_000_000_000_000,
            log: Vec::new(),
            blobs: BTreeMap::new(),
            absent: BTreeSet::new(),
            damaged: Vec::new(),
            actors: Vec::new(),
            strays: Vec::new(),
            answers: Vec::new(),
            delivered: Vec::new(),
            acknowledged: Vec::new(),
            segments: BTreeMap::new(),
            done: BTreeSet::new(),
            replayed: 0,
            too_late: 0,
            past_the_seal: 0,
            followed: 0,
            nonces: 0,
            faults: true,
            wants_callback,
            has_happened: false,
        }
    }

    fn origin(&self) -> Origin {
        Origin {
            input: Input { digest: "d".to_owned(), stored: Stored::Json("{}".to_owned()) },
            callback: self.wants_callback.then(|| "http://receiver/".to_owned()),
            caller: None,
            keep_ms: None,
        }
    }

    fn arrive(&mut self, call: Call) {
        self.nonces += 1;
        let delivery = Delivery {
            execution: id(),
            handler: "squares".to_owned(),
            nonce: Nonce::from_random(self.nonces.to_be_bytes()),
            call,
            deadline_ms: self.now_us / 1000 + LIMIT_MS,
            driver: Driver { activation: self.nonces.to_string(), limit_ms: LIMIT_MS, ..Driver::default() },
            is_owner_dead: false,
            is_signed: false,
            has_store: true,
            // The handler moves whenever it computes, so the idle limit stays what it is.
            policy: Policy { starved_limit: 100, crash_limit: 50, ..Policy::default() },
        };
        let late_us = self.random.next() % (delivery.policy.skew_ms * 1000 + 1);
        let mut invocation = Invocation::new(delivery);
        let todo = invocation.on(self.now_us - late_us, Event::Arrived);
        self.actors.push(Actor {
            invocation,
            late_us,
            epoch: 0,
            lease_until_ms: None,
            steps: 0,
            handler: None,
            upload: None,
            todo,
            alarm_us: None,
            is_abandoned: false,
            missed: false,
            deliveries: 0,
            frozen_until_us: 0,
        });
    }

    fn tell(&mut self, actor: usize, event: Event) {
        let now_us = self.actors[actor].clock_us(self.now_us);
        let more = self.actors[actor].invocation.on(now_us, event);
        self.actors[actor].todo.extend(more);
    }

    fn folded(&self) -> Option<Execution> {
        fold(&self.log).unwrap()
    }

    fn try_create(&mut self, number: u64, entry: &Entry) -> bool {
        if number != self.log.len() as u64 {
            assert!(number < self.log.len() as u64, "W1: an entry was written past the end of the log");
            return false;
        }
        self.check_claim(entry);
        self.check_saved(entry);
        self.log.push(entry.clone());
        true
    }

    /// The log names no checkpoint that is not in the store.
    fn check_saved(&self, entry: &Entry) {
        let saved = match &entry.kind {
            Kind::Started { saved, .. } | Kind::Suspended { saved, .. } => saved.as_ref(),
            Kind::Checkpointed { saved } => Some(saved),
            _ => None,
        };
        let is_absent = saved.is_some_and(|saved| self.absent.contains(&saved.checkpoint));
        assert!(!is_absent, "a checkpoint was recorded before it was durable: {entry:?}");
    }

    /// No acknowledged checkpoint is lost: a claim goes on from the newest one, unless that is damaged.
    fn check_claim(&self, entry: &Entry) {
        let Kind::Claimed { from, .. } = &entry.kind else { return };
        let Some(log) = self.folded() else { return };
        let newest_good = log
            .saved
            .iter()
            .rev()
            .find(|(_, saved)| !self.damaged.contains(&saved.checkpoint))
            .map(|(n, _)| *n);
        if log.saved.len() < 2 || newest_good.is_some() {
            // It may be a newer one, damaged only after it was verified.
            assert!(*from >= newest_good, "a claim passed over an acknowledged checkpoint");
        }
    }

    /// One command of one actor.
    fn perform(&mut self, actor: usize) {
        let command = self.actors[actor].todo.remove(0);
        match command {
            Command::Read { from, .. } => {
                let result = if self.faults && self.random.chance(10) {
                    Err(away())
                } else {
                    Ok(self.log.iter().skip(usize::try_from(from).unwrap()).cloned().collect())
                };
                self.tell(actor, Event::Read(result));
            }
            Command::Measure { segment, .. } => {
                let length = self.segments.get(&(segment.epoch, segment.nonce)).map_or(0, Vec::len) as u64;
                let measured = if self.faults && self.random.chance(10) { Err(away()) } else { Ok(length) };
                self.tell(actor, Event::Measured(measured));
            }
            Command::Verify { saved, .. } => {
                let verdict = if self.faults && self.random.chance(10) {
                    Verdict::Away(away())
                } else if self.faults && !self.actors[actor].missed && self.random.chance(5) {
                    // Not there for a moment, as after the log has moved on.
                    self.actors[actor].missed = true;
                    Verdict::Missing
                } else if self.damaged.contains(&saved.checkpoint) {
                    Verdict::Damaged("bad checksum".to_owned())
                } else {
                    Verdict::Good
                };
                self.tell(actor, Event::Verified(verdict));
            }
            Command::Look { .. } => {
                let looked =
                    if self.faults && self.random.chance(10) { Err(away()) } else { Ok(self.has_happened) };
                self.tell(actor, Event::Happened(looked));
            }
            Command::Create { number, entry, .. } => self.create(actor, number, &entry),
            Command::Run(_) if self.faults && self.random.chance(3) => {
                // The store gave no answer when the state or the steps were to be read.
                let unable = Finished::Unable { failure: away(), steps: self.actors[actor].steps };
                self.tell(actor, Event::Finished(unable));
            }
            Command::Run(given) => self.run(actor, &given),
            Command::Report => self.with_handler(actor, |handler| handler.is_asked_to_report = true),
            Command::Suspend { may_follow, .. } => self.with_handler(actor, |handler| {
                handler.is_asked_to_suspend = true;
                handler.may_follow = may_follow;
            }),
            Command::AllowSteps { lease_until_ms } => {
                self.actors[actor].lease_until_ms = Some(lease_until_ms);
                self.with_handler(actor, |handler| handler.waits_for_step = false);
            }
            Command::Abandon => {
                self.actors[actor].handler = None;
                self.actors[actor].is_abandoned = true;
            }
            Command::StoreOutput(json) => self.tell(actor, Event::OutputStored(Ok(Stored::Json(json)))),
            Command::Invoke { entry, .. } => self.invoke(actor, entry),
            Command::Deliver { answer, .. } => self.deliver(actor, *answer),
            Command::Alarm { at_us } => self.actors[actor].alarm_us = Some(at_us),
            Command::Note(_) => {}
            Command::Answer(answer) => {
                self.answers.push(answer);
                self.actors.remove(actor);
            }
        }
    }

    fn run(&mut self, actor: usize, given: &Given) {
        let (at, sum) = given.from.as_ref().map_or((0, 0), |saved| self.blobs[&saved.checkpoint]);
        let mut recorded = BTreeSet::new();
        for segment in &given.segments {
            let all = self.segments.get(&(segment.epoch, segment.nonce)).map_or(&[][..], Vec::as_slice);
            let is_own = segment.nonce == self.actors[actor].nonce();
            let length = if is_own { self.actors[actor].steps } else { segment.length.unwrap_or(0) };
            recorded.extend(&all[..usize::try_from(length).unwrap()]);
        }
        self.actors[actor].epoch = given.epoch;
        self.actors[actor].handler = Some(Handler {
            at,
            sum,
            is_asked_to_suspend: false,
            may_follow: false,
            is_asked_to_report: false,
            waits_for_step: false,
            has_passed_a_hook: false,
            recorded,
            appended: None,
        });
    }

    /// A step: its effect and its record, and in another turn the owner's look at its clock.
    fn step(&mut self, actor: usize) {
        let Actor { epoch, lease_until_ms, .. } = self.actors[actor];
        let key = (epoch, self.actors[actor].nonce());
        let now_ms = self.actors[actor].clock_us(self.now_us) / 1000;
        let Some(handler) = &mut self.actors[actor].handler else { return };
        let Some(lease_until_ms) = lease_until_ms else {
            handler.waits_for_step = true;
            return self.tell(actor, Event::StepWanted);
        };
        let at = handler.at;
        if handler.appended != Some(at) {
            let is_heard = !(self.faults && self.random.chance(20));
            if is_heard {
                handler.appended = Some(at);
            }
            // An append at a known offset is the same one as that whose answer was lost.
            let segment = self.segments.entry(key).or_default();
            let is_there = segment.len() as u64 > self.actors[actor].steps;
            if !is_there && (is_heard || self.random.chance(50)) {
                segment.push(at);
                self.note_past_the_seal(key);
            }
            return;
        }
        if now_ms >= lease_until_ms {
            self.too_late += 1;
            let steps = self.actors[actor].steps;
            self.actors[actor].handler = None;
            return self.tell(actor, Event::Finished(Finished::Unable { failure: away(), steps }));
        }
        // A zombie may run an effect again, and must not believe that it counted.
        assert!(self.done.insert(at), "step {at} was acknowledged twice: {:#?}", self.log);
        self.actors[actor].steps += 1;
        self.iterate(actor);
    }

    fn note_past_the_seal(&mut self, (epoch, _): (u64, Nonce)) {
        let is_over = self.folded().is_some_and(|log| log.epoch > epoch);
        self.past_the_seal += u32::from(is_over);
    }

    fn iterate(&mut self, actor: usize) {
        self.with_handler(actor, |handler| {
            handler.sum += handler.at * handler.at;
            handler.at += 1;
            handler.has_passed_a_hook = true;
        });
    }

    fn with_handler(&mut self, actor: usize, f: impl FnOnce(&mut Handler)) {
        if let Some(handler) = &mut self.actors[actor].handler {
            f(handler);
        }
    }

    fn create(&mut self, actor: usize, number: u64, entry: &Entry) {
        if self.faults && self.random.chance(10) {
            // The attempt's answer is lost; it may have landed, or land later, or never.
            match self.random.below(3) {
                0 => drop(self.try_create(number, entry)),
                1 => self.strays.push((number, entry.clone())),
                _ => {}
            }
            return self.tell(actor, Event::Wrote(Written::Unknown(away())));
        }
        let is_new = self.try_create(number, entry);
        let at = usize::try_from(number).unwrap();
        let is_own = self.log[at] == *entry;
        if is_own && matches!(entry.kind, Kind::Checkpointed { .. } | Kind::Suspended { saved: Some(_), .. })
        {
            self.acknowledged.push(number);
        }
        let written = if is_new { Written::New } else { Written::Taken(Box::new(self.log[at].clone())) };
        self.tell(actor, Event::Wrote(written));
    }

    fn invoke(&mut self, actor: usize, entry: u64) {
        if self.faults && self.random.chance(15) {
            return self.tell(actor, Event::Invoked(Err(away())));
        }
        // Accepted: it arrives never, once, or twice.
        let times = if self.faults { [0, 1, 1, 1, 2][self.random.below(5)] } else { 1 };
        for _ in 0..times {
            self.arrive(Call::Resume { entry: Some(entry) });
        }
        self.tell(actor, Event::Invoked(Ok(())));
    }

    fn deliver(&mut self, actor: usize, answer: Answer) {
        self.actors[actor].deliveries += 1;
        if self.faults && self.random.chance(20) {
            return self.tell(actor, Event::Delivered(Err(away())));
        }
        self.delivered.push(answer);
        self.tell(actor, Event::Delivered(Ok(())));
    }

    /// The handler of one actor gets a little time.
    fn compute(&mut self, actor: usize) {
        let Some(handler) = &mut self.actors[actor].handler else { return };
        if handler.waits_for_step {
            return;
        }
        // The hook stands at the top of the loop.
        if std::mem::take(&mut handler.is_asked_to_report) {
            return self.tell(actor, Event::HookPassed);
        }
        if handler.is_asked_to_suspend {
            return self.save(actor);
        }
        if is_step(handler.at) && handler.recorded.contains(&handler.at) {
            self.replayed += 1;
            return self.iterate(actor);
        }
        if handler.at < WORK && is_step(handler.at) {
            return self.step(actor);
        }
        if handler.at == WAITS_AT && !self.has_happened {
            // What it waits for may be far off, so it stops; the checkpoints and steps so far tell where it was.
            self.actors[actor].handler = None;
            let wake = Wake { at_ms: None, events: vec!["the event".to_owned()] };
            let steps = self.actors[actor].steps;
            return self.tell(actor, Event::Waiting { wake, steps });
        }
        if handler.at < WORK {
            return self.iterate(actor);
        }
        let result = handler.sum.to_string();
        self.actors[actor].handler = None;
        self.tell(actor, Event::Finished(Finished::Returned(result)));
    }

    fn save(&mut self, actor: usize) {
        let Some(handler) = self.actors[actor].handler.take() else { return };
        if self.faults && self.random.chance(5) {
            return self.tell(actor, Event::SaveFailed(away()));
        }
        let name = format!("blob-{}", self.blobs.len());
        // The next checkpoint waits for the one on its way.
        self.upload(actor);
        let is_on_its_way = handler.may_follow && self.random.chance(50);
        if is_on_its_way {
            self.absent.insert(name.clone());
            self.actors[actor].upload = Some(name.clone());
        }
        self.blobs.insert(name.clone(), (handler.at, handler.sum));
        let saved = Saved {
            checkpoint: name,
            state: format!("{}", handler.at),
            cost_us: 2_000,
            steps: self.actors[actor].steps,
            is_first_hook: !handler.has_passed_a_hook,
            ..Saved::default()
        };
        self.tell(actor, Event::Suspended(Snapshot { saved, is_on_its_way }));
    }

    /// What one actor's process has reaches the store, or does not.
    fn upload(&mut self, actor: usize) {
        let Some(checkpoint) = self.actors[actor].upload.take() else { return };
        let result = if self.faults && self.random.chance(10) { Err(away()) } else { Ok(()) };
        if result.is_ok() {
            self.absent.remove(&checkpoint);
            self.followed += u32::from(self.actors[actor].handler.is_some());
        }
        self.tell(actor, Event::Uploaded { checkpoint, result });
    }

    fn fire_alarms(&mut self) {
        for actor in 0..self.actors.len() {
            let now_us = self.actors[actor].clock_us(self.now_us);
            let is_due = self.actors[actor].alarm_us.is_some_and(|at| at <= now_us);
            let is_frozen = self.now_us < self.actors[actor].frozen_until_us;
            // On a busy machine an alarm comes when it can.
            if is_due && !is_frozen && !(self.faults && self.random.chance(30)) {
                self.actors[actor].alarm_us = None;
                self.tell(actor, Event::Alarm);
            }
        }
    }

    fn cancel(&mut self) {
        let kind = Kind::Cancelled { by: "test".to_owned() };
        let entry = Entry {
            execution: id(),
            handler: "squares".to_owned(),
            epoch: self.folded().map_or(1, |log| log.epoch),
            nonce: Nonce::from_random([255; 8]),
            at_us: self.now_us,
            kind,
        };
        let number = self.log.len() as u64;
        self.try_create(number, &entry);
    }

    fn misfortune(&mut self) {
        match self.random.below(12) {
            // Whoever makes it happen records it, and then invokes a successor.
            7 => {
                self.has_happened = true;
                self.arrive(Call::Resume { entry: None });
            }
            0 if !self.actors.is_empty() => {
                // A crash. What it had sent may still land.
                let victim = self.random.below(self.actors.len());
                let actor = self.actors.remove(victim);
                if let Some(Command::Create { number, entry, .. }) = actor.todo.into_iter().next() {
                    self.strays.push((number, *entry));
                }
            }
            1 => {
                let call = Call::First { origin: self.origin(), is_durable: true };
                self.arrive(call);
            }
            2 => self.arrive(Call::Resume { entry: None }),
            3 if !self.strays.is_empty() => {
                let at = self.random.below(self.strays.len());
                let (number, entry) = self.strays.remove(at);
                self.try_create(number, &entry);
            }
            4 => {
                if let Some(name) = self.blobs.keys().last().filter(|_| self.random.0.is_multiple_of(4)) {
                    self.damaged.push(name.clone());
                }
            }
            5 if self.random.chance(3) => self.cancel(),
            6 if !self.actors.is_empty() => {
                let asked = self.random.below(self.actors.len());
                self.tell(asked, Event::Stopping);
            }
            8.. if !self.actors.is_empty() => {
                let frozen = self.random.below(self.actors.len());
                self.actors[frozen].frozen_until_us =
                    self.now_us + self.random.next() % (2 * LIMIT_MS * 1000);
            }
            _ => {}
        }
    }

    /// One turn of the scheduler: time passes, and somebody does something.
    fn turn(&mut self) {
        self.now_us += self.random.next() % 60_000;
        self.fire_alarms();
        // The platform kills at the deadline; a zombie is one that it reaches late.
        let now_ms = self.now_us / 1000;
        self.actors.retain(|actor| now_ms < actor.invocation.delivery().deadline_ms + 3 * LIMIT_MS);
        if self.faults && self.random.chance(6) {
            self.misfortune();
        }
        if self.actors.is_empty() {
            return;
        }
        let actor = self.random.below(self.actors.len());
        if self.now_us < self.actors[actor].frozen_until_us {
            return;
        }
        if self.actors[actor].upload.is_some() && self.random.chance(20) {
            self.upload(actor);
        } else if self.actors[actor].todo.is_empty() || self.random.chance(40) {
            self.compute(actor);
        } else {
            self.perform(actor);
        }
    }

    fn is_over(&self) -> bool {
        self.folded().is_some_and(|log| {
            log.status().is_terminal()
                && (log.delivered || !self.wants_callback || log.status() == Status::Cancelled)
        })
    }

    fn check(&self) {
        let Some((first, rest)) = self.log.split_first() else { return };
        let mut execution = Execution::begin(first).unwrap();
        let mut ends = u32::from(execution.status().is_terminal());
        for entry in rest {
            let is_counted = execution.apply(entry).unwrap() == Applied::Counted;
            let is_end =
                matches!(entry.kind, Kind::Completed { .. } | Kind::Failed { .. } | Kind::Cancelled { .. });
            ends += u32::from(is_counted && is_end);
        }
        assert!(ends <= 1, "more than one end: {:#?}", self.log);
        if let Phase::Completed(output) = &execution.phase {
            assert_eq!(*output, Stored::Json(expected()));
        }
        for answer in self.answers.iter().chain(&self.delivered) {
            match answer {
                Answer::Result(output) => {
                    assert_eq!(*output, Stored::Json(expected()));
                    assert!(
                        matches!(execution.phase, Phase::Completed(_)),
                        "answered before it was recorded"
                    );
                }
                Answer::Failed(failure) => assert_eq!(failure.code, Code::Cancelled, "{failure}"),
                Answer::Running { .. } | Answer::Refused(_) => {}
            }
        }
        for number in &self.acknowledged {
            let at = usize::try_from(*number).unwrap();
            assert!(matches!(self.log[at].kind, Kind::Checkpointed { .. } | Kind::Suspended { .. }));
        }
    }
}

fn history(seed: u64) -> World {
    let mut world = World::new(seed);
    let call = Call::First { origin: world.origin(), is_durable: true };
    world.arrive(call);
    for _ in 0..600 {
        world.turn();
    }
    world.check();
    if !world.has_happened {
        // While it waits nobody drives it, however often a successor is delivered for nothing.
        world.has_happened = true;
        world.arrive(Call::Resume { entry: None });
    }
    // The faults stop. Whoever waits for the result asks again whenever nothing moves.
    world.faults = false;
    for _ in 0..60 {
        if world.is_over() {
            break;
        }
        for _ in 0..200 {
            world.turn();
        }
        world.now_us += 4 * LIMIT_MS * 1000;
        let call = match world.folded() {
            Some(_) => Call::Resume { entry: None },
            None => Call::First { origin: world.origin(), is_durable: true },
        };
        world.arrive(call);
    }
    world.check();
    assert!(world.is_over(), "the execution can't go on: {:#?}", world.folded());
    world
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 4000, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn every_history_has_at_most_one_end_and_can_go_on(seed in any::<u64>()) {
        history(seed);
    }
}

#[test]
fn the_same_seed_gives_the_same_history() {
    for seed in 0..50 {
        assert_eq!(format!("{:?}", history(seed).log), format!("{:?}", history(seed).log));
    }
}

/// A test that can't fail is worth nothing: the histories do contain what they are meant to.
#[test]
fn the_histories_contain_every_misfortune() {
    let (mut replayed, mut too_late, mut past_the_seal, mut followed) = (0, 0, 0, 0);
    let (mut claims, mut crashes, mut intervals, mut cancelled, mut passed_over, mut delivered, mut waits) =
        (0, 0, 0, 0, 0, 0, 0);
    for seed in 0..1_000 {
        let world = history(seed);
        let log = world.folded().unwrap();
        crashes += log.tally.crashes_ever;
        replayed += world.replayed;
        too_late += world.too_late;
        past_the_seal += world.past_the_seal;
        followed += world.followed;
        cancelled += u32::from(log.status() == Status::Cancelled);
        delivered += u32::from(log.delivered);
        for entry in &world.log {
            match &entry.kind {
                Kind::Claimed { from, .. } => {
                    claims += 1;
                    passed_over += u32::from(from.is_none());
                }
                Kind::Checkpointed { .. } => intervals += 1,
                Kind::Suspended { wake: Some(_), .. } => waits += 1,
                _ => {}
            }
        }
    }
    for (what, count) in [
        ("claims", claims),
        ("crashes", crashes),
        ("interval checkpoints", intervals),
        ("cancellations", cancelled),
        ("damaged checkpoints passed over", passed_over),
        ("deliveries", delivered),
        ("waits", waits),
        ("recorded steps met again", replayed),
        ("steps recorded too late to be acknowledged", too_late),
        ("appends past the seal", past_the_seal),
        ("checkpoints durable after the handler went on", followed),
    ] {
        assert!(count > 5, "only {count} {what}");
    }
}
