//! The end: record it, deliver what was recorded, answer.

use super::message::{Answer, Call, Command, Finished};
use super::write::Then;
use super::{Invocation, Stage, backoff_ms};
use crate::log::{Driver, Kind, Origin, Output, Phase, RESULT_INLINE_LIMIT, Status, Stored};
use crate::{Code, Failure};

impl Invocation {
    pub(super) fn finished(&mut self, now_us: u64, finished: Finished, out: &mut Vec<Command>) {
        match finished {
            Finished::Returned(json) if !self.is_recorded() => {
                self.answer(Answer::Result(Stored::Json(json)), out);
            }
            Finished::Returned(json) if json.len() > RESULT_INLINE_LIMIT => {
                self.stage = Stage::Finishing;
                out.push(Command::StoreOutput(json));
            }
            Finished::Returned(json) => self.complete(now_us, Stored::Json(json), out),
            Finished::Failed(failure) => self.fail(now_us, failure, out),
            Finished::Unable { failure, steps } => self.unable(now_us, failure, steps, out),
        }
    }

    /// Whether the end has to be written down: somebody may ask twice, or the log has begun.
    fn is_recorded(&self) -> bool {
        self.log.is_some() || matches!(self.delivery.call, Call::First { is_durable: true, .. })
    }

    pub(super) fn output_stored(
        &mut self,
        now_us: u64,
        result: Result<Output, Failure>,
        out: &mut Vec<Command>,
    ) {
        match result {
            Ok(output) => self.complete(now_us, output, out),
            Err(failure) => self.answer(Answer::Refused(failure), out),
        }
    }

    fn complete(&mut self, now_us: u64, output: Output, out: &mut Vec<Command>) {
        self.stage = Stage::Finishing;
        let (origin, driver) = self.begun().unzip();
        let kind = Kind::Completed { output, origin, driver };
        self.write(now_us, self.epoch(), kind, Then::Conclude, out);
    }

    pub(super) fn fail(&mut self, now_us: u64, failure: Failure, out: &mut Vec<Command>) {
        if !self.is_recorded() {
            return self.answer(Answer::Failed(failure), out);
        }
        self.stage = Stage::Finishing;
        let (origin, driver) = self.begun().unzip();
        let kind = Kind::Failed { failure, origin, driver };
        self.write(now_us, self.epoch(), kind, Then::Conclude, out);
    }

    /// Where the end is the log's first entry it also says what was asked for, and who drove.
    fn begun(&self) -> Option<(Origin, Driver)> {
        match (&self.log, &self.delivery.call) {
            (None, Call::First { origin, .. }) => Some((origin.clone(), self.delivery.driver.clone())),
            _ => None,
        }
    }

    /// The handler could not begin, or not go on: once more from where it began if that may help, else it is given back. A function
    /// that does not answer was waited for by whoever called it.
    fn unable(&mut self, now_us: u64, failure: Failure, steps: u64, out: &mut Vec<Command>) {
        let was_waited_for = failure.code == Code::SuccessorRefused;
        match self.wait_for_store(now_us, &failure).filter(|_| !was_waited_for) {
            Some(wait_ms) => {
                let from = self.running_from.take();
                self.run(now_us, from, wait_ms, out);
            }
            None => self.release(now_us, failure, steps, out),
        }
    }

    /// Gives the execution back as it was: right code, or a store that answers, may go on from the same checkpoint.
    fn release(&mut self, now_us: u64, failure: Failure, steps: u64, out: &mut Vec<Command>) {
        let Some(log) = self.log.clone() else {
            return self.answer(Answer::Refused(failure), out);
        };
        self.stage = Stage::Finishing;
        out.push(Command::Note(format!("execution {} is left as it was: {failure}", log.id)));
        let so_far = Box::new(log);
        let kind = Kind::Suspended { saved: None, steps, successor_by_ms: now_us / 1000, wake: None, so_far };
        self.write(now_us, self.epoch(), kind, Then::Release(failure), out);
    }

    /// The log has its end: deliver it if a receiver waits, then answer. W4: only what the log says.
    pub(super) fn conclude(&mut self, _now_us: u64, out: &mut Vec<Command>) {
        let Some(log) = &self.log else { return };
        let receiver = log.origin.as_ref().and_then(|origin| origin.callback.clone());
        match receiver.filter(|_| !log.delivered && log.status() != Status::Cancelled) {
            Some(to) => {
                self.stage = Stage::Delivering { attempts: 0 };
                self.deliver(to, 0, out);
            }
            None => self.explain(out),
        }
    }

    fn deliver(&self, to: String, wait_ms: u64, out: &mut Vec<Command>) {
        let answer = match self.log.as_ref().map(|log| &log.phase) {
            Some(Phase::Completed(output)) => Answer::Result(output.clone()),
            Some(Phase::Failed(failure)) => Answer::Failed(failure.clone()),
            _ => return,
        };
        out.push(Command::Deliver { to, answer: Box::new(answer), wait_ms });
    }

    pub(super) fn delivered(&mut self, now_us: u64, result: Result<(), Failure>, out: &mut Vec<Command>) {
        let Stage::Delivering { attempts } = &mut self.stage else { return };
        let to = self.log.as_ref().and_then(|log| log.origin.as_ref()?.callback.clone()).unwrap_or_default();
        let wait_ms = backoff_ms(*attempts);
        *attempts += 1;
        match result {
            Ok(()) => self.write(now_us, self.epoch(), Kind::Delivered { to }, Then::Explain, out),
            Err(failure) if helps(&failure) && !self.is_too_late(now_us, wait_ms) => {
                self.deliver(to, wait_ms, out);
            }
            Err(failure) => {
                out.push(Command::Note(format!(
                    "execution {}: its result could not be delivered ({}); `cargo faas resume` delivers it again",
                    self.delivery.execution, failure.message
                )));
                self.explain(out);
            }
        }
    }
}

/// Whether the same again may end otherwise.
fn helps(failure: &Failure) -> bool {
    failure.code.advice() == crate::Advice::Retry
}
