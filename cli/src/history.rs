//! From a log to the invocations it tells of: what status, progress and timeline show.

use limitless_faas_core::log::{Applied, Driver, Entry, Execution, Kind, LogError, Saved, Status};
use serde::Serialize;

/// An execution as its log tells it.
#[derive(Clone, Debug)]
pub struct History {
    /// The fold.
    pub execution: Execution,
    /// Its invocations, oldest first.
    pub invocations: Vec<Invocation>,
    /// When the log began and when its latest entry was made, µs since 1970.
    pub span_us: (u64, u64),
    /// Nobody may drive the execution after this: the end of the longest lease.
    pub lease_until_ms: u64,
    /// The number of the latest entry with which it was suspended: what a call to go on names, so that it counts once.
    pub suspended: Option<u64>,
}

/// One invocation that owned the execution.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Invocation {
    /// From 1.
    pub number: u64,
    /// Its fencing token.
    pub epoch: u64,
    /// What the platform calls the delivery.
    pub activation: String,
    /// Whether it was its process's first; none where the log does not tell.
    pub cold: Option<bool>,
    /// The platform's time limit for it.
    pub limit_ms: Option<u64>,
    /// When the delivery reached the function process, µs since 1970.
    pub started_us: u64,
    /// When it became the owner: its first entry.
    pub claimed_us: u64,
    /// The number of the entry whose checkpoint it went on from; none: from the input.
    pub resumed_from: Option<u64>,
    /// When its last entry was made, where it ended.
    pub ended_us: Option<u64>,
    /// From reaching the function process to its end.
    pub used_us: Option<u64>,
    /// How it ended.
    pub outcome: Outcome,
    /// What it saved.
    pub checkpoints: Vec<Checkpoint>,
    /// From its `Suspended` entry to the successor's claim.
    pub hand_over_us: Option<u64>,
}

/// How an invocation ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Outcome {
    /// It drives the execution.
    Running,
    /// It saved its state and stopped.
    Suspended,
    /// It made the result.
    Completed,
    /// It failed for good.
    Failed,
    /// The execution was called off while it ran.
    Cancelled,
    /// It was lost: another went on from its last checkpoint.
    Lost,
}

/// One saved state.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Checkpoint {
    /// Its entry.
    pub entry: u64,
    /// Length of what was saved.
    pub bytes: u64,
    /// What saving cost.
    pub cost_us: u64,
    /// Where in the source.
    pub site: String,
    /// When its entry was made, µs since 1970.
    pub at_us: u64,
}

impl History {
    /// The history after entry 0.
    ///
    /// # Errors
    /// Where this entry can't begin a log.
    pub fn begin(first: &Entry) -> Result<Self, LogError> {
        let mut history = Self {
            execution: Execution::begin(first)?,
            invocations: Vec::new(),
            span_us: (first.at_us, first.at_us),
            lease_until_ms: 0,
            suspended: None,
        };
        history.first(first);
        Ok(history)
    }

    /// Takes the next entry in.
    ///
    /// # Errors
    /// Where it belongs to another execution.
    pub fn push(&mut self, entry: &Entry) -> Result<(), LogError> {
        let number = self.execution.length;
        if self.execution.apply(entry)? == Applied::Counted {
            self.add(number, entry);
        }
        Ok(())
    }

    /// Folds `entries`; none where there are none.
    ///
    /// # Errors
    /// Where they are not those of one execution.
    pub fn of(entries: &[Entry]) -> Result<Option<Self>, LogError> {
        let Some((first, rest)) = entries.split_first() else { return Ok(None) };
        let mut history = Self::begin(first)?;
        rest.iter().try_for_each(|entry| history.push(entry))?;
        Ok(Some(history))
    }

    /// The phase as one word.
    pub fn status(&self) -> Status {
        self.execution.status()
    }

    /// Whether it has an end that its receiver does not know yet.
    pub fn is_owed(&self) -> bool {
        let execution = &self.execution;
        let has_receiver = execution.origin.as_ref().is_some_and(|origin| origin.callback.is_some());
        has_receiver && !execution.delivered && matches!(self.status(), Status::Completed | Status::Failed)
    }

    /// All that was saved.
    pub fn checkpoints(&self) -> impl Iterator<Item = &Checkpoint> {
        self.invocations.iter().flat_map(|invocation| &invocation.checkpoints)
    }

    /// From the first delivery's arrival to the log's latest entry.
    pub fn took_us(&self) -> u64 {
        let begun_us =
            self.invocations.first().map_or(self.span_us.0, |first| first.started_us.min(self.span_us.0));
        self.span_us.1.saturating_sub(begun_us)
    }

    /// The middle one of the hand-over times.
    pub fn hand_over_median_us(&self) -> Option<u64> {
        let mut times: Vec<u64> = self.invocations.iter().filter_map(|one| one.hand_over_us).collect();
        times.sort_unstable();
        times.get(times.len() / 2).copied()
    }

    fn first(&mut self, entry: &Entry) {
        match &entry.kind {
            Kind::Started { lease_until_ms, driver, saved, .. } => {
                self.lease_until_ms = *lease_until_ms;
                self.own(entry, Some(driver), None);
                self.save(0, entry, saved.as_ref());
            }
            // It ended before anything else had to be written: the log holds the end alone.
            Kind::Completed { driver, .. } => {
                self.own(entry, driver.as_ref(), None);
                self.end(entry, Outcome::Completed);
            }
            Kind::Failed { driver, .. } => {
                self.own(entry, driver.as_ref(), None);
                self.end(entry, Outcome::Failed);
            }
            _ => {}
        }
    }

    fn add(&mut self, number: u64, entry: &Entry) {
        self.span_us.1 = self.span_us.1.max(entry.at_us);
        match &entry.kind {
            Kind::Claimed { lease_until_ms, driver, from, .. } => {
                self.lease_until_ms = self.lease_until_ms.max(*lease_until_ms);
                self.passed_on(entry.at_us);
                self.own(entry, Some(driver), *from);
            }
            Kind::Checkpointed { saved } => self.save(number, entry, Some(saved)),
            Kind::Suspended { saved, .. } => {
                self.suspended = Some(number);
                self.save(number, entry, saved.as_ref());
                self.end(entry, Outcome::Suspended);
            }
            Kind::Completed { .. } => self.end(entry, Outcome::Completed),
            Kind::Failed { .. } => {
                // Whoever could have claimed may also give up: then the failing one never owned it.
                self.end(entry, Outcome::Failed);
            }
            Kind::Cancelled { .. } => self.end(entry, Outcome::Cancelled),
            Kind::Started { .. } | Kind::Delivered { .. } => {}
        }
    }

    fn own(&mut self, entry: &Entry, driver: Option<&Driver>, resumed_from: Option<u64>) {
        self.invocations.push(Invocation {
            number: self.invocations.len() as u64 + 1,
            epoch: entry.epoch,
            activation: driver.map(|driver| driver.activation.clone()).unwrap_or_default(),
            cold: driver.map(|driver| driver.cold),
            limit_ms: driver.map(|driver| driver.limit_ms),
            started_us: driver.map_or(entry.at_us, |driver| driver.received_us.min(entry.at_us)),
            claimed_us: entry.at_us,
            resumed_from,
            ended_us: None,
            used_us: None,
            outcome: Outcome::Running,
            checkpoints: Vec::new(),
            hand_over_us: None,
        });
    }

    /// The one before is over: suspended, or lost.
    fn passed_on(&mut self, at_us: u64) {
        let Some(last) = self.invocations.last_mut() else { return };
        match last.outcome {
            Outcome::Running => last.outcome = Outcome::Lost,
            Outcome::Suspended => {
                last.hand_over_us = last.ended_us.map(|ended_us| at_us.saturating_sub(ended_us));
            }
            _ => {}
        }
    }

    fn save(&mut self, number: u64, entry: &Entry, saved: Option<&Saved>) {
        if let (Some(saved), Some(last)) = (saved, self.invocations.last_mut()) {
            last.checkpoints.push(Checkpoint {
                entry: number,
                bytes: saved.bytes,
                cost_us: saved.cost_us,
                site: saved.site.clone(),
                at_us: entry.at_us,
            });
        }
    }

    fn end(&mut self, entry: &Entry, outcome: Outcome) {
        let Some(last) = self.invocations.last_mut().filter(|last| last.outcome == Outcome::Running) else {
            return;
        };
        last.outcome = outcome;
        last.ended_us = Some(entry.at_us);
        last.used_us = Some(entry.at_us.saturating_sub(last.started_us));
    }
}

#[cfg(test)]
pub(crate) mod samples {
    //! Logs made by hand, for the tests of whatever shows them.

    use limitless_faas_core::log::{Input, Origin, Stored, Wake, fold};
    use limitless_faas_core::{ExecutionId, Nonce};

    use super::*;

    /// Writes a log as a run would.
    pub(crate) struct Scribe {
        pub(crate) entries: Vec<Entry>,
        epoch: u64,
        at_us: u64,
    }

    pub(crate) const BEGIN_US: u64 = 1_790_000_000_000_000;

    impl Scribe {
        pub(crate) fn new() -> Self {
            Self { entries: Vec::new(), epoch: 0, at_us: BEGIN_US }
        }

        pub(crate) fn pass(&mut self, us: u64) -> &mut Self {
            self.at_us += us;
            self
        }

        pub(crate) fn write(&mut self, kind: Kind) -> &mut Self {
            self.entries.push(Entry {
                execution: ExecutionId::derive("factors", "sample"),
                handler: "factors".to_owned(),
                epoch: self.epoch,
                nonce: Nonce::from_random([self.epoch.to_le_bytes()[0]; 8]),
                at_us: self.at_us,
                kind,
            });
            self
        }

        pub(crate) fn saved(&self, bytes: u64) -> Saved {
            Saved {
                bytes,
                cost_us: 400,
                progress: self.entries.len() as u64 + 1,
                site: "line 12: for d in 2..=n.isqrt()".to_owned(),
                ..Saved::default()
            }
        }

        pub(crate) fn driver(&self) -> Driver {
            Driver {
                activation: format!("{:032x}", self.epoch),
                received_us: self.at_us - 1000,
                limit_ms: 2000,
                cold: self.epoch == 1,
            }
        }

        pub(crate) fn origin() -> Origin {
            let stored = Stored::Json(r#"{"n":360}"#.to_owned());
            Origin {
                input: Input { digest: "0".to_owned(), stored },
                callback: None,
                caller: None,
                keep_ms: None,
            }
        }

        /// The first owner begins with a checkpoint.
        pub(crate) fn start(&mut self) -> &mut Self {
            self.epoch = 1;
            let lease_until_ms = self.at_us / 1000 + 3000;
            let (origin, driver) = (Self::origin(), self.driver());
            self.write(Kind::Started { origin, lease_until_ms, driver, saved: Some(self.saved(96)) })
        }

        pub(crate) fn claim(&mut self, from: u64) -> &mut Self {
            self.epoch += 1;
            let lease_until_ms = self.at_us / 1000 + 3000;
            let driver = self.driver();
            self.write(Kind::Claimed { lease_until_ms, driver, from: Some(from), seal: None })
        }

        pub(crate) fn checkpoint(&mut self, bytes: u64) -> &mut Self {
            let saved = self.saved(bytes);
            self.write(Kind::Checkpointed { saved })
        }

        pub(crate) fn suspend(&mut self, bytes: u64) -> &mut Self {
            let so_far = Box::new(fold(&self.entries).unwrap().unwrap());
            let successor_by_ms = self.at_us / 1000 + 300_000;
            let saved = Some(self.saved(bytes));
            self.write(Kind::Suspended { saved, steps: 0, successor_by_ms, wake: None, so_far })
        }

        /// It waits, and nobody drives it.
        pub(crate) fn wait_for(&mut self, wake: Wake) -> &mut Self {
            let so_far = Box::new(fold(&self.entries).unwrap().unwrap());
            let successor_by_ms = u64::MAX;
            self.write(Kind::Suspended { saved: None, steps: 0, successor_by_ms, wake: Some(wake), so_far })
        }

        pub(crate) fn complete(&mut self, json: &str) -> &mut Self {
            self.write(Kind::Completed { output: Stored::Json(json.to_owned()), origin: None, driver: None })
        }

        pub(crate) fn history(&self) -> History {
            History::of(&self.entries).unwrap().unwrap()
        }
    }

    /// Three invocations: one suspended, one lost after an interval checkpoint, one completed.
    pub(crate) fn three() -> Scribe {
        let mut scribe = Scribe::new();
        scribe.start().pass(1_900_000).suspend(112);
        scribe.pass(3_100).claim(1).pass(700_000).checkpoint(112);
        scribe.pass(2_500_000).claim(3).pass(610_000).complete("[2,2,2,3,3,5]");
        scribe
    }
}

#[cfg(test)]
mod tests {
    use limitless_faas_core::{Code, Failure};

    use super::samples::{Scribe, three};
    use super::*;

    #[test]
    fn three_invocations_are_told_apart() {
        let history = three().history();
        let outcomes: Vec<Outcome> = history.invocations.iter().map(|one| one.outcome).collect();
        assert_eq!(outcomes, [Outcome::Suspended, Outcome::Lost, Outcome::Completed]);
        let is_suspension = |entry: &Entry| matches!(entry.kind, Kind::Suspended { .. });
        let last = three().entries.iter().rposition(is_suspension).map(|number| number as u64);
        assert!(last.is_some() && history.suspended == last, "{:?} {last:?}", history.suspended);
        let [first, second, third] = &history.invocations[..] else { panic!("three") };
        assert_eq!((first.used_us, first.hand_over_us), (Some(1_901_000), Some(3_100)));
        assert_eq!((first.cold, second.cold), (Some(true), Some(false)));
        assert_eq!((second.used_us, second.resumed_from), (None, Some(1)));
        assert_eq!((third.resumed_from, third.number), (Some(3), 3));
        assert_eq!(history.checkpoints().count(), 3);
        assert_eq!(history.status(), Status::Completed);
        assert_eq!(history.hand_over_median_us(), Some(3_100));
    }

    #[test]
    fn what_a_fenced_owner_wrote_is_not_shown() {
        let mut scribe = three();
        let stale = scribe.entries[3].clone();
        scribe.entries.insert(5, stale);
        let history = scribe.history();
        assert_eq!(history.invocations.len(), 3);
        assert_eq!(history.checkpoints().count(), 3);
    }

    #[test]
    fn an_end_alone_is_one_invocation() {
        let mut scribe = Scribe::new();
        let failure = Failure::new(Code::Application, "no");
        let driver = Some(scribe.driver());
        scribe.write(Kind::Failed { failure, origin: Some(Scribe::origin()), driver });
        let history = scribe.history();
        assert_eq!(history.invocations.len(), 1);
        assert_eq!(history.invocations[0].outcome, Outcome::Failed);
        assert_eq!(history.invocations[0].limit_ms, Some(2000));
        assert!(!history.invocations[0].activation.is_empty());
        assert!(History::of(&[]).unwrap().is_none());
    }
}
