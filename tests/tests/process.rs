//! The function process by itself, byte by byte as a platform speaks to it.

#![allow(clippy::unwrap_used, clippy::panic, reason = "tests may fail, and their helpers with them")]

mod alone;

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::process::Command;
use std::time::Duration;

use alone::{SUBJECT, raw, start};
use limitless_faas_core::ExecutionId;
use limitless_faas_core::manifest::Manifest;
use serde_json::{Value, json};

const SENTINEL: &str = "XXX_THE_END_OF_A_WHISK_ACTIVATION_XXX";

fn post(port: u16, path: &str, body: &Value) -> (u16, String, Value) {
    let (status, head, body) = raw(port, "POST", path, "", &body.to_string());
    (status, head, serde_json::from_str(&body).unwrap())
}

fn run_body(value: &Value, deadline: &Value) -> Value {
    json!({
        "value": value, "namespace": "guest", "action_name": "/guest/squares", "action_version": "0.0.1",
        "activation_id": "a1", "transaction_id": "t", "deadline": deadline,
    })
}

fn in_a_minute() -> u64 {
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap();
    u64::try_from(now.as_millis()).unwrap() + 60_000
}

#[test]
fn openwhisk_init_and_run_are_answered_as_its_contract_says() {
    let mut process = start(&[]);
    let init = json!({ "value": { "name": "squares", "main": "main", "binary": false, "env": { "__OW_ACTION_NAME": "/guest/squares" } } });
    assert_eq!(post(process.port, "/init", &init).0, 200);
    // The deadline is a string; the documentation says a number: both are taken.
    for deadline in [json!(in_a_minute().to_string()), json!(in_a_minute())] {
        let (status, head, answer) = post(process.port, "/run", &run_body(&json!({ "n": 4 }), &deadline));
        assert_eq!((status, answer), (200, json!({ "result": 14 })));
        assert!(head.contains("content-length:") && !head.contains("chunked"), "{head}");
    }
    // An error is an object with `error`, status 200, and the container lives.
    let (status, _, answer) =
        post(process.port, "/run", &run_body(&json!({ "n": -4 }), &json!(in_a_minute())));
    assert_eq!((status, &answer["code"]), (200, &json!("LF001")), "{answer}");
    let (status, _, answer) = raw(process.port, "POST", "/run", "", "not json");
    assert_eq!(status, 200);
    assert!(answer.contains("error"), "{answer}");
    process.child.kill().unwrap();
    // After every run the marks stand on both streams, as lines of their own.
    for stream in [
        Box::new(process.child.stdout.take().unwrap()) as Box<dyn Read>,
        Box::new(process.child.stderr.take().unwrap()),
    ] {
        let lines: Vec<String> = BufReader::new(stream).lines().map(Result::unwrap).collect();
        assert_eq!(lines.iter().filter(|line| *line == SENTINEL).count(), 4, "{lines:?}");
        assert_eq!(lines.last().unwrap(), SENTINEL);
    }
}

#[test]
fn a_failed_init_says_so_and_ends_the_logs() {
    let mut process = start(&[]);
    let (status, _, answer) = raw(process.port, "POST", "/init", "", "{]");
    assert_eq!(status, 400);
    assert!(answer.contains("error"), "{answer}");
    process.child.kill().unwrap();
    let mut text = String::new();
    process.child.stdout.take().unwrap().read_to_string(&mut text).unwrap();
    assert_eq!(text.trim_end(), SENTINEL);
}

#[test]
fn health_is_answered_while_the_handler_computes() {
    let folder = tempfile::tempdir().unwrap();
    let store = format!("file:{}", folder.path().display());
    let process = start(&[("LIMITLESS_GATEWAY_URL", "http://127.0.0.1:1"), ("LIMITLESS_STORE", &store)]);
    let port = process.port;
    let call = std::thread::spawn(move || raw(port, "POST", "/", "", r#"{"n":1000,"pause_us":1000}"#));
    let mut answered = 0;
    while !call.is_finished() {
        for path in ["/_/health", "/_/ready"] {
            assert_eq!(raw(port, "GET", path, "", "").0, 200);
        }
        answered += 1;
        std::thread::sleep(Duration::from_millis(20));
    }
    assert!(answered > 10, "health was answered only {answered} times in a second of work");
    let (status, _, body) = call.join().unwrap();
    assert_eq!((status, body), (200, (0..1000_u64).map(|i| i * i).sum::<u64>().to_string()));
}

#[test]
fn openfaas_gets_plain_http_with_statuses_that_mean_something() {
    let process = start(&[("LIMITLESS_GATEWAY_URL", "http://127.0.0.1:1")]);
    let (status, head, body) = raw(process.port, "POST", "/", "", r#"{"n":4}"#);
    assert_eq!((status, body.as_str()), (200, "14"));
    assert!(head.contains("application/json"));
    for (body, status) in
        [(r#"{"m":4}"#, 400), ("nonsense", 400), (r#"{"n":4,"$limitless":{"resume":"x"}}"#, 400)]
    {
        let (found, _, answer) = raw(process.port, "POST", "/", "", body);
        assert_eq!(found, status, "{body}: {answer}");
        assert!(answer.contains("\"error\""), "{answer}");
    }
}

#[test]
fn sigterm_saves_hands_over_answers_and_exits_with_0() {
    let folder = tempfile::tempdir().unwrap();
    let store = format!("file:{}", folder.path().display());
    // The gateway that takes the successor.
    let gateway = TcpListener::bind(("127.0.0.1", 0)).unwrap();
    let url = format!("http://{}", gateway.local_addr().unwrap());
    let successor = std::thread::spawn(move || {
        let (mut stream, _) = gateway.accept().unwrap();
        let mut request = vec![0; 4096];
        let mut length = 0;
        while !String::from_utf8_lossy(&request[..length]).contains("resume") {
            length += stream.read(&mut request[length..]).unwrap();
        }
        stream.write_all(b"HTTP/1.1 202 Accepted\r\nContent-Length: 0\r\n\r\n").unwrap();
        String::from_utf8_lossy(&request[..length]).into_owned()
    });
    let mut process = start(&[("LIMITLESS_GATEWAY_URL", &url), ("LIMITLESS_STORE", &store)]);
    let port = process.port;
    let call = std::thread::spawn(move || {
        raw(port, "POST", "/", "Idempotency-Key: k\r\n", r#"{"n":100000,"pause_us":1000}"#)
    });
    std::thread::sleep(Duration::from_millis(300));
    process.signal("TERM");
    let (status, _, body) = call.join().unwrap();
    assert_eq!(status, 202, "{body}");
    assert!(body.contains("running"), "{body}");
    let request = successor.join().unwrap();
    assert!(request.starts_with("POST /async-function/squares "), "{request}");
    assert!(request.len() < 1000, "the state goes by reference: {request}");
    assert_eq!(process.child.wait().unwrap().code(), Some(0));
}

#[test]
fn sigterm_lets_a_synchronous_call_end_and_answers_others_meanwhile() {
    let mut process = start(&[("LIMITLESS_GATEWAY_URL", "http://127.0.0.1:1")]);
    let port = process.port;
    let call = std::thread::spawn(move || raw(port, "POST", "/", "", r#"{"n":700,"pause_us":1000}"#));
    std::thread::sleep(Duration::from_millis(200));
    process.signal("TERM");
    std::thread::sleep(Duration::from_millis(100));
    assert_eq!(raw(port, "GET", "/_/health", "", "").0, 200);
    let (status, _, body) = call.join().unwrap();
    assert_eq!((status, body), (200, (0..700_u64).map(|i| i * i).sum::<u64>().to_string()));
    assert_eq!(process.child.wait().unwrap().code(), Some(0));
}

#[test]
fn a_caller_that_leaves_does_not_take_the_execution_along() {
    let folder = tempfile::tempdir().unwrap();
    let store = format!("file:{}", folder.path().display());
    let process = start(&[("LIMITLESS_GATEWAY_URL", "http://127.0.0.1:1"), ("LIMITLESS_STORE", &store)]);
    let body = r#"{"n":600,"pause_us":1000}"#;
    let mut stream = TcpStream::connect(("127.0.0.1", process.port)).unwrap();
    let length = body.len();
    write!(
        stream,
        "POST / HTTP/1.1\r\nHost: x\r\nIdempotency-Key: k\r\nContent-Length: {length}\r\n\r\n{body}"
    )
    .unwrap();
    std::thread::sleep(Duration::from_millis(100));
    drop(stream);
    let log = folder.path().join(limitless_faas_core::key::entry(&ExecutionId::derive("squares", "k"), 0));
    let until = std::time::Instant::now() + Duration::from_secs(20);
    while !log.exists() {
        assert!(std::time::Instant::now() < until, "nobody finished what was asked for");
        std::thread::sleep(Duration::from_millis(10));
    }
    assert!(std::fs::read_to_string(log).unwrap().contains(r#""entry":{"completed":"#));
}

#[test]
fn describe_prints_the_manifest() {
    let output = Command::new(SUBJECT).arg("describe").output().unwrap();
    assert!(output.status.success());
    let manifest: Manifest = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(manifest.format, Manifest::FORMAT);
    let squares = manifest.handler("squares").unwrap();
    assert_eq!(squares.doc, "The sum of the squares below `n`, with a pause before each.");
    assert_eq!(squares.input["properties"]["n"]["type"], "integer");
    assert_eq!(squares.input["required"], json!(["n"]));
    assert_eq!(squares.output["type"], "integer");
    assert_eq!(squares.checkpoints[0].source, "for i in 0..n");
    let waves = manifest.handler("waves").unwrap();
    assert!(waves.is_async);
    assert_eq!(waves.state.as_ref().unwrap().name, "Wave");
}

#[test]
fn wrong_arguments_and_environment_are_explained() {
    let output = Command::new(SUBJECT).arg("--port").output().unwrap();
    assert_eq!(output.status.code(), Some(2));
    assert!(String::from_utf8_lossy(&output.stderr).contains("cargo faas run"), "{output:?}");
    let output = Command::new(SUBJECT).env("PORT", "x").output().unwrap();
    assert_eq!(output.status.code(), Some(2));
    assert!(
        String::from_utf8_lossy(&output.stderr).contains("environment variable PORT is `x`"),
        "{output:?}"
    );
}
