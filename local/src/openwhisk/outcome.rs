//! What an activation becomes, given what its container did: the table of OpenWhisk's container contract.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use hyper::StatusCode;
use serde_json::value::RawValue;
use serde_json::{Value, json};

use super::activation::{Outcome, Status};
use crate::client::Answer;
use crate::deliver::{Attempt, End};
use crate::events::KillReason;

const NO_RESPONSE: &str = "The action did not produce a valid response and exited unexpectedly.";

pub(super) fn of(attempt: &Attempt, limit: Duration, memory: Option<u64>, max: usize) -> Outcome {
    let in_init = attempt.failed_in_init();
    match &attempt.end {
        End::Answer(answer) => of_answer(answer, max),
        End::InitFailed(answer) => {
            developer(said(answer).unwrap_or_else(|| json!("The action failed to initialize.")))
        }
        End::Killed(KillReason::TimeLimit) => {
            let during = if in_init { " during initialization" } else { "" };
            developer(format!(
                "The action exceeded its time limits of {} milliseconds{during}.",
                limit.as_millis()
            ))
        }
        End::Killed(KillReason::Memory) => developer(format!(
            "The action exhausted its memory and was aborted: its process held more than {} MB of resident memory, \
             which the local platform watches.",
            memory.unwrap_or_default() >> 20
        )),
        End::Killed(KillReason::Fault) => {
            developer(format!("{NO_RESPONSE} It was killed by a fault on demand."))
        }
        End::Killed(KillReason::Shutdown) => developer(format!("{NO_RESPONSE} Its container was removed.")),
        End::Died(status) => developer(format!("{NO_RESPONSE} Its process ended with {status}.")),
        End::NoAnswer(why) => developer(format!("{NO_RESPONSE} Its process lives, but: {why}.")),
        End::NotStarted(error) => platform(&error.to_string()),
    }
}

fn of_answer(answer: &Answer, max: usize) -> Outcome {
    if answer.is_chunked() {
        return developer(format!("{NO_RESPONSE} It answered without Content-Length."));
    }
    if answer.status == StatusCode::SERVICE_UNAVAILABLE {
        return platform(
            "The action answered 503, which OpenWhisk takes for a container that is shutting down.",
        );
    }
    if answer.truncated {
        let start = String::from_utf8_lossy(answer.body.get(..1024).unwrap_or(&answer.body)).into_owned();
        let error = format!(
            "The action produced a response that exceeded the allowed length: more than {max} bytes. It begins: {start}"
        );
        return told(Status::ApplicationError, error.into());
    }
    match serde_json::from_slice::<Box<RawValue>>(&answer.body) {
        Ok(result) if answer.status == StatusCode::OK && result.get().starts_with(['{', '[']) => {
            let fields = serde_json::from_str::<BTreeMap<String, &RawValue>>(result.get());
            let failed = fields.is_ok_and(|fields| fields.contains_key("error"));
            let status = if failed { Status::ApplicationError } else { Status::Success };
            Outcome { status, result: result.into() }
        }
        _ => developer(
            said(answer).unwrap_or_else(|| json!("The action did not return a dictionary or array.")),
        ),
    }
}

/// Whether OpenWhisk would use the container again.
pub(super) fn keeps_process(answer: &Answer) -> bool {
    let is_json = || {
        let first = answer.body.iter().find(|byte| !byte.is_ascii_whitespace());
        matches!(first, Some(b'{' | b'['))
            && serde_json::from_slice::<serde::de::IgnoredAny>(&answer.body).is_ok()
    };
    answer.status == StatusCode::OK && !answer.is_chunked() && (answer.truncated || is_json())
}

/// The `error` of an answer's body.
fn said(answer: &Answer) -> Option<Value> {
    serde_json::from_slice::<Value>(&answer.body).ok()?.get("error").cloned()
}

fn developer(error: impl Into<Value>) -> Outcome {
    told(Status::DeveloperError, error.into())
}

fn platform(error: &str) -> Outcome {
    told(Status::PlatformError, error.into())
}

/// The platform's own words.
#[expect(clippy::needless_pass_by_value, reason = "made for it")]
fn told(status: Status, error: Value) -> Outcome {
    // A `Value` is always JSON.
    let result = RawValue::from_string(json!({ "error": error }).to_string()).map(Arc::from);
    Outcome { status, result: result.unwrap_or_else(|_| RawValue::NULL.to_owned().into()) }
}
