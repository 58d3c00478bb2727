//! The model: what may happen next, and what must hold.

use limitless_faas_core::invocation::{Call, Command};
use limitless_faas_core::log::{Kind, Status};
use stateright::{Model, Property};

use crate::actor::Fate;
use crate::guard::Guard;
use crate::world::{Broken, Waker, World, origin};

/// How much may happen in one history.
#[derive(Clone, Debug, Default)]
#[expect(clippy::struct_excessive_bools, reason = "each is a dimension of its own")]
pub struct Bounds {
    /// Deliveries of any kind, the first call included.
    pub deliveries: u8,
    /// Ticks of the clock. An invocation is asked to suspend after one, or after two where intervals are saved.
    pub ticks: u8,
    /// Processes that die.
    pub crashes: u8,
    /// Messages whose answer is lost, or that are.
    pub losses: u8,
    /// Calls that the platform delivers once more.
    pub duplicates: u8,
    /// Recoverers that come by themselves.
    pub recoveries: u8,
    /// Cancellations.
    pub cancels: u8,
    /// Whether the result is to be delivered.
    pub has_receiver: bool,
    /// Whether clocks of recoverers and of the first process may be a tick behind.
    pub has_skew: bool,
    /// Whether invocations are long enough for a checkpoint in between.
    pub has_intervals: bool,
    /// Whether the handler records no step: then it may end without a log.
    pub has_no_step: bool,
    /// Checkpoints that are damaged where they lie.
    pub damages: u8,
    /// Whether the handler waits for an event, which somebody makes happen at some time.
    pub has_wait: bool,
    /// Whether the handler sleeps, for two ticks.
    pub has_sleep: bool,
    /// Whether it is tried from every state that the execution can still come to its end.
    pub tries_endings: bool,
}

impl Bounds {
    pub(crate) fn limit_ms(&self) -> u64 {
        if self.has_intervals { 2050 } else { 1050 }
    }
}

/// The protocol, perhaps without one of its guards.
#[derive(Clone, Debug)]
pub struct Protocol {
    /// How much may happen.
    pub bounds: Bounds,
    /// The guard that was taken away.
    pub without: Option<Guard>,
}

/// What happens next.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Step {
    /// The first command of this delivery leaves its process.
    Perform(usize, Fate),
    /// This delivery's handler goes on to its next hook.
    Compute(usize),
    /// This delivery's alarm rings.
    Alarm(usize),
    /// This delivery's process dies.
    Crash(usize),
    /// The first call is delivered once more.
    Again,
    /// A recoverer comes; its clock may be behind.
    Recover {
        /// By one tick.
        is_behind: bool,
    },
    /// A create whose sender listens no longer lands.
    Land(usize),
    /// Somebody cancels.
    Cancel,
    /// The newest checkpoint that is whole is damaged.
    Damage,
    /// Who makes the event happen goes on: records it, or invokes.
    Happen,
    /// A trigger finds an execution that sleeps, at the right time or not, and invokes it.
    Wake,
    /// Time passes.
    Tick,
}

impl Protocol {
    /// The whole protocol.
    pub fn new(bounds: Bounds) -> Self {
        Self { bounds, without: None }
    }

    /// The protocol without one of its guards.
    pub fn without(bounds: Bounds, guard: Guard) -> Self {
        Self { bounds, without: Some(guard) }
    }

    pub(crate) fn lacks(&self, guard: Guard) -> bool {
        self.without == Some(guard)
    }

    pub(crate) fn first_call(&self) -> Call {
        let is_durable = !self.lacks(Guard::RecordEarlyEnds);
        Call::First { origin: origin(self.bounds.has_receiver), is_durable }
    }

    fn fates(&self, world: &World, command: &Command, steps: &mut Vec<Step>, at: usize) {
        steps.push(Step::Perform(at, Fate::Well));
        let may_lose = world.spent.losses < self.bounds.losses;
        match command {
            Command::Create { .. } if may_lose => {
                steps.extend(
                    [Fate::Unheard, Fate::Adrift, Fate::Vanished].map(|fate| Step::Perform(at, fate)),
                );
            }
            Command::Invoke { .. } => {
                if may_lose {
                    steps.push(Step::Perform(at, Fate::Vanished));
                }
                if world.spent.duplicates < self.bounds.duplicates {
                    steps.push(Step::Perform(at, Fate::Doubled));
                }
            }
            _ => {}
        }
    }

    fn steps_of(&self, world: &World, at: usize, steps: &mut Vec<Step>) {
        let actor = &world.actors[at];
        match actor.todo.front() {
            Some(command) => self.fates(world, command, steps, at),
            None if actor.can_compute() => steps.push(Step::Compute(at)),
            None => {}
        }
        if actor.is_alarm_due(world.now) {
            steps.push(Step::Alarm(at));
        }
        if world.spent.crashes < self.bounds.crashes {
            steps.push(Step::Crash(at));
        }
    }

    fn arrivals(&self, world: &World, steps: &mut Vec<Step>) {
        if world.spent.deliveries >= self.bounds.deliveries {
            return;
        }
        if world.spent.duplicates < self.bounds.duplicates {
            steps.push(Step::Again);
        }
        if world.spent.recoveries < self.bounds.recoveries && !world.log.is_empty() {
            steps.push(Step::Recover { is_behind: false });
            if self.bounds.has_skew {
                steps.push(Step::Recover { is_behind: true });
            }
        }
    }

    fn carry_out(&self, world: &mut World, step: &Step) {
        match *step {
            Step::Perform(at, fate) => {
                match fate {
                    Fate::Well => {}
                    Fate::Doubled => world.spent.duplicates += 1,
                    Fate::Unheard | Fate::Adrift | Fate::Vanished => world.spent.losses += 1,
                }
                world.perform(self, at, fate);
            }
            Step::Compute(at) => world.compute(self, at),
            Step::Alarm(at) => {
                world.actors[at].alarm_us = None;
                world.tell(self, at, limitless_faas_core::invocation::Event::Alarm);
            }
            Step::Crash(at) => {
                world.spent.crashes += 1;
                world.crash(at);
            }
            Step::Again => {
                world.spent.duplicates += 1;
                world.arrive(self, self.first_call(), false);
            }
            Step::Recover { is_behind } => {
                world.spent.recoveries += 1;
                world.arrive(self, Call::Resume { entry: None }, is_behind);
            }
            Step::Land(stray) => {
                let (number, entry) = world.strays.remove(stray);
                world.try_create(self, number, &entry);
            }
            Step::Cancel => {
                world.spent.cancels += 1;
                world.cancel(self);
            }
            Step::Damage => {
                world.spent.damages += 1;
                world.damage();
            }
            Step::Happen => world.happen(self),
            Step::Wake => {
                world.spent.wakings += 1;
                world.arrive(self, Call::Resume { entry: None }, false);
            }
            Step::Tick => world.now += 1,
        }
    }
}

impl Model for Protocol {
    type State = World;
    type Action = Step;

    fn init_states(&self) -> Vec<World> {
        let behind: &[bool] = if self.bounds.has_skew { &[false, true] } else { &[false] };
        behind.iter().map(|is_behind| World::new(self, *is_behind)).collect()
    }

    fn actions(&self, world: &World, steps: &mut Vec<Step>) {
        for at in 0..world.actors.len() {
            self.steps_of(world, at, steps);
        }
        self.arrivals(world, steps);
        steps.extend((0..world.strays.len()).map(Step::Land));
        if world.spent.cancels < self.bounds.cancels {
            steps.push(Step::Cancel);
        }
        // Damage comes to what lies still: whoever read a checkpoint before has it, also where the claim is still on its way.
        let lies_still = world.actors.is_empty() && world.strays.is_empty();
        if world.spent.damages < self.bounds.damages && lies_still && world.can_be_damaged() {
            steps.push(Step::Damage);
        }
        if self.bounds.has_wait && world.waker != Waker::Done {
            steps.push(Step::Happen);
        }
        if world.spent.deliveries < self.bounds.deliveries && world.can_be_woken(self) {
            steps.push(Step::Wake);
        }
        if world.now <= self.bounds.ticks {
            steps.push(Step::Tick);
        }
    }

    fn next_state(&self, last: &World, step: Step) -> Option<World> {
        let mut world = last.clone();
        self.carry_out(&mut world, &step);
        (world.spent.deliveries <= self.bounds.deliveries).then_some(world)
    }

    fn properties(&self) -> Vec<Property<Self>> {
        vec![
            Property::always("one result, as the log says", |_, world| holds(world, Broken::OneResult)),
            Property::always("no acknowledged checkpoint is lost", |_, world| {
                holds(world, Broken::KeptCheckpoint)
            }),
            Property::always("nobody goes on from a damaged checkpoint", |_, world| {
                holds(world, Broken::WholeCheckpoint)
            }),
            Property::always("no acknowledged step is lost", |_, world| holds(world, Broken::KeptStep)),
            Property::always("a live lease is respected", |_, world| holds(world, Broken::LeaseHeld)),
            Property::always("entries are written one after the other", |_, world| {
                holds(world, Broken::NextNumberOnly)
            }),
            Property::always("nobody is failed who could go on", |_, world| {
                holds(world, Broken::NoFalseFailure)
            }),
            Property::always("a sleep lasts until its end", |_, world| holds(world, Broken::SleptOut)),
            Property::always("without faults it ends by itself", |_, world| {
                holds(world, Broken::EndsByItself)
            }),
            Property::always("it can always come to its end", |protocol: &Self, world: &World| {
                !protocol.bounds.tries_endings || world.can_end(protocol)
            }),
            Property::sometimes("it completes", |_, world: &World| world.status() == Some(Status::Completed)),
        ]
    }
}

fn holds(world: &World, promise: Broken) -> bool {
    world.broken != Some(promise)
}

impl World {
    /// How often the execution was resumed.
    pub fn claims(&self) -> usize {
        self.log.iter().filter(|entry| matches!(entry.kind, Kind::Claimed { .. })).count()
    }
}
