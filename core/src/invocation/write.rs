//! Writing one entry: the rules W1 to W3 live here, and nowhere else.

use super::message::{Command, Written};
use super::{Invocation, Stage, backoff_ms};
use crate::log::{Entry, Execution, Kind, Saved, Wake};
use crate::{Code, Failure};

/// The entry in flight.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct Pending {
    number: u64,
    entry: Entry,
    attempts: u32,
    then: Then,
}

/// What follows once the entry stands.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) enum Then {
    /// We own the execution: run the handler.
    Claimed,
    /// The log has begun: let the handler record steps.
    AllowSteps,
    /// The log has begun: write the suspension that made it necessary.
    Suspend(Box<Saved>),
    /// An interval checkpoint stands: go on computing from it.
    GoOn(Box<Saved>),
    /// An interval checkpoint stands that the handler went on from meanwhile.
    KeepOn,
    /// We stopped: invoke the successor.
    HandOver,
    /// The log has begun: write that it waits, which made it necessary.
    Wait { wake: Wake, steps: u64 },
    /// It waits by its log: look whether it has to.
    Sleep,
    /// We gave the execution back as it was: say why.
    Release(Failure),
    /// It has ended: deliver, or answer.
    Conclude,
    /// The delivery is recorded: answer.
    Explain,
}

impl Invocation {
    /// Creates the next entry. W1: only at the folded length, and only one at a time.
    pub(super) fn write(&mut self, now_us: u64, epoch: u64, kind: Kind, then: Then, out: &mut Vec<Command>) {
        let entry = self.entry(now_us, epoch, kind);
        let number = self.length();
        out.push(Command::Create { number, entry: Box::new(entry.clone()), wait_ms: 0 });
        self.pending = Some(Pending { number, entry, attempts: 0, then });
    }

    pub(super) fn wrote(&mut self, now_us: u64, written: Written, out: &mut Vec<Command>) {
        let Some(pending) = self.pending.take() else { return };
        match written {
            Written::New => self.stands(now_us, pending, out),
            Written::Taken(entry) if entry.is_same(&pending.entry) => self.stands(now_us, pending, out),
            Written::Taken(_) => self.lost(&pending.then, out),
            Written::Unknown(failure) => self.try_again(now_us, pending, failure, out),
        }
    }

    /// W3: the same bytes to the same number until it is decided.
    fn try_again(&mut self, now_us: u64, mut pending: Pending, failure: Failure, out: &mut Vec<Command>) {
        let wait_ms = backoff_ms(pending.attempts);
        // What no other try will change needs none: the entry did not come to stand.
        let helps = failure.code.advice() == crate::Advice::Retry;
        if !helps || self.is_too_late(now_us, wait_ms) {
            out.push(Command::Abandon);
            return self.refuse(failure.code, failure.message, out);
        }
        pending.attempts += 1;
        out.push(Command::Create { number: pending.number, entry: Box::new(pending.entry.clone()), wait_ms });
        self.pending = Some(pending);
    }

    /// W2: an owner that lost stops; a claimant folds again and decides anew.
    fn lost(&mut self, then: &Then, out: &mut Vec<Command>) {
        let from = self.length();
        let is_claimant =
            matches!((then, &self.stage), (Then::Claimed, _) | (Then::Conclude, Stage::Sealing { .. }))
                || matches!(self.stage, Stage::Judging);
        self.stage = if is_claimant {
            Stage::Judging
        } else {
            out.push(Command::Abandon);
            self.deferred.clear();
            Stage::Explaining
        };
        out.push(Command::Read { from, wait_ms: 0 });
    }

    fn stands(&mut self, now_us: u64, pending: Pending, out: &mut Vec<Command>) {
        if let Err(message) = self.fold_own(&pending.entry) {
            out.push(Command::Abandon);
            return self.refuse(Code::UnreadableLog, message, out);
        }
        if pending.attempts == 0 {
            self.pace.stored(now_us.saturating_sub(pending.entry.at_us));
        }
        match pending.then {
            Then::Claimed => self.go_on(now_us, out),
            Then::AllowSteps => {
                out.push(Command::AllowSteps { lease_until_ms: self.lease_until_ms() });
                self.set_alarm(now_us, out);
            }
            Then::Suspend(saved) => self.write_suspended(now_us, *saved, out),
            Then::GoOn(saved) => self.go_on_after_interval(now_us, *saved, out),
            Then::KeepOn => self.kept_on(now_us, out),
            Then::Wait { wake, steps } => self.waiting(now_us, wake, steps, out),
            Then::Sleep => self.asleep(out),
            Then::HandOver => self.hand_over(now_us, pending.number, out),
            Then::Release(failure) => self.refuse(failure.code, failure.message, out),
            Then::Conclude => self.conclude(now_us, out),
            Then::Explain => self.explain(out),
        }
    }

    fn fold_own(&mut self, entry: &Entry) -> Result<(), String> {
        if let Some(log) = &mut self.log {
            return log.apply(entry).map(drop).map_err(|error| error.to_string());
        }
        self.log = Some(Execution::begin(entry).map_err(|error| error.to_string())?);
        Ok(())
    }
}
