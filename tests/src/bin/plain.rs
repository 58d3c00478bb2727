//! The subject's `squares` without the SDK: a function process of hyper and serde alone, for comparison.

use std::convert::Infallible;
use std::io::Write;

use http_body_util::{BodyExt, Full};
use hyper::body::{Bytes, Incoming};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Request, Response};
use hyper_util::rt::TokioIo;
use serde_json::{Value, json};

const SENTINEL: &str = "XXX_THE_END_OF_A_WHISK_ACTIVATION_XXX";

async fn answer(request: Request<Incoming>) -> Result<Response<Full<Bytes>>, Infallible> {
    let is_run = request.uri().path() == "/run";
    let body =
        request.into_body().collect().await.map(http_body_util::Collected::to_bytes).unwrap_or_default();
    let body: Value = serde_json::from_slice(&body).unwrap_or_default();
    let n = body["value"]["n"].as_u64().unwrap_or_default();
    let answer = json!({ "result": (0..n).fold(0_u64, |sum, i| sum.wrapping_add(i * i)) }).to_string();
    if is_run {
        let _ = writeln!(std::io::stdout(), "{SENTINEL}");
        let _ = writeln!(std::io::stderr(), "{SENTINEL}");
    }
    Ok(Response::new(Full::new(Bytes::from(answer))))
}

async fn serve(listener: std::net::TcpListener) -> std::io::Result<()> {
    let listener = tokio::net::TcpListener::from_std(listener)?;
    loop {
        let (stream, _) = listener.accept().await?;
        stream.set_nodelay(true)?;
        tokio::spawn(http1::Builder::new().serve_connection(TokioIo::new(stream), service_fn(answer)));
    }
}

fn main() -> std::io::Result<()> {
    let listener = listenfd::ListenFd::from_env().take_tcp_listener(0)?;
    let listener = listener.ok_or_else(|| std::io::Error::other("no socket was handed down"))?;
    listener.set_nonblocking(true)?;
    tokio::runtime::Builder::new_current_thread().enable_all().build()?.block_on(serve(listener))
}
