//! While the handler computes: alarms, reports of the hook, the wish to record steps.

use super::message::{Call, Command};
use super::write::Then;
use super::{Invocation, Stage};
use crate::log::{Entry, Kind, Saved};

/// What is known while the handler computes.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
#[expect(clippy::struct_excessive_bools, reason = "each is a fact of its own, not a state among others")]
pub(super) struct Running {
    /// When this invocation first ran the handler.
    began_us: u64,
    /// When the last checkpoint was taken, or the run began.
    saved_us: u64,
    /// Whether this invocation has taken a checkpoint and gone on.
    pub(super) has_saved: bool,
    /// Whether the handler passed a hook in this run, and so has computed since.
    has_passed_a_hook: bool,
    /// When the log was last looked at.
    peeked_us: u64,
    /// From which number on it was asked for then.
    peeked_from: u64,
    /// When the hook was asked to report and has not answered.
    asked_us: Option<u64>,
    reports: u32,
    /// A checkpoint that was only to guard against a crash failed, and cost what was done since the one before: no more of
    /// them in this invocation.
    pub(super) has_given_up_intervals: bool,
    /// Why the hook was asked to save and stop.
    pub(super) asked_to_suspend: Option<Reason>,
    is_stopping: bool,
}

/// Why a checkpoint is taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum Reason {
    /// To lose less in a crash: the handler goes on.
    Interval,
    /// The deadline comes: the execution is handed over.
    Deadline,
}

/// The hook is asked to report after so long, then after twice that, up to the longest.
const FIRST_REPORT_US: u64 = 5_000;
const LONGEST_REPORT_US: u64 = 200_000;
/// What answering takes, and a twentieth of the limit at most.
const LAST_WORDS_US: u64 = 20_000;
/// Finding out whether the state has grown costs a checkpoint: it must promise so much more time to compute.
const LEAST_GAIN_US: u64 = 1_000_000;
/// How long a store may refuse a checkpoint that only guards against a crash: the handler waits meanwhile.
const INTERVAL_PATIENCE_US: u64 = 1_000_000;

impl Invocation {
    pub(super) fn started_running(&mut self, now_us: u64, out: &mut Vec<Command>) {
        let before = std::mem::take(&mut self.running);
        self.running = Running {
            began_us: if before.began_us == 0 { now_us } else { before.began_us },
            saved_us: now_us,
            has_saved: before.has_saved,
            peeked_us: now_us,
            reports: before.reports,
            has_given_up_intervals: before.has_given_up_intervals,
            is_stopping: before.is_stopping,
            ..Running::default()
        };
        self.pace.grown(0);
        self.set_alarm(now_us, out);
    }

    /// The earliest moment at which something is to be decided.
    pub(super) fn set_alarm(&self, now_us: u64, out: &mut Vec<Command>) {
        let report_us = now_us + (FIRST_REPORT_US << self.running.reports.min(8)).min(LONGEST_REPORT_US);
        let deadline_us = self.overdue_at_us();
        let at_us = match self.running.asked_to_suspend {
            Some(Reason::Deadline) => deadline_us,
            Some(Reason::Interval) if self.can_find_out(now_us) => report_us.min(deadline_us),
            Some(Reason::Interval) => report_us.min(self.suspend_at_us()).min(deadline_us),
            None => report_us.min(self.suspend_at_us()).min(self.interval_at_us()).min(deadline_us),
        };
        out.push(Command::Alarm { at_us: at_us.max(now_us + 1000) });
    }

    /// When to give up: at the deadline; where nothing can be saved a moment before it, so that there is time to say so.
    fn overdue_at_us(&self) -> u64 {
        let deadline_us = self.delivery.deadline_ms.saturating_mul(1000);
        if self.delivery.has_store { deadline_us } else { deadline_us.saturating_sub(self.last_words_us()) }
    }

    fn last_words_us(&self) -> u64 {
        (self.delivery.driver.limit_ms * 50).min(LAST_WORDS_US)
    }

    fn suspend_at_us(&self) -> u64 {
        if !self.delivery.has_store {
            return u64::MAX;
        }
        let limit_ms = self.delivery.driver.limit_ms;
        self.pace.suspend_at_ms(self.delivery.deadline_ms, limit_ms).saturating_mul(1000)
    }

    fn suspend_at_without_growth_us(&self) -> u64 {
        let limit_ms = self.delivery.driver.limit_ms;
        self.pace.suspend_at_without_growth_ms(self.delivery.deadline_ms, limit_ms).saturating_mul(1000)
    }

    fn interval_at_us(&self) -> u64 {
        if !self.delivery.has_store || self.running.has_given_up_intervals || self.uploading.is_some() {
            return u64::MAX;
        }
        let crashes = self.log.as_ref().map_or(0, |log| log.tally.crashes_ever);
        // With crashes, the time between them is at most what this invocation was given.
        let ran_ms = u64::from(crashes) * self.delivery.driver.limit_ms;
        let interval_ms = self.pace.interval_ms(&self.delivery.policy, crashes, ran_ms);
        let interval_us = self.running.saved_us.saturating_add(interval_ms.saturating_mul(1000));
        interval_us.min(self.early_at_us().unwrap_or(u64::MAX))
    }

    /// When to save although neither deadline nor interval asks for it: where invocations in a row got nowhere,
    /// each next one risks half as much, down to what lies between two hooks. So an execution gets on
    /// wherever one turn of its loop and one checkpoint fit into the limit.
    fn early_at_us(&self) -> Option<u64> {
        let tally = &self.log.as_ref()?.tally;
        let vain = tally.crashes + tally.starved;
        let is_due = vain > 0 && self.running.has_passed_a_hook && !self.running.has_saved;
        let (began_us, all_us) =
            (self.running.began_us, self.suspend_at_us().saturating_sub(self.running.began_us));
        is_due.then(|| began_us + (all_us >> vain.min(16)))
    }

    pub(super) fn alarm(&mut self, now_us: u64, out: &mut Vec<Command>) {
        if !matches!(self.stage, Stage::Running) || self.pending.is_some() {
            return;
        }
        if now_us >= self.overdue_at_us() {
            return self.overdue(out);
        }
        if let Some(asked_us) = self.running.asked_us {
            self.pace.hook_gap(now_us.saturating_sub(asked_us));
        }
        if let Some(uploading) = &self.uploading {
            self.pace.saved_at_least(uploading.cost_us(now_us));
        }
        if self.shall_stop() || now_us >= self.suspend_at_us() && !self.can_find_out(now_us) {
            self.ask_to_suspend(now_us, Reason::Deadline, out);
            self.begin_before_it_is_too_late(now_us, out);
        } else if now_us >= self.interval_at_us().min(self.suspend_at_us()) {
            self.ask_to_suspend(now_us, Reason::Interval, out);
        } else {
            self.ask_for_report(now_us, out);
            self.peek(now_us, out);
        }
        self.set_alarm(now_us, out);
    }

    /// Whether only a guess says that it is time: the process grew, which need not be the state. An interval checkpoint tells; where the
    /// state did grow it becomes the last one, otherwise the handler goes on.
    fn can_find_out(&self, now_us: u64) -> bool {
        let is_worthwhile = now_us.saturating_add(LEAST_GAIN_US) < self.suspend_at_without_growth_us();
        let was_just_saved = self.running.has_saved && now_us < self.running.saved_us + LEAST_GAIN_US;
        is_worthwhile
            && !was_just_saved
            && !self.running.has_given_up_intervals
            && self.uploading.is_none()
            && self.running.asked_to_suspend != Some(Reason::Deadline)
    }

    /// A call whose end is recorded begins its log at the latest now: should the handler not come to a hook before it is
    /// killed, the next one knows, and the number of tries is limited. The suspension needs the entry anyway.
    fn begin_before_it_is_too_late(&mut self, now_us: u64, out: &mut Vec<Command>) {
        let is_durable = matches!(self.delivery.call, Call::First { is_durable: true, .. });
        if self.log.is_none() && is_durable {
            self.write_started(now_us, None, Then::AllowSteps, out);
        }
    }

    fn ask_to_suspend(&mut self, now_us: u64, reason: Reason, out: &mut Vec<Command>) {
        if matches!(self.running.asked_to_suspend, Some(asked) if asked == reason || asked == Reason::Deadline)
        {
            return;
        }
        self.running.asked_to_suspend = Some(reason);
        let last_us = self.delivery.deadline_ms.saturating_mul(1000).saturating_sub(self.last_words_us());
        let offer_until_us = match reason {
            Reason::Deadline => last_us,
            Reason::Interval => last_us.min(now_us + self.pace.longest_hook_gap_us() + INTERVAL_PATIENCE_US),
        };
        out.push(Command::Suspend { offer_until_us, may_follow: reason == Reason::Interval });
    }

    fn ask_for_report(&mut self, now_us: u64, out: &mut Vec<Command>) {
        if self.running.asked_us.is_none() && self.running.asked_to_suspend.is_none() {
            self.running.asked_us = Some(now_us);
            out.push(Command::Report);
        }
    }

    pub(super) fn hook_passed(&mut self, now_us: u64, out: &mut Vec<Command>) {
        if let Some(asked_us) = self.running.asked_us.take() {
            self.running.reports += 1;
            self.pace.hook_gap(now_us.saturating_sub(asked_us));
        }
        self.running.has_passed_a_hook = true;
        if self.early_at_us().is_some() && self.pending.is_none() && matches!(self.stage, Stage::Running) {
            self.set_alarm(now_us, out);
        }
    }

    pub(super) fn save_expected(&mut self, now_us: u64, cost_us: u64, out: &mut Vec<Command>) {
        self.pace.expected(cost_us);
        if self.pending.is_none() && matches!(self.stage, Stage::Running) {
            self.set_alarm(now_us, out);
        }
    }

    pub(super) fn grown(&mut self, now_us: u64, bytes: u64, out: &mut Vec<Command>) {
        self.pace.grown(bytes);
        if self.pending.is_none() && matches!(self.stage, Stage::Running) {
            self.set_alarm(now_us, out);
        }
    }

    /// A cancellation, or somebody who believes that we are dead, shows in the log only.
    fn peek(&mut self, now_us: u64, out: &mut Vec<Command>) {
        let due_us = self.running.peeked_us + self.delivery.policy.peek_ms.saturating_mul(1000);
        if now_us >= due_us && self.log.is_some() {
            self.look_at_log(now_us, out);
        }
    }

    fn look_at_log(&mut self, now_us: u64, out: &mut Vec<Command>) {
        self.running.peeked_us = now_us;
        self.running.peeked_from = self.length();
        out.push(Command::Read { from: self.length(), wait_ms: 0 });
    }

    /// An entry of ours that is in flight finds out by itself.
    pub(super) fn log_moved(&mut self, now_us: u64, out: &mut Vec<Command>) {
        if matches!(self.stage, Stage::Running) && self.pending.is_none() {
            self.look_at_log(now_us, out);
        }
    }

    pub(super) fn peeked(&mut self, _now_us: u64, entries: &[Entry], out: &mut Vec<Command>) {
        // An entry of ours that is in flight, or was since, tells by its own outcome.
        let is_stale = self.pending.is_some() || self.running.peeked_from != self.length();
        if entries.is_empty() || is_stale {
            return;
        }
        // What began before our own first entry is not ours.
        if let Err(failure) = self.learn(entries) {
            out.push(Command::Abandon);
            return self.answer(crate::invocation::Answer::Refused(failure), out);
        }
        if !self.log.as_ref().is_some_and(|log| log.is_owned_by(log.epoch, self.delivery.nonce)) {
            out.push(Command::Abandon);
            self.explain(out);
        }
    }

    pub(super) fn stopping(&mut self, now_us: u64, out: &mut Vec<Command>) {
        self.running.is_stopping = true;
        if matches!(self.stage, Stage::Running) && self.shall_stop() {
            self.ask_to_suspend(now_us, Reason::Deadline, out);
        }
    }

    fn shall_stop(&self) -> bool {
        self.running.is_stopping && self.can_be_kept()
    }

    /// Whether stopping early helps: a synchronous call that has not touched the store is better finished, since
    /// its caller waits for the result.
    fn can_be_kept(&self) -> bool {
        let is_durable = matches!(self.delivery.call, Call::First { is_durable: true, .. });
        self.delivery.has_store && (self.log.is_some() || is_durable)
    }

    /// The deadline has come and the handler has not reached a hook. The platform ends us now or soon; the lease
    /// runs out, and somebody goes on from the last checkpoint.
    fn overdue(&mut self, out: &mut Vec<Command>) {
        let limit_ms = self.delivery.driver.limit_ms;
        if !self.delivery.has_store {
            let message = format!(
                "the time limit of {limit_ms} ms was reached, and there is no store to save to: set LIMITLESS_STORE"
            );
            out.push(Command::Abandon);
            return self.refuse(crate::Code::NotConfigured, message, out);
        }
        let gap_ms = self.pace.longest_hook_gap_us() / 1000;
        if self.pace.expected_us() > 0 {
            let message = format!(
                "the time limit of {limit_ms} ms was reached before the program was saved, which was expected to take {} ms. \
                 Raise the limit, or the program's margin in faas.toml",
                self.pace.expected_us() / 1000
            );
            out.push(Command::Abandon);
            return self.refuse(crate::Code::NoProgress, message, out);
        }
        let message = format!(
            "the time limit of {limit_ms} ms was reached before a checkpoint: up to {gap_ms} ms passed between two hooks. \
             Put #[checkpoint] on a loop whose body is shorter, or raise the limit"
        );
        out.push(Command::Abandon);
        self.refuse(crate::Code::NoProgress, message, out);
    }

    pub(super) fn step_wanted(&mut self, now_us: u64, out: &mut Vec<Command>) {
        if self.log.is_some() {
            out.push(Command::AllowSteps { lease_until_ms: self.lease_until_ms() });
        } else {
            self.write_started(now_us, None, Then::AllowSteps, out);
        }
    }

    /// Begins the log of a lazily started execution.
    pub(super) fn write_started(
        &mut self,
        now_us: u64,
        saved: Option<Saved>,
        then: Then,
        out: &mut Vec<Command>,
    ) {
        let Call::First { origin, .. } = &self.delivery.call else { return };
        let kind = Kind::Started {
            origin: origin.clone(),
            lease_until_ms: self.lease_until_ms(),
            driver: self.delivery.driver.clone(),
            saved,
        };
        self.write(now_us, 1, kind, then, out);
    }

    /// The checkpoint stands that the handler went on from; the next one may be due.
    pub(super) fn kept_on(&mut self, now_us: u64, out: &mut Vec<Command>) {
        self.running.has_saved = true;
        self.set_alarm(now_us, out);
    }

    pub(super) fn is_interval(&self, now_us: u64) -> bool {
        self.running.asked_to_suspend == Some(Reason::Interval)
            && !self.shall_stop()
            && now_us < self.suspend_at_without_growth_us()
    }
}
