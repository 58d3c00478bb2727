//! What is deployed: read, put, removed, in both interfaces.

use std::collections::BTreeMap;

use reqwest::{Method, StatusCode};
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
    /// Values that nobody is shown.
    #[serde(skip)]
    pub secrets: BTreeMap<String, String>,
    /// Whose it is.
    pub mark: Mark,
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
    raw: Value,
}

const MARK: &str = "limitless-faas";
const ACTIONS: &str = "/api/v1/namespaces/_/actions";
const FUNCTIONS: &str = "/system/functions";
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
    /// Where it can't be reached.
    pub async fn allowed(&self) -> Result<Allowed> {
        if self.dialect == Dialect::OpenFaas {
            return Ok(Allowed::default());
        }
        let info = self.read(Method::GET, "/", "").await?.unwrap_or_default();
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
        let response = self.send(self.request(Method::GET, "/api/v1")).await?;
        let text = response.text().await.unwrap_or_default();
        let info: Value = serde_json::from_str(&text).unwrap_or_default();
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
            let page = self.read(Method::GET, &path, "").await?.unwrap_or_default();
            let page = page.as_array().cloned().unwrap_or_default();
            let is_last = self.dialect == Dialect::OpenFaas || page.len() < PAGE;
            all.extend(page);
            if is_last {
                break;
            }
        }
        let understood = all.into_iter().map(|raw| self.understand(raw));
        Ok(understood.filter(|it| !it.spec.mark.handler.is_empty()).collect())
    }

    /// Creates or replaces a function.
    ///
    /// # Errors
    /// Where the platform can't be reached or refuses.
    pub async fn put(&self, spec: &Spec) -> Result<()> {
        if self.dialect == Dialect::OpenWhisk {
            return self.put_raw(&spec.name, &action(spec)).await;
        }
        for (name, value) in &spec.secrets {
            self.put_secret(&secret_name(name), value).await?;
        }
        self.put_raw(&spec.name, &function(spec)).await
    }

    /// Puts back what was deployed before.
    ///
    /// # Errors
    /// Where the platform can't be reached or refuses.
    pub async fn restore(&self, before: &Deployed) -> Result<()> {
        let keep = |names: &[&str]| -> Map<String, Value> {
            let all = before.raw.as_object().cloned().unwrap_or_default();
            all.into_iter().filter(|(name, _)| names.contains(&name.as_str())).collect()
        };
        let body = match self.dialect {
            Dialect::OpenWhisk => keep(&["exec", "limits", "parameters", "annotations"]),
            Dialect::OpenFaas => {
                let mut body = keep(&[
                    "image",
                    "envProcess",
                    "envVars",
                    "constraints",
                    "secrets",
                    "labels",
                    "annotations",
                    "limits",
                    "requests",
                    "readOnlyRootFilesystem",
                ]);
                body.insert("service".to_owned(), json!(before.spec.name));
                body
            }
        };
        self.put_raw(&before.spec.name, &Value::Object(body)).await
    }

    /// Removes a function; that it is gone already is as good.
    ///
    /// # Errors
    /// Where the platform can't be reached or refuses.
    pub async fn delete(&self, name: &str) -> Result<()> {
        let request = match self.dialect {
            Dialect::OpenWhisk => self.request(Method::DELETE, &format!("{ACTIONS}/{name}")),
            Dialect::OpenFaas => {
                self.request(Method::DELETE, FUNCTIONS).json(&json!({ "functionName": name }))
            }
        };
        let response = self.send(request).await?;
        if response.status() == StatusCode::NOT_FOUND {
            return Ok(());
        }
        self.accepted(response, name).await.map(drop)
    }

    async fn put_raw(&self, name: &str, body: &Value) -> Result<()> {
        if self.dialect == Dialect::OpenWhisk {
            let request = self.request(Method::PUT, &format!("{ACTIONS}/{name}?overwrite=true")).json(body);
            return self.send_patiently(&request, name).await.map(drop);
        }
        // As OpenFaaS's own client does: update, and where there is nothing to update, create.
        let update = self.send(self.request(Method::PUT, FUNCTIONS).json(body)).await?;
        if update.status() != StatusCode::NOT_FOUND {
            return self.accepted(update, name).await.map(drop);
        }
        let request = self.request(Method::POST, FUNCTIONS).json(body);
        self.send_patiently(&request, name).await.map(drop)
    }

    async fn put_secret(&self, name: &str, value: &str) -> Result<()> {
        let body = json!({ "name": name, "value": value });
        let update = self.send(self.request(Method::PUT, "/system/secrets").json(&body)).await?;
        if update.status().is_success() {
            return Ok(());
        }
        let create = self.send(self.request(Method::POST, "/system/secrets").json(&body)).await?;
        self.accepted(create, name).await.map(drop)
    }

    async fn read(&self, method: Method, path: &str, name: &str) -> Result<Option<Value>> {
        let response = self.send_patiently_or_missing(&self.request(method, path), name).await?;
        let Some(response) = response else { return Ok(None) };
        let value = response.json().await.map_err(|error| {
            Error::platform(format!("{} does not answer as its platform does", self.base())).because(error)
        });
        value.map(Some)
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
fn action(spec: &Spec) -> Value {
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
fn function(spec: &Spec) -> Value {
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
fn secret_name(name: &str) -> String {
    name.to_lowercase().replace('_', "-")
}

fn text(value: Option<&Value>) -> String {
    value.and_then(Value::as_str).unwrap_or_default().to_owned()
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
    let is_secret = |name: &str| secret_names.split(',').any(|secret| secret == name);
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
        secrets: BTreeMap::new(),
        mark: mark_of(|name| annotations.get(&format!("{MARK}/{name}")).cloned().unwrap_or_default()),
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
