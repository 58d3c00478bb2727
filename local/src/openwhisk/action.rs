//! Actions: put, shown, deleted.

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use hyper::StatusCode;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::{Annotation, Parameter, Refusal, Shown, value_of};
use crate::events::{epoch_ms, millis};
use crate::function::{Function, Habits};
use crate::limits::Limits;
use crate::names::is_entity_name;
use crate::platform::Shared;
use crate::sync::lock;

/// The name of an action within its namespace.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct ActionName {
    pub(super) package: Option<String>,
    pub(super) name: String,
}

impl ActionName {
    /// From the path's segments after `actions/`.
    pub(super) fn new(segments: &[String]) -> Result<Self, Refusal> {
        let (package, name) = match segments {
            [name] => (None, name.clone()),
            [package, name] => (Some(package.clone()), name.clone()),
            _ => return Err(Refusal::not_found()),
        };
        // OpenWhisk's default package has the name `_` in some clients.
        let package = package.filter(|package| package != "_");
        let is_good = package.iter().chain([&name]).all(|part| is_entity_name(part));
        if is_good { Ok(Self { package, name }) } else { Err(Refusal::bad_request(BAD_NAME)) }
    }

    /// `name` or `package/name`.
    pub(super) fn key(&self) -> String {
        match &self.package {
            Some(package) => format!("{package}/{}", self.name),
            None => self.name.clone(),
        }
    }
}

pub(super) const BAD_NAME: &str = "The name of the entity contains illegal characters, begins or ends with a wrong one, or is longer than 256.";

#[derive(Debug)]
pub(super) struct Action {
    pub(super) name: ActionName,
    /// `0.0.patch`: every update bumps it.
    patch: u32,
    pub(super) exec: Exec,
    pub(super) limits: ActionLimits,
    pub(super) parameters: Vec<Parameter>,
    annotations: Vec<Annotation>,
    updated: SystemTime,
    pub(super) function: Arc<Function>,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct Exec {
    kind: String,
    #[serde(default)]
    image: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) code: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) main: Option<String>,
    #[serde(default)]
    pub(super) binary: bool,
}

#[derive(Clone, Copy, Debug, Serialize)]
pub(super) struct ActionLimits {
    /// Milliseconds.
    timeout: u64,
    /// MB.
    memory: u64,
    /// MB.
    logs: u64,
    concurrency: u64,
}

/// What a client puts; what it leaves out stays as it was.
#[derive(Debug, Deserialize)]
pub(super) struct ActionPut {
    exec: Option<Exec>,
    limits: Option<LimitsPut>,
    parameters: Option<Vec<Parameter>>,
    annotations: Option<Vec<Annotation>>,
    #[serde(default, rename = "delAnnotations")]
    del_annotations: Vec<String>,
}

#[derive(Debug, Deserialize)]
struct LimitsPut {
    timeout: Option<u64>,
    memory: Option<u64>,
    logs: Option<u64>,
    concurrency: Option<u64>,
}

impl Action {
    pub(super) fn version(&self) -> String {
        format!("0.0.{}", self.patch)
    }

    pub(super) fn time_limit(&self) -> Duration {
        Duration::from_millis(self.limits.timeout)
    }

    /// Whether the function is given the key, so that it can invoke itself.
    pub(super) fn provides_api_key(&self) -> bool {
        value_of(&self.annotations, "provide-api-key").is_some_and(|value| *value == json!(true))
    }

    pub(super) fn limits_json(&self) -> Value {
        json!(self.limits)
    }

    fn namespace(&self, shared: &Shared) -> String {
        match &self.name.package {
            Some(package) => format!("{}/{package}", shared.config.namespace),
            None => shared.config.namespace.clone(),
        }
    }

    /// `guest/package/name`.
    pub(super) fn path(&self, shared: &Shared) -> String {
        format!("{}/{}", shared.config.namespace, self.name.key())
    }

    /// As the API shows it, with or without what it runs.
    pub(super) fn json(&self, shared: &Shared, code: bool) -> Shown {
        let mut exec = json!(self.exec);
        if let (false, Value::Object(exec)) = (code, &mut exec) {
            exec.remove("code");
        }
        let rest = json!({
            "namespace": self.namespace(shared), "name": self.name.name, "version": self.version(), "publish": false,
            "exec": exec, "limits": self.limits, "annotations": self.annotations, "updated": epoch_ms(self.updated),
        });
        Shown::new(&self.parameters, rest)
    }

    /// As lists show it.
    pub(super) fn brief(&self, shared: &Shared) -> Value {
        let mut brief = self.json(shared, false).rest;
        brief.insert("exec".to_owned(), json!({ "binary": self.exec.binary }));
        Value::Object(brief)
    }
}

/// Creates an action, or updates it if `overwrite` is set.
pub(super) fn put(
    shared: &Shared,
    name: ActionName,
    put: ActionPut,
    overwrite: bool,
) -> Result<Arc<Action>, Refusal> {
    if name.package.as_ref().is_some_and(|package| !lock(&shared.whisk.packages).contains_key(package)) {
        return Err(Refusal::not_found());
    }
    let key = name.key();
    let mut actions = lock(&shared.whisk.actions);
    let old = actions.get(&key).cloned();
    if old.is_some() && !overwrite {
        return Err(Refusal::new(StatusCode::CONFLICT, "resource already exists"));
    }
    let action = Arc::new(make(shared, name, put, old.as_deref())?);
    actions.insert(key, Arc::clone(&action));
    drop(actions);
    if let Some(old) = old {
        shared.pool.retire(&old.function);
    }
    Ok(action)
}

fn make(shared: &Shared, name: ActionName, put: ActionPut, old: Option<&Action>) -> Result<Action, Refusal> {
    let missing = || {
        Refusal::bad_request("exec undefined: an action needs {\"exec\":{\"kind\":\"blackbox\",\"image\":…}}")
    };
    let exec = put.exec.or_else(|| old.map(|old| old.exec.clone())).ok_or_else(missing)?;
    check_exec(shared, &exec)?;
    let limits = limits(&shared.config.limits, put.limits.as_ref(), old.map(|old| old.limits))?;
    let kept = || old.map(|old| old.parameters.clone()).unwrap_or_default();
    let parameters = put.parameters.unwrap_or_else(kept);
    check_parameters(shared, &parameters)?;
    let kept = || old.map(|old| old.annotations.clone()).unwrap_or_default();
    let mut annotations = put.annotations.unwrap_or_else(kept);
    annotations.retain(|pair| !put.del_annotations.contains(&pair.key));
    complete(&mut annotations, &exec)?;
    let mut function = Function::new(name.key(), exec.image.clone(), Habits::OpenWhisk);
    function.env.insert("__OW_API_HOST".to_owned(), shared.function_url.clone());
    function.env.insert("__OW_ALLOW_CONCURRENT".to_owned(), "false".to_owned());
    function.memory_bytes = Some(limits.memory << 20);
    function.log_bytes = usize::try_from(limits.logs << 20).unwrap_or(usize::MAX);
    let (patch, function) = (old.map_or(1, |old| old.patch + 1), Arc::new(function));
    Ok(Action { name, patch, exec, limits, parameters, annotations, updated: SystemTime::now(), function })
}

fn check_exec(shared: &Shared, exec: &Exec) -> Result<(), Refusal> {
    if exec.kind != "blackbox" {
        let message =
            format!("kind {:?} is not offered: the local platform runs blackbox actions", exec.kind);
        return Err(Refusal::bad_request(message));
    }
    if shared.pool.image(&exec.image).is_none() {
        let message = format!(
            "image {:?} is not registered with the local platform, which runs registered images only",
            exec.image
        );
        return Err(Refusal::bad_request(message));
    }
    let (length, max) = (exec.code.as_ref().map_or(0, String::len), shared.config.limits.code_bytes);
    if length > max {
        return Err(too_large(u64::try_from(length).unwrap_or(u64::MAX), max));
    }
    Ok(())
}

pub(super) fn too_large(length: u64, max: usize) -> Refusal {
    let message = format!("Request larger than allowed: {length} > {max} bytes.");
    Refusal::new(StatusCode::PAYLOAD_TOO_LARGE, message)
}

pub(super) fn check_parameters(shared: &Shared, parameters: &[Parameter]) -> Result<(), Refusal> {
    let sizes = parameters.iter().map(|pair| pair.key.len() + pair.value.get().len());
    let (length, max): (usize, _) = (sizes.sum(), shared.config.limits.payload_bytes);
    if length > max {
        return Err(too_large(u64::try_from(length).unwrap_or(u64::MAX), max));
    }
    Ok(())
}

/// Adds the annotations that OpenWhisk adds.
fn complete(annotations: &mut Vec<Annotation>, exec: &Exec) -> Result<(), Refusal> {
    if value_of(annotations, "conductor").is_some_and(|value| *value != json!(false)) {
        return Err(Refusal::bad_request("conductor actions are not offered by the local platform"));
    }
    if value_of(annotations, "provide-api-key").is_none() {
        annotations.push(Annotation { key: "provide-api-key".to_owned(), value: json!(false) });
    }
    annotations.retain(|pair| pair.key != "exec");
    annotations.push(Annotation { key: "exec".to_owned(), value: json!(exec.kind) });
    Ok(())
}

fn limits(
    allowed: &Limits,
    put: Option<&LimitsPut>,
    old: Option<ActionLimits>,
) -> Result<ActionLimits, Refusal> {
    let time = |limit| millis(limit);
    let pick = |new: Option<u64>, old: Option<u64>, default| new.or(old).unwrap_or(default);
    let limits = ActionLimits {
        timeout: pick(put.and_then(|it| it.timeout), old.map(|it| it.timeout), time(allowed.time_default)),
        memory: pick(put.and_then(|it| it.memory), old.map(|it| it.memory), allowed.memory_default_mb),
        logs: pick(put.and_then(|it| it.logs), old.map(|it| it.logs), allowed.logs_max_mb),
        concurrency: pick(put.and_then(|it| it.concurrency), old.map(|it| it.concurrency), 1),
    };
    let check = |what, unit, value, min, max| match value {
        _ if value < min => Err(Refusal::bad_request(format!(
            "{what} {value} {unit} below allowed threshold of {min} {unit}"
        ))),
        _ if value > max => Err(Refusal::bad_request(format!(
            "{what} {value} {unit} exceeds allowed threshold of {max} {unit}"
        ))),
        _ => Ok(()),
    };
    check("timeout", "milliseconds", limits.timeout, time(allowed.time_min), time(allowed.time_max))?;
    check("memory", "MB", limits.memory, allowed.memory_min_mb, allowed.memory_max_mb)?;
    check("logs", "MB", limits.logs, 0, allowed.logs_max_mb)?;
    check("concurrency", "activations", limits.concurrency, 1, 1)?;
    Ok(limits)
}

/// Deletes an action.
pub(super) fn delete(shared: &Shared, name: &ActionName) -> Result<Arc<Action>, Refusal> {
    let action = lock(&shared.whisk.actions).remove(&name.key()).ok_or_else(Refusal::not_found)?;
    shared.pool.retire(&action.function);
    Ok(action)
}

/// Finds an action.
pub(super) fn get(shared: &Shared, name: &ActionName) -> Result<Arc<Action>, Refusal> {
    lock(&shared.whisk.actions).get(&name.key()).cloned().ok_or_else(Refusal::not_found)
}
