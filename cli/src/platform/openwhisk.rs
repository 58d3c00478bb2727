//! OpenWhisk's REST API.

use reqwest::Method;
use reqwest::header::CONTENT_TYPE;
use serde::Deserialize;
use serde_json::value::RawValue;
use serde_json::{Value, json};

use super::{Answer, Call, Client, Deployment, Said, body_with, failure_in};
use crate::error::{Error, Result};

const ACTIONS: &str = "/api/v1/namespaces/_/actions";
const ACTIVATIONS: &str = "/api/v1/namespaces/_/activations";

pub(super) async fn deploy(client: &Client, deployment: &Deployment) -> Result<()> {
    let timeout_ms = u64::try_from(deployment.time_limit.as_millis()).unwrap_or(u64::MAX);
    let action = json!({
        "exec": { "kind": "blackbox", "image": deployment.image },
        "limits": { "timeout": timeout_ms, "memory": deployment.memory_mb },
        // Without its own key a function can't invoke its successor.
        "annotations": [{ "key": "provide-api-key", "value": true }],
    });
    let path = format!("{ACTIONS}/{}?overwrite=true", deployment.name);
    let response = client.send(client.request(Method::PUT, &path).json(&action)).await?;
    client.accepted(response, &deployment.name).await.map(drop)
}

pub(super) async fn call(client: &Client, call: &Call) -> Result<String> {
    let mut control = json!({ "idempotency_key": call.key });
    if let Some(callback) = &call.callback {
        control["callback"] = json!(callback);
    }
    if let Some(keep_ms) = call.keep_ms {
        control["keep_ms"] = json!(keep_ms);
    }
    invoke(client, &call.handler, body_with(&call.input, Some(&control))?).await
}

pub(super) async fn resume(client: &Client, handler: &str, body: &Value) -> Result<String> {
    invoke(client, handler, body.to_string().into_bytes()).await
}

async fn invoke(client: &Client, handler: &str, body: Vec<u8>) -> Result<String> {
    let path = format!("{ACTIONS}/{handler}?blocking=false&result=false");
    let request = client.request(Method::POST, &path).header(CONTENT_TYPE, "application/json").body(body);
    let response = client.send_patiently(&request, handler).await?;
    let answer: Value = response.json().await.map_err(|error| no_platform(client, error))?;
    let activation = answer.get("activationId").and_then(Value::as_str).map(str::to_owned);
    activation.ok_or_else(|| no_platform(client, std::io::Error::other("its answer names no activation")))
}

/// The record of an activation comes only after its end: until then the platform knows nothing of it.
pub(super) async fn answer(client: &Client, activation: &str) -> Result<Answer> {
    let request = client.request(Method::GET, &format!("{ACTIVATIONS}/{activation}"));
    let response = client.send_patiently_or_missing(&request, activation).await?;
    let Some(response) = response else { return Ok(Answer::Pending) };
    let record: Record = response.json().await.map_err(|error| no_platform(client, error))?;
    Ok(read(&record.response))
}

#[derive(Deserialize)]
struct Record {
    response: Told,
}

#[derive(Deserialize)]
struct Told {
    #[serde(default)]
    status: String,
    result: Option<Box<RawValue>>,
}

/// Success and application errors are the function's words; developer and platform errors are the platform's.
fn read(response: &Told) -> Answer {
    let said = response.result.as_ref().and_then(|result| Said::of(result.get()));
    match (response.status.as_str(), said) {
        ("success" | "application error", Some(said)) => Answer::Function(said),
        (_, said) => {
            let failure = said.and_then(|said| failure_in(&said.value));
            Answer::Lost(failure.map(|failure| failure.message).unwrap_or_default())
        }
    }
}

fn no_platform(client: &Client, error: impl std::error::Error + Send + Sync + 'static) -> Error {
    Error::platform(format!("{} does not answer as OpenWhisk does", client.base()))
        .because(error)
        .help("give the API host with --apihost, or an OpenFaaS gateway with --gateway")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_platforms_words_are_not_the_functions() {
        let record = |status: &str| {
            let text = format!(r#"{{"response":{{"status":"{status}","result":{{"error": "gone"}}}}}}"#);
            read(&serde_json::from_str::<Record>(&text).unwrap().response)
        };
        let words = Said::of(r#"{"error": "gone"}"#).unwrap();
        assert_eq!(record("application error"), Answer::Function(words));
        assert_eq!(record("action developer error"), Answer::Lost("gone".to_owned()));
        assert_eq!(record("whisk internal error"), Answer::Lost("gone".to_owned()));
    }
}
