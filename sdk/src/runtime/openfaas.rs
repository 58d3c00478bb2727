//! `OpenFaaS`'s function interface: plain HTTP, the input is the body.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http_body_util::Full;
use hyper::http::request::Parts;
use hyper::{HeaderMap, Response, StatusCode};
use limitless_faas_core::{Advice, Code, ExecutionId, Failure};
use serde_json::json;
use serde_json::value::RawValue;

use super::control::Control;
use super::openwhisk::{node_result, running};
use super::outgoing::Successor;
use super::{http, input, parse_go_duration};
use crate::engine::{Asked, Engine, Incoming, Reply, Vars, now_us};

/// One call.
pub(crate) async fn call(engine: &Arc<Engine>, head: &Parts, body: &[u8]) -> Response<Full<Bytes>> {
    match incoming(engine, head, body) {
        Ok(incoming) => {
            let is_node = incoming.is_node;
            wire(engine.answer(incoming).await, is_node)
        }
        Err(failure) => error(&failure),
    }
}

fn incoming(engine: &Engine, head: &Parts, body: &[u8]) -> Result<Incoming, Failure> {
    let received_us = now_us();
    let headers = &head.headers;
    let (input, mut control) = read_input(body)?;
    take_headers(headers, &mut control)?;
    control.check()?;
    let handler = engine.handler_of(control.node.as_deref(), head.uri.path().trim_matches('/'))?;
    let is_node = control.node.is_some();
    let call_id = header(headers, "x-call-id").unwrap_or_default().to_owned();
    let asked = match control.resume {
        Some(execution) => Asked::Resume { execution, entry: control.entry, signature: control.signature },
        None => first(headers, handler.name, &call_id, input, control),
    };
    Ok(Incoming {
        is_node,
        asked,
        activation: call_id,
        received_us,
        deadline_ms: received_us / 1000 + time_limit_ms(engine, headers),
        is_owner_dead: engine.config().is_vouched(headers),
        successor: successor(engine, handler.name),
        vars: Vars::default(),
        handler,
    })
}

/// What headers ask for counts before what the body does.
fn take_headers(headers: &HeaderMap, control: &mut Control) -> Result<(), Failure> {
    if let Some(key) = header(headers, "idempotency-key") {
        control.idempotency_key = Some(key.to_owned());
    }
    if let Some(url) = header(headers, "x-limitless-callback-url") {
        control.callback = Some(url.to_owned());
    }
    if let Some(value) = headers.get("x-limitless-keep-ms") {
        let keep_ms = value.to_str().ok().and_then(|text| text.parse().ok());
        let bad =
            || Failure::new(Code::BadInput, "the header X-Limitless-Keep-Ms is not a number of milliseconds");
        control.keep_ms = Some(keep_ms.ok_or_else(bad)?);
    }
    Ok(())
}

fn first(headers: &HeaderMap, handler: &str, call_id: &str, input: String, control: Control) -> Asked {
    let execution = match &control.idempotency_key {
        Some(key) => ExecutionId::derive(handler, key),
        None if call_id.is_empty() => crate::engine::random_execution(),
        None => ExecutionId::derive(handler, call_id),
    };
    Asked::First {
        execution,
        input,
        is_durable: control.wants_record() || is_from_queue(headers),
        callback: control.callback,
        keep_ms: control.keep_ms,
        caller: control.caller,
        input_at: control.input,
    }
}

/// Whether the call came through the queue, which delivers at least once. The worker names itself; a worker that
/// calls functions directly, past the gateway, leaves out what the gateway's proxy always adds.
fn is_from_queue(headers: &HeaderMap) -> bool {
    let is_worker = header(headers, "user-agent").is_some_and(|agent| agent.contains("queue-worker"));
    is_worker || (headers.contains_key("x-call-id") && !headers.contains_key("x-forwarded-host"))
}

fn read_input(body: &[u8]) -> Result<(String, Control), Failure> {
    if body.iter().all(u8::is_ascii_whitespace) {
        return Ok(("{}".to_owned(), Control::default()));
    }
    let not_json = |error: serde_json::Error| {
        Failure::new(Code::BadInput, format!("the request's body is not JSON: {error}"))
    };
    let json: &RawValue = serde_json::from_slice(body).map_err(not_json)?;
    if !json.get().starts_with('{') {
        return Ok((input::canonical_value(json)?, Control::default()));
    }
    let mut fields = serde_json::from_str(json.get()).map_err(not_json)?;
    let control = Control::take(&mut fields)?;
    Ok((input::canonical(&fields)?, control))
}

/// The deployment's limit, which a request may shorten.
fn time_limit_ms(engine: &Engine, headers: &HeaderMap) -> u64 {
    let limit_ms = engine.config().time_limit_ms();
    let wanted = header(headers, "x-timeout").and_then(parse_go_duration).filter(|wanted| !wanted.is_zero());
    wanted.map_or(limit_ms, |wanted: Duration| {
        limit_ms.min(u64::try_from(wanted.as_millis()).unwrap_or(limit_ms))
    })
}

fn successor(engine: &Engine, handler: &str) -> Successor {
    let config = engine.config();
    match &config.gateway_url {
        Some(gateway) => Successor::OpenFaas {
            gateway: gateway.clone(),
            function: config.function.clone().unwrap_or_else(|| handler.to_owned()),
        },
        None => Successor::Unavailable(
            "LIMITLESS_GATEWAY_URL is not set, so the function can't invoke itself: a function is not told where \
             its gateway is"
                .into(),
        ),
    }
}

fn header<'a>(headers: &'a HeaderMap, name: &str) -> Option<&'a str> {
    headers.get(name).and_then(|value| value.to_str().ok())
}

fn wire(reply: Reply, is_node: bool) -> Response<Full<Bytes>> {
    match reply {
        Reply::Result(json) if is_node => http::raw_json(StatusCode::OK, node_result(&json)),
        Reply::Result(json) => http::raw_json(StatusCode::OK, json),
        Reply::Running { execution, note } => {
            http::json(StatusCode::ACCEPTED, &running(&execution, note.as_ref()))
        }
        Reply::Failed(failure) | Reply::Refused(failure) => error(&failure),
    }
}

fn error(failure: &Failure) -> Response<Full<Bytes>> {
    let status = match (failure.code, failure.code.advice()) {
        (Code::UnknownExecution | Code::UnknownHandler, _) => StatusCode::NOT_FOUND,
        (Code::NotSigned, _) => StatusCode::FORBIDDEN,
        (code, Advice::Usage) if code != Code::NotConfigured => StatusCode::BAD_REQUEST,
        (_, Advice::Incompatible | Advice::Fenced) => StatusCode::CONFLICT,
        _ => StatusCode::INTERNAL_SERVER_ERROR,
    };
    let text = if failure.code == Code::Application { failure.message.clone() } else { failure.to_string() };
    http::json(status, &json!({ "error": text, "code": failure.code }))
}
