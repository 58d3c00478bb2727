//! The HTTP server: one listener for both platforms' APIs.

use std::convert::Infallible;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http_body_util::Full;
use hyper::body::{Body as _, Incoming};
use hyper::header::{CONTENT_TYPE, HOST, HeaderValue};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Request, Response, StatusCode};
use hyper_util::rt::{TokioIo, TokioTimer};
use percent_encoding::percent_decode_str;
use tokio::net::{TcpListener, TcpStream};

use crate::client::read_at_most;
use crate::platform::Shared;
use crate::{openfaas, openwhisk};

pub(crate) type Reply = Response<Full<Bytes>>;

/// A body that is too long is still read up to this length: many clients see a refusal only after they have sent all.
const DRAIN_MAX: u64 = 64 << 20;

/// How long a client may take to send a request's head.
const HEAD_PATIENCE: Duration = Duration::from_secs(60);

/// Accepts connections until the platform stops.
pub(crate) async fn serve(listener: TcpListener, shared: Arc<Shared>) {
    loop {
        let accepted = tokio::select! {
            biased;
            () = shared.stop.cancelled() => return,
            accepted = listener.accept() => accepted,
        };
        match accepted {
            Ok((stream, peer)) => {
                let connection = attend(stream, peer, Arc::clone(&shared));
                let stop = shared.stop.clone();
                shared.pool.tasks.spawn(async move { stop.run_until_cancelled(connection).await });
            }
            // Out of descriptors, or a connection that broke at once. Descriptors come back as connections end, which
            // nothing tells us.
            Err(_) => tokio::time::sleep(Duration::from_millis(10)).await,
        }
    }
}

async fn attend(stream: TcpStream, peer: SocketAddr, shared: Arc<Shared>) {
    // Only latency depends on it.
    drop(stream.set_nodelay(true));
    let service = service_fn(|request| {
        let shared = Arc::clone(&shared);
        async move { Ok::<_, Infallible>(route(&shared, peer, request).await) }
    });
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEAD_PATIENCE)
        .serve_connection(TokioIo::new(stream), service);
    // A client that goes away or speaks no HTTP is no matter of ours.
    drop(connection.await);
}

async fn route(shared: &Arc<Shared>, peer: SocketAddr, request: Request<Incoming>) -> Reply {
    if !is_for_us(&request, shared.inner) {
        return text(StatusCode::FORBIDDEN, "the local platform answers requests to loopback addresses only");
    }
    let path = request.uri().path().to_owned();
    let first = path.split('/').nth(1).unwrap_or_default();
    match first {
        "" | "api" => openwhisk::answer(shared, request).await,
        "system" | "function" | "async-function" | "healthz" => openfaas::answer(shared, peer, request).await,
        _ => text(StatusCode::NOT_FOUND, "not found"),
    }
}

/// A web page can make a browser send requests to a name that its owner points at 127.0.0.1; such a request names that
/// host.
fn is_for_us(request: &Request<Incoming>, inner: Option<IpAddr>) -> bool {
    let named = request.headers().get(HOST).map(|host| host.to_str().unwrap_or_default());
    let Some(host) = named.or_else(|| request.uri().authority().map(hyper::http::uri::Authority::as_str))
    else {
        return true;
    };
    let host = host
        .rsplit_once(':')
        .filter(|(_, port)| port.bytes().all(|b| b.is_ascii_digit()))
        .map_or(host, |it| it.0);
    let address = host.trim_start_matches('[').trim_end_matches(']');
    host.eq_ignore_ascii_case("localhost")
        || address.parse().is_ok_and(|address: IpAddr| address.is_loopback() || Some(address) == inner)
}

/// The decoded segments of a path, without its leading `/`. None if one is no UTF-8.
pub(crate) fn segments(path: &str) -> Option<Vec<String>> {
    let decode = |segment| percent_decode_str(segment).decode_utf8().map(std::borrow::Cow::into_owned).ok();
    path.strip_prefix('/').unwrap_or(path).split('/').map(decode).collect()
}

/// A query's values by name; the last one counts.
pub(crate) fn query(request: &Request<Incoming>) -> std::collections::BTreeMap<String, String> {
    form_urlencoded::parse(request.uri().query().unwrap_or_default().as_bytes()).into_owned().collect()
}

/// Why a body was not read.
pub(crate) enum BodyError {
    /// It is this long, or longer than the limit by an unknown length.
    TooLong(u64),
    /// The client went away.
    Broken,
}

/// Reads a request's body of at most `max` bytes.
pub(crate) async fn read_body(body: Incoming, max: usize) -> Result<Bytes, BodyError> {
    let max_u64 = u64::try_from(max).unwrap_or(u64::MAX);
    let announced = body.size_hint().lower();
    if announced > max_u64 {
        if announced <= DRAIN_MAX {
            drop(read_at_most(body, max.saturating_mul(2).max(64 << 20)).await);
        }
        return Err(BodyError::TooLong(announced));
    }
    match read_at_most(body, max).await {
        Ok((body, false)) => Ok(body),
        Ok((_, true)) => Err(BodyError::TooLong(max_u64.saturating_add(1))),
        Err(_) => Err(BodyError::Broken),
    }
}

pub(crate) fn text(status: StatusCode, message: &str) -> Reply {
    reply(status, "text/plain; charset=utf-8", message.to_owned().into())
}

pub(crate) fn json(status: StatusCode, value: &(impl serde::Serialize + ?Sized)) -> Reply {
    match serde_json::to_vec(value) {
        Ok(body) => reply(status, "application/json", body.into()),
        Err(error) => text(StatusCode::INTERNAL_SERVER_ERROR, &error.to_string()),
    }
}

pub(crate) fn reply(status: StatusCode, content_type: &'static str, body: Bytes) -> Reply {
    let mut reply = Response::new(Full::new(body));
    *reply.status_mut() = status;
    reply.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(content_type));
    reply
}
