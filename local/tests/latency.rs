//! A warm call waits for nothing: not for a timer's tick, not for the process to be given back. The two platforms' ways
//! are compared with one another, so that a busy machine does not matter.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test fails by panicking")]

mod common;

use std::time::{Duration, Instant};

use common::{Bench, config};
use limitless_faas_local::EventKind;
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

/// Makes calls one right after the other on one connection; adds how long each took.
async fn call(bench: &Bench, path: &str, took: &mut Vec<Duration>) {
    let mut stream = TcpStream::connect(bench.address()).await.unwrap();
    stream.set_nodelay(true).unwrap();
    let auth = bench.platform.api_key().basic();
    let request = format!(
        "POST {path} HTTP/1.1\r\nHost: localhost\r\nAuthorization: {auth}\r\nContent-Length: 13\r\n\r\n{{\"body\":\"{{}}\"}}"
    );
    for _ in 0..20 {
        let begun = Instant::now();
        stream.write_all(request.as_bytes()).await.unwrap();
        let mut answer = Vec::new();
        while !answer.ends_with(b"\r\n\r\n{}") {
            assert_ne!(stream.read_buf(&mut answer).await.unwrap(), 0);
        }
        assert!(answer.starts_with(b"HTTP/1.1 200 OK"));
        took.push(begun.elapsed());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn warm_calls_one_after_the_other_wait_for_nothing() {
    let mut bench = Bench::start(config()).await;
    bench.put("a", "probe", Value::Null).await;
    let function = json!({ "service": "f", "image": "probe" }).to_string();
    assert_eq!(bench.send("POST", "/system/functions", "", function.as_bytes()).await.status, 202);
    let (mut whisk, mut faas) = (Vec::new(), Vec::new());
    for _ in 0..20 {
        call(&bench, "/api/v1/namespaces/_/actions/a?blocking=true&result=true", &mut whisk).await;
        call(&bench, "/function/f", &mut faas).await;
    }
    let quick = |mut took: Vec<Duration>| {
        took.sort_unstable();
        took[took.len() / 4]
    };
    let (whisk, faas) = (quick(whisk), quick(faas));
    // OpenFaaS's way is the shorter one: no sentinels are waited for.
    assert!(faas < whisk * 3 / 2, "OpenWhisk {whisk:?}, OpenFaaS {faas:?}");
    bench.platform.shutdown().await;
    let mut cold = 0;
    while let Ok(event) = bench.events.try_recv() {
        cold += u32::from(matches!(event.kind, EventKind::Started { cold: true, .. }));
    }
    // A busy machine may be slow to give a process back; a call for each would show.
    assert!(cold < 80, "{cold} cold starts for 800 calls");
}
