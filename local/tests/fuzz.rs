//! Broken requests, as they come over a connection: each has an answer or the connection's end, and the platform goes on.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test fails by panicking")]

mod common;

use std::io::{Read, Write};
use std::net::{Shutdown, TcpStream};
use std::time::Duration;

use common::Bench;
use limitless_faas_fuzz::Fuzz;
use limitless_faas_local::{Config, Limits};
use serde_json::Value;

/// What stands in the corpus for the key, which each run draws anew.
const KEY: &[u8] = b"BASIC";

/// Sends the bytes, then no more; reads until the other side closes.
fn exchange(address: &str, request: &[u8]) -> Vec<u8> {
    let mut stream = TcpStream::connect(address).unwrap();
    stream.set_read_timeout(Some(Duration::from_secs(30))).unwrap();
    // A server that has seen enough may close before it has read all.
    let _early = stream.write_all(request).and_then(|()| stream.shutdown(Shutdown::Write));
    let mut answer = Vec::new();
    match stream.read_to_end(&mut answer) {
        Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => panic!("no answer and no end"),
        _ => answer,
    }
}

fn with_key(request: &[u8], key: &str) -> Vec<u8> {
    match request.windows(KEY.len()).position(|window| window == KEY) {
        Some(at) => [&request[..at], key.as_bytes(), &request[at + KEY.len()..]].concat(),
        None => request.to_vec(),
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn requests() {
    // It knows no image, so that nothing ever runs.
    let bench = Bench::start(Config { limits: Limits::generous(), ..Config::default() }).await;
    let (address, key) = (bench.address(), bench.platform.api_key().basic());
    let corpus = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/corpus/http");
    let fuzzing = tokio::task::spawn_blocking(move || {
        Fuzz::new(corpus).slow(2).run(|bytes| {
            let answer = exchange(&address, &with_key(bytes, &key));
            let end = answer.iter().position(|byte| *byte == b'\r').unwrap_or(answer.len());
            let status = String::from_utf8_lossy(&answer[..end]).into_owned();
            assert!(!status.contains(" 500 "), "{}", String::from_utf8_lossy(&answer));
            // The numbers are the status here, and tell answers apart.
            status.replace(|c: char| c.is_ascii_digit(), "") + &"#".repeat(status.matches('4').count())
        });
    });
    fuzzing.await.unwrap();
    assert_eq!(bench.whisk("GET", "actions", &Value::Null).await.status, 200);
}
