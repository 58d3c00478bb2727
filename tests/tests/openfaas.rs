//! The other platform: hand-over through the queue, and a callback that gets the one result.

#![allow(clippy::unwrap_used, clippy::panic, reason = "tests may fail, and their helpers with them")]

use std::sync::Arc;
use std::time::Duration;

use limitless_faas_local::{Config, Image, Platform};
use reqwest::{Client, Method};
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;
use tokio::sync::mpsc;

const SUBJECT: &str = env!("CARGO_BIN_EXE_subject");
const PATIENCE: Duration = Duration::from_secs(60);

/// A receiver of results: every body it was posted, with the execution's id. The first `refusals` posts are refused.
async fn receiver(refusals: usize) -> (String, mpsc::UnboundedReceiver<(String, Value)>) {
    let listener = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
    let url = format!("http://{}/done?token=secret", listener.local_addr().unwrap());
    let (to, from) = mpsc::unbounded_channel();
    tokio::spawn(async move {
        let mut left = refusals;
        while let Ok((mut stream, _)) = listener.accept().await {
            let mut request = Vec::new();
            let (head, body) = loop {
                stream.read_buf(&mut request).await.unwrap();
                let text = String::from_utf8_lossy(&request).into_owned();
                let Some((head, body)) = text.split_once("\r\n\r\n") else { continue };
                let length = head
                    .lines()
                    .find_map(|l| l.to_lowercase().strip_prefix("content-length: ").map(str::to_owned));
                if body.len() >= length.unwrap().trim().parse().unwrap() {
                    break (head.to_owned(), body.to_owned());
                }
            };
            let status = if left > 0 { "503 Busy" } else { "200 OK" };
            if left == 0 {
                let id =
                    head.lines().find_map(|l| l.strip_prefix("x-limitless-execution: ")).unwrap().to_owned();
                to.send((id, serde_json::from_str(&body).unwrap())).unwrap();
            }
            left = left.saturating_sub(1);
            let answer = format!("HTTP/1.1 {status}\r\nContent-Length: 0\r\nConnection: close\r\n\r\n");
            stream.write_all(answer.as_bytes()).await.unwrap();
        }
    });
    (url, from)
}

async fn platform(mut config: Config, folder: &tempfile::TempDir) -> Arc<Platform> {
    config.env.insert("LIMITLESS_STORE".into(), format!("file:{}", folder.path().display()));
    config.images.insert("subject".into(), Image { resumable: true, ..Image::new(SUBJECT) });
    config.limits.time_min = Duration::from_millis(10);
    Arc::new(Platform::start(config).await.unwrap())
}

async fn deploy(platform: &Platform, limit: &str) {
    deploy_as(platform, "squares", limit).await;
}

async fn deploy_as(platform: &Platform, handler: &str, limit: &str) {
    let (user, password) = platform.api_key().as_str().split_once(':').unwrap();
    let body = json!({
        "service": handler, "image": "subject",
        "envVars": { "LIMITLESS_HANDLER": handler, "exec_timeout": limit },
    });
    let request = Client::new().request(Method::POST, format!("{}/system/functions", platform.url()));
    let answer = request.basic_auth(user, Some(password)).body(body.to_string()).send().await.unwrap();
    assert!(answer.status().is_success(), "{answer:?}");
}

fn expected(n: u64) -> Value {
    json!((0..n).map(|i| i * i).sum::<u64>())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_asynchronous_call_is_handed_over_and_its_one_result_delivered() {
    let folder = tempfile::tempdir().unwrap();
    let platform = platform(Config::default(), &folder).await;
    deploy(&platform, "500ms").await;
    // The receiver is busy at first; the delivery is tried again.
    let (callback, mut results) = receiver(2).await;
    let answer = Client::new()
        .post(format!("{}/async-function/squares", platform.url()))
        .header("x-limitless-callback-url", callback)
        .body(json!({ "n": 1500, "pause_us": 1000 }).to_string())
        .send()
        .await
        .unwrap();
    assert_eq!(answer.status(), 202);
    let (execution, body) = tokio::time::timeout(PATIENCE, results.recv()).await.unwrap().unwrap();
    assert_eq!(body, json!({ "execution": execution, "status": "completed", "result": expected(1500) }));
    tokio::time::sleep(Duration::from_millis(500)).await;
    assert!(results.try_recv().is_err(), "it was delivered twice");
    Arc::into_inner(platform).unwrap().shutdown().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_synchronous_call_that_takes_longer_is_told_which_execution_goes_on() {
    let folder = tempfile::tempdir().unwrap();
    let platform = platform(Config::default(), &folder).await;
    deploy(&platform, "400ms").await;
    let url = format!("{}/function/squares", platform.url());
    let short = Client::new().post(&url).body(r#"{"n":4}"#).send().await.unwrap();
    assert_eq!((short.status().as_u16(), short.text().await.unwrap()), (200, "14".to_owned()));
    assert_eq!(
        std::fs::read_dir(folder.path()).unwrap().count(),
        0,
        "a short synchronous call wrote to the store"
    );
    let long = Client::new().post(&url).body(r#"{"n":1000,"pause_us":1000}"#).send().await.unwrap();
    assert_eq!(long.status(), 202);
    let answer: Value = serde_json::from_str(&long.text().await.unwrap()).unwrap();
    assert_eq!(answer["status"], "running");
    let store = limitless_faas_store::open(&format!("file:{}", folder.path().display())).unwrap();
    let log = limitless_faas_store::Log::new(store, answer["execution"].as_str().unwrap().parse().unwrap());
    let until = tokio::time::Instant::now() + PATIENCE;
    while !log.execution().await.unwrap().unwrap().status().is_terminal() {
        assert!(tokio::time::Instant::now() < until);
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    let limitless_faas_core::log::Phase::Completed(output) = log.execution().await.unwrap().unwrap().phase
    else {
        panic!("not completed")
    };
    assert_eq!(log.json(&output).await.unwrap(), expected(1000).to_string());
    Arc::into_inner(platform).unwrap().shutdown().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_queue_delivers_twice_and_there_is_one_result() {
    let folder = tempfile::tempdir().unwrap();
    let mut config = Config { faults: "duplicate=1".parse().unwrap(), ..Config::default() };
    config.limits.queue_workers = 2;
    let platform = platform(config, &folder).await;
    deploy(&platform, "600ms").await;
    let (callback, mut results) = receiver(0).await;
    Client::new()
        .post(format!("{}/async-function/squares", platform.url()))
        .header("x-limitless-callback-url", callback)
        .body(json!({ "n": 200, "pause_us": 1000 }).to_string())
        .send()
        .await
        .unwrap();
    let (_, body) = tokio::time::timeout(PATIENCE, results.recv()).await.unwrap().unwrap();
    assert_eq!(body["result"], expected(200));
    tokio::time::sleep(Duration::from_secs(1)).await;
    // Both deliveries may have computed; only what the log says was delivered. A second delivery of the same end can
    // follow a lost acknowledgement and carries the same id.
    while let Ok((_, again)) = results.try_recv() {
        assert_eq!(again, body);
    }
    Arc::into_inner(platform).unwrap().shutdown().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_handler_calls_others_and_suspends_until_they_have_ended() {
    let folder = tempfile::tempdir().unwrap();
    let mut config = Config { faults: "duplicate=1".parse().unwrap(), ..Config::default() };
    config.env.insert("LIMITLESS_STAY_MS".to_owned(), "200".to_owned());
    let platform = platform(config, &folder).await;
    deploy_as(&platform, "asks", "20s").await;
    let (callback, mut results) = receiver(0).await;
    Client::new()
        .post(format!("{}/async-function/asks", platform.url()))
        .header("x-limitless-callback-url", callback)
        .body(json!({ "n": 1500, "file": folder.path().join("lines.txt") }).to_string())
        .send()
        .await
        .unwrap();
    let (_, body) = tokio::time::timeout(PATIENCE, results.recv()).await.unwrap().unwrap();
    assert_eq!(body["result"], json!(3000), "{body}");
    let executions = std::fs::read_dir(folder.path().join("executions")).unwrap();
    assert_eq!(executions.count(), 3, "the handler, and each that it calls, once");
    Arc::into_inner(platform).unwrap().shutdown().await;
}
