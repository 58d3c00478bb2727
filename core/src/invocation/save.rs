//! A saved state: an interval checkpoint goes on, the last one is handed over.

use super::message::{Answer, Command, Snapshot};
use super::write::Then;
use super::{Invocation, Stage, backoff_ms};
use crate::log::{Kind, Saved};
use crate::{Code, Failure};

/// A checkpoint on its way to the store.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct Uploading {
    saved: Saved,
    since_us: u64,
    /// The time to hand over came while it was saved: the handler does not go on, and it becomes the last checkpoint.
    is_last: bool,
}

impl Uploading {
    /// What saving has cost so far, in µs.
    pub(super) fn cost_us(&self, now_us: u64) -> u64 {
        self.saved.cost_us + now_us.saturating_sub(self.since_us)
    }
}

impl Invocation {
    pub(super) fn suspended(&mut self, now_us: u64, snapshot: Snapshot, out: &mut Vec<Command>) {
        let mut saved = snapshot.saved;
        self.pace.saved(saved.cost_us);
        if !snapshot.is_on_its_way {
            self.moved(&mut saved);
        }
        saved.progress = self.progress_of(&saved);
        saved.epoch = self.epoch();
        self.steps_saved = saved.steps;
        saved.hook_gap_us = self.pace.longest_hook_gap_us();
        let is_interval = self.is_interval(now_us);
        if snapshot.is_on_its_way {
            self.uploading =
                Some(Uploading { saved: saved.clone(), since_us: now_us, is_last: !is_interval });
            if is_interval {
                self.run(now_us, Some(saved), 0, out);
            } else {
                self.set_alarm(now_us, out);
            }
            return;
        }
        // It is durable, and newer than what may still be on its way.
        self.uploading = None;
        match (is_interval, self.log.is_some()) {
            (true, false) => {
                let then = Then::GoOn(Box::new(saved.clone()));
                self.write_started(now_us, Some(saved), then, out);
            }
            (true, true) => {
                let then = Then::GoOn(Box::new(saved.clone()));
                self.write(now_us, self.epoch(), Kind::Checkpointed { saved }, then, out);
            }
            (false, false) => self.write_started(now_us, None, Then::Suspend(Box::new(saved)), out),
            (false, true) => self.write_suspended(now_us, saved, out),
        }
    }

    /// What went on computing, or waits for its suspension, has its checkpoint in the store; or has none.
    pub(super) fn uploaded(
        &mut self,
        now_us: u64,
        checkpoint: &str,
        result: Result<(), Failure>,
        out: &mut Vec<Command>,
    ) {
        let is_this = |uploading: &mut Uploading| uploading.saved.checkpoint == checkpoint;
        let Some(Uploading { mut saved, since_us, is_last }) = self.uploading.take_if(is_this) else {
            return;
        };
        if !matches!(self.stage, Stage::Running) {
            return;
        }
        saved.cost_us += now_us.saturating_sub(since_us);
        self.pace.saved(saved.cost_us);
        if result.is_ok() {
            self.moved(&mut saved);
        }
        match (result, is_last, self.log.is_some()) {
            (Ok(()), false, false) => self.write_started(now_us, Some(saved), Then::KeepOn, out),
            (Ok(()), false, true) => {
                self.write(now_us, self.epoch(), Kind::Checkpointed { saved }, Then::KeepOn, out);
            }
            (Ok(()), true, false) => self.write_started(now_us, None, Then::Suspend(Box::new(saved)), out),
            (Ok(()), true, true) => self.write_suspended(now_us, saved, out),
            (Err(failure), true, _) => self.save_failed(now_us, failure, out),
            (Err(failure), false, _) => {
                out.push(Command::Note(format!("a checkpoint could not be saved: {}", failure.message)));
                self.running.has_given_up_intervals = true;
                self.set_alarm(now_us, out);
            }
        }
    }

    /// What was moved tells how fast the store is, here and to whoever goes on from it.
    fn moved(&mut self, saved: &mut Saved) {
        self.pace.moved(saved.new_bytes, saved.state_bytes, saved.cost_us);
        saved.us_per_mib = self.pace.us_per_mib();
    }

    /// One more than the last checkpoint's where anything moved: the state, or the steps recorded.
    fn progress_of(&self, saved: &Saved) -> u64 {
        let Some(log) = &self.log else { return 1 };
        let Some((_, before)) = log.newest() else { return log.tally.progress + 1 };
        let has_moved = before.state != saved.state || saved.steps > self.steps_saved;
        log.tally.progress + u64::from(has_moved)
    }

    pub(super) fn write_suspended(&mut self, now_us: u64, saved: Saved, out: &mut Vec<Command>) {
        let Some(log) = self.log.clone() else { return };
        let kind = Kind::Suspended {
            steps: saved.steps,
            saved: Some(saved),
            successor_by_ms: now_us / 1000 + self.delivery.policy.successor_within_ms,
            wake: None,
            so_far: Box::new(log),
        };
        self.write(now_us, self.epoch(), kind, Then::HandOver, out);
    }

    /// The interval checkpoint stands: the handler goes on from it, as it would after a suspension.
    pub(super) fn go_on_after_interval(&mut self, now_us: u64, saved: Saved, out: &mut Vec<Command>) {
        self.running.has_saved = true;
        self.run(now_us, Some(saved), 0, out);
    }

    /// The store did not take the state, and the handler has stopped. Where that was only to guard against a crash
    /// it goes on from what is safe; at the deadline there is no time left for that, and whoever resumes does it.
    pub(super) fn save_failed(&mut self, now_us: u64, failure: Failure, out: &mut Vec<Command>) {
        if self.is_interval(now_us) {
            let newest = self.log.as_ref().and_then(|log| log.newest().map(|(_, saved)| saved.clone()));
            out.push(Command::Note(format!("a checkpoint could not be saved: {}", failure.message)));
            self.running.has_given_up_intervals = true;
            return self.run(now_us, newest, 0, out);
        }
        if failure.code.advice() != crate::Advice::Retry {
            return self.fail(now_us, failure, out);
        }
        self.answer(Answer::Refused(failure), out);
    }

    pub(super) fn hand_over(&mut self, now_us: u64, entry: u64, out: &mut Vec<Command>) {
        self.stage = Stage::HandingOver { attempts: 0 };
        self.invoke(now_us, entry, 0, out);
    }

    /// A platform that hangs must not use up the time in which the caller can still be told.
    fn invoke(&self, now_us: u64, entry: u64, wait_ms: u64, out: &mut Vec<Command>) {
        let left_ms = self.delivery.deadline_ms.saturating_sub(now_us / 1000).saturating_sub(wait_ms);
        out.push(Command::Invoke { entry, wait_ms, within_ms: (left_ms / 2).clamp(5, 10_000) });
    }

    pub(super) fn invoked(&mut self, now_us: u64, result: Result<(), Failure>, out: &mut Vec<Command>) {
        let entry = self.length().saturating_sub(1);
        let Stage::HandingOver { attempts } = &mut self.stage else { return };
        let Err(failure) = result else {
            return self.answer(Answer::Running { note: None }, out);
        };
        let wait_ms = backoff_ms(*attempts);
        *attempts += 1;
        if failure.code.advice() == crate::Advice::Retry && !self.is_too_late(now_us, wait_ms) {
            return self.invoke(now_us, entry, wait_ms, out);
        }
        let note = Failure::new(
            Code::SuccessorRefused,
            format!(
                "the successor could not be invoked: {}. The execution is saved; `cargo faas resume {}` goes on",
                failure.message, self.delivery.execution
            ),
        );
        self.answer(Answer::Running { note: Some(note) }, out);
    }
}
