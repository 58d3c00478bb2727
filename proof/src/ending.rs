//! Whether an execution can still come to its end once the faults stop.

use limitless_faas_core::invocation::{Call, Event};

use crate::actor::Fate;
use crate::model::Protocol;
use crate::world::World;

/// Far more than any history of the model needs.
const MOST_STEPS: usize = 400;
/// So many recoverers come, one after the other, whenever nothing moves.
const MOST_RECOVERIES: usize = 8;
/// Any lease is over after so many ticks.
const LONG: u8 = 6;

impl World {
    /// Whether the execution ends, and its result reaches the receiver, if from now on nothing goes wrong and somebody looks
    /// after it now and then.
    pub(crate) fn can_end(&self, protocol: &Protocol) -> bool {
        let mut world = self.clone();
        // The event happens at some time: what waits for it in vain has no end.
        world.has_happened |= protocol.bounds.has_wait;
        for _ in 0..MOST_RECOVERIES {
            world.run_on(protocol);
            if world.is_over(protocol) {
                return true;
            }
            world.now += LONG;
            world.run_on(protocol);
            let call =
                if world.log.is_empty() { protocol.first_call() } else { Call::Resume { entry: None } };
            world.arrive(protocol, call, false);
        }
        world.run_on(protocol);
        world.is_over(protocol)
    }

    fn is_over(&self, protocol: &Protocol) -> bool {
        match self.folded() {
            None => !self.results.is_empty(),
            Some(log) => {
                let is_owed = protocol.bounds.has_receiver
                    && log.status() == limitless_faas_core::log::Status::Completed;
                log.status().is_terminal() && (!is_owed || log.delivered)
            }
        }
    }

    /// Everybody goes on until nobody has anything to do.
    fn run_on(&mut self, protocol: &Protocol) {
        for _ in 0..MOST_STEPS {
            let Some(at) = (0..self.actors.len()).find(|at| self.can_go_on(*at)) else { return };
            if self.actors[at].is_alarm_due(self.now) {
                self.actors[at].alarm_us = None;
                self.tell(protocol, at, Event::Alarm);
            } else if self.actors[at].todo.is_empty() {
                self.compute(protocol, at);
            } else {
                self.perform(protocol, at, Fate::Well);
            }
        }
    }

    fn can_go_on(&self, at: usize) -> bool {
        let actor = &self.actors[at];
        !actor.todo.is_empty() || actor.can_compute() || actor.is_alarm_due(self.now)
    }
}
