//! Changing what is deployed. An acknowledgement may be lost, and a platform may be wrong about what it has: then what is there
//! afterwards decides.

use reqwest::{Method, RequestBuilder, StatusCode};
use serde_json::{Map, Value, json};

use super::rollout::{ACTIONS, Deployed, FUNCTIONS, Spec, action, function, secret_name};
use super::{AGAIN, Client, Dialect};
use crate::error::{Error, Result};

const SECRETS: &str = "/system/secrets";

/// A change that the platform did not acknowledge.
#[derive(Debug)]
struct Failed {
    error: Error,
    /// The last answer, if there was one.
    status: Option<StatusCode>,
    /// Whether it may have been carried out nevertheless.
    is_open: bool,
}

impl Client {
    /// Creates a function that is not there. One that is there after all is left as it is.
    ///
    /// # Errors
    /// Where the platform can't be reached or refuses: then it was not created, unless nothing can be read from the platform either.
    pub async fn create(&self, spec: &Spec) -> Result<()> {
        let request = match self.dialect {
            Dialect::OpenWhisk => self.put_body(&spec.name, &action(spec), false),
            Dialect::OpenFaas => self.request(Method::POST, FUNCTIONS).json(&function(spec)),
        };
        match self.change(&request, &spec.name).await {
            Err(failed) if failed.status == Some(StatusCode::CONFLICT) && !failed.is_open => {
                let told = format!("the platform told before that it has no `{}`", spec.name);
                Err(failed.error.help(format!("{told}: what it has was left as it is")))
            }
            other => self.see(other, spec).await,
        }
    }

    /// Replaces a function that is there.
    ///
    /// # Errors
    /// Where the platform can't be reached or refuses.
    pub async fn replace(&self, spec: &Spec) -> Result<()> {
        let request = match self.dialect {
            Dialect::OpenWhisk => self.put_body(&spec.name, &action(spec), true),
            Dialect::OpenFaas => self.request(Method::PUT, FUNCTIONS).json(&function(spec)),
        };
        let changed = self.change(&request, &spec.name).await;
        self.see(changed, spec).await
    }

    /// Puts back what was deployed before.
    ///
    /// # Errors
    /// Where the platform can't be reached or refuses.
    pub async fn restore(&self, before: &Deployed) -> Result<()> {
        let body = before.body();
        let request = match self.dialect {
            Dialect::OpenWhisk => self.put_body(&before.spec.name, &body, true),
            Dialect::OpenFaas => self.request(Method::PUT, FUNCTIONS).json(&body),
        };
        let changed = match self.change(&request, &before.spec.name).await {
            // It went meanwhile.
            Err(failed)
                if self.dialect == Dialect::OpenFaas && failed.status == Some(StatusCode::NOT_FOUND) =>
            {
                let request = self.request(Method::POST, FUNCTIONS).json(&body);
                self.change(&request, &before.spec.name).await
            }
            other => other,
        };
        self.see(changed, &before.spec).await
    }

    /// Removes a function; that it is gone already is as good.
    ///
    /// # Errors
    /// Where the platform can't be reached or refuses, and where it still shows the function that it says it has not.
    pub async fn delete(&self, name: &str) -> Result<()> {
        let request = match self.dialect {
            Dialect::OpenWhisk => self.request(Method::DELETE, &format!("{ACTIONS}/{name}")),
            Dialect::OpenFaas => {
                self.request(Method::DELETE, FUNCTIONS).json(&json!({ "functionName": name }))
            }
        };
        let Err(failed) = self.change(&request, name).await else { return Ok(()) };
        match self.deployed(name).await {
            Ok(None) => Ok(()),
            Ok(Some(_)) if failed.status == Some(StatusCode::NOT_FOUND) => {
                let message =
                    format!("the platform at {} shows `{name}`, and says that it is not there", self.base());
                Err(Error::platform(message).help(AGAIN))
            }
            _ => Err(failed.error),
        }
    }

    /// Creates or replaces a secret of a gateway; says whether it was created.
    ///
    /// # Errors
    /// Where the gateway can't be reached or refuses.
    pub async fn put_secret(&self, name: &str, value: &str) -> Result<bool> {
        let name = secret_name(name);
        let body = json!({ "name": name, "value": value });
        let refused = |failed: Failed| {
            if matches!(failed.status, Some(StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN)) {
                return failed.error;
            }
            let message = format!("the platform at {} did not take the secret `{name}`", self.base());
            let why = std::io::Error::other(failed.error.causes().join(": "));
            Error::platform(message).because(why).help(AGAIN)
        };
        let update = self.request(Method::PUT, SECRETS).json(&body);
        match self.change(&update, &name).await {
            Ok(()) => return Ok(false),
            Err(failed) if failed.status == Some(StatusCode::NOT_FOUND) && !failed.is_open => {}
            Err(failed) => return Err(refused(failed)),
        }
        let create = self.request(Method::POST, SECRETS).json(&body);
        match self.change(&create, &name).await {
            Ok(()) => Ok(true),
            Err(failed) if failed.is_open && self.has_secret(&name).await => Ok(true),
            Err(failed) => Err(refused(failed)),
        }
    }

    /// Removes a secret that was created.
    ///
    /// # Errors
    /// Where the gateway can't be reached or refuses.
    pub async fn delete_secret(&self, name: &str) -> Result<()> {
        let name = secret_name(name);
        let request = self.request(Method::DELETE, SECRETS).json(&json!({ "name": name }));
        self.change(&request, &name).await.map_err(|failed| failed.error)
    }

    async fn has_secret(&self, name: &str) -> bool {
        let listed = self.read(Method::GET, SECRETS, name).await.ok().flatten().unwrap_or_default();
        listed.as_array().is_some_and(|all| all.iter().any(|secret| secret["name"] == name))
    }

    fn put_body(&self, name: &str, body: &Value, is_update: bool) -> RequestBuilder {
        self.request(Method::PUT, &format!("{ACTIONS}/{name}?overwrite={is_update}")).json(body)
    }

    /// Where a change may have been carried out although nobody says so, looks whether `spec` is there.
    async fn see(&self, changed: std::result::Result<(), Failed>, spec: &Spec) -> Result<()> {
        let Err(failed) = changed else { return Ok(()) };
        let is_there = |now: Option<Deployed>| now.is_some_and(|now| now.spec.is_as(spec));
        if failed.is_open && self.deployed(&spec.name).await.is_ok_and(is_there) {
            return Ok(());
        }
        Err(failed.error)
    }

    /// Sends until the platform accepts or refuses for good. A request whose answer was lost is not sent again.
    async fn change(&self, request: &RequestBuilder, name: &str) -> std::result::Result<(), Failed> {
        let lost = |error| Failed { error, status: None, is_open: true };
        let (response, is_open) = self.send_busily(request).await.map_err(lost)?;
        let status = Some(response.status());
        self.accepted(response, name).await.map(drop).map_err(|error| Failed { error, status, is_open })
    }
}

impl Deployed {
    /// What puts it as it is shown.
    fn body(&self) -> Value {
        const OF_ACTIONS: &[&str] = &["exec", "limits", "parameters", "annotations"];
        const OF_FUNCTIONS: &[&str] = &[
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
        ];
        let is_function = self.raw.get("exec").is_none();
        let names = if is_function { OF_FUNCTIONS } else { OF_ACTIONS };
        let all = self.raw.as_object().cloned().unwrap_or_default();
        let mut body: Map<String, Value> =
            all.into_iter().filter(|(name, _)| names.contains(&name.as_str())).collect();
        if is_function {
            body.insert("service".to_owned(), json!(self.spec.name));
        }
        Value::Object(body)
    }
}
