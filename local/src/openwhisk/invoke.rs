//! Invocations: accepted, run, and told.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, SystemTime};

use bytes::Bytes;
use hyper::header::{CONTENT_TYPE, HeaderName, HeaderValue};
use hyper::{HeaderMap, Method, StatusCode, Uri};
use serde_json::value::{RawValue, to_raw_value};
use serde_json::{Map, Value, json};
use tokio::sync::oneshot;
use uuid::Uuid;

use super::action::Action;
use super::activation::{Outcome, Record, Status};
use super::throttle::Slot;
use super::{Refusal, outcome};
use crate::client::{Answer, Call};
use crate::deliver::{Attempt, Delivery, End, Place, Work};
use crate::events::{KillReason, epoch_ms, millis};
use crate::platform::Shared;
use crate::server::{Reply, json as json_reply};
use crate::sync::lock;

/// The header with which the watchdog proves that an earlier delivery's process is dead.
pub(crate) const OWNER_DEAD: HeaderName = HeaderName::from_static("x-limitless-owner-dead");

/// How the caller wants to be answered.
struct Manner {
    wait: Option<Duration>,
    result_only: bool,
}

impl Manner {
    fn new(shared: &Shared, query: &BTreeMap<String, String>) -> Result<Self, Refusal> {
        let is_set = |name: &str| query.get(name).is_some_and(|value| value == "true");
        let max = shared.config.limits.blocking_wait;
        let wait = match query.get("timeout").filter(|text| !text.is_empty()) {
            None => max,
            Some(text) => match text.parse::<u64>() {
                Ok(ms @ 1..) if Duration::from_millis(ms) <= max => Duration::from_millis(ms),
                _ => {
                    let message = format!("The timeout must be between 1 and {} milliseconds.", millis(max));
                    return Err(Refusal::bad_request(message));
                }
            },
        };
        Ok(Self { wait: is_set("blocking").then_some(wait), result_only: is_set("result") })
    }
}

/// Accepts an invocation, and answers once it is accepted or, if the caller waits, once it has ended.
pub(super) async fn invoke(
    shared: &Arc<Shared>,
    action: Arc<Action>,
    query: &BTreeMap<String, String>,
    payload: Fields,
    transaction: &str,
) -> Result<Reply, Refusal> {
    let manner = Manner::new(shared, query)?;
    let slot = shared.whisk.throttle.enter()?;
    let params = parameters(shared, &action, payload)
        .map_err(|error| Refusal::bad_request(format!("The parameters can't be passed on: {error}")))?;
    let id = Uuid::new_v4().simple().to_string();
    let (teller, told) = oneshot::channel();
    let delivery = Delivery {
        id: id.clone(),
        function: Arc::clone(&action.function),
        limit: action.time_limit(),
        is_awaited: manner.wait.is_some(),
        may_repeat: true,
        is_twin: false,
        work: Arc::new(Run {
            shared: Arc::clone(shared),
            action,
            id: id.clone(),
            transaction: transaction.to_owned(),
            params,
            teller: Mutex::new(manner.wait.map(|_| teller)),
            is_told: AtomicBool::new(false),
            logs: Mutex::default(),
            _slot: slot,
        }),
    };
    let plan = shared.dispatcher.accept(&delivery);
    shared.pool.tasks.spawn(Arc::clone(&shared.dispatcher).deliver(delivery, plan));
    let record = match manner.wait {
        Some(wait) => tokio::time::timeout(wait, told).await.ok().and_then(Result::ok),
        None => None,
    };
    let mut reply = match record {
        Some(record) => tell(&record, manner.result_only),
        None => json_reply(StatusCode::ACCEPTED, &json!({ "activationId": id })),
    };
    if let Ok(id) = HeaderValue::from_str(&id) {
        reply.headers_mut().insert("x-openwhisk-activation-id", id);
    }
    Ok(reply)
}

fn tell(record: &Record, result_only: bool) -> Reply {
    let status = match record.outcome.status {
        Status::Success => StatusCode::OK,
        Status::ApplicationError | Status::DeveloperError => StatusCode::BAD_GATEWAY,
        Status::PlatformError => StatusCode::INTERNAL_SERVER_ERROR,
    };
    if result_only {
        json_reply(status, &*record.outcome.result)
    } else {
        json_reply(status, &record.whole())
    }
}

/// The fields of a payload, each as it was written.
pub(super) type Fields = BTreeMap<String, Box<RawValue>>;

/// The package's parameters, overlaid by the action's, overlaid by the caller's.
fn parameters(shared: &Shared, action: &Action, payload: Fields) -> serde_json::Result<Box<RawValue>> {
    let packages = lock(&shared.whisk.packages);
    let package = action.name.package.as_ref().and_then(|name| packages.get(name));
    let bound = package.map(|package| package.parameters.as_slice()).unwrap_or_default();
    let bound = bound.iter().chain(&action.parameters).filter(|pair| !pair.init);
    let bound = bound.map(|pair| (pair.key.clone(), pair.value.clone()));
    let all: Fields = bound.chain(payload).collect();
    to_raw_value(&all)
}

/// One activation as the dispatcher runs it.
struct Run {
    shared: Arc<Shared>,
    action: Arc<Action>,
    id: String,
    transaction: String,
    /// A JSON object, as it goes to the function.
    params: Box<RawValue>,
    /// Who waits for the first end.
    teller: Mutex<Option<oneshot::Sender<Record>>>,
    is_told: AtomicBool,
    /// Of attempts before the last.
    logs: Mutex<Vec<String>>,
    _slot: Slot,
}

impl Run {
    /// What goes with every request to the container; `/init` gets it as `__OW_*`.
    fn context(&self, deadline: SystemTime) -> Vec<(&'static str, String)> {
        let mut context = vec![
            ("namespace", self.shared.config.namespace.clone()),
            ("action_name", format!("/{}", self.action.path(&self.shared))),
            ("action_version", self.action.version()),
            ("activation_id", self.id.clone()),
            ("transaction_id", self.transaction.clone()),
            ("deadline", epoch_ms(deadline).to_string()),
        ];
        if self.action.provides_api_key() {
            context.push(("api_key", self.shared.config.api_key.as_str().to_owned()));
        }
        context
    }

    fn record(&self, attempt: &Attempt, logs: Vec<String>) -> Record {
        let duration =
            attempt.init.filter(|_| !attempt.failed_in_init()).unwrap_or_default() + attempt.elapsed;
        let end_ms = epoch_ms(SystemTime::now());
        Record {
            id: self.id.clone(),
            namespace: self.shared.config.namespace.clone(),
            name: self.action.name.name.clone(),
            path: self.action.path(&self.shared),
            version: self.action.version(),
            start_ms: end_ms.saturating_sub(millis(duration)),
            end_ms,
            wait_ms: millis(attempt.wait.saturating_sub(attempt.init.unwrap_or_default())),
            init_ms: attempt.init.map(millis),
            limits: self.action.limits_json(),
            timed_out: matches!(attempt.end, End::Killed(KillReason::TimeLimit)),
            outcome: self.outcome(attempt),
            logs,
        }
    }

    fn outcome(&self, attempt: &Attempt) -> Outcome {
        outcome::of(attempt, self.action.time_limit(), self.action.function.memory_bytes, self.answer_max())
    }
}

impl Work for Run {
    fn init(&self, deadline: SystemTime) -> Option<Call> {
        let env = self.context(deadline).into_iter();
        let mut env: BTreeMap<_, _> =
            env.map(|(name, value)| (format!("__OW_{}", name.to_uppercase()), value)).collect();
        for pair in self.action.parameters.iter().filter(|pair| pair.init) {
            let written = pair.value.get();
            let text = serde_json::from_str(written).unwrap_or_else(|_| written.to_owned());
            env.insert(pair.key.clone(), text);
        }
        let exec = &self.action.exec;
        let mut value = json!({
            "name": self.action.name.name, "main": exec.main.as_deref().unwrap_or("main"), "binary": exec.binary, "env": env,
        });
        if let Some(code) = &exec.code {
            value["code"] = json!(code);
        }
        Some(post("/init", json!({ "value": value }).to_string()))
    }

    fn run(&self, deadline: SystemTime, owner_dead: Option<&str>) -> Call {
        let context = self.context(deadline).into_iter();
        let context: Map<String, Value> =
            context.map(|(name, value)| (name.to_owned(), value.into())).collect();
        // The parameters are passed on to the letter, so the object around them is written here.
        let context = Value::Object(context).to_string();
        let mut call = post("/run", format!(r#"{{"value":{},{}"#, self.params.get(), &context[1..]));
        if let Some(token) = owner_dead.and_then(|token| HeaderValue::from_str(token).ok()) {
            call.headers.insert(OWNER_DEAD, token);
        }
        call
    }

    fn answer_max(&self) -> usize {
        self.shared.config.limits.payload_bytes
    }

    fn keeps_process(&self, answer: &Answer) -> bool {
        outcome::keeps_process(answer)
    }

    fn ended(&self, attempt: &Attempt) {
        if let Some(teller) = lock(&self.teller).take() {
            let is_told = teller.send(self.record(attempt, Vec::new())).is_ok();
            self.is_told.store(is_told, Ordering::SeqCst);
        }
    }

    fn finished(&self, attempt: Attempt, logs: Vec<String>, place: Place) {
        let mut all = lock(&self.logs);
        all.extend(logs);
        // Who was told of a failure finds its record; who polls finds one only when no further delivery comes.
        let is_due = match place {
            Place::Last => true,
            Place::BeforeAnother => self.is_told.load(Ordering::SeqCst),
            Place::LastOfTwin => false,
        };
        if is_due {
            lock(&self.shared.whisk.records).write(self.record(&attempt, all.clone()));
        }
    }
}

fn post(path: &'static str, body: String) -> Call {
    let mut headers = HeaderMap::new();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    let body = Bytes::from(body);
    Call { method: Method::POST, uri: Uri::from_static(path), headers, body }
}
