//! What the embedded platform did with each delivery, from its events.

use std::collections::HashMap;
use std::time::Duration;

use limitless_faas_local::{Event, EventKind, KillReason};
use serde::Serialize;

/// All deliveries of one function that were seen.
#[derive(Clone, Debug, Default)]
pub struct Deliveries {
    by_activation: HashMap<String, Delivery>,
    /// The time limit that all have.
    limit_ms: Option<u64>,
    /// What was counted.
    pub counts: Counts,
}

/// What went wrong again and again before anything was saved.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Hopeless {
    /// Killed at the time limit.
    TimeLimit,
    /// Killed for memory.
    Memory,
    /// Ended by itself.
    Died,
}

/// How often what happened.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Counts {
    /// Calls the platform accepted.
    pub accepted: u64,
    /// Processes started for a call.
    pub cold_starts: u64,
    /// Calls delivered twice.
    pub duplicated: u64,
    /// Calls accepted and never run.
    pub lost: u64,
    /// Calls that waited.
    pub delayed: u64,
    /// Processes killed at their time limit.
    pub killed_at_limit: u64,
    /// Processes killed for their memory.
    pub killed_for_memory: u64,
    /// Processes killed by a fault.
    pub killed_by_fault: u64,
    /// Processes that ended by themselves.
    pub died: u64,
    /// Calls delivered again because their process was dead.
    pub redelivered: u64,
}

/// One call on the platform.
#[derive(Clone, Debug, Default)]
struct Delivery {
    open: usize,
    attempts: Vec<Attempt>,
    notes: Vec<(u64, String)>,
}

/// One process's try at it.
#[derive(Clone, Debug)]
pub struct Attempt {
    /// When its request was sent, µs since 1970.
    pub started_us: u64,
    /// What starting the process cost.
    pub start_us: u64,
    /// How it ended, and when.
    pub end: Option<(u64, End)>,
}

/// How a try ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum End {
    /// The function answered.
    Answered(u16),
    /// The platform killed the process.
    Killed(KillReason),
    /// The process ended by itself.
    Died(String),
}

impl End {
    /// For a person.
    pub fn describe(&self) -> String {
        match self {
            Self::Answered(status) => format!("answered {status}"),
            Self::Killed(KillReason::TimeLimit) => "killed at its time limit".to_owned(),
            Self::Killed(KillReason::Memory) => "killed for its memory".to_owned(),
            Self::Killed(KillReason::Fault) => "killed by a fault".to_owned(),
            Self::Killed(_) => "killed".to_owned(),
            Self::Died(status) => format!("died: {status}"),
        }
    }
}

impl Deliveries {
    /// Nothing was seen yet; every delivery will have this time limit.
    pub fn within(limit: Duration) -> Self {
        Self { limit_ms: u64::try_from(limit.as_millis()).ok(), ..Self::default() }
    }

    /// The time limit of a delivery.
    pub fn limit_ms(&self) -> Option<u64> {
        self.limit_ms
    }

    /// Takes one event in.
    pub fn on(&mut self, event: &Event) {
        if event.activation.is_empty() {
            return;
        }
        self.count(&event.kind);
        let delivery = self.by_activation.entry(event.activation.clone()).or_default();
        match &event.kind {
            EventKind::Queued => delivery.open += 1,
            EventKind::Started { start_us, .. } => {
                let (started_us, start_us) = (event.at_us, *start_us);
                delivery.attempts.push(Attempt { started_us, start_us, end: None });
            }
            EventKind::Answered { status, .. } => delivery.end(event.at_us, End::Answered(*status)),
            EventKind::Killed { reason, .. } => delivery.end(event.at_us, End::Killed(*reason)),
            EventKind::Died { status, .. } => delivery.end(event.at_us, End::Died(status.clone())),
            EventKind::Redelivered { .. } => {
                delivery.open += 1;
                delivery.notes.push((event.at_us, "delivered again".to_owned()));
            }
            EventKind::Duplicated => {
                delivery.open += 1;
                delivery.notes.push((event.at_us, "delivered twice".to_owned()));
            }
            EventKind::Lost => {
                delivery.open = delivery.open.saturating_sub(1);
            }
            EventKind::Delayed { by_ms } => {
                delivery.notes.push((event.at_us, format!("delayed by {by_ms}ms")));
            }
            _ => {}
        }
    }

    /// Calls that are queued or worked on.
    pub fn in_flight(&self) -> usize {
        self.by_activation.values().map(|delivery| delivery.open).sum()
    }

    /// Forgets what was under way: events were missed, so it can't be known.
    pub fn missed(&mut self) {
        for delivery in self.by_activation.values_mut() {
            delivery.open = 0;
        }
    }

    /// The try during which something happened at `at_us`.
    pub fn attempt(&self, activation: &str, at_us: u64) -> Option<&Attempt> {
        // The event is stamped by another clock reading than the entry, and may be a moment late.
        const SLACK_US: u64 = 5000;
        let attempts = &self.by_activation.get(activation)?.attempts;
        attempts.iter().rev().find(|attempt| attempt.started_us <= at_us + SLACK_US)
    }

    /// When the latest of the tries that are under way was begun.
    pub fn working_since_us(&self) -> Option<u64> {
        let attempts = self.by_activation.values().flat_map(|delivery| &delivery.attempts);
        attempts.filter(|attempt| attempt.end.is_none()).map(|attempt| attempt.started_us).max()
    }

    /// Why there is no point in going on, where nothing was ever saved.
    pub fn hopeless(&self) -> Option<Hopeless> {
        /// Once is chance, twice may be.
        const TIMES: u64 = 3;
        match self.counts {
            Counts { killed_at_limit: TIMES.., .. } => Some(Hopeless::TimeLimit),
            Counts { killed_for_memory: TIMES.., .. } => Some(Hopeless::Memory),
            Counts { died: TIMES.., .. } => Some(Hopeless::Died),
            _ => None,
        }
    }

    /// What happened to this call in `span_us`, other than that it was worked on.
    pub fn notes(&self, activation: &str, span_us: std::ops::RangeInclusive<u64>) -> Vec<String> {
        let all = self.by_activation.get(activation).map_or(&[][..], |delivery| &delivery.notes);
        let mut notes: Vec<String> = Vec::new();
        for (_, note) in all.iter().filter(|(at_us, _)| span_us.contains(at_us)) {
            if !notes.contains(note) {
                notes.push(note.clone());
            }
        }
        notes
    }

    fn count(&mut self, kind: &EventKind) {
        let counts = &mut self.counts;
        let counter = match kind {
            EventKind::Queued => &mut counts.accepted,
            EventKind::Started { cold: true, .. } => &mut counts.cold_starts,
            EventKind::Duplicated => &mut counts.duplicated,
            EventKind::Lost => &mut counts.lost,
            EventKind::Delayed { .. } => &mut counts.delayed,
            EventKind::Killed { reason: KillReason::TimeLimit, .. } => &mut counts.killed_at_limit,
            EventKind::Killed { reason: KillReason::Memory, .. } => &mut counts.killed_for_memory,
            EventKind::Killed { reason: KillReason::Fault, .. } => &mut counts.killed_by_fault,
            EventKind::Died { .. } => &mut counts.died,
            EventKind::Redelivered { .. } => &mut counts.redelivered,
            _ => return,
        };
        *counter += 1;
    }
}

impl Delivery {
    fn end(&mut self, at_us: u64, end: End) {
        self.open = self.open.saturating_sub(1);
        if let Some(attempt) = self.attempts.iter_mut().find(|attempt| attempt.end.is_none()) {
            attempt.end = Some((at_us, end));
        }
    }
}

impl Counts {
    /// What faults and limits did, for a person; empty where they did nothing.
    pub fn describe(&self) -> String {
        let told = [
            (self.killed_by_fault, "killed by a fault"),
            (self.killed_at_limit, "killed at the time limit"),
            (self.killed_for_memory, "killed for memory"),
            (self.died, "died"),
            (self.lost, "lost"),
            (self.duplicated, "delivered twice"),
            (self.delayed, "delayed"),
            (self.redelivered, "delivered again"),
        ];
        let told = told.iter().filter(|(count, _)| *count > 0);
        told.map(|(count, what)| format!("{count} {what}")).collect::<Vec<_>>().join(", ")
    }
}
