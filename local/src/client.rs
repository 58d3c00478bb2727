//! One HTTP request on one connection, as the platforms make them to their functions.

use std::net::SocketAddr;

use bytes::{Bytes, BytesMut};
use http_body_util::{BodyExt as _, Full};
use hyper::body::Incoming;
use hyper::client::conn::http1;
use hyper::header::{CONTENT_LENGTH, HOST, HeaderValue, TRANSFER_ENCODING};
use hyper::{HeaderMap, Method, StatusCode, Uri};
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;

/// A request that can be sent any number of times.
#[derive(Clone, Debug)]
pub(crate) struct Call {
    pub(crate) method: Method,
    pub(crate) uri: Uri,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Bytes,
}

/// A whole answer.
#[derive(Clone, Debug)]
pub(crate) struct Answer {
    pub(crate) status: StatusCode,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Bytes,
    /// The body was longer than what was asked for, and its rest is gone.
    pub(crate) truncated: bool,
}

impl Answer {
    pub(crate) fn is_chunked(&self) -> bool {
        self.headers.contains_key(TRANSFER_ENCODING) || !self.headers.contains_key(CONTENT_LENGTH)
    }
}

/// Why there is no answer.
#[derive(Debug, thiserror::Error)]
pub(crate) enum CallError {
    #[error("can't connect: {0}")]
    Connect(#[from] std::io::Error),
    #[error("connection lost: {0}")]
    Lost(#[from] hyper::Error),
}

/// Makes the call on a connection of its own and reads at most `max` bytes of the answer's body.
pub(crate) async fn call(address: SocketAddr, call: &Call, max: usize) -> Result<Answer, CallError> {
    let stream = TcpStream::connect(address).await?;
    stream.set_nodelay(true)?;
    exchange(stream, &address.to_string(), call, max).await
}

/// Makes the call on `stream`.
pub(crate) async fn exchange(
    stream: TcpStream,
    host: &str,
    call: &Call,
    max: usize,
) -> Result<Answer, CallError> {
    let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await?;
    let _driver = AbortOnDrop(tokio::spawn(connection));
    let mut request = hyper::Request::new(Full::new(call.body.clone()));
    *request.method_mut() = call.method.clone();
    *request.uri_mut() = call.uri.clone();
    *request.headers_mut() = call.headers.clone();
    if let Ok(host) = HeaderValue::from_str(host) {
        request.headers_mut().entry(HOST).or_insert(host);
    }
    let (head, body) = sender.send_request(request).await?.into_parts();
    let (body, truncated) = read_at_most(body, max).await?;
    Ok(Answer { status: head.status, headers: head.headers, body, truncated })
}

/// Ends the connection when the call is given up.
struct AbortOnDrop<T>(tokio::task::JoinHandle<T>);

impl<T> Drop for AbortOnDrop<T> {
    fn drop(&mut self) {
        self.0.abort();
    }
}

/// Reads a body up to `max` bytes; says whether there was more.
pub(crate) async fn read_at_most(mut body: Incoming, max: usize) -> Result<(Bytes, bool), hyper::Error> {
    let mut whole = BytesMut::new();
    while let Some(frame) = body.frame().await {
        let Ok(data) = frame?.into_data() else { continue };
        let room = max.saturating_sub(whole.len());
        if data.len() > room {
            whole.extend_from_slice(data.get(..room).unwrap_or_default());
            return Ok((whole.freeze(), true));
        }
        whole.extend_from_slice(&data);
    }
    Ok((whole.freeze(), false))
}
