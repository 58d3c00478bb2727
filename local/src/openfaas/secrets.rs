//! Secrets: kept here, given to functions as files when they are deployed.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use hyper::{Method, StatusCode};
use serde::Deserialize;
use serde_json::{Value, json};

use super::{NAMESPACE, Refusal};
use crate::names::is_secret_name;
use crate::platform::Shared;
use crate::sync::lock;

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Secret {
    name: String,
    value: Option<String>,
    /// Base64.
    raw_value: Option<String>,
}

impl Secret {
    fn bytes(&self) -> Result<Vec<u8>, Refusal> {
        match (&self.value, &self.raw_value) {
            (Some(value), _) => Ok(value.clone().into_bytes()),
            (None, Some(raw)) => {
                STANDARD.decode(raw).map_err(|_| Refusal::bad_request("rawValue is no Base64 text"))
            }
            (None, None) => Err(Refusal::bad_request("a secret needs a value")),
        }
    }
}

pub(super) fn list(shared: &Shared) -> Value {
    let secrets = lock(&shared.gateway.secrets);
    secrets.keys().map(|name| json!({ "name": name, "namespace": NAMESPACE })).collect()
}

/// Creates (POST), replaces (PUT) or deletes a secret. Functions see it from their next deployment on.
pub(super) fn change(shared: &Shared, method: &Method, secret: &Secret) -> Result<StatusCode, Refusal> {
    if !is_secret_name(&secret.name) {
        let message = "a secret's name has lowercase letters, digits, - and single dots";
        return Err(Refusal::bad_request(message));
    }
    let mut secrets = lock(&shared.gateway.secrets);
    let exists = secrets.contains_key(&secret.name);
    match *method {
        Method::POST if exists => {
            Err(Refusal(StatusCode::CONFLICT, format!("secret {} exists already", secret.name)))
        }
        Method::PUT | Method::DELETE if !exists => {
            Err(Refusal(StatusCode::NOT_FOUND, format!("there is no secret {}", secret.name)))
        }
        Method::DELETE => {
            secrets.remove(&secret.name);
            Ok(StatusCode::ACCEPTED)
        }
        _ => {
            secrets.insert(secret.name.clone(), secret.bytes()?);
            Ok(if exists { StatusCode::ACCEPTED } else { StatusCode::CREATED })
        }
    }
}
