//! Functions as clients deploy them.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::time::{Duration, SystemTime};

use hyper::StatusCode;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::{NAMESPACE, Refusal};
use crate::duration;
use crate::events::millis;
use crate::function::{Function, Habits};
use crate::names::{is_env_name, is_service_name};
use crate::platform::Shared;
use crate::sync::lock;

/// What a client asks for.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(super) struct Deployment {
    #[serde(skip_serializing)]
    service: String,
    image: String,
    #[serde(skip_serializing)]
    namespace: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    env_process: Option<String>,
    #[serde(deserialize_with = "or_default", skip_serializing_if = "BTreeMap::is_empty")]
    env_vars: BTreeMap<String, String>,
    #[serde(deserialize_with = "or_default", skip_serializing_if = "Vec::is_empty")]
    constraints: Vec<String>,
    #[serde(deserialize_with = "or_default", skip_serializing_if = "Vec::is_empty")]
    secrets: Vec<String>,
    #[serde(deserialize_with = "or_default", skip_serializing_if = "BTreeMap::is_empty")]
    labels: BTreeMap<String, String>,
    #[serde(deserialize_with = "or_default", skip_serializing_if = "BTreeMap::is_empty")]
    annotations: BTreeMap<String, String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    limits: Option<Resources>,
    #[serde(skip_serializing_if = "Option::is_none")]
    requests: Option<Resources>,
    read_only_root_filesystem: bool,
}

#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(default)]
struct Resources {
    #[serde(skip_serializing_if = "Option::is_none")]
    memory: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    cpu: Option<String>,
}

/// Go clients write `null` for what is empty.
fn or_default<'de, D, T>(from: D) -> Result<T, D::Error>
where
    D: serde::Deserializer<'de>,
    T: Default + Deserialize<'de>,
{
    Ok(Option::deserialize(from)?.unwrap_or_default())
}

/// A deployed function.
#[derive(Debug)]
pub(super) struct Deployed {
    deployment: Deployment,
    pub(super) function: Arc<Function>,
    pub(super) limit: Duration,
    replicas: AtomicUsize,
    pub(super) invocations: AtomicU64,
    created: SystemTime,
}

impl Deployed {
    /// As the API shows it.
    pub(super) fn json(&self, shared: &Shared) -> Value {
        let mut shown = json!(self.deployment);
        shown["name"] = json!(self.deployment.service);
        shown["namespace"] = json!(NAMESPACE);
        shown["createdAt"] = json!(humantime::format_rfc3339_seconds(self.created).to_string());
        let replicas = self.replicas.load(Ordering::SeqCst);
        let counts = [
            ("replicas", replicas),
            ("availableReplicas", shared.pool.count(&self.function).min(replicas)),
            (
                "invocationCount",
                usize::try_from(self.invocations.load(Ordering::SeqCst)).unwrap_or(usize::MAX),
            ),
        ];
        for (name, count) in counts.into_iter().filter(|(_, count)| *count > 0) {
            shown[name] = json!(count);
        }
        shown
    }
}

/// Deploys a function that must not exist (`is_update` false) or must.
pub(super) fn deploy(shared: &Arc<Shared>, deployment: Deployment, is_update: bool) -> Result<(), Refusal> {
    let name = deployment.service.clone();
    check_place(&name, deployment.namespace.as_deref())?;
    let mut functions = lock(&shared.gateway.functions);
    let old = functions.get(&name).cloned();
    match (&old, is_update) {
        (Some(_), false) => {
            return Err(Refusal::bad_request(format!("function {name} exists already: update it with PUT")));
        }
        (None, true) => return Err(Refusal::unknown_function(&name)),
        (None, false) if functions.len() >= shared.config.limits.functions => {
            let message =
                format!("no more than {} functions can be deployed", shared.config.limits.functions);
            return Err(Refusal(StatusCode::FORBIDDEN, message));
        }
        _ => {}
    }
    let deployed = Arc::new(make(shared, deployment)?);
    functions.insert(name, Arc::clone(&deployed));
    drop(functions);
    if let Some(old) = old {
        shared.pool.retire(&old.function);
    }
    shared.pool.prepare(&deployed.function, 1);
    Ok(())
}

/// A name and namespace there can be.
pub(super) fn check_place(name: &str, namespace: Option<&str>) -> Result<(), Refusal> {
    if !is_service_name(name) {
        let message = "a function's name has at most 63 lowercase letters, digits and -, beginning and ending with no -";
        return Err(Refusal::bad_request(message));
    }
    match namespace {
        None | Some("" | NAMESPACE) => Ok(()),
        Some(_) => Err(Refusal::bad_request(format!("the only namespace is {NAMESPACE}"))),
    }
}

fn make(shared: &Shared, deployment: Deployment) -> Result<Deployed, Refusal> {
    if shared.pool.image(&deployment.image).is_none() {
        let message = format!(
            "image {:?} is not registered with the local platform, which runs registered images only; what ran before still runs",
            deployment.image
        );
        return Err(Refusal::bad_request(message));
    }
    let bad = deployment.env_vars.iter().find(|(name, value)| !is_env_name(name) || value.contains('\0'));
    if let Some((name, _)) = bad {
        return Err(Refusal::bad_request(format!(
            "{name:?} can't be an environment variable, or its value can't"
        )));
    }
    let limit = time_limit(shared, &deployment)?;
    let mut function = Function::new(deployment.service.clone(), deployment.image.clone(), Habits::OpenFaas);
    function.env = environment(shared, &deployment, limit);
    function.memory_bytes = memory_limit(&deployment)?;
    for name in &deployment.secrets {
        let value = lock(&shared.gateway.secrets).get(name).cloned();
        let value = value.ok_or_else(|| Refusal::bad_request(format!("there is no secret {name:?}")))?;
        function.secrets.insert(name.clone(), value);
    }
    function.keep.store(1, Ordering::SeqCst);
    Ok(Deployed {
        deployment,
        function: Arc::new(function),
        limit,
        replicas: AtomicUsize::new(1),
        invocations: AtomicU64::new(0),
        created: SystemTime::now(),
    })
}

fn environment(shared: &Shared, deployment: &Deployment, limit: Duration) -> BTreeMap<String, String> {
    let given = |name: &str, value: String| (name.to_owned(), value);
    let mut env = BTreeMap::from([
        given("LIMITLESS_GATEWAY_URL", shared.function_url.clone()),
        given("LIMITLESS_TIME_LIMIT_MS", millis(limit).to_string()),
        given("OPENFAAS_NAME", deployment.service.clone()),
        given("OPENFAAS_NAMESPACE", NAMESPACE.to_owned()),
    ]);
    env.extend(deployment.env_process.clone().map(|process| given("fprocess", process)));
    // What the client says wins: it may have been told a lower limit than ours.
    env.extend(deployment.env_vars.clone());
    env
}

fn time_limit(shared: &Shared, deployment: &Deployment) -> Result<Duration, Refusal> {
    let limits = &shared.config.limits;
    let Some(text) = deployment.env_vars.get("exec_timeout") else { return Ok(limits.time_default) };
    match duration::parse(text) {
        Some(limit) if !limit.is_zero() => Ok(limit.min(limits.time_max)),
        _ => Err(Refusal::bad_request(format!("exec_timeout {text:?} is no duration such as 30s or 300ms"))),
    }
}

fn memory_limit(deployment: &Deployment) -> Result<Option<u64>, Refusal> {
    let memory = deployment.limits.as_ref().and_then(|limits| limits.memory.as_deref());
    let Some(text) = memory.filter(|text| !text.is_empty()) else { return Ok(None) };
    let bad = || Refusal::bad_request(format!("limits.memory {text:?} is no quantity such as 128Mi or 256m"));
    bytes(text).map(Some).ok_or_else(bad)
}

/// Reads a quantity as Kubernetes (`128Mi`, `128M`) and Docker (`128m`) write it.
fn bytes(text: &str) -> Option<u64> {
    let digits = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    let (number, unit) = text.split_at(digits);
    let factor: u64 = match unit {
        "" | "b" => 1,
        "k" | "Ki" => 1 << 10,
        "m" | "Mi" => 1 << 20,
        "g" | "Gi" => 1 << 30,
        "K" => 1_000,
        "M" => 1_000_000,
        "G" => 1_000_000_000,
        _ => return None,
    };
    number.parse::<u64>().ok()?.checked_mul(factor).filter(|bytes| *bytes > 0)
}

/// Deletes a function: its processes get SIGTERM, and SIGKILL after the grace.
pub(super) fn delete(shared: &Shared, name: &str) -> Result<(), Refusal> {
    let deployed = lock(&shared.gateway.functions).remove(name);
    let deployed = deployed.ok_or_else(|| Refusal::unknown_function(name))?;
    shared.pool.retire(&deployed.function);
    Ok(())
}

/// Sets how many processes are kept ready. Calls may start more while all are at work.
pub(super) fn scale(shared: &Arc<Shared>, name: &str, replicas: usize) -> Result<(), Refusal> {
    let deployed = shared.gateway.find(name).ok_or_else(|| Refusal::unknown_function(name))?;
    let most = shared.config.limits.processes;
    if replicas > most {
        return Err(Refusal::bad_request(format!("no more than {most} replicas are possible")));
    }
    deployed.replicas.store(replicas, Ordering::SeqCst);
    deployed.function.keep.store(replicas, Ordering::SeqCst);
    shared.pool.shrink(&deployed.function, replicas);
    shared.pool.prepare(&deployed.function, replicas);
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::bytes;

    #[test]
    fn memory_is_read_as_kubernetes_and_docker_write_it() {
        for (text, expected) in [
            ("128Mi", 128 << 20),
            ("128m", 128 << 20),
            ("1G", 1_000_000_000),
            ("4096", 4096),
            ("64Ki", 64 << 10),
        ] {
            assert_eq!(bytes(text), Some(expected), "{text}");
        }
        for bad in ["", "Mi", "1.5Gi", "-1Mi", "0", "1X", "99999999999999Gi"] {
            assert_eq!(bytes(bad), None, "{bad}");
        }
    }
}
