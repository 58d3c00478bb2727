//! OpenFaaS's contract, row by row. Tests without a file are in this one; those of `tests/` run a real function process.
//!
//! | the contract | the test |
//! | --- | --- |
//! | deploy, update, show, list, delete; 404 for an unknown name | `functions_are_deployed_shown_updated_and_deleted` |
//! | `/system` needs the key, functions don't | `the_key_guards_the_system_but_not_the_functions` |
//! | path, query and headers as the function sees them | `a_call_is_passed_on_with_its_path_query_and_headers` |
//! | the time limit passed; a function that dies in flight | `limits_kill_and_deaths_are_told_at_once` |
//! | asynchronous: 202, one callback, 404 for an unknown name | `an_asynchronous_call_is_answered_to_its_callback_once` |
//! | 256,000 bytes at most; a full queue answers 500 | `what_the_queue_does_not_take_is_refused`, `a_full_queue_refuses_at_once` |
//! | one call at a time for each worker | `a_worker_runs_one_call_at_a_time` |
//! | delivered again past `ack_wait` while the first still runs | `a_call_not_acknowledged_in_time_is_delivered_again_while_the_first_runs`; with one result: `tests/tests/openfaas.rs`: `the_queue_delivers_twice_and_there_is_one_result` |
//! | scale | `functions_are_scaled` |
//! | secrets are files | `secrets_are_files_of_the_functions_that_ask_for_them` |
//! | SIGTERM, then SIGKILL after the grace | `a_deleted_function_gets_sigterm_and_then_sigkill`, `a_deleted_function_that_hears_sigterm_is_not_waited_for` |
//! | serves after SIGTERM, saves, ends with 0 | `tests/tests/process.rs`: `sigterm_saves_hands_over_answers_and_exits_with_0` |
//! | `/_/health` and `/_/ready` while it works | `tests/tests/process.rs`: `health_is_answered_while_the_handler_computes` |
//! | next to no capabilities, a memory limit | `cli/tests/in_containers.rs` |
//! | an image that can't be pulled is refused before an update | `cli/tests/deploy.rs`: `a_version_that_does_not_answer_leaves_what_was_there` |
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test fails by panicking")]

mod common;

use std::time::Duration;

use common::{Answer, Bench, config, until};
use limitless_faas_local::{EventKind, KillReason};
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};

async fn system(bench: &Bench, method: &str, path: &str, body: &Value) -> Answer {
    let body = if body.is_null() { String::new() } else { body.to_string() };
    bench.send(method, &format!("/system/{path}"), "", body.as_bytes()).await
}

async fn deploy(bench: &Bench, name: &str, image: &str, env: Value) {
    let body = json!({ "service": name, "image": image, "envVars": env, "secrets": null, "labels": null });
    let answer = system(bench, "POST", "functions", &body).await;
    assert_eq!((answer.status, answer.body.len()), (202, 0), "{:?}", String::from_utf8_lossy(&answer.body));
}

async fn call(bench: &Bench, path: &str, params: &Value) -> Answer {
    bench.send("POST", &format!("/function/{path}"), "", params.to_string().as_bytes()).await
}

/// Receives callbacks: each one's head and body.
struct Receiver(TcpListener);

impl Receiver {
    async fn start() -> Self {
        Self(TcpListener::bind("127.0.0.1:0").await.unwrap())
    }

    fn header(&self) -> String {
        format!("X-Callback-Url: http://{}/done?x=1\r\n", self.0.local_addr().unwrap())
    }

    async fn next(&self) -> (String, String) {
        let receive = async {
            let (mut stream, _) = self.0.accept().await.unwrap();
            let mut all = String::new();
            loop {
                let mut buffer = [0; 4096];
                let length = stream.read(&mut buffer).await.unwrap();
                all.push_str(&String::from_utf8_lossy(&buffer[..length]));
                let whole = all.split_once("\r\n\r\n").is_some_and(|(head, body)| {
                    let length = head.lines().find_map(|line| line.strip_prefix("content-length: "));
                    body.len() >= length.map_or(0, |length| length.parse().unwrap())
                });
                if whole {
                    break;
                }
            }
            stream.write_all(b"HTTP/1.1 204 No Content\r\n\r\n").await.unwrap();
            let (head, body) = all.split_once("\r\n\r\n").unwrap();
            (head.to_owned(), body.to_owned())
        };
        tokio::time::timeout(Duration::from_secs(20), receive).await.expect("no callback comes")
    }
}

fn header<'a>(head: &'a str, name: &str) -> &'a str {
    let found = head.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(": "));
    found.unwrap_or_else(|| panic!("no {name} in {head}"))
}

#[tokio::test(flavor = "multi_thread")]
async fn functions_are_deployed_shown_updated_and_deleted() {
    let bench = Bench::start(config()).await;
    let function = json!({
        "service": "fib", "image": "probe", "namespace": "openfaas-fn", "envProcess": "./fib", "envVars": { "A": "1" },
        "labels": { "l": "2" }, "annotations": { "a": "3" }, "limits": { "memory": "128Mi" }, "constraints": null,
    });
    assert_eq!(system(&bench, "PUT", "functions", &function).await.status, 404);
    assert_eq!(system(&bench, "POST", "functions", &function).await.status, 202);
    assert_eq!(system(&bench, "POST", "functions", &function).await.status, 400);
    let shown = system(&bench, "GET", "function/fib?namespace=openfaas-fn", &Value::Null).await.json();
    assert_eq!(
        (&shown["name"], &shown["image"], &shown["replicas"]),
        (&json!("fib"), &json!("probe"), &json!(1))
    );
    assert_eq!((&shown["envVars"]["A"], &shown["labels"]["l"]), (&json!("1"), &json!("2")));
    assert_eq!(shown.get("invocationCount"), None, "zero is left out");
    let env = call(&bench, "fib", &json!({})).await.json()["env"].clone();
    assert_eq!((&env["A"], &env["fprocess"]), (&json!("1"), &json!("./fib")));
    assert_eq!(env["LIMITLESS_GATEWAY_URL"], bench.platform.url());
    assert_eq!(env["LIMITLESS_TIME_LIMIT_MS"], "60000");
    let update =
        json!({ "service": "fib", "image": "probe", "envVars": { "A": "2", "exec_timeout": "1.5s" } });
    assert_eq!(system(&bench, "PUT", "functions", &update).await.status, 202);
    let env = call(&bench, "fib.openfaas-fn/", &json!({})).await.json()["env"].clone();
    assert_eq!((&env["A"], &env["LIMITLESS_TIME_LIMIT_MS"]), (&json!("2"), &json!("1500")));
    // An image that isn't there is refused, and what ran still runs.
    let missing = json!({ "service": "fib", "image": "docker.io/nothing" });
    let refused = system(&bench, "PUT", "functions", &missing).await;
    assert_eq!(refused.status, 400);
    assert!(String::from_utf8_lossy(&refused.body).contains("not registered"));
    assert_eq!(call(&bench, "fib", &json!({})).await.status, 200);
    let list = system(&bench, "GET", "functions", &Value::Null).await.json();
    assert_eq!(list[0]["invocationCount"], 2);
    let named = json!({ "functionName": "fib", "namespace": "openfaas-fn" });
    assert_eq!(system(&bench, "DELETE", "functions", &named).await.status, 202);
    assert_eq!(system(&bench, "DELETE", "functions", &named).await.status, 404);
    assert_eq!(call(&bench, "fib", &json!({})).await.status, 404);
    bench.platform.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_call_is_passed_on_with_its_path_query_and_headers() {
    let bench = Bench::start(config()).await;
    deploy(&bench, "fib", "probe", json!({})).await;
    let headers = "X-Own: 7\r\nX-Limitless-Owner-Dead: guess\r\nX-Call-Id: my-call\r\n";
    let answer = bench.send("PUT", "/function/fib/a%2Fb/../c?x=1&y=%20", headers, b"text").await;
    assert_eq!(answer.status, 200);
    assert_eq!(answer.header("x-call-id"), Some("my-call"));
    assert!(answer.header("x-duration-seconds").is_some());
    let seen = answer.json();
    assert_eq!(seen["line"], "PUT /a%2Fb/../c?x=1&y=%20 HTTP/1.1");
    assert_eq!(seen["body"], "text");
    assert_eq!((&seen["headers"]["x-own"], &seen["headers"]["x-call-id"]), (&json!("7"), &json!("my-call")));
    assert!(seen["headers"]["x-start-time"].as_str().unwrap().parse::<u64>().is_ok());
    assert_eq!(seen["headers"]["x-forwarded-host"], "localhost");
    assert_eq!(seen["headers"].get("x-limitless-owner-dead"), None, "it comes from outside");
    let own = call(&bench, "fib", &json!({})).await;
    assert_eq!(own.json()["line"], "POST / HTTP/1.1");
    assert_eq!(own.header("x-call-id").unwrap().len(), 36);
    let status = call(&bench, "fib", &json!({ "body": "gone", "status": 410 })).await;
    assert_eq!((status.status, status.body.as_slice()), (410, b"gone".as_slice()));
    bench.platform.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn limits_kill_and_deaths_are_told_at_once() {
    let mut bench = Bench::start(config()).await;
    deploy(&bench, "slow", "probe", json!({ "exec_timeout": "200ms" })).await;
    assert_eq!(call(&bench, "slow", &json!({ "sleep_ms": 60_000 })).await.status, 504);
    let reason = bench.event(|event| match event.kind {
        EventKind::Killed { reason, .. } => Some(reason),
        _ => None,
    });
    assert_eq!(reason.await, KillReason::TimeLimit);
    assert_eq!(call(&bench, "slow", &json!({ "exit": 3 })).await.status, 500);
    let fat = json!({ "service": "fat", "image": "probe", "limits": { "memory": "64Mi" } });
    assert_eq!(system(&bench, "POST", "functions", &fat).await.status, 202);
    let answer = call(&bench, "fat", &json!({ "allocate_mb": 128 })).await;
    assert_eq!(answer.status, 500);
    assert!(String::from_utf8_lossy(&answer.body).contains("resident memory"));
    deploy(&bench, "patient", "probe", json!({})).await;
    let hurry =
        bench.send("POST", "/function/patient", "X-Timeout: 100ms\r\n", br#"{"sleep_ms":60000}"#).await;
    assert_eq!(hurry.status, 504);
    bench.platform.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_asynchronous_call_is_answered_to_its_callback_once() {
    let mut bench = Bench::start(config()).await;
    deploy(&bench, "fib", "probe", json!({})).await;
    let receiver = Receiver::start().await;
    let body = json!({ "body": "{\"n\":1}", "status": 201 }).to_string();
    let accepted = bench.send("POST", "/async-function/fib/p?q=1", &receiver.header(), body.as_bytes()).await;
    assert_eq!(accepted.status, 202);
    let (head, body) = receiver.next().await;
    assert!(head.starts_with("POST /done?x=1 HTTP/1.1"), "{head}");
    assert_eq!(body, "{\"n\":1}");
    assert_eq!(header(&head, "x-function-status"), "201");
    assert_eq!(header(&head, "x-function-name"), "fib");
    assert_eq!(header(&head, "x-call-id"), accepted.header("x-call-id").unwrap());
    assert!(header(&head, "x-duration-seconds").parse::<f64>().is_ok());
    bench.kind(EventKind::CalledBack { status: 204 }).await;
    // An unknown function is found out by the worker.
    assert_eq!(bench.send("POST", "/async-function/nobody", &receiver.header(), b"").await.status, 202);
    assert_eq!(header(&receiver.next().await.0, "x-function-status"), "404");
    // A receiver that is not there is not asked again.
    let gone = { Receiver::start().await.header() };
    assert_eq!(bench.send("POST", "/async-function/fib", &gone, b"{}").await.status, 202);
    bench.event(|event| matches!(event.kind, EventKind::CallbackFailed { .. }).then_some(())).await;
    bench.platform.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_the_queue_does_not_take_is_refused() {
    let bench = Bench::start(config()).await;
    deploy(&bench, "fib", "probe", json!({})).await;
    let at_limit = vec![b' '; 256_000];
    assert_eq!(bench.send("POST", "/async-function/fib", "", &at_limit).await.status, 202);
    let above = vec![b' '; 256_001];
    assert_eq!(bench.send("POST", "/async-function/fib", "", &above).await.status, 413);
    assert_eq!(bench.send("GET", "/async-function/fib", "", b"").await.status, 405);
    let secure = "X-Callback-Url: https://localhost/x\r\n";
    assert_eq!(bench.send("POST", "/async-function/fib", secure, b"").await.status, 400);
    bench.platform.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_call_not_acknowledged_in_time_is_delivered_again_while_the_first_runs() {
    let mut setup = config();
    setup.limits.ack_wait = Duration::from_millis(100);
    setup.limits.queue_workers = 2;
    let mut bench = Bench::start(setup).await;
    deploy(&bench, "slow", "probe", json!({})).await;
    let file = tempfile::NamedTempFile::new().unwrap();
    let receiver = Receiver::start().await;
    let body = json!({ "sleep_ms": 150, "append": file.path() }).to_string();
    bench.send("POST", "/async-function/slow", &receiver.header(), body.as_bytes()).await;
    bench.kind(EventKind::Duplicated).await;
    let (first, second) = (receiver.next().await.0, receiver.next().await.0);
    assert_eq!(header(&first, "x-call-id"), header(&second, "x-call-id"));
    let pids = std::fs::read_to_string(file.path()).unwrap();
    let pids: Vec<_> = pids.lines().collect();
    assert!(pids.len() >= 2 && pids[0] != pids[1], "two processes ran it at once: {pids:?}");
    bench.platform.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_full_queue_refuses_at_once() {
    let mut setup = config();
    (setup.limits.queue_workers, setup.limits.queue_length) = (1, 1);
    let mut bench = Bench::start(setup).await;
    deploy(&bench, "slow", "probe", json!({})).await;
    let call = || bench.send("POST", "/async-function/slow", "", br#"{"sleep_ms":60000}"#);
    assert_eq!(call().await.status, 202);
    let mut statuses = Vec::new();
    while !statuses.contains(&500) {
        statuses.push(call().await.status);
        assert!(statuses.len() <= 3, "{statuses:?}");
    }
    bench.event(|event| matches!(event.kind, EventKind::Started { .. }).then_some(())).await;
    bench.platform.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_worker_runs_one_call_at_a_time() {
    let mut setup = config();
    setup.limits.queue_workers = 1;
    let mut bench = Bench::start(setup).await;
    deploy(&bench, "slow", "probe", json!({})).await;
    for _ in 0..3 {
        bench.send("POST", "/async-function/slow", "", br#"{"sleep_ms":20}"#).await;
    }
    let (mut running, mut answered) = (0_u32, 0);
    while answered < 3 {
        let change = bench.event(|event| match event.kind {
            EventKind::Started { .. } => Some(true),
            EventKind::Answered { .. } => Some(false),
            _ => None,
        });
        if change.await {
            running += 1;
        } else {
            (running, answered) = (running - 1, answered + 1);
        }
        assert!(running <= 1, "two calls at once");
    }
    bench.platform.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn functions_are_scaled() {
    let mut bench = Bench::start(config()).await;
    deploy(&bench, "fib", "probe", json!({})).await;
    let replicas = |shown: Value| shown["availableReplicas"].as_u64().unwrap_or(0);
    for (count, path) in [(3, "scale-function/fib"), (1, "scale-function/fib?namespace=openfaas-fn")] {
        let body = json!({ "serviceName": "fib", "replicas": count });
        assert_eq!(system(&bench, "POST", path, &body).await.status, 202);
        let mut seen = 0;
        for _ in 0..400 {
            seen = replicas(system(&bench, "GET", "function/fib", &Value::Null).await.json());
            if seen == count {
                break;
            }
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        assert_eq!(seen, count);
    }
    system(&bench, "POST", "scale-function/fib", &json!({ "replicas": 0 })).await;
    bench.kind(EventKind::Removed).await;
    let shown = system(&bench, "GET", "function/fib", &Value::Null).await.json();
    assert_eq!(shown.get("replicas"), None);
    assert_eq!(call(&bench, "fib", &json!({})).await.status, 200, "it starts from zero");
    assert_eq!(system(&bench, "POST", "scale-function/nobody", &json!({ "replicas": 1 })).await.status, 404);
    bench.platform.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn secrets_are_files_of_the_functions_that_ask_for_them() {
    let bench = Bench::start(config()).await;
    let secret = json!({ "name": "db.key", "value": "s3cret" });
    assert_eq!(system(&bench, "PUT", "secrets", &secret).await.status, 404);
    assert_eq!(system(&bench, "POST", "secrets", &secret).await.status, 201);
    assert_eq!(system(&bench, "POST", "secrets", &secret).await.status, 409);
    let listed = system(&bench, "GET", "secrets", &Value::Null).await.json();
    assert_eq!(listed, json!([{ "name": "db.key", "namespace": "openfaas-fn" }]));
    let function = |name: &str| json!({ "service": "f", "image": "probe", "secrets": [name] });
    assert_eq!(system(&bench, "POST", "functions", &function("other")).await.status, 400);
    assert_eq!(system(&bench, "POST", "functions", &function("db.key")).await.status, 202);
    let env = call(&bench, "f", &json!({})).await.json()["env"].clone();
    let folder = std::path::PathBuf::from(env["secret_mount_path"].as_str().unwrap());
    assert_eq!(std::fs::read_to_string(folder.join("db.key")).unwrap(), "s3cret");
    for name in ["../x", "a/b", "..", "", "A"] {
        let secret = json!({ "name": name, "value": "x" });
        assert_eq!(system(&bench, "POST", "secrets", &secret).await.status, 400, "{name}");
    }
    assert_eq!(system(&bench, "DELETE", "secrets", &json!({ "name": "db.key" })).await.status, 202);
    bench.platform.shutdown().await;
    assert!(!folder.exists());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_deleted_function_gets_sigterm_and_then_sigkill() {
    let mut setup = config();
    setup.limits.stop_grace = Duration::from_millis(50);
    setup.images.insert("deaf".to_owned(), common::image_with("PROBE_START", "deaf"));
    let bench = Bench::start(setup).await;
    deploy(&bench, "deaf", "deaf", json!({})).await;
    let pid = call(&bench, "deaf", &json!({})).await.json()["pid"].as_u64().unwrap();
    let named = json!({ "functionName": "deaf" });
    let asked = std::time::Instant::now();
    assert_eq!(system(&bench, "DELETE", "functions", &named).await.status, 202);
    until("it has ended", || !common::is_alive(pid)).await;
    assert!(asked.elapsed() >= Duration::from_millis(50), "it was not asked first");
    bench.platform.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_deleted_function_that_hears_sigterm_is_not_waited_for() {
    let bench = Bench::start(config()).await;
    deploy(&bench, "fib", "probe", json!({})).await;
    let pid = call(&bench, "fib", &json!({})).await.json()["pid"].as_u64().unwrap();
    system(&bench, "DELETE", "functions", &json!({ "functionName": "fib" })).await;
    // Its grace would be 30 s, longer than we wait.
    until("it has ended", || !common::is_alive(pid)).await;
    bench.platform.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_key_guards_the_system_but_not_the_functions() {
    let bench = Bench::start(config()).await;
    deploy(&bench, "fib", "probe", json!({})).await;
    let ask = |path: &str| format!("GET {path} HTTP/1.1\r\nHost: 127.0.0.1:1\r\nConnection: close\r\n\r\n");
    for (path, status) in [
        ("/system/functions", 401),
        ("/system/secrets", 401),
        ("/healthz", 200),
        ("/function/fib/_/health", 200),
    ] {
        assert_eq!(common::raw(&bench.address(), ask(path).as_bytes()).await.status, status, "{path}");
    }
    // The connection is the caller's until the answer: one that leaves harms nobody.
    let mut leaver = TcpStream::connect(bench.address()).await.unwrap();
    leaver
        .write_all(b"POST /function/fib HTTP/1.1\r\nHost: localhost\r\nContent-Length: 2\r\n\r\n{}")
        .await
        .unwrap();
    drop(leaver);
    assert_eq!(call(&bench, "fib", &json!({})).await.status, 200);
    bench.platform.shutdown().await;
}
