//! `OpenWhisk`'s action interface: `/init` once per container, `/run` once per activation.

use std::collections::BTreeMap;
use std::io::Write;
use std::sync::{Arc, Mutex};

use bytes::Bytes;
use http_body_util::Full;
use hyper::{HeaderMap, Response, StatusCode};
use limitless_faas_core::{Code, ExecutionId, Failure};
use serde::Deserialize;
use serde_json::value::RawValue;
use serde_json::{Value, json};

use super::control::Control;
use super::http;
use super::input::{self, Fields};
use super::outgoing::Successor;
use crate::engine::{Asked, Engine, Incoming, Reply, Vars, lock, now_us};

/// Ends an activation's logs, on both streams.
const SENTINEL: &[u8] = b"XXX_THE_END_OF_A_WHISK_ACTIVATION_XXX\n";

/// What `/init` said.
#[derive(Debug, Default)]
pub(crate) struct OpenWhisk {
    env: Mutex<Arc<BTreeMap<String, String>>>,
}

#[derive(Deserialize)]
struct Init {
    value: InitValue,
}

#[derive(Deserialize)]
struct InitValue {
    #[serde(default)]
    env: BTreeMap<String, Box<RawValue>>,
}

#[derive(Deserialize)]
struct Run {
    #[serde(default)]
    value: Fields,
    /// Milliseconds since 1970: a string, although the documentation says a number.
    #[serde(default)]
    deadline: Value,
    #[serde(default)]
    api_key: Option<String>,
    #[serde(default)]
    namespace: String,
    #[serde(default)]
    action_name: String,
    #[serde(default)]
    action_version: String,
    #[serde(default)]
    activation_id: String,
    #[serde(default)]
    transaction_id: String,
}

impl OpenWhisk {
    /// Any 200 means ready. Anything else destroys the container.
    pub(crate) fn init(&self, engine: &Engine, body: &[u8]) -> Response<Full<Bytes>> {
        let answer = self.initialise(engine, body);
        if answer.status() != StatusCode::OK {
            end_logs();
        }
        answer
    }

    pub(super) fn initialise(&self, engine: &Engine, body: &[u8]) -> Response<Full<Bytes>> {
        // The platform's own probes may come without a body.
        if body.is_empty() {
            return http::json(StatusCode::OK, &json!({ "ok": true }));
        }
        match serde_json::from_slice::<Init>(body) {
            Ok(init) => {
                let env: BTreeMap<_, _> =
                    init.value.env.into_iter().map(|(name, value)| (name, plain(value.get()))).collect();
                // Parameters of the deployment that are meant for the environment come this way alone.
                if let Err(failure) = engine.configure(&env) {
                    return http::json(StatusCode::BAD_REQUEST, &json!({ "error": failure.to_string() }));
                }
                Arc::make_mut(&mut lock(&self.env)).extend(env);
                http::json(StatusCode::OK, &json!({ "ok": true, "handlers": engine.handler_names() }))
            }
            Err(error) => {
                let message = format!("/init can't be read: {error}");
                http::json(StatusCode::BAD_REQUEST, &json!({ "error": message }))
            }
        }
    }

    /// One activation.
    pub(crate) async fn run(
        &self,
        engine: &Arc<Engine>,
        headers: &HeaderMap,
        body: &[u8],
    ) -> Response<Full<Bytes>> {
        let answer = self.activate(engine, headers, body).await;
        end_logs();
        http::raw_json(StatusCode::OK, answer)
    }

    /// The body of the answer.
    pub(super) async fn activate(&self, engine: &Arc<Engine>, headers: &HeaderMap, body: &[u8]) -> String {
        match serde_json::from_slice::<Run>(body) {
            Ok(run) => match self.incoming(engine, headers, run) {
                Ok(incoming) => {
                    let is_node = incoming.is_node;
                    wire(engine.answer(incoming).await, is_node)
                }
                Err(failure) => error(&failure),
            },
            Err(error) => json!({ "error": format!("/run can't be read: {error}") }).to_string(),
        }
    }

    fn incoming(&self, engine: &Engine, headers: &HeaderMap, mut run: Run) -> Result<Incoming, Failure> {
        let received_us = now_us();
        let control = Control::take(&mut run.value)?;
        control.check()?;
        let handler = engine
            .handler_of(control.node.as_deref(), run.action_name.rsplit('/').next().unwrap_or_default())?;
        let deadline_ms = match millis(&run.deadline) {
            Some(deadline_ms) => deadline_ms,
            None => received_us / 1000 + engine.config().time_limit_ms(),
        };
        let asked = match control.resume {
            Some(execution) => {
                Asked::Resume { execution, entry: control.entry, signature: control.signature }
            }
            None => Asked::First {
                execution: first_execution(
                    handler.name,
                    control.idempotency_key.as_deref(),
                    &run.activation_id,
                ),
                input: input::canonical(&run.value)?,
                // One activation id has one activation record, whatever was run twice: the platform itself removes
                // duplicates there. A key or a receiver of its own asks for more.
                is_durable: control.wants_record(),
                callback: control.callback,
                keep_ms: control.keep_ms,
                caller: control.caller,
                input_at: control.input,
            },
        };
        Ok(Incoming {
            handler,
            is_node: control.node.is_some(),
            asked,
            activation: run.activation_id.clone(),
            received_us,
            deadline_ms,
            is_owner_dead: engine.config().is_vouched(headers),
            successor: successor(engine, &run.action_name, run.api_key.as_deref()),
            vars: self.vars(run),
        })
    }

    /// The `__OW_…` values of this run, over those of the container.
    fn vars(&self, run: Run) -> Vars {
        let of_run = [
            ("__OW_NAMESPACE", run.namespace),
            ("__OW_ACTION_NAME", run.action_name),
            ("__OW_ACTION_VERSION", run.action_version),
            ("__OW_ACTIVATION_ID", run.activation_id),
            ("__OW_TRANSACTION_ID", run.transaction_id),
            ("__OW_DEADLINE", plain(&run.deadline.to_string())),
            ("__OW_API_KEY", run.api_key.unwrap_or_default()),
        ];
        Vars::new(of_run.into(), lock(&self.env).clone())
    }
}

fn first_execution(handler: &str, key: Option<&str>, activation: &str) -> ExecutionId {
    match key {
        Some(key) => ExecutionId::derive(handler, key),
        None if activation.is_empty() => crate::engine::random_execution(),
        None => ExecutionId::derive(handler, activation),
    }
}

fn successor(engine: &Engine, action: &str, api_key: Option<&str>) -> Successor {
    match (&engine.config().api_host, api_key) {
        (None, _) => {
            Successor::Unavailable("__OW_API_HOST is not set, so the action can't invoke itself".into())
        }
        (_, None) => Successor::Unavailable(
            "the platform gave no api_key, so the action can't invoke itself: set the annotation \
             `provide-api-key` to true"
                .into(),
        ),
        (Some(api_host), Some(api_key)) => Successor::OpenWhisk {
            api_host: api_host.clone(),
            action: successor_of(action, engine.config().function.as_deref()),
            api_key: api_key.to_owned(),
        },
    }
}

/// The action that goes on with an execution: the one that its deployment names, beside `action`, or `action` itself.
fn successor_of(action: &str, function: Option<&str>) -> String {
    match (function, action.rsplit_once('/')) {
        (Some(function), Some((beside, _))) => format!("{beside}/{function}"),
        _ => action.to_owned(),
    }
}

/// The response's body: always a JSON object, since the platform takes nothing else.
fn wire(reply: Reply, is_node: bool) -> String {
    match reply {
        Reply::Result(json) if is_node => node_result(&json),
        Reply::Result(json) if json.trim_start().starts_with('{') => json,
        Reply::Result(json) => format!(r#"{{"result":{json}}}"#),
        Reply::Running { execution, note } => running(&execution, note.as_ref()).to_string(),
        Reply::Failed(failure) | Reply::Refused(failure) => error(&failure),
    }
}

/// The largest result that a wrap answers with; a larger one stays in the store, and is read there.
const NODE_RESULT_BYTES: usize = 256 << 10;

/// What the wrap that drives a workflow reads of a node's result.
pub(crate) fn node_result(json: &str) -> String {
    if json.len() > NODE_RESULT_BYTES {
        return json!({ "status": "completed" }).to_string();
    }
    format!(r#"{{"result":{json}}}"#)
}

/// What a caller is told of an execution that goes on.
pub(crate) fn running(execution: &ExecutionId, note: Option<&Failure>) -> Value {
    match note {
        None => json!({ "execution": execution, "status": "running" }),
        Some(note) => json!({ "execution": execution, "status": "suspended", "note": note.to_string() }),
    }
}

fn error(failure: &Failure) -> String {
    // The handler's own words are passed on as they are; ours carry their number.
    let text = if failure.code == Code::Application { failure.message.clone() } else { failure.to_string() };
    json!({ "error": text, "code": failure.code }).to_string()
}

fn millis(deadline: &Value) -> Option<u64> {
    match deadline {
        Value::String(text) => text.parse().ok(),
        Value::Number(number) => number.as_u64(),
        _ => None,
    }
}

/// JSON as an environment variable has it: a string without its quotes, anything else as it was written.
fn plain(json: &str) -> String {
    serde_json::from_str(json).unwrap_or_else(|_| json.to_owned())
}

/// Marks the end of the activation's logs. A closed stream has no reader to mark it for.
fn end_logs() {
    let mut stdout = std::io::stdout();
    let _ = stdout.write_all(SENTINEL).and_then(|()| stdout.flush());
    let _ = std::io::stderr().write_all(SENTINEL);
}
