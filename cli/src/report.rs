//! One execution as it is shown and printed: its history with what the platform's events add.

use limitless_faas_core::Failure;
use limitless_faas_core::log::{Phase, Status};
use limitless_faas_planner::explain::ran::Ran;
use serde::Serialize;
use serde_json::value::RawValue;
use serde_json::{Value, json};

use crate::deliveries::{Counts, Deliveries, End};
use crate::error::{Error, Result};
use crate::history::{History, Invocation, Outcome};
use crate::records::{OpenCall, Records};

/// An invocation with what the platform saw of it.
#[derive(Clone, Debug, Serialize)]
pub struct Shown {
    #[serde(flatten)]
    pub invocation: Invocation,
    /// What starting the process or unpausing it cost, where that was seen.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub start_us: Option<u64>,
    /// How the platform ended it, where that was not by an answer.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ended_by: Option<String>,
    /// What faults did to its delivery.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub faults: Vec<String>,
}

/// The invocations of `history` with what `deliveries` tell of them.
pub fn shown(history: &History, deliveries: Option<&Deliveries>) -> Vec<Shown> {
    let plain = |invocation: &Invocation| Shown {
        invocation: invocation.clone(),
        start_us: None,
        ended_by: None,
        faults: Vec::new(),
    };
    let mut since_us = 0;
    let one = |invocation: &Invocation| {
        let from_us = std::mem::replace(&mut since_us, invocation.claimed_us);
        match deliveries {
            Some(deliveries) => plain(invocation).with(deliveries, from_us),
            None => plain(invocation),
        }
    };
    history.invocations.iter().map(one).collect()
}

impl Shown {
    fn with(mut self, deliveries: &Deliveries, since_us: u64) -> Self {
        let known = &mut self.invocation;
        let activation = known.activation.clone();
        let Some(attempt) = deliveries.attempt(&activation, known.claimed_us) else { return self };
        if deliveries.limit_ms().is_some() {
            known.limit_ms = deliveries.limit_ms();
        }
        self.start_us = Some(attempt.start_us);
        if let Some((ended_us, end)) = &attempt.end {
            if known.outcome == Outcome::Lost || !matches!(end, End::Answered(_)) {
                self.ended_by = Some(end.describe());
            }
            if known.used_us.is_none() && known.outcome != Outcome::Running {
                known.ended_us = Some(*ended_us);
                known.used_us = Some(ended_us.saturating_sub(known.started_us));
            }
        }
        // A successor is queued before its predecessor's last entry was seen, and what happened since is its own.
        self.faults = deliveries.notes(&activation, since_us..=known.claimed_us);
        self
    }
}

/// What `run`, `resume`, `invoke` and `status` print with `--json`.
#[derive(Debug, Serialize)]
pub struct Report {
    pub execution: String,
    pub handler: String,
    pub status: Status,
    pub result: Option<Box<RawValue>>,
    pub error: Option<Value>,
    pub invocations: Vec<Shown>,
    /// Calls that have begun and not ended.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub calls: Vec<OpenCall>,
    /// When the nodes of a workflow ran, where that was seen.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub nodes: Vec<Ran>,
    /// How many checkpoints were saved, and their bytes in all.
    pub checkpoints: Value,
    pub timings: Timings,
    /// What the platform did, where it was ours to see.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub platform: Option<Counts>,
}

/// How long what took.
#[derive(Clone, Copy, Debug, Default, Serialize)]
#[expect(clippy::struct_field_names, reason = "the unit ends a name")]
pub struct Timings {
    /// From the first delivery to the last entry; where a client waited, from its call to the result.
    pub wall_us: u64,
    /// In invocations.
    pub used_us: u64,
    /// The middle one of the hand-over times.
    pub hand_over_median_us: Option<u64>,
}

impl Report {
    /// Reads the result, if there is one.
    ///
    /// # Errors
    /// Where the store does not answer.
    pub async fn of(
        records: &Records,
        history: &History,
        deliveries: Option<&Deliveries>,
        waited_us: Option<u64>,
    ) -> Result<Self> {
        let execution = &history.execution;
        let result = match &execution.phase {
            Phase::Completed(output) => Some(records.json(&execution.id, output).await?),
            _ => None,
        };
        let invocations = shown(history, deliveries);
        let used_us = invocations.iter().filter_map(|one| one.invocation.used_us).sum();
        Ok(Self {
            execution: execution.id.to_string(),
            handler: execution.handler.clone(),
            status: history.status(),
            calls: records.open_calls_of(history).await?,
            result,
            error: failure(history).map(|error| error.to_json()),
            checkpoints: json!({
                "count": history.checkpoints().count(),
                "bytes": history.checkpoints().map(|one| one.bytes).sum::<u64>(),
                "cost_us": history.checkpoints().map(|one| one.cost_us).sum::<u64>(),
            }),
            timings: Timings {
                wall_us: waited_us.unwrap_or_else(|| history.took_us()),
                used_us,
                hand_over_median_us: history.hand_over_median_us(),
            },
            platform: deliveries.map(|deliveries| deliveries.counts),
            invocations,
            nodes: Vec::new(),
        })
    }
}

/// Why the execution has no result, if it has ended without one.
pub fn failure(history: &History) -> Option<Error> {
    let id = &history.execution.id;
    match &history.execution.phase {
        Phase::Failed(failure) => Some(advise(Error::failure(failure), failure, id.as_str())),
        Phase::Cancelled { by } => {
            let code = limitless_faas_core::Code::Cancelled;
            Some(Error::failure(&Failure::new(code, format!("execution {id} was cancelled by {by}"))))
        }
        _ => None,
    }
}

/// Says what to do about a failure that a function tells.
pub fn advise(error: Error, failure: &Failure, id: &str) -> Error {
    use limitless_faas_core::Code;
    match failure.code {
        Code::Incompatible => error
            .help(format!("build the code that saved it, then `cargo faas resume {id}`; the checkpoint was left as it is"))
            .help("or begin anew: `cargo faas run` without --key, or with another one"),
        Code::NoProgress => error.help("raise --time-limit, or put #[checkpoint] on a loop that turns more often"),
        Code::TooManyInvocations => error.help("raise --max-invocations or --time-limit"),
        Code::Panicked => error.help(format!("`cargo faas logs {id}` shows what it printed")),
        Code::InputChanged => error.help("a key names one call: use another --key for another input"),
        _ => error,
    }
}
