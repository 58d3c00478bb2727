//! Calls passed on to functions, and their answers passed back.

use std::net::SocketAddr;
use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex};
use std::time::{Duration, SystemTime};

use http_body_util::Full;
use hyper::body::Incoming;
use hyper::header::{
    CONNECTION, CONTENT_LENGTH, HOST, HeaderMap, HeaderName, HeaderValue, TE, TRAILER, TRANSFER_ENCODING,
    UPGRADE,
};
use hyper::{Request, Response, StatusCode, Uri};
use tokio::sync::oneshot;
use uuid::Uuid;

use super::{Refusal, Target, body};
use crate::client::{Answer, Call};
use crate::deliver::{Attempt, Delivery, End, Place, Work};
use crate::duration;
use crate::events::{KillReason, epoch_us};
use crate::openwhisk::invoke::OWNER_DEAD;
use crate::platform::Shared;
use crate::server::{Reply, text};
use crate::sync::lock;

pub(super) const CALL_ID: HeaderName = HeaderName::from_static("x-call-id");
pub(super) const START_TIME: HeaderName = HeaderName::from_static("x-start-time");
pub(super) const DURATION: HeaderName = HeaderName::from_static("x-duration-seconds");
const TIMEOUT: HeaderName = HeaderName::from_static("x-timeout");

/// Headers that belong to one connection, or that only the platform may send.
const NOT_PASSED: [HeaderName; 8] = [
    CONNECTION,
    HeaderName::from_static("keep-alive"),
    TE,
    TRAILER,
    TRANSFER_ENCODING,
    UPGRADE,
    CONTENT_LENGTH,
    OWNER_DEAD,
];

/// A request as the function will get it.
pub(super) struct Incomer {
    pub(super) id: String,
    pub(super) call: Call,
}

/// Turns a client's request into what the function gets.
pub(super) async fn take(
    peer: SocketAddr,
    mut request: Request<Incoming>,
    target: &Target,
    max: usize,
) -> Result<Incomer, Refusal> {
    let mut headers = std::mem::take(request.headers_mut());
    for name in NOT_PASSED {
        headers.remove(name);
    }
    let id = match headers.get(CALL_ID).map(HeaderValue::to_str) {
        None => Uuid::new_v4().to_string(),
        Some(Ok(id)) if (1..=256).contains(&id.len()) => id.to_owned(),
        Some(_) => return Err(Refusal::bad_request("X-Call-Id has at most 256 visible characters")),
    };
    let set = |headers: &mut HeaderMap, name: HeaderName, value: &str| {
        headers.extend(HeaderValue::from_str(value).ok().map(|value| (name, value)));
    };
    if let Some(host) = headers.remove(HOST) {
        headers.insert(HeaderName::from_static("x-forwarded-host"), host);
    }
    headers.remove(CALL_ID);
    set(&mut headers, CALL_ID, &id);
    headers.remove(START_TIME);
    set(&mut headers, START_TIME, &(u128::from(epoch_us(SystemTime::now())) * 1000).to_string());
    headers.remove("x-forwarded-for");
    set(&mut headers, HeaderName::from_static("x-forwarded-for"), &peer.ip().to_string());
    let query = request.uri().query().map(|query| format!("?{query}")).unwrap_or_default();
    let uri = format!("{}{query}", target.path).parse::<Uri>();
    let uri = uri.map_err(|_| Refusal::bad_request("the path is not valid"))?;
    let method = request.method().clone();
    let body = body(request, max).await?;
    Ok(Incomer { id, call: Call { method, uri, headers, body } })
}

/// The time limit of a call: the function's, or a shorter one that the call asks for.
pub(super) fn limit(own: Duration, headers: &HeaderMap) -> Duration {
    let asked = headers.get(TIMEOUT).and_then(|value| duration::parse(value.to_str().ok()?));
    asked.filter(|asked| !asked.is_zero()).map_or(own, |asked| asked.min(own))
}

/// A synchronous call.
pub(super) async fn call(
    shared: &Arc<Shared>,
    peer: SocketAddr,
    request: Request<Incoming>,
    target: Target,
) -> Result<Reply, Refusal> {
    let deployed =
        shared.gateway.find(&target.name).ok_or_else(|| Refusal::unknown_function(&target.name))?;
    let Incomer { id, call } = take(peer, request, &target, shared.config.limits.http_body_bytes).await?;
    deployed.invocations.fetch_add(1, Ordering::SeqCst);
    let (teller, told) = oneshot::channel();
    let delivery = Delivery {
        id: id.clone(),
        function: Arc::clone(&deployed.function),
        limit: limit(deployed.limit, &call.headers),
        is_awaited: true,
        // Nothing between the caller and the function keeps a synchronous call.
        may_repeat: false,
        is_twin: false,
        work: Arc::new(Forward::new(
            call,
            shared.config.limits.http_body_bytes,
            Told::Caller(Mutex::new(Some(teller))),
        )),
    };
    let plan = shared.dispatcher.accept(&delivery);
    shared.pool.tasks.spawn(Arc::clone(&shared.dispatcher).deliver(delivery, plan));
    let Ok(attempt) = told.await else {
        return Err(Refusal(StatusCode::BAD_GATEWAY, "the platform is shutting down".to_owned()));
    };
    let mut reply = reply(&attempt);
    reply.headers_mut().extend(HeaderValue::from_str(&id).ok().map(|id| (CALL_ID, id)));
    reply.headers_mut().extend(seconds(attempt.elapsed).map(|seconds| (DURATION, seconds)));
    Ok(reply)
}

pub(super) fn seconds(elapsed: Duration) -> Option<HeaderValue> {
    HeaderValue::from_str(&format!("{:.6}", elapsed.as_secs_f64())).ok()
}

/// What the caller gets.
pub(super) fn reply(attempt: &Attempt) -> Reply {
    match &attempt.end {
        End::Answer(answer) if answer.truncated => {
            text(StatusCode::BAD_GATEWAY, "the function's answer is longer than the platform passes on")
        }
        End::Answer(answer) => {
            let mut reply = Response::new(Full::new(answer.body.clone()));
            *reply.status_mut() = answer.status;
            *reply.headers_mut() = answer.headers.clone();
            for name in NOT_PASSED {
                reply.headers_mut().remove(name);
            }
            reply
        }
        End::Killed(KillReason::TimeLimit) => {
            text(StatusCode::GATEWAY_TIMEOUT, "the function exceeded its time limit and was killed")
        }
        End::Killed(KillReason::Memory) => {
            let message = "the function's process held more resident memory than its limit, which the local platform \
                           watches, and was killed";
            text(StatusCode::INTERNAL_SERVER_ERROR, message)
        }
        End::Killed(_) => text(StatusCode::INTERNAL_SERVER_ERROR, "the function's process was killed"),
        End::Died(status) => {
            let message = format!("the function's process ended with {status}");
            text(StatusCode::INTERNAL_SERVER_ERROR, &message)
        }
        End::NoAnswer(why) => text(StatusCode::BAD_GATEWAY, why),
        End::InitFailed(_) => text(StatusCode::INTERNAL_SERVER_ERROR, "the function did not start"),
        End::NotStarted(error) => text(StatusCode::INTERNAL_SERVER_ERROR, &error.to_string()),
    }
}

/// Who learns what became of a call.
pub(super) enum Told {
    /// Somebody waits.
    Caller(Mutex<Option<oneshot::Sender<Attempt>>>),
    /// The queue, of the last attempt of each delivery.
    Queue(Box<dyn Fn(Attempt) + Send + Sync>),
}

/// A call as the dispatcher makes it.
pub(super) struct Forward {
    call: Call,
    max: usize,
    told: Told,
}

impl Forward {
    pub(super) fn new(call: Call, max: usize, told: Told) -> Self {
        Self { call, max, told }
    }
}

impl Work for Forward {
    fn init(&self, _deadline: SystemTime) -> Option<Call> {
        None
    }

    fn run(&self, _deadline: SystemTime, owner_dead: Option<&str>) -> Call {
        let mut call = self.call.clone();
        let token = owner_dead.and_then(|token| HeaderValue::from_str(token).ok());
        call.headers.extend(token.map(|token| (OWNER_DEAD, token)));
        call
    }

    fn answer_max(&self) -> usize {
        self.max
    }

    fn keeps_process(&self, answer: &Answer) -> bool {
        // The rest of a truncated answer is still being written.
        !answer.truncated
    }

    fn ended(&self, attempt: &Attempt) {
        if let Told::Caller(teller) = &self.told
            && let Some(teller) = lock(teller).take()
        {
            // A caller that has left is no failure of the function.
            drop(teller.send(attempt.clone()));
        }
    }

    fn finished(&self, attempt: Attempt, _logs: Vec<String>, place: Place) {
        if let (Told::Queue(tell), Place::Last | Place::LastOfTwin) = (&self.told, place) {
            tell(attempt);
        }
    }
}
