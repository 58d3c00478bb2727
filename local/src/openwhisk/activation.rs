//! Activation records: written when an activation has ended, never before.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

use hyper::StatusCode;
use serde::Serialize;
use serde_json::value::RawValue;
use serde_json::{Value, json};

use super::Refusal;
use crate::names::is_activation_id;
use crate::platform::Shared;
use crate::server::{Reply, json as json_reply};
use crate::sync::lock;

/// What became of an activation, in OpenWhisk's four kinds.
#[derive(Clone, Debug)]
pub(super) struct Outcome {
    pub(super) status: Status,
    /// As the function wrote it: its numbers may be larger than any type of ours.
    pub(super) result: Arc<RawValue>,
}

/// What a record says of the outcome.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Response<'a> {
    status: &'static str,
    status_code: u8,
    success: bool,
    result: &'a RawValue,
    size: usize,
}

/// All of a record.
#[derive(Debug, Serialize)]
pub(super) struct Whole<'a> {
    #[serde(flatten)]
    brief: Value,
    subject: &'a str,
    response: Response<'a>,
    logs: &'a [String],
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Status {
    Success,
    ApplicationError,
    DeveloperError,
    PlatformError,
}

impl Status {
    fn text(self) -> &'static str {
        match self {
            Self::Success => "success",
            Self::ApplicationError => "application error",
            Self::DeveloperError => "action developer error",
            Self::PlatformError => "whisk internal error",
        }
    }

    fn code(self) -> u8 {
        match self {
            Self::Success => 0,
            Self::ApplicationError => 1,
            Self::DeveloperError => 2,
            Self::PlatformError => 3,
        }
    }
}

#[derive(Clone, Debug)]
pub(super) struct Record {
    pub(super) id: String,
    pub(super) namespace: String,
    pub(super) name: String,
    /// `guest/package/name`.
    pub(super) path: String,
    pub(super) version: String,
    pub(super) start_ms: u64,
    pub(super) end_ms: u64,
    pub(super) wait_ms: u64,
    pub(super) init_ms: Option<u64>,
    pub(super) limits: Value,
    pub(super) timed_out: bool,
    pub(super) outcome: Outcome,
    pub(super) logs: Vec<String>,
}

impl Record {
    pub(super) fn response(&self) -> Response<'_> {
        let (status, result) = (self.outcome.status, &*self.outcome.result);
        Response {
            status: status.text(),
            status_code: status.code(),
            success: status == Status::Success,
            result,
            size: result.get().len(),
        }
    }

    fn brief(&self) -> Value {
        let mut annotations = vec![
            json!({ "key": "path", "value": self.path }),
            json!({ "key": "kind", "value": "blackbox" }),
            json!({ "key": "limits", "value": self.limits }),
            json!({ "key": "timeout", "value": self.timed_out }),
            json!({ "key": "waitTime", "value": self.wait_ms }),
        ];
        annotations.extend(self.init_ms.map(|init| json!({ "key": "initTime", "value": init })));
        json!({
            "namespace": self.namespace, "name": self.name, "version": self.version, "publish": false,
            "annotations": annotations, "activationId": self.id, "start": self.start_ms, "end": self.end_ms,
            "duration": self.end_ms.saturating_sub(self.start_ms), "statusCode": self.outcome.status.code(),
        })
    }

    pub(super) fn whole(&self) -> Whole<'_> {
        Whole { brief: self.brief(), subject: &self.namespace, response: self.response(), logs: &self.logs }
    }

    /// Whether a list for `name` (an action, or `package/action`) shows it.
    fn is_of(&self, name: &str) -> bool {
        self.path.split_once('/').is_some_and(|(_, path)| path == name) || self.name == name
    }
}

/// The newest records.
pub(super) struct Records {
    max: usize,
    by_id: BTreeMap<String, Arc<Record>>,
    /// Oldest first.
    order: VecDeque<String>,
}

impl Records {
    pub(super) fn new(max: usize) -> Self {
        Self { max: max.max(1), by_id: BTreeMap::new(), order: VecDeque::new() }
    }

    /// Writes a record, or replaces it.
    pub(super) fn write(&mut self, record: Record) {
        let id = record.id.clone();
        if self.by_id.insert(id.clone(), Arc::new(record)).is_none() {
            self.order.push_back(id);
        }
        while self.order.len() > self.max {
            if let Some(oldest) = self.order.pop_front() {
                self.by_id.remove(&oldest);
            }
        }
    }
}

pub(super) fn get(shared: &Shared, id: &str) -> Result<Arc<Record>, Refusal> {
    if !is_activation_id(id) {
        return Err(Refusal::bad_request("The activation id is not valid: it has 32 lowercase hex digits."));
    }
    lock(&shared.whisk.records).by_id.get(id).cloned().ok_or_else(Refusal::not_found)
}

pub(super) fn list(shared: &Shared, query: &BTreeMap<String, String>) -> Result<Reply, Refusal> {
    let (limit, skip) = super::rest::page(query)?;
    let moment = |name: &str, default: u64| match query.get(name).filter(|text| !text.is_empty()) {
        Some(text) => {
            text.parse().map_err(|_| Refusal::bad_request(format!("{name} is no epoch in milliseconds")))
        }
        None => Ok(default),
    };
    let during = moment("since", 0)?..=moment("upto", u64::MAX)?;
    let name = query.get("name").filter(|name| !name.is_empty());
    let records = lock(&shared.whisk.records);
    let meant = |record: &&Arc<Record>| {
        during.contains(&record.start_ms) && name.is_none_or(|name| record.is_of(name))
    };
    let mut found: Vec<_> = records.by_id.values().filter(meant).cloned().collect();
    drop(records);
    found.sort_by_key(|record| std::cmp::Reverse(record.start_ms));
    if query.get("count").is_some_and(|count| count == "true") {
        let count = json!({ "activations": found.len().saturating_sub(skip) });
        return Ok(json_reply(StatusCode::OK, &count));
    }
    let whole = query.get("docs").is_some_and(|docs| docs == "true");
    let shown = found.iter().skip(skip).take(limit);
    Ok(if whole {
        json_reply(StatusCode::OK, &shown.map(|record| record.whole()).collect::<Vec<_>>())
    } else {
        json_reply(StatusCode::OK, &shown.map(|record| record.brief()).collect::<Vec<_>>())
    })
}
