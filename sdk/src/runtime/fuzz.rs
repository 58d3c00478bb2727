//! Broken bytes for what platforms send: `/init`, `/run`, whole requests as `OpenFaaS` forwards them, durations.
//!
//! What is read goes through the engine to its answer, with a store in memory and a handler that gives back its input. No
//! corpus names a receiver or a gateway: nothing is sent anywhere.

use std::collections::BTreeMap;
use std::sync::Arc;

use bytes::Bytes;
use http_body_util::{BodyExt, Full};
use hyper::{HeaderMap, Request, Response};
use limitless_faas_fuzz::Fuzz;
use serde_json::value::RawValue;

use super::{openfaas, openwhisk, parse_go_duration};
use crate::checkpoint::{Outcome, Session};
use crate::config::Config;
use crate::engine::Engine;
use crate::handler::{Entry, HandlerDef, OutputDef};

fn fuzz(parser: &str) -> Fuzz {
    Fuzz::new(format!("{}/src/runtime/corpus/{parser}", env!("CARGO_MANIFEST_DIR")))
}

fn echo(_: &Session, input: &RawValue) -> Outcome {
    Outcome::Returned(Ok(input.to_owned()))
}

static ECHO: HandlerDef = HandlerDef {
    name: "echo",
    doc: "",
    is_async: false,
    parameters: &[],
    output: OutputDef { type_text: "Value", schema: || None },
    fingerprint: 1,
    checkpoints: &[],
    state: None,
    workflow: None,
    entry: Entry::Sync(echo),
};

static HANDLERS: [&HandlerDef; 1] = [&ECHO];

fn engine() -> Arc<Engine> {
    let told = [("LIMITLESS_STORE", "memory:"), ("LIMITLESS_WATCHDOG_TOKEN", "token")];
    let told: BTreeMap<_, _> =
        told.into_iter().map(|(name, value)| (name.to_owned(), value.to_owned())).collect();
    Arc::new(Engine::new(Config::from(&told).unwrap(), &HANDLERS))
}

fn run<T>(test: impl Future<Output = T>) -> T {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    tokio::task::LocalSet::new().block_on(&runtime, test)
}

/// The status and what kind of answer it is, which is always JSON.
async fn told(response: Response<Full<Bytes>>) -> String {
    let status = response.status();
    let body = response.into_body().collect().await.unwrap().to_bytes();
    // Numbers are passed on to the letter, and no number type holds them all.
    let answer: Box<RawValue> = serde_json::from_slice(&body).unwrap();
    let fields: BTreeMap<String, Box<RawValue>> = serde_json::from_str(answer.get()).unwrap_or_default();
    let said = |name| fields.get(name).map_or("", |value| value.get());
    format!("{status} {} {}", said("code"), said("error"))
}

#[test]
fn activations() {
    fuzz("run").slow(4).run(|bytes| {
        run(async {
            let openwhisk = openwhisk::OpenWhisk::default();
            let answer = openwhisk.activate(&engine(), &HeaderMap::new(), bytes).await;
            assert!(answer.starts_with('{'), "the platform takes nothing else: {answer}");
            told(super::http::raw_json(hyper::StatusCode::OK, answer)).await
        })
    });
}

#[test]
fn initialisations() {
    fuzz("init")
        .slow(4)
        .run(|bytes| run(async { told(openwhisk::OpenWhisk::default().initialise(&engine(), bytes)).await }));
}

/// A request as it stands in a file, as far as it can be one.
fn request(bytes: &[u8]) -> Option<(Request<()>, &[u8])> {
    let end = bytes.windows(2).position(|two| two == b"\n\n")?;
    let mut lines = bytes[..end].split(|byte| *byte == b'\n');
    let mut request = Request::post(lines.next()?);
    for line in lines {
        let colon = line.iter().position(|byte| *byte == b':')?;
        request = request.header(&line[..colon], line[colon + 1..].trim_ascii());
    }
    Some((request.body(()).ok()?, &bytes[end + 2..]))
}

#[test]
fn requests() {
    fuzz("http").slow(4).run(|bytes| {
        let Some((request, body)) = request(bytes) else { return "no request".to_owned() };
        // Whoever asks for a callback gets one.
        if request.headers().contains_key("x-limitless-callback-url") {
            return "a callback".to_owned();
        }
        let (head, ()) = request.into_parts();
        run(async { told(openfaas::call(&engine(), &head, body).await).await })
    });
}

#[test]
fn durations() {
    fuzz("duration").run(|bytes| {
        let duration = parse_go_duration(&String::from_utf8_lossy(bytes));
        format!("{:?}", duration.map(|duration| duration.is_zero()))
    });
}
