//! The HTTP server of a function process: one port, either platform.

use std::convert::Infallible;
use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::Poll;
use std::time::Duration;

use bytes::Bytes;
use http_body_util::{BodyExt, Full, Limited};
use hyper::body::Incoming as Body;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Method, Request, Response, StatusCode};
use hyper_util::rt::TokioIo;
use limitless_faas_core::{Code, Failure};
use serde_json::{Value, json};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;

use super::{openfaas, openwhisk};
use crate::engine::Engine;

/// How long to leave it after a connection could not be accepted.
const ACCEPT_AGAIN: Duration = Duration::from_millis(10);

/// Larger requests are refused; the platforms' own limits are far below.
const BODY_LIMIT_BYTES: usize = 64 << 20;

/// The listener the platform handed down as file descriptor 3, or one of our own.
pub(crate) fn listen(port: u16) -> io::Result<std::net::TcpListener> {
    let handed_down = listenfd::ListenFd::from_env().take_tcp_listener(0)?;
    let listener = match handed_down {
        Some(listener) => listener,
        None => std::net::TcpListener::bind(SocketAddr::from((Ipv4Addr::UNSPECIFIED, port)))?,
    };
    listener.set_nonblocking(true)?;
    Ok(listener)
}

/// Serves until `stopping` says so and every request in flight has its answer.
pub(crate) async fn serve(listener: std::net::TcpListener, engine: Arc<Engine>) -> io::Result<()> {
    let listener = TcpListener::from_std(listener)?;
    let connections = watch::Sender::new(0);
    let process = Arc::new(Process { openwhisk: openwhisk::OpenWhisk::default(), engine, connections });
    accept(listener, process).await
}

struct Process {
    openwhisk: openwhisk::OpenWhisk,
    engine: Arc<Engine>,
    /// How many connections have asked something and are still open.
    connections: watch::Sender<usize>,
}

async fn accept(listener: TcpListener, process: Arc<Process>) -> io::Result<()> {
    let (mut stopping, mut connections) = (process.engine.stopping(), process.connections.subscribe());
    // Requests keep coming until the platform has noticed; what matters is that each one gets its answer.
    let idle = process.engine.idle();
    let mut done = std::pin::pin!(async move {
        let _ = stopping.wait_for(|is| *is).await;
        idle.await;
        let _ = connections.wait_for(|open| *open == 0).await;
    });
    loop {
        let next = std::future::poll_fn(|cx| match listener.poll_accept(cx) {
            Poll::Ready(accepted) => Poll::Ready(Some(accepted)),
            Poll::Pending => done.as_mut().poll(cx).map(|()| None),
        });
        let Some(accepted) = next.await else { return Ok(()) };
        match accepted {
            Ok((stream, _)) => drop(tokio::spawn(connection(stream, process.clone()))),
            // Out of file descriptors, most likely: some are given back when a connection ends.
            Err(_) => tokio::time::sleep(ACCEPT_AGAIN).await,
        }
    }
}

async fn connection(stream: TcpStream, process: Arc<Process>) {
    // Answers are small and go out at once; Nagle's algorithm would hold them back for nothing.
    let _ = stream.set_nodelay(true);
    let asked = Arc::new(AtomicBool::new(false));
    let (serving, asks) = (process.clone(), asked.clone());
    let service = service_fn(move |request| {
        if !asks.swap(true, Ordering::Relaxed) {
            serving.connections.send_modify(|open| *open += 1);
        }
        answer(request, serving.clone())
    });
    let mut connection =
        std::pin::pin!(http1::Builder::new().serve_connection(TokioIo::new(stream), service));
    let mut stopping = process.engine.stopping();
    let mut stop = std::pin::pin!(stopping.wait_for(|is| *is));
    let (mut is_stopping, mut is_ending) = (false, false);
    // A peer that goes away in the middle is no news: its execution is safe in the log.
    let _ = std::future::poll_fn(|cx| {
        let polled = connection.as_mut().poll(cx);
        is_stopping = is_stopping || stop.as_mut().poll(cx).is_ready();
        // A connection that has asked gets its answer and ends; a new one may still ask once.
        if polled.is_pending()
            && is_stopping
            && asked.load(Ordering::Relaxed)
            && !std::mem::replace(&mut is_ending, true)
        {
            connection.as_mut().graceful_shutdown();
            return connection.as_mut().poll(cx);
        }
        polled
    })
    .await;
    if asked.load(Ordering::Relaxed) {
        process.connections.send_modify(|open| *open -= 1);
    }
}

async fn answer(request: Request<Body>, process: Arc<Process>) -> Result<Response<Full<Bytes>>, Infallible> {
    Ok(route(request, &process).await)
}

async fn route(request: Request<Body>, process: &Process) -> Response<Full<Bytes>> {
    let (head, body) = request.into_parts();
    let is_openfaas = process.engine.config().gateway_url.is_some();
    match (&head.method, head.uri.path()) {
        (&Method::GET, "/_/health" | "/_/ready") => text(StatusCode::OK, "ok"),
        (&Method::POST, path @ ("/init" | "/run")) if !is_openfaas => {
            let body = match read(body).await {
                Ok(body) => body,
                Err(failure) => {
                    return json(StatusCode::BAD_REQUEST, &json!({ "error": failure.to_string() }));
                }
            };
            if path == "/init" {
                process.openwhisk.init(&process.engine, &body)
            } else {
                process.openwhisk.run(&process.engine, &head.headers, &body).await
            }
        }
        _ => match read(body).await {
            Ok(body) => openfaas::call(&process.engine, &head, &body).await,
            Err(failure) => json(StatusCode::PAYLOAD_TOO_LARGE, &json!({ "error": failure.to_string() })),
        },
    }
}

async fn read(body: Body) -> Result<Bytes, Failure> {
    let limited = Limited::new(body, BODY_LIMIT_BYTES);
    let collected = limited.collect().await.map_err(|error| {
        Failure::new(Code::BadInput, format!("the request's body can't be read: {error}"))
    })?;
    Ok(collected.to_bytes())
}

/// A JSON response with a Content-Length, which `OpenWhisk` insists on.
pub(crate) fn json(status: StatusCode, body: &Value) -> Response<Full<Bytes>> {
    raw_json(status, body.to_string())
}

/// A response of JSON text as it is.
pub(crate) fn raw_json(status: StatusCode, body: String) -> Response<Full<Bytes>> {
    response(status, "application/json", Bytes::from(body))
}

fn text(status: StatusCode, body: &'static str) -> Response<Full<Bytes>> {
    response(status, "text/plain", Bytes::from_static(body.as_bytes()))
}

fn response(status: StatusCode, content_type: &'static str, body: Bytes) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::new(body));
    *response.status_mut() = status;
    let content_type = hyper::header::HeaderValue::from_static(content_type);
    response.headers_mut().insert(hyper::header::CONTENT_TYPE, content_type);
    response
}
