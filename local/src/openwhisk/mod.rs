//! OpenWhisk's REST API, as far as clients of functions use it.

mod action;
mod activation;
pub(crate) mod invoke;
mod outcome;
mod package;
mod rest;
mod throttle;

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

use hyper::StatusCode;
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use serde_json::{Map, Value};

pub(crate) use rest::answer;

use self::action::Action;
use self::activation::Records;
use self::package::Package;
use self::throttle::Throttle;
use crate::limits::Limits;

/// What is deployed, and what became of it.
pub(crate) struct Whisk {
    /// By `name` or `package/name`.
    actions: Mutex<BTreeMap<String, Arc<Action>>>,
    packages: Mutex<BTreeMap<String, Package>>,
    records: Mutex<Records>,
    throttle: Arc<Throttle>,
}

impl Whisk {
    pub(crate) fn new(limits: &Limits) -> Self {
        Self {
            actions: Mutex::default(),
            packages: Mutex::default(),
            records: Mutex::new(Records::new(limits.records)),
            throttle: Throttle::new(limits),
        }
    }
}

/// A parameter, whose value is passed on to the letter.
#[derive(Clone, Debug, Serialize, Deserialize)]
struct Parameter {
    key: String,
    #[serde(default = "null")]
    value: Box<RawValue>,
    /// For the function's environment, told at `/init` alone.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    init: bool,
}

fn null() -> Box<RawValue> {
    RawValue::NULL.to_owned()
}

/// An entity as the API shows it.
#[derive(Debug, Serialize)]
struct Shown {
    parameters: Vec<Parameter>,
    #[serde(flatten)]
    rest: Map<String, Value>,
}

impl Shown {
    fn new(parameters: &[Parameter], rest: Value) -> Self {
        let rest = if let Value::Object(rest) = rest { rest } else { Map::new() };
        Self { parameters: parameters.to_vec(), rest }
    }
}

/// An annotation.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
struct Annotation {
    key: String,
    #[serde(default)]
    value: Value,
}

fn value_of<'a>(pairs: &'a [Annotation], key: &str) -> Option<&'a Value> {
    pairs.iter().find(|pair| pair.key == key).map(|pair| &pair.value)
}

/// A refused request.
#[derive(Debug)]
struct Refusal {
    status: StatusCode,
    message: String,
}

impl Refusal {
    fn new(status: StatusCode, message: impl Into<String>) -> Self {
        Self { status, message: message.into() }
    }

    fn bad_request(message: impl Into<String>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, message)
    }

    fn not_found() -> Self {
        Self::new(StatusCode::NOT_FOUND, "The requested resource does not exist.")
    }

    fn method() -> Self {
        Self::new(StatusCode::METHOD_NOT_ALLOWED, "HTTP method not allowed")
    }
}
