//! An execution that waits for a time or an event: nobody drives it, and nobody pays for it.
//!
//! Whoever makes an event happen records it and then invokes a successor; whoever suspends to wait writes its entry and
//! then looks for the event. So one of the two sees the other, whatever the order.

use super::message::{Answer, Command};
use super::write::Then;
use super::{Invocation, Stage};
use crate::Failure;
use crate::log::{Kind, Phase, Wake};

impl Invocation {
    /// The handler has stopped to wait. It goes on from its last checkpoint, and meets its recorded steps again.
    pub(super) fn waiting(&mut self, now_us: u64, wake: Wake, steps: u64, out: &mut Vec<Command>) {
        match self.log.clone() {
            None => self.write_started(now_us, None, Then::Wait { wake, steps }, out),
            Some(log) => {
                let within_ms = self.delivery.policy.successor_within_ms;
                let kind = Kind::Suspended {
                    saved: None,
                    steps,
                    successor_by_ms: wake.at_ms.map_or(u64::MAX, |at_ms| at_ms.saturating_add(within_ms)),
                    wake: Some(wake),
                    so_far: Box::new(log),
                };
                self.write(now_us, self.epoch(), kind, Then::Sleep, out);
            }
        }
    }

    /// The execution waits by its log. The event may have happened while that was written.
    pub(super) fn asleep(&mut self, out: &mut Vec<Command>) {
        match self.awaited() {
            Some(wake) if !wake.events.is_empty() => self.look(wake.events, true, 0, out),
            _ => self.answer(Answer::Running { note: None }, out),
        }
    }

    /// What the execution waits for, by its log.
    fn awaited(&self) -> Option<Wake> {
        match &self.log.as_ref()?.phase {
            Phase::Suspended { wake, .. } => wake.clone(),
            _ => None,
        }
    }

    /// A successor of an execution that waits: it claims it once there is something to go on with.
    pub(super) fn wake(&mut self, now_us: u64, out: &mut Vec<Command>) {
        match self.awaited() {
            None => self.claim(now_us, None, out),
            Some(wake) if wake.is_due(now_us / 1000) => self.claim(now_us, None, out),
            Some(wake) if wake.events.is_empty() => self.explain(out),
            Some(wake) => self.look(wake.events, false, 0, out),
        }
    }

    fn look(&mut self, events: Vec<String>, is_leaving: bool, wait_ms: u64, out: &mut Vec<Command>) {
        out.push(Command::Look { events: events.clone(), wait_ms });
        self.stage = Stage::Looking { events, is_leaving };
    }

    pub(super) fn happened(&mut self, now_us: u64, result: Result<bool, Failure>, out: &mut Vec<Command>) {
        let Stage::Looking { events, is_leaving } = &self.stage else { return };
        let (events, is_leaving) = (events.clone(), *is_leaving);
        match result {
            Ok(true) if is_leaving => self.hand_over(now_us, self.length() - 1, out),
            Ok(true) => self.claim(now_us, None, out),
            Ok(false) => self.explain(out),
            Err(failure) => match self.wait_for_store(now_us, &failure) {
                Some(wait_ms) => self.look(events, is_leaving, wait_ms, out),
                // It waits by its log; whoever makes the event happen invokes the successor.
                None if is_leaving => self.answer(Answer::Running { note: Some(failure) }, out),
                None => self.answer(Answer::Refused(failure), out),
            },
        }
    }
}
