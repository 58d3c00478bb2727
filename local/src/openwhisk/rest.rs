//! Which request means what.

use std::collections::BTreeMap;
use std::sync::Arc;

use bytes::Bytes;
use hyper::body::Incoming;
use hyper::header::{HeaderValue, WWW_AUTHENTICATE};
use hyper::{Method, Request, StatusCode};
use serde::de::DeserializeOwned;
use serde_json::{Value, json};
use uuid::Uuid;

use super::action::{self, Action, ActionName, BAD_NAME, too_large};
use super::invoke::{self, Fields};
use super::{Refusal, activation, package};
use crate::auth::Auth;
use crate::events::millis;
use crate::names::is_entity_name;
use crate::platform::Shared;
use crate::server::{BodyError, Reply, json as json_reply, query, read_body, segments};
use crate::sync::lock;

/// Answers a request to OpenWhisk's REST API.
pub(crate) async fn answer(shared: &Arc<Shared>, request: Request<Incoming>) -> Reply {
    let transaction = Uuid::new_v4().simple().to_string();
    let mut reply = match route(shared, request, &transaction).await {
        Ok(reply) => reply,
        Err(refusal) => {
            let body = json!({ "error": refusal.message, "code": transaction });
            let mut reply = json_reply(refusal.status, &body);
            if refusal.status == StatusCode::UNAUTHORIZED {
                reply.headers_mut().insert(WWW_AUTHENTICATE, HeaderValue::from_static("Basic"));
            }
            reply
        }
    };
    if let Ok(transaction) = HeaderValue::from_str(&transaction) {
        reply.headers_mut().insert("x-request-id", transaction);
    }
    reply
}

async fn route(
    shared: &Arc<Shared>,
    request: Request<Incoming>,
    transaction: &str,
) -> Result<Reply, Refusal> {
    let bad_path = || Refusal::bad_request("The path is not valid.");
    let mut path = segments(request.uri().path()).ok_or_else(bad_path)?;
    if path.last().is_some_and(String::is_empty) {
        path.pop();
    }
    let path: Vec<&str> = path.iter().map(String::as_str).collect();
    let rest = match path.as_slice() {
        [] | ["api"] | ["api", "v1"] => return only_get(&request, || info(shared)),
        ["api", "v1", rest @ ..] => rest,
        _ => return Err(Refusal::not_found()),
    };
    match shared.config.api_key.check(request.headers()) {
        Auth::Right => {}
        Auth::Wrong => {
            return Err(Refusal::new(StatusCode::UNAUTHORIZED, "The supplied authentication is invalid."));
        }
        Auth::Missing => {
            let message = "The resource requires authentication, which was not supplied with the request.";
            return Err(Refusal::new(StatusCode::UNAUTHORIZED, message));
        }
    }
    match rest {
        ["namespaces"] => only_get(&request, || json!([shared.config.namespace])),
        ["namespaces", namespace, rest @ ..] => {
            check_namespace(shared, namespace)?;
            let rest: Vec<String> = rest.iter().map(|&segment| segment.to_owned()).collect();
            within(shared, request, &rest, transaction).await
        }
        _ => Err(Refusal::not_found()),
    }
}

fn check_namespace(shared: &Shared, namespace: &str) -> Result<(), Refusal> {
    if namespace == "_" || namespace == shared.config.namespace {
        return Ok(());
    }
    if !is_entity_name(namespace) {
        return Err(Refusal::bad_request(BAD_NAME));
    }
    let message = "The supplied authentication is not authorized to access this resource.";
    Err(Refusal::new(StatusCode::FORBIDDEN, message))
}

async fn within(
    shared: &Arc<Shared>,
    request: Request<Incoming>,
    path: &[String],
    transaction: &str,
) -> Result<Reply, Refusal> {
    let Some((collection, rest)) = path.split_first() else {
        return only_get(&request, || json!({ "actions": [], "packages": [], "triggers": [], "rules": [] }));
    };
    match (collection.as_str(), rest) {
        ("limits", []) => only_get(&request, || user_limits(shared)),
        ("actions", []) => list_actions(shared, &request),
        ("actions", name) => one_action(shared, request, ActionName::new(name)?, transaction).await,
        ("packages", []) => only_get(&request, || json!(package::list(shared))),
        ("packages", [name]) => one_package(shared, request, name).await,
        ("activations", rest) => activations(shared, &request, rest),
        ("triggers" | "rules", _) => {
            let message = format!("{collection} are not offered by the local platform");
            Err(Refusal::new(StatusCode::NOT_FOUND, message))
        }
        _ => Err(Refusal::not_found()),
    }
}

fn only_get(request: &Request<Incoming>, value: impl FnOnce() -> Value) -> Result<Reply, Refusal> {
    if request.method() == Method::GET {
        Ok(json_reply(StatusCode::OK, &value()))
    } else {
        Err(Refusal::method())
    }
}

fn list_actions(shared: &Shared, request: &Request<Incoming>) -> Result<Reply, Refusal> {
    let query = query(request);
    let (limit, skip) = page(&query)?;
    let mut actions: Vec<Arc<Action>> = lock(&shared.whisk.actions).values().cloned().collect();
    actions.reverse();
    only_get(request, || match query.get("count").map(String::as_str) {
        Some("true") => json!({ "actions": actions.len().saturating_sub(skip) }),
        _ => actions.iter().skip(skip).take(limit).map(|action| action.brief(shared)).collect(),
    })
}

/// `limit` (0 means as many as allowed: 200) and `skip`.
pub(super) fn page(query: &BTreeMap<String, String>) -> Result<(usize, usize), Refusal> {
    let number = |name: &str, default| match query.get(name).filter(|text| !text.is_empty()) {
        None => Ok(default),
        Some(text) => text.parse::<usize>().map_err(|_| Refusal::bad_request(format!("{name} is no number"))),
    };
    match (number("limit", 30)?, number("skip", 0)?) {
        (0, skip) => Ok((200, skip)),
        (limit @ ..=200, skip) => Ok((limit, skip)),
        (limit, _) => {
            Err(Refusal::bad_request(format!("limit {limit} exceeds 200, the most a page can have")))
        }
    }
}

async fn one_action(
    shared: &Arc<Shared>,
    request: Request<Incoming>,
    name: ActionName,
    transaction: &str,
) -> Result<Reply, Refusal> {
    let query = query(&request);
    match *request.method() {
        Method::GET => {
            let code = query.get("code").is_none_or(|code| code != "false");
            Ok(json_reply(StatusCode::OK, &action::get(shared, &name)?.json(shared, code)))
        }
        Method::DELETE => Ok(json_reply(StatusCode::OK, &action::delete(shared, &name)?.json(shared, false))),
        Method::PUT => {
            let limits = &shared.config.limits;
            let put = body(request, limits.code_bytes.saturating_add(limits.payload_bytes)).await?;
            let action = action::put(shared, name, parse(&put)?, is_overwrite(&query))?;
            Ok(json_reply(StatusCode::OK, &action.json(shared, true)))
        }
        Method::POST => {
            let action = action::get(shared, &name)?;
            let payload = body(request, shared.config.limits.payload_bytes).await?;
            invoke::invoke(shared, action, &query, arguments(&payload)?, transaction).await
        }
        _ => Err(Refusal::method()),
    }
}

async fn one_package(shared: &Shared, request: Request<Incoming>, name: &str) -> Result<Reply, Refusal> {
    if !is_entity_name(name) {
        return Err(Refusal::bad_request(BAD_NAME));
    }
    let shown = match *request.method() {
        Method::GET => package::get(shared, name)?,
        Method::DELETE => package::delete(shared, name)?,
        Method::PUT => {
            let overwrite = is_overwrite(&query(&request));
            let put = body(request, shared.config.limits.payload_bytes.saturating_mul(2)).await?;
            package::put(shared, name, parse(if put.is_empty() { b"{}" } else { &put })?, overwrite)?
        }
        _ => return Err(Refusal::method()),
    };
    Ok(json_reply(StatusCode::OK, &shown))
}

fn is_overwrite(query: &BTreeMap<String, String>) -> bool {
    query.get("overwrite").is_some_and(|value| value == "true")
}

fn activations(shared: &Shared, request: &Request<Incoming>, rest: &[String]) -> Result<Reply, Refusal> {
    if request.method() != Method::GET {
        return Err(Refusal::method());
    }
    let parts: Vec<&str> = rest.iter().map(String::as_str).collect();
    match parts.as_slice() {
        [] => activation::list(shared, &query(request)),
        [id] => Ok(json_reply(StatusCode::OK, &activation::get(shared, id)?.whole())),
        [id, "result"] => Ok(json_reply(StatusCode::OK, &activation::get(shared, id)?.response())),
        [id, "logs"] => Ok(json_reply(StatusCode::OK, &json!({ "logs": activation::get(shared, id)?.logs }))),
        _ => Err(Refusal::not_found()),
    }
}

async fn body(request: Request<Incoming>, max: usize) -> Result<Bytes, Refusal> {
    read_body(request.into_body(), max).await.map_err(|error| match error {
        BodyError::TooLong(length) => too_large(length, max),
        BodyError::Broken => Refusal::bad_request("The request's body broke off."),
    })
}

fn parse<T: DeserializeOwned>(body: &[u8]) -> Result<T, Refusal> {
    serde_json::from_slice(body)
        .map_err(|error| Refusal::bad_request(format!("The request content was malformed: {error}")))
}

/// An invocation's payload; none is as good as an empty object.
fn arguments(body: &[u8]) -> Result<Fields, Refusal> {
    if body.is_empty() { Ok(Fields::new()) } else { parse(body) }
}

fn user_limits(shared: &Shared) -> Value {
    let limits = &shared.config.limits;
    json!({
        "invocationsPerMinute": limits.invocations_per_minute, "firesPerMinute": limits.invocations_per_minute,
        "concurrentInvocations": limits.concurrent_invocations, "allowedKinds": ["blackbox"], "storeActivations": true,
        "minActionMemory": limits.memory_min_mb, "maxActionMemory": limits.memory_max_mb,
        "minActionTimeout": millis(limits.time_min), "maxActionTimeout": millis(limits.time_max),
        "minActionLogs": 0, "maxActionLogs": limits.logs_max_mb, "maxParameterSize": limits.payload_bytes,
    })
}

fn info(shared: &Shared) -> Value {
    let limits = &shared.config.limits;
    json!({
        "description": "OpenWhisk, on the local platform of limitless-faas",
        "api_paths": ["/api/v1"], "api_version": "1.0.0", "api_version_path": "v1",
        "build": env!("CARGO_PKG_VERSION"), "buildno": "local",
        "runtimes": { "blackbox": [{ "kind": "blackbox", "default": true, "deprecated": false, "requireMain": false }] },
        "limits": {
            "actions_per_minute": limits.invocations_per_minute, "triggers_per_minute": limits.invocations_per_minute,
            "concurrent_actions": limits.concurrent_invocations, "sequence_length": 0,
            "min_action_duration": millis(limits.time_min), "max_action_duration": millis(limits.time_max),
            "default_action_duration": millis(limits.time_default),
            "min_action_memory": limits.memory_min_mb << 20, "max_action_memory": limits.memory_max_mb << 20,
            "default_action_memory": limits.memory_default_mb << 20,
            "min_action_logs": 0, "max_action_logs": limits.logs_max_mb << 20,
            "max_payload_bytes": limits.payload_bytes,
        },
    })
}
