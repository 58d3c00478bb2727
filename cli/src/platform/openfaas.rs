//! OpenFaaS's gateway.

use std::time::Duration;

use reqwest::header::CONTENT_TYPE;
use reqwest::{Method, RequestBuilder, StatusCode};
use serde_json::{Value, json};

use super::{Answer, Ask, Call, Client, Deployment, Said, body_with, resume_body};
use crate::error::{Error, Result};

/// A call that waits for the function is given up after this; the function goes on.
const WAIT: Duration = Duration::from_secs(300);

pub(super) async fn deploy(client: &Client, deployment: &Deployment) -> Result<()> {
    let limit_ms = deployment.time_limit.as_millis();
    let function = json!({
        "service": client.function_name(&deployment.name),
        "image": deployment.image,
        "envVars": {
            "exec_timeout": format!("{limit_ms}ms"),
            "LIMITLESS_TIME_LIMIT_MS": limit_ms.to_string(),
            "LIMITLESS_HANDLER": deployment.name,
        },
        "limits": { "memory": format!("{}Mi", deployment.memory_mb) },
    });
    // As OpenFaaS's own client does: update, and where there is nothing to update, create.
    let update = client.send(client.request(Method::PUT, "/system/functions").json(&function)).await?;
    if update.status() != StatusCode::NOT_FOUND {
        return client.accepted(update, &deployment.name).await.map(drop);
    }
    let create = client.send(client.request(Method::POST, "/system/functions").json(&function)).await?;
    client.accepted(create, &deployment.name).await.map(drop)
}

pub(super) async fn call(client: &Client, call: &Call) -> Result<String> {
    refuse_unknown(client, &call.handler).await?;
    queue(client, &call.handler, first(client, "async-function", call)?).await
}

pub(super) async fn resume(client: &Client, handler: &str, body: &Value) -> Result<String> {
    let request = client.request(Method::POST, &path(client, "async-function", handler)).json(body);
    queue(client, handler, request).await
}

/// A gateway's names are those of hosts, and a handler's are Rust's: the id of an execution comes from the latter.
fn path(client: &Client, kind: &str, handler: &str) -> String {
    format!("/{kind}/{}", client.function_name(handler))
}

/// The queue takes calls of names that nobody has, and nothing ever comes of them. Nor would the result be found of
/// a handler that is called by its function's name.
async fn refuse_unknown(client: &Client, handler: &str) -> Result<()> {
    let request = client.request(Method::GET, &path(client, "system/function", handler));
    let response = client.send(request).await?;
    match response.status() {
        StatusCode::NOT_FOUND => client.accepted(response, handler).await.map(drop),
        status if status.is_success() => {
            let function: Value = response.json().await.unwrap_or_default();
            let served = function["annotations"]["limitless-faas/handler"].as_str();
            match served.filter(|served| *served != handler) {
                Some(served) => {
                    Err(Error::usage(format!("the function `{handler}` serves the handler `{served}`"))
                        .help(format!("call it by its own name: cargo faas invoke {served}")))
                }
                None => Ok(()),
            }
        }
        // Whoever may not look may call nevertheless.
        _ => Ok(()),
    }
}

fn first(client: &Client, kind: &str, call: &Call) -> Result<RequestBuilder> {
    let request = client.request(Method::POST, &path(client, kind, &call.handler));
    let request = request.header(CONTENT_TYPE, "application/json").header("Idempotency-Key", &call.key);
    let request = match &call.callback {
        Some(callback) => request.header("X-Limitless-Callback-Url", callback),
        None => request,
    };
    let request = match call.keep_ms {
        Some(keep_ms) => request.header("X-Limitless-Keep-Ms", keep_ms),
        None => request,
    };
    Ok(request.body(body_with(&call.input, None)?))
}

async fn queue(client: &Client, handler: &str, request: RequestBuilder) -> Result<String> {
    let response = client.send_patiently(&request, handler).await?;
    let id = response.headers().get("X-Call-Id").and_then(|id| id.to_str().ok()).map(str::to_owned);
    id.ok_or_else(|| {
        Error::platform(format!("{} does not answer as an OpenFaaS gateway does", client.base()))
            .help("give the gateway with --gateway, or an OpenWhisk API host with --apihost")
    })
}

/// A gateway keeps no answers: what was asked is asked once more, and waited for.
pub(super) async fn answer(client: &Client, ask: &Ask) -> Result<Answer> {
    let request = match ask {
        Ask::First(call) => first(client, "function", call)?,
        Ask::Resume { place, id, entry } => {
            let body = resume_body(id, *entry, place.node())?;
            client.request(Method::POST, &path(client, "function", &place.function)).json(&body)
        }
    };
    let response = client.send(request.timeout(WAIT)).await?;
    let status = response.status();
    let text = response.text().await.unwrap_or_default();
    // Functions of ours answer JSON; anything else is another function's, or the platform's words.
    Ok(match Said::of(&text) {
        Some(said) => Answer::Function(said),
        None if status.is_success() && !text.is_empty() => {
            let value = Value::String(text);
            Answer::Function(Said { json: value.to_string(), value })
        }
        None => Answer::Lost(format!("{status}: {}", super::reason(&text))),
    })
}
