//! What is deployed: as it is read and as it is put, in both interfaces.

use std::collections::BTreeMap;

use reqwest::Method;
use serde::Serialize;
use serde_json::{Map, Value, json};

use super::{Client, Dialect};
use crate::error::{Error, Result};

/// A function as it shall be, or is.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Spec {
    /// Its name on the platform.
    pub name: String,
    /// What it runs.
    pub image: String,
    /// Time limit of one invocation.
    pub time_limit_ms: u64,
    /// Memory limit.
    pub memory_mb: u64,
    /// Environment variables.
    pub environment: BTreeMap<String, String>,
    /// Values that nobody is shown; those that a gateway keeps to itself are read as empty.
    #[serde(skip)]
    pub secrets: BTreeMap<String, String>,
    /// Whose it is.
    pub mark: Mark,
}

impl Spec {
    /// Whether this, as the platform shows it, is what `wanted` asks for.
    pub fn is_as(&self, wanted: &Self) -> bool {
        let all = |spec: &Self| Self { secrets: BTreeMap::new(), ..spec.clone() };
        let shown =
            self.secrets.iter().map(|(name, value)| (name, Some(value).filter(|value| !value.is_empty())));
        let is_secret = |(shown, wanted): ((&String, Option<&String>), (&String, &String))| {
            shown.0 == wanted.0 && shown.1.is_none_or(|value| value == wanted.1)
        };
        all(self) == all(wanted)
            && self.secrets.len() == wanted.secrets.len()
            && shown.zip(&wanted.secrets).all(is_secret)
    }
}

/// What we write beside a function, to know it again.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Mark {
    /// The handler.
    pub handler: String,
    /// The version of its code.
    pub version: String,
    /// Whether callers call it by its name, rather than an execution's own successors.
    pub is_current: bool,
    /// Whether it runs nodes of a workflow for its version, rather than the workflow.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub is_wrap: bool,
    /// When this version was first deployed, milliseconds since 1970.
    pub since_ms: u64,
}

/// A function that is deployed, as the platform shows it.
#[derive(Clone, Debug)]
pub struct Deployed {
    /// What we understand of it.
    pub spec: Spec,
    pub(super) raw: Value,
}

const MARK: &str = "limitless-faas";
pub(super) const ACTIONS: &str = "/api/v1/namespaces/_/actions";
pub(super) const FUNCTIONS: &str = "/system/functions";
/// Lists come in pages of at most so many.
const PAGE: usize = 200;

/// The limits of a platform, in its own words.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Allowed {
    time_ms: Option<(u64, u64)>,
    memory_mb: Option<(u64, u64)>,
}

impl Allowed {
    /// Sees that `spec` is within.
    ///
    /// # Errors
    /// Says which limit is not, and what is allowed.
    pub fn check(self, spec: &Spec) -> Result<()> {
        let outside = |value: u64, range: Option<(u64, u64)>| {
            range.filter(|(least, most)| value < *least || value > *most)
        };
        if let Some((least, most)) = outside(spec.time_limit_ms, self.time_ms) {
            let message = format!("the platform allows no time limit of {} ms", spec.time_limit_ms);
            return Err(
                Error::usage(message).help(format!("take one from {least} ms to {most} ms: --time-limit"))
            );
        }
        if let Some((least, most)) = outside(spec.memory_mb, self.memory_mb) {
            let message = format!("the platform allows no memory limit of {} MB", spec.memory_mb);
            return Err(
                Error::usage(message).help(format!("take one from {least} MB to {most} MB: --memory"))
            );
        }
        Ok(())
    }
}

impl Client {
    /// Which interface it speaks.
    pub fn dialect(&self) -> Dialect {
        self.dialect
    }

    /// A handler's name where the platform is strict about names.
    pub fn function_name(&self, handler: &str) -> String {
        match self.dialect {
            Dialect::OpenWhisk => handler.to_owned(),
            Dialect::OpenFaas => handler.replace('_', "-"),
        }
    }

    /// What the platform allows; nothing is known of a gateway's limits.
    ///
    /// # Errors
    /// Where it can't be reached, or does not tell.
    pub async fn allowed(&self) -> Result<Allowed> {
        if self.dialect == Dialect::OpenFaas {
            return Ok(Allowed::default());
        }
        let info = self.read(Method::GET, "/", "").await?.ok_or_else(|| self.is_another("has no `/`"))?;
        let range = |name: &str, unit: u64| {
            let limit =
                |which: &str| info.pointer(&format!("/limits/{which}_action_{name}")).and_then(Value::as_u64);
            Some((limit("min")? / unit, limit("max")? / unit))
        };
        Ok(Allowed { time_ms: range("duration", 1), memory_mb: range("memory", 1 << 20) })
    }

    /// Whether it is the platform of this project, which tells functions where it is.
    ///
    /// # Errors
    /// Where it can't be reached.
    pub async fn is_local(&self) -> Result<bool> {
        let (response, _) = self.send_busily(&self.request(Method::GET, "/api/v1")).await?;
        if response.status().is_server_error() {
            return self.accepted(response, "").await.map(|_| false);
        }
        let body = response.bytes().await.map_err(|error| self.is_another(&format!("broke off: {error}")))?;
        let info: Value = serde_json::from_slice(&body).unwrap_or_default();
        Ok(info.get("description").and_then(Value::as_str).is_some_and(|it| it.contains("limitless-faas")))
    }

    /// The function of this name.
    ///
    /// # Errors
    /// Where the platform can't be reached or refuses.
    pub async fn deployed(&self, name: &str) -> Result<Option<Deployed>> {
        let path = match self.dialect {
            Dialect::OpenWhisk => format!("{ACTIONS}/{name}?code=false"),
            Dialect::OpenFaas => format!("/system/function/{name}"),
        };
        Ok(self.read(Method::GET, &path, name).await?.map(|raw| self.understand(raw)))
    }

    /// All functions that are ours.
    ///
    /// # Errors
    /// Where the platform can't be reached or refuses.
    pub async fn all_deployed(&self) -> Result<Vec<Deployed>> {
        let mut all = Vec::new();
        loop {
            let path = match self.dialect {
                Dialect::OpenWhisk => format!("{ACTIONS}?limit={PAGE}&skip={}", all.len()),
                Dialect::OpenFaas => FUNCTIONS.to_owned(),
            };
            let page = self.read(Method::GET, &path, "").await?;
            let page = page.as_ref().and_then(Value::as_array).cloned();
            let page = page.ok_or_else(|| self.is_another("does not list its functions"))?;
            let is_last = self.dialect == Dialect::OpenFaas || page.len() < PAGE;
            all.extend(page);
            if is_last {
                break;
            }
        }
        let understood = all.into_iter().map(|raw| self.understand(raw));
        Ok(understood.filter(|it| !it.spec.mark.handler.is_empty()).collect())
    }

    /// A document; none where the platform has none at this path.
    pub(super) async fn read(&self, method: Method, path: &str, name: &str) -> Result<Option<Value>> {
        let response = self.send_patiently_or_missing(&self.request(method, path), name).await?;
        let Some(response) = response else { return Ok(None) };
        let body = response.bytes().await.map_err(|error| self.is_another(&format!("broke off: {error}")))?;
        let value = serde_json::from_slice(&body).map_err(|_| self.is_another("answers no JSON"));
        value.map(Some)
    }

    /// It is no platform, or something stands between.
    fn is_another(&self, why: &str) -> Error {
        Error::platform(format!("{} does not answer as its platform does", self.base()))
            .because(std::io::Error::other(format!("it {why}")))
            .help("see what is at this address, and run it again when the platform is well")
    }

    fn understand(&self, raw: Value) -> Deployed {
        let spec = match self.dialect {
            Dialect::OpenWhisk => spec_of_action(&raw),
            Dialect::OpenFaas => spec_of_function(&raw),
        };
        Deployed { spec, raw }
    }
}

/// The body that puts an action.
pub(super) fn action(spec: &Spec) -> Value {
    // Parameters with `init` are the container's environment, and no handler's input.
    let variables = spec.environment.iter().chain(&spec.secrets);
    let parameters: Vec<Value> =
        variables.map(|(name, value)| json!({ "key": name, "value": value, "init": true })).collect();
    json!({
        "exec": { "kind": "blackbox", "image": spec.image },
        "limits": { "timeout": spec.time_limit_ms, "memory": spec.memory_mb },
        "parameters": parameters,
        "annotations": [
            // Without its own key a function can't invoke its successor.
            { "key": "provide-api-key", "value": true },
            { "key": MARK, "value": marked(spec) },
        ],
    })
}

fn marked(spec: &Spec) -> Value {
    let mark = &spec.mark;
    let secrets: Vec<&str> = spec.secrets.keys().map(String::as_str).collect();
    json!({
        // So that no later deployment shows the value of one.
        "secrets": secrets.join(","),
        "handler": mark.handler, "version": mark.version, "current": mark.is_current.to_string(),
        "wrap": mark.is_wrap.to_string(), "since_ms": mark.since_ms.to_string(),
    })
}

/// The body that deploys a function on a gateway.
pub(super) fn function(spec: &Spec) -> Value {
    let mut environment = spec.environment.clone();
    // Requests carry no deadline there.
    environment.insert("exec_timeout".to_owned(), format!("{}ms", spec.time_limit_ms));
    environment.insert(LIMIT.to_owned(), spec.time_limit_ms.to_string());
    let annotations: Map<String, Value> = match marked(spec) {
        Value::Object(mark) => {
            mark.into_iter().map(|(name, value)| (format!("{MARK}/{name}"), value)).collect()
        }
        _ => Map::new(),
    };
    json!({
        "service": spec.name, "image": spec.image, "envVars": environment, "annotations": annotations,
        "secrets": spec.secrets.keys().map(|name| secret_name(name)).collect::<Vec<_>>(),
        "limits": { "memory": format!("{}Mi", spec.memory_mb) },
    })
}

const LIMIT: &str = "LIMITLESS_TIME_LIMIT_MS";

/// Secrets are files there, named as hosts are.
pub(super) fn secret_name(name: &str) -> String {
    name.to_lowercase().replace('_', "-")
}

fn text(value: Option<&Value>) -> String {
    value.and_then(Value::as_str).unwrap_or_default().to_owned()
}

/// The names that a mark lists.
fn names(listed: &str) -> impl Iterator<Item = &str> {
    listed.split(',').filter(|name| !name.is_empty())
}

fn mark_of(told: impl Fn(&str) -> String) -> Mark {
    Mark {
        handler: told("handler"),
        version: told("version"),
        is_current: told("current") == "true",
        is_wrap: told("wrap") == "true",
        since_ms: told("since_ms").parse().unwrap_or(0),
    }
}

fn spec_of_action(raw: &Value) -> Spec {
    let pairs = |name: &str| raw.get(name).and_then(Value::as_array).cloned().unwrap_or_default();
    let mark = pairs("annotations").into_iter().find(|pair| pair["key"] == MARK).unwrap_or_default();
    let variables = pairs("parameters").into_iter().filter(|pair| pair["init"] == true);
    let number = |path: &str| raw.pointer(path).and_then(Value::as_u64).unwrap_or(0);
    let told = |name: &str| text(mark["value"].get(name));
    let secret_names = told("secrets");
    let is_secret = |name: &str| names(&secret_names).any(|secret| secret == name);
    let variables = variables.map(|pair| (text(pair.get("key")), text(pair.get("value"))));
    let (secrets, environment) = variables.partition(|(name, _)| is_secret(name));
    Spec {
        name: text(raw.get("name")),
        image: text(raw.pointer("/exec/image")),
        time_limit_ms: number("/limits/timeout"),
        memory_mb: number("/limits/memory"),
        environment,
        secrets,
        mark: mark_of(told),
    }
}

fn spec_of_function(raw: &Value) -> Spec {
    let words = |name: &str| -> BTreeMap<String, String> {
        let fields = raw.get(name).and_then(Value::as_object).cloned().unwrap_or_default();
        fields.into_iter().map(|(name, value)| (name, text(Some(&value)))).collect()
    };
    let annotations = words("annotations");
    let told = |name: &str| annotations.get(&format!("{MARK}/{name}")).cloned().unwrap_or_default();
    let mut environment = words("envVars");
    environment.remove("exec_timeout");
    let limit = environment.remove(LIMIT).and_then(|limit| limit.parse().ok());
    let memory = text(raw.pointer("/limits/memory"));
    Spec {
        name: text(raw.get("name")),
        image: text(raw.get("image")),
        time_limit_ms: limit.unwrap_or(0),
        memory_mb: memory.strip_suffix("Mi").and_then(|memory| memory.parse().ok()).unwrap_or(0),
        environment,
        secrets: names(&told("secrets")).map(|name| (name.to_owned(), String::new())).collect(),
        mark: mark_of(told),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn spec() -> Spec {
        let environment = [("A", "x=\"1\"\ny"), ("LIMITLESS_HANDLER", "factors")];
        Spec {
            name: "factors".into(),
            image: "r.example/factors:1".into(),
            time_limit_ms: 60_000,
            memory_mb: 256,
            environment: environment.map(|(name, value)| (name.to_owned(), value.to_owned())).into(),
            secrets: BTreeMap::new(),
            mark: Mark {
                handler: "factors".into(),
                version: "3f2a9c1b".into(),
                is_current: true,
                is_wrap: false,
                since_ms: 7,
            },
        }
    }

    #[test]
    fn what_is_put_reads_back() {
        let mut shown = action(&spec());
        shown["name"] = json!("factors");
        assert_eq!(spec_of_action(&shown), spec());
        let mut shown = function(&spec());
        shown["name"] = json!("factors");
        assert_eq!(spec_of_function(&shown), spec());
    }

    #[test]
    fn secrets_stay_secrets() {
        let hidden = Spec { secrets: BTreeMap::from([("TOKEN".to_owned(), "hush".to_owned())]), ..spec() };
        let mut shown = action(&hidden);
        shown["name"] = json!("factors");
        assert_eq!(spec_of_action(&shown), hidden);
        assert!(!function(&hidden).to_string().contains("hush"));
    }

    #[test]
    fn a_limit_outside_says_what_is_allowed() {
        let allowed = Allowed { time_ms: Some((100, 300_000)), memory_mb: Some((128, 512)) };
        allowed.check(&spec()).unwrap();
        let error = allowed.check(&Spec { time_limit_ms: 300_001, ..spec() }).unwrap_err();
        assert!(error.helps()[0].contains("300000 ms"), "{:?}", error.helps());
        assert!(allowed.check(&Spec { memory_mb: 64, ..spec() }).is_err());
        Allowed::default().check(&spec()).unwrap();
    }
}
