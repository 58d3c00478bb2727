//! `/system/*`: for those who hold the key.

use std::collections::BTreeMap;
use std::sync::Arc;

use hyper::body::Incoming;
use hyper::header::{HeaderValue, WWW_AUTHENTICATE};
use hyper::{Method, Request, StatusCode};
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};

use super::{NAMESPACE, Refusal, body, deploy, secrets};
use crate::auth::Auth;
use crate::platform::Shared;
use crate::server::{Reply, json as json_reply, query, segments, text};
use crate::sync::lock;

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Named {
    function_name: String,
    namespace: Option<String>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Scale {
    service_name: Option<String>,
    replicas: usize,
}

pub(super) async fn answer(shared: &Arc<Shared>, request: Request<Incoming>) -> Result<Reply, Refusal> {
    if shared.config.api_key.check(request.headers()) != Auth::Right {
        let mut reply = text(StatusCode::UNAUTHORIZED, "invalid credentials");
        let challenge = HeaderValue::from_static("Basic realm=\"Restricted\"");
        reply.headers_mut().insert(WWW_AUTHENTICATE, challenge);
        return Ok(reply);
    }
    let path = segments(request.uri().path()).ok_or_else(|| Refusal::bad_request("the path is not valid"))?;
    let path: Vec<&str> = path.iter().skip(1).map(String::as_str).collect();
    let query = query(&request);
    match (request.method().clone(), path.as_slice()) {
        (Method::GET, ["info"]) => Ok(json_reply(StatusCode::OK, &info())),
        (Method::GET, ["namespaces"]) => Ok(json_reply(StatusCode::OK, &json!([NAMESPACE]))),
        (Method::GET, ["functions"]) => Ok(json_reply(StatusCode::OK, &list(shared, &query))),
        (Method::POST, ["functions"]) => {
            deploy::deploy(shared, read(shared, request).await?, false).map(accepted)
        }
        (Method::PUT, ["functions"]) => {
            deploy::deploy(shared, read(shared, request).await?, true).map(accepted)
        }
        (Method::DELETE, ["functions"]) => {
            let named: Named = read(shared, request).await?;
            deploy::check_place(&named.function_name, named.namespace.as_deref())?;
            deploy::delete(shared, &named.function_name).map(accepted)
        }
        (Method::GET, ["function", name]) => {
            deploy::check_place(name, query.get("namespace").map(String::as_str))?;
            let deployed = shared.gateway.find(name).ok_or_else(|| Refusal::unknown_function(name))?;
            Ok(json_reply(StatusCode::OK, &deployed.json(shared)))
        }
        (Method::POST, ["scale-function", name]) => {
            deploy::check_place(name, query.get("namespace").map(String::as_str))?;
            let scale: Scale = read(shared, request).await?;
            if scale.service_name.is_some_and(|other| other != *name) {
                return Err(Refusal::bad_request("the path and serviceName differ"));
            }
            deploy::scale(shared, name, scale.replicas).map(accepted)
        }
        (Method::GET, ["secrets"]) => Ok(json_reply(StatusCode::OK, &secrets::list(shared))),
        (method @ (Method::POST | Method::PUT | Method::DELETE), ["secrets"]) => {
            let status = secrets::change(shared, &method, &read(shared, request).await?)?;
            Ok(text(status, ""))
        }
        (_, ["info" | "namespaces" | "functions" | "secrets"] | ["function" | "scale-function", _]) => {
            Err(Refusal(StatusCode::METHOD_NOT_ALLOWED, "the method is not allowed here".to_owned()))
        }
        _ => Err(Refusal(StatusCode::NOT_FOUND, "not found".to_owned())),
    }
}

fn accepted((): ()) -> Reply {
    text(StatusCode::ACCEPTED, "")
}

fn list(shared: &Shared, query: &BTreeMap<String, String>) -> Value {
    if query.get("namespace").is_some_and(|namespace| !namespace.is_empty() && namespace != NAMESPACE) {
        return json!([]);
    }
    let functions: Vec<_> = lock(&shared.gateway.functions).values().cloned().collect();
    functions.iter().map(|deployed| deployed.json(shared)).collect()
}

fn info() -> Value {
    json!({
        "provider": {
            "provider": "limitless-faas-local", "orchestration": "processes",
            "version": { "sha": "", "release": env!("CARGO_PKG_VERSION") },
        },
        "version": { "sha": "", "release": env!("CARGO_PKG_VERSION") },
        "arch": std::env::consts::ARCH,
    })
}

async fn read<T: DeserializeOwned>(shared: &Shared, request: Request<Incoming>) -> Result<T, Refusal> {
    let body = body(request, shared.config.limits.payload_bytes).await?;
    serde_json::from_slice(&body)
        .map_err(|error| Refusal::bad_request(format!("the body was not understood: {error}")))
}
