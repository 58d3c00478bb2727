//! Arrival: read the log, judge what may be done, verify a checkpoint, claim.

use super::message::{Answer, Call, Command, Given, Verdict};
use super::write::Then;
use super::{Invocation, Stage};
use crate::log::{Entry, Execution, Kind, Phase, Saved, fold};
use crate::pace::Pace;
use crate::{Code, Failure};

impl Invocation {
    pub(super) fn arrived(&mut self, now_us: u64, out: &mut Vec<Command>) {
        // Where an earlier delivery's process died there may be a log, whatever the call asked for.
        let may_have_log = self.delivery.is_owner_dead && self.delivery.has_store;
        match &self.delivery.call {
            // A synchronous call that nobody delivers twice touches no store before it has to.
            Call::First { is_durable: false, .. } if !may_have_log => {
                self.run_from_the_beginning(now_us, out);
            }
            Call::First { .. } => out.push(Command::Read { from: 0, wait_ms: 0 }),
            // A claim that can't be followed by work would only count as a crash.
            Call::Resume { .. } if self.is_too_late(now_us, 0) => {
                self.refuse(Code::StoreAway, "the call arrived after its own deadline", out);
            }
            Call::Resume { entry } => out.push(Command::Read { from: entry.unwrap_or(0), wait_ms: 0 }),
        }
    }

    pub(super) fn read(&mut self, now_us: u64, result: Result<Vec<Entry>, Failure>, out: &mut Vec<Command>) {
        let entries = match result {
            Ok(entries) => entries,
            Err(failure) => return self.read_failed(now_us, failure, out),
        };
        match self.stage {
            Stage::Running => self.peeked(now_us, &entries, out),
            Stage::Judging => match self.learn(&entries) {
                Ok(true) => self.judge(now_us, out),
                Ok(false) => out.push(Command::Read { from: 0, wait_ms: 0 }),
                Err(failure) => self.answer(Answer::Refused(failure), out),
            },
            Stage::Explaining => match self.learn(&entries) {
                Ok(_) => match self.log.as_ref().and_then(|log| self.misfit(log)) {
                    Some(failure) => self.answer(Answer::Refused(failure), out),
                    None => self.explain(out),
                },
                Err(failure) => self.answer(Answer::Refused(failure), out),
            },
            _ => {}
        }
    }

    fn read_failed(&mut self, now_us: u64, failure: Failure, out: &mut Vec<Command>) {
        match self.stage {
            // A running owner that can't look finds out at its next write.
            Stage::Running => {}
            _ => match self.wait_for_store(now_us, &failure) {
                Some(wait_ms) => out.push(Command::Read { from: self.length(), wait_ms }),
                None => self.answer(Answer::Refused(failure), out),
            },
        }
    }

    /// Folds what was read. False where the entry that the predecessor named is not one to begin from, so that the
    /// log has to be read from its start.
    pub(super) fn learn(&mut self, entries: &[Entry]) -> Result<bool, Failure> {
        let unreadable = |error: crate::log::LogError| Failure::new(Code::UnreadableLog, error.to_string());
        if let Some(log) = &mut self.log {
            for entry in entries {
                log.apply(entry).map_err(unreadable)?;
            }
            return Ok(true);
        }
        let named = match self.delivery.call {
            Call::Resume { entry: Some(number) } if number > 0 => number,
            _ => {
                self.log = fold(entries).map_err(unreadable)?;
                return Ok(true);
            }
        };
        // The successor reads one entry instead of all: a suspension carries the fold of what came before.
        self.delivery.call = Call::Resume { entry: None };
        let Some((first, rest)) = entries.split_first() else { return Ok(false) };
        let Kind::Suspended { so_far, .. } = &first.kind else { return Ok(false) };
        if so_far.length != named || so_far.id != self.delivery.execution {
            return Ok(false);
        }
        let mut log: Execution = (**so_far).clone();
        log.apply(first).map_err(unreadable)?;
        for entry in rest {
            let was_owned = matches!(log.phase, Phase::Owned(_));
            log.apply(entry).map_err(unreadable)?;
            self.is_replay |= was_owned && matches!(log.phase, Phase::Suspended { .. });
        }
        self.log = Some(log);
        Ok(true)
    }

    /// The table of who may do what.
    fn judge(&mut self, now_us: u64, out: &mut Vec<Command>) {
        let Some(log) = &self.log else {
            return match &self.delivery.call {
                Call::First { .. } => self.run_from_the_beginning(now_us, out),
                Call::Resume { .. } => {
                    let message = format!("there is no execution {} in this store", self.delivery.execution);
                    self.refuse(Code::UnknownExecution, message, out);
                }
            };
        };
        if let Some(failure) = self.misfit(log) {
            return self.answer(Answer::Refused(failure), out);
        }
        match &log.phase {
            Phase::Completed(_) | Phase::Failed(_) | Phase::Cancelled { .. } => self.conclude(now_us, out),
            _ if self.is_replay && self.delivery.is_signed => self.explain(out),
            Phase::Suspended { .. } => self.wake(now_us, out),
            Phase::Owned(owner) => {
                let policy = &self.delivery.policy;
                let is_over = now_us / 1000 >= owner.lease_until_ms.saturating_add(policy.skew_ms);
                let is_dead =
                    self.delivery.is_owner_dead && owner.driver.activation == self.delivery.driver.activation;
                if !is_over && !is_dead {
                    return self.explain(out);
                }
                match log.segments.last().filter(|segment| segment.length.is_none()) {
                    Some(open) => {
                        let segment = open.clone();
                        out.push(Command::Measure { segment: segment.clone(), wait_ms: 0 });
                        self.stage = Stage::Sealing { segment };
                    }
                    None => self.claim(now_us, None, out),
                }
            }
        }
    }

    /// Why this delivery has nothing to do with this log, if so.
    fn misfit(&self, log: &Execution) -> Option<Failure> {
        if log.handler != self.delivery.handler {
            let message = format!(
                "execution {} is one of handler `{}`, not `{}`",
                log.id, log.handler, self.delivery.handler
            );
            return Some(Failure::new(Code::UnknownHandler, message));
        }
        let Call::First { origin, .. } = &self.delivery.call else { return None };
        let recorded = log.origin.as_ref()?;
        (recorded.input.digest != origin.input.digest).then(|| {
            let message = format!(
                "this call id or idempotency key belongs to execution {}, which has another input; use a new key",
                log.id
            );
            Failure::new(Code::InputChanged, message)
        })
    }

    pub(super) fn measured(&mut self, now_us: u64, result: Result<u64, Failure>, out: &mut Vec<Command>) {
        let failure = match result {
            Ok(length) => return self.claim(now_us, Some(length), out),
            Err(failure) => failure,
        };
        let wait_ms = self.wait_for_store(now_us, &failure);
        match (wait_ms, &self.stage) {
            (Some(wait_ms), Stage::Sealing { segment }) => {
                out.push(Command::Measure { segment: segment.clone(), wait_ms });
            }
            _ => self.answer(Answer::Refused(failure), out),
        }
    }

    pub(super) fn claim(&mut self, now_us: u64, seal: Option<u64>, out: &mut Vec<Command>) {
        if let Some(failure) = self.exhausted(seal) {
            return self.write(
                now_us,
                self.epoch() + 1,
                Kind::Failed { failure, origin: None, driver: None },
                Then::Conclude,
                out,
            );
        }
        self.stage = Stage::Verifying { seal, passed_over: 0 };
        self.verify_next(now_us, 0, out);
    }

    /// Why nobody should try again, if so.
    fn exhausted(&self, seal: Option<u64>) -> Option<Failure> {
        let (log, policy) = (self.log.as_ref()?, &self.delivery.policy);
        let site = log.newest().map_or("before its first checkpoint", |(_, saved)| saved.site.as_str());
        let limit = self.delivery.driver.limit_ms;
        let stuck = |how: String| {
            let message = format!(
                "handler `{}` made no progress: {how} ({site}; time limit {limit} ms). Raise the time limit, or put \
                 #[checkpoint] on a loop whose body is shorter",
                log.handler
            );
            Some(Failure::new(Code::NoProgress, message))
        };
        let tally = log.tally_after_claim(seal);
        if tally.idle >= policy.idle_limit {
            return stuck(format!("{} invocations in a row suspended where they began", tally.idle));
        }
        if tally.starved >= policy.starved_limit {
            let times = tally.starved;
            return stuck(format!(
                "{times} invocations in a row had no time left to compute when they began"
            ));
        }
        if tally.crashes >= policy.crash_limit {
            let times = tally.crashes;
            return stuck(format!("{times} invocations in a row were lost before they saved anything new"));
        }
        (log.tally.invocations >= policy.max_invocations).then(|| {
            let message = format!(
                "handler `{}` used up its {} invocations ({site}); raise the cap or the time limit",
                log.handler, policy.max_invocations
            );
            Failure::new(Code::TooManyInvocations, message)
        })
    }

    fn verify_next(&mut self, now_us: u64, wait_ms: u64, out: &mut Vec<Command>) {
        let Stage::Verifying { seal, passed_over } = self.stage else { return };
        let candidate = self.log.as_ref().and_then(|log| log.saved.iter().rev().nth(passed_over).cloned());
        match candidate {
            Some((_, saved)) => out.push(Command::Verify { saved: Box::new(saved), wait_ms }),
            None => self.write_claim(now_us, None, seal, out),
        }
    }

    pub(super) fn verified(&mut self, now_us: u64, verdict: Verdict, out: &mut Vec<Command>) {
        let Stage::Verifying { seal, passed_over } = self.stage else { return };
        match verdict {
            Verdict::Good => {
                let from = self.log.as_ref().and_then(|log| log.saved.iter().rev().nth(passed_over).cloned());
                self.write_claim(now_us, from, seal, out);
            }
            // "Not there" may only mean that the log moved on and the blob was collected: look again first.
            Verdict::Missing if !self.looked_again => {
                self.looked_again = true;
                self.stage = Stage::Judging;
                out.push(Command::Read { from: self.length(), wait_ms: 0 });
            }
            Verdict::Missing => self.pass_over(now_us, "it is not in the store", out),
            Verdict::Damaged(why) => self.pass_over(now_us, &why, out),
            Verdict::Incompatible(failure) => self.answer(Answer::Refused(failure), out),
            Verdict::Away(failure) => match self.wait_for_store(now_us, &failure) {
                Some(wait_ms) => self.verify_next(now_us, wait_ms, out),
                None => self.answer(Answer::Refused(failure), out),
            },
        }
    }

    fn pass_over(&mut self, now_us: u64, why: &str, out: &mut Vec<Command>) {
        let Stage::Verifying { passed_over, .. } = &mut self.stage else { return };
        *passed_over += 1;
        let is_last = self.log.as_ref().is_none_or(|log| log.saved.len() <= *passed_over);
        let instead = if is_last { "from the beginning" } else { "from the checkpoint before it" };
        out.push(Command::Note(format!(
            "execution {}: the newest checkpoint can't be used ({why}); going on {instead}",
            self.delivery.execution
        )));
        self.verify_next(now_us, 0, out);
    }

    fn write_claim(
        &mut self,
        now_us: u64,
        from: Option<(u64, Saved)>,
        seal: Option<u64>,
        out: &mut Vec<Command>,
    ) {
        let kind = Kind::Claimed {
            lease_until_ms: self.lease_until_ms(),
            driver: self.delivery.driver.clone(),
            from: from.as_ref().map(|(number, _)| *number),
            seal,
        };
        self.way_here_us = self.way_here();
        self.stage = Stage::Claiming { from };
        self.write(now_us, self.epoch() + 1, kind, Then::Claimed, out);
    }

    /// The claim is ours.
    pub(super) fn go_on(&mut self, now_us: u64, out: &mut Vec<Command>) {
        let Stage::Claiming { from } = &mut self.stage else { return };
        let from = from.take().map(|(_, saved)| saved);
        if let Some(saved) = &from {
            self.pace = Pace::carried_over(saved.cost_us, saved.hook_gap_us, saved.us_per_mib);
        }
        self.tries = 0;
        self.pace.handed_over(self.way_here_us.take().unwrap_or(0));
        self.run(now_us, from, 0, out);
    }

    /// How long the hand-over took that brought this delivery: what the next one will take too. Where nobody knows, or
    /// clocks differ, or a recoverer came much later, it says nothing.
    fn way_here(&self) -> Option<u64> {
        let Phase::Suspended { at_us, wake: None, .. } = self.log.as_ref()?.phase else { return None };
        let way_us = self.delivery.driver.received_us.checked_sub(at_us)?;
        (way_us / 1000 <= self.delivery.driver.limit_ms / 4).then_some(way_us)
    }

    fn run_from_the_beginning(&mut self, now_us: u64, out: &mut Vec<Command>) {
        self.run(now_us, None, 0, out);
    }

    /// Starts the handler.
    pub(super) fn run(&mut self, now_us: u64, from: Option<Saved>, wait_ms: u64, out: &mut Vec<Command>) {
        let origin = match (&self.log, &self.delivery.call) {
            (Some(Execution { origin: Some(origin), .. }), _) | (_, Call::First { origin, .. }) => {
                origin.clone()
            }
            _ => return self.refuse(Code::UnreadableLog, "the log does not say what was asked for", out),
        };
        let given = Given {
            origin,
            from,
            epoch: self.epoch(),
            segments: self.log.as_ref().map(|log| log.segments.clone()).unwrap_or_default(),
            wait_ms,
        };
        self.stage = Stage::Running;
        self.running_from.clone_from(&given.from);
        out.push(Command::Run(Box::new(given)));
        self.started_running(now_us, out);
    }

    /// Answers with what the log says, without touching it.
    pub(super) fn explain(&mut self, out: &mut Vec<Command>) {
        let answer = match self.log.as_ref().map(|log| &log.phase) {
            Some(Phase::Completed(output)) => Answer::Result(output.clone()),
            Some(Phase::Failed(failure)) => Answer::Failed(failure.clone()),
            Some(Phase::Cancelled { by }) => {
                Answer::Failed(Failure::new(Code::Cancelled, format!("the execution was cancelled by {by}")))
            }
            Some(Phase::Owned(_) | Phase::Suspended { .. }) => Answer::Running { note: None },
            None => Answer::Refused(Failure::new(Code::UnknownExecution, "the execution has no log")),
        };
        self.answer(answer, out);
    }
}
