//! OpenFaaS's gateway API, as far as clients of functions use it.

mod deploy;
mod forward;
mod queue;
mod secrets;
mod system;

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};

use hyper::body::Incoming;
use hyper::{Request, StatusCode};
use percent_encoding::percent_decode_str;

use self::deploy::Deployed;
use self::queue::Queue;
use crate::limits::Limits;
use crate::names::is_service_name;
use crate::platform::Shared;
use crate::server::{BodyError, Reply, read_body, text};
use crate::sync::lock;

/// The only namespace there is.
const NAMESPACE: &str = "openfaas-fn";

/// What is deployed, and what waits.
pub(crate) struct Gateway {
    functions: Mutex<BTreeMap<String, Arc<Deployed>>>,
    secrets: Mutex<BTreeMap<String, Vec<u8>>>,
    queue: Queue,
}

impl Gateway {
    pub(crate) fn new(limits: &Limits) -> Self {
        let queue = Queue::new(limits.queue_length);
        Self { functions: Mutex::default(), secrets: Mutex::default(), queue }
    }

    /// Starts the workers of the asynchronous queue.
    pub(crate) fn start_workers(&self, shared: &Arc<Shared>) {
        for _ in 0..shared.config.limits.queue_workers.max(1) {
            shared.pool.tasks.spawn(self.queue.work(Arc::clone(shared)));
        }
    }

    fn find(&self, name: &str) -> Option<Arc<Deployed>> {
        lock(&self.functions).get(name).cloned()
    }
}

/// A refused request.
#[derive(Debug)]
struct Refusal(StatusCode, String);

impl Refusal {
    fn bad_request(message: impl Into<String>) -> Self {
        Self(StatusCode::BAD_REQUEST, message.into())
    }

    fn unknown_function(name: &str) -> Self {
        Self(StatusCode::NOT_FOUND, format!("error finding function {name}.{NAMESPACE}: no such function"))
    }
}

/// Answers a request to the gateway.
pub(crate) async fn answer(shared: &Arc<Shared>, peer: SocketAddr, request: Request<Incoming>) -> Reply {
    let path = request.uri().path();
    let (first, rest) = path.strip_prefix('/').unwrap_or(path).split_once('/').unwrap_or((path, ""));
    let answered = match first {
        "system" => system::answer(shared, request).await,
        "function" | "async-function" => {
            let is_async = first == "async-function";
            match Target::parse(rest) {
                Ok(target) if is_async => queue::accept(shared, peer, request, target).await,
                Ok(target) => forward::call(shared, peer, request, target).await,
                Err(refusal) => Err(refusal),
            }
        }
        _ => Ok(text(StatusCode::OK, "OK")),
    };
    answered.unwrap_or_else(|Refusal(status, message)| text(status, &message))
}

/// Which function a call is for, and what it sees as its path.
struct Target {
    name: String,
    path: String,
}

impl Target {
    /// From what follows `/function/`: `NAME[.namespace][/path]`, the path as it came.
    fn parse(rest: &str) -> Result<Self, Refusal> {
        let (name, path) = rest.split_once('/').unwrap_or((rest, ""));
        let bad_name = || Refusal::bad_request("this can't be a function's name");
        let name = percent_decode_str(name).decode_utf8().map_err(|_| bad_name())?;
        let (name, namespace) = name.split_once('.').unwrap_or((&name, NAMESPACE));
        if !is_service_name(name) || !is_service_name(namespace) {
            return Err(bad_name());
        }
        if namespace != NAMESPACE {
            return Err(Refusal(StatusCode::NOT_FOUND, format!("there is no namespace {namespace}")));
        }
        Ok(Self { name: name.to_owned(), path: format!("/{path}") })
    }
}

async fn body(request: Request<Incoming>, max: usize) -> Result<bytes::Bytes, Refusal> {
    read_body(request.into_body(), max).await.map_err(|error| match error {
        BodyError::TooLong(length) => {
            let message = format!("the body has {length} bytes or more, {max} are allowed");
            Refusal(StatusCode::PAYLOAD_TOO_LARGE, message)
        }
        BodyError::Broken => Refusal::bad_request("the body broke off"),
    })
}
