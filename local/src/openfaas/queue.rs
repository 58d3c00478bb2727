//! Asynchronous calls: accepted into a queue, delivered at least once, their answers posted to a callback.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use hyper::body::Incoming;
use hyper::header::{CONTENT_TYPE, HeaderMap, HeaderName, HeaderValue};
use hyper::{Method, Request, StatusCode, Uri};
use tokio::net::TcpStream;
use tokio::sync::{Mutex, mpsc};
use tokio_util::sync::CancellationToken;

use super::deploy::Deployed;
use super::forward::{CALL_ID, DURATION, Forward, Incomer, START_TIME, Told, limit, reply, seconds, take};
use super::{Refusal, Target};
use crate::client::{self, Call};
use crate::deliver::{Attempt, Delivery, End};
use crate::events::EventKind;
use crate::faults::Plan;
use crate::platform::Shared;
use crate::server::{Reply, text};

const CALLBACK_URL: HeaderName = HeaderName::from_static("x-callback-url");

/// How long the receiver of a callback may take.
const CALLBACK_PATIENCE: Duration = Duration::from_secs(60);

pub(super) struct Queue {
    sender: mpsc::UnboundedSender<Arc<Message>>,
    receiver: Arc<Mutex<mpsc::UnboundedReceiver<Arc<Message>>>>,
    waiting: Arc<AtomicUsize>,
    max: usize,
}

/// An accepted call.
struct Message {
    id: String,
    name: String,
    call: Call,
    callback: Option<Uri>,
    /// Cancelled when a delivery has ended: no other one is due.
    done: CancellationToken,
}

impl Queue {
    pub(super) fn new(max: usize) -> Self {
        let (sender, receiver) = mpsc::unbounded_channel();
        Self { sender, receiver: Arc::new(Mutex::new(receiver)), waiting: Arc::default(), max }
    }

    /// Takes a message if there is room; `queued` is called before a worker can see it.
    fn push(&self, message: Arc<Message>, queued: impl FnOnce(&Message)) -> Result<(), Refusal> {
        if self.waiting.fetch_add(1, Ordering::SeqCst) >= self.max {
            self.waiting.fetch_sub(1, Ordering::SeqCst);
            return Err(Refusal(
                StatusCode::INTERNAL_SERVER_ERROR,
                "the queue takes no more calls".to_owned(),
            ));
        }
        queued(&message);
        // It fails only without workers, when the platform has stopped.
        drop(self.sender.send(message));
        Ok(())
    }

    /// One worker: it delivers one call at a time until the platform stops.
    pub(super) fn work(&self, shared: Arc<Shared>) -> impl Future<Output = ()> + use<> {
        let (receiver, waiting) = (Arc::clone(&self.receiver), Arc::clone(&self.waiting));
        async move {
            let stop = shared.stop.clone();
            let next = || async { receiver.lock().await.recv().await };
            while let Some(Some(message)) = stop.run_until_cancelled(next()).await {
                waiting.fetch_sub(1, Ordering::SeqCst);
                // Meanwhile the delivery that took too long may have ended.
                if !message.done.is_cancelled() {
                    deliver(&shared, message).await;
                }
            }
        }
    }
}

/// Accepts an asynchronous call.
pub(super) async fn accept(
    shared: &Arc<Shared>,
    peer: SocketAddr,
    request: Request<Incoming>,
    target: Target,
) -> Result<Reply, Refusal> {
    if request.method() != Method::POST {
        let message = "asynchronous calls are made with POST".to_owned();
        return Err(Refusal(StatusCode::METHOD_NOT_ALLOWED, message));
    }
    let callback = callback(request.headers())?;
    let Incomer { id, call } = take(peer, request, &target, shared.config.limits.async_body_bytes).await?;
    let mut reply = text(StatusCode::ACCEPTED, "");
    let passed = |name| call.headers.get(&name).cloned().map(|value| (name, value));
    reply.headers_mut().extend([passed(CALL_ID), passed(START_TIME)].into_iter().flatten());
    let message = Message { id, name: target.name, call, callback, done: CancellationToken::new() };
    let queued = |message: &Message| shared.events.emit(&message.id, &message.name, EventKind::Queued);
    shared.gateway.queue.push(Arc::new(message), queued)?;
    Ok(reply)
}

fn callback(headers: &HeaderMap) -> Result<Option<Uri>, Refusal> {
    let Some(url) = headers.get(CALLBACK_URL) else { return Ok(None) };
    let url = url.to_str().ok().and_then(|url| url.parse::<Uri>().ok());
    let url = url.filter(|url| url.scheme_str() == Some("http") && url.host().is_some());
    let message =
        "X-Callback-Url must be an http:// URL: the local platform posts answers over plain HTTP only";
    url.map(Some).ok_or_else(|| Refusal::bad_request(message))
}

async fn deliver(shared: &Arc<Shared>, message: Arc<Message>) {
    let Some(deployed) = shared.gateway.find(&message.name) else {
        message.done.cancel();
        let nobody = text(StatusCode::NOT_FOUND, "");
        return spawn_callback(
            shared,
            &message,
            nobody.status(),
            &HeaderMap::new(),
            bytes::Bytes::new(),
            None,
        );
    };
    shared.pool.tasks.spawn(again_unless_done(Arc::clone(shared), Arc::clone(&message)));
    deployed.invocations.fetch_add(1, Ordering::SeqCst);
    let (delivery, plan) = prepare(shared, &deployed, &message);
    Arc::clone(&shared.dispatcher).deliver(delivery, plan).await;
    message.done.cancel();
}

/// Delivers the message again, at the first opportunity, if its delivery takes longer than the queue waits.
async fn again_unless_done(shared: Arc<Shared>, message: Arc<Message>) {
    let due = tokio::select! {
        () = message.done.cancelled() => false,
        () = shared.stop.cancelled() => false,
        () = tokio::time::sleep(shared.config.limits.ack_wait) => true,
    };
    if due {
        let again = |message: &Message| shared.events.emit(&message.id, &message.name, EventKind::Duplicated);
        // A full queue refuses it, which harms nobody: the first delivery still runs.
        drop(shared.gateway.queue.push(Arc::clone(&message), again));
    }
}

fn prepare(shared: &Arc<Shared>, deployed: &Deployed, message: &Arc<Message>) -> (Delivery, Plan) {
    let (for_tell, to_tell) = (Arc::clone(shared), Arc::clone(message));
    let tell = move |attempt: Attempt| called_back(&for_tell, &to_tell, &attempt);
    let max = shared.config.limits.http_body_bytes;
    let delivery = Delivery {
        id: message.id.clone(),
        function: Arc::clone(&deployed.function),
        limit: limit(deployed.limit, &message.call.headers),
        is_awaited: false,
        may_repeat: true,
        is_twin: false,
        work: Arc::new(Forward::new(message.call.clone(), max, Told::Queue(Box::new(tell)))),
    };
    (delivery, shared.dispatcher.plan())
}

/// Posts what became of a delivery to the callback, if there is one.
fn called_back(shared: &Arc<Shared>, message: &Arc<Message>, attempt: &Attempt) {
    let status = reply(attempt).status();
    let (headers, body) = match &attempt.end {
        End::Answer(answer) => (answer.headers.clone(), answer.body.clone()),
        _ => (HeaderMap::new(), bytes::Bytes::new()),
    };
    spawn_callback(shared, message, status, &headers, body, seconds(attempt.elapsed));
}

fn spawn_callback(
    shared: &Arc<Shared>,
    message: &Arc<Message>,
    status: StatusCode,
    answered: &HeaderMap,
    body: bytes::Bytes,
    duration: Option<HeaderValue>,
) {
    let Some(url) = message.callback.clone() else { return };
    let mut headers = HeaderMap::new();
    headers.extend(answered.get(CONTENT_TYPE).cloned().map(|value| (CONTENT_TYPE, value)));
    for name in [CALL_ID, START_TIME] {
        headers.extend(message.call.headers.get(&name).cloned().map(|value| (name, value)));
    }
    let status = HeaderValue::from(status.as_u16());
    headers.insert(HeaderName::from_static("x-function-status"), status);
    let name = HeaderValue::from_str(&message.name).ok();
    headers.extend(name.map(|name| (HeaderName::from_static("x-function-name"), name)));
    headers.extend(duration.map(|duration| (DURATION, duration)));
    let (shared, message) = (Arc::clone(shared), Arc::clone(message));
    let tasks = shared.pool.tasks.clone();
    tasks.spawn(async move {
        let posting = tokio::time::timeout(CALLBACK_PATIENCE, post(&url, headers, body));
        let Some(posted) = shared.stop.run_until_cancelled(posting).await else { return };
        let kind = match posted {
            Ok(Ok(status)) => EventKind::CalledBack { status },
            Ok(Err(error)) => EventKind::CallbackFailed { error },
            Err(_) => EventKind::CallbackFailed { error: "the receiver takes too long".to_owned() },
        };
        shared.events.emit(&message.id, &message.name, kind);
    });
}

async fn post(url: &Uri, headers: HeaderMap, body: bytes::Bytes) -> Result<u16, String> {
    let host = url.host().unwrap_or_default();
    let port = url.port_u16().unwrap_or(80);
    let name = host.trim_start_matches('[').trim_end_matches(']');
    let stream = TcpStream::connect((name, port)).await.map_err(|error| error.to_string())?;
    let path = url.path_and_query().map_or("/", |path| path.as_str());
    let uri = path.parse().map_err(|_| "the URL has no valid path".to_owned())?;
    let call = Call { method: Method::POST, uri, headers, body };
    let answer = client::exchange(stream, &format!("{host}:{port}"), &call, 64 << 10).await;
    answer.map(|answer| answer.status.as_u16()).map_err(|error| error.to_string())
}
