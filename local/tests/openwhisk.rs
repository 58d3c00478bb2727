//! OpenWhisk's contract, row by row.

mod common;

use common::{Bench, config};
use limitless_faas_local::{EventKind, KillReason};
use serde_json::{Value, json};

#[tokio::test(flavor = "multi_thread")]
async fn an_action_is_put_and_invoked() {
    let mut bench = Bench::start(config()).await;
    bench.put("echo", "probe", json!({ "timeout": 5000 })).await;
    let answer = bench.invoke("echo", &json!({ "n": 360 })).await;
    assert_eq!(answer.status, 200, "{:?}", answer.json());
    let record = answer.json();
    assert_eq!(record["response"]["status"], "success");
    let body = &record["response"]["result"]["body"];
    assert_eq!(body["value"], json!({ "n": 360 }));
    assert_eq!(body["action_name"], "/guest/echo");
    assert_eq!(body["activation_id"], record["activationId"]);
    assert!(body["deadline"].as_str().unwrap().parse::<u64>().is_ok(), "{body}");
    assert_eq!(body.get("api_key"), None);
    let cold = bench.event(|event| match event.kind {
        EventKind::Started { cold, .. } => Some(cold),
        _ => None,
    });
    assert!(cold.await);
    bench.platform.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn past_its_time_limit_an_action_is_killed() {
    let mut bench = Bench::start(config()).await;
    bench.put("slow", "probe", json!({ "timeout": 300 })).await;
    let answer = bench.invoke("slow", &json!({ "sleep_ms": 60_000 })).await;
    assert_eq!(answer.status, 502);
    assert_eq!(answer.json()["response"]["status"], "action developer error");
    let error = answer.json()["response"]["result"]["error"].clone();
    assert_eq!(error, "The action exceeded its time limits of 300 milliseconds.");
    let after = bench.event(|event| match event.kind {
        EventKind::Killed { reason: KillReason::TimeLimit, elapsed_us } => Some(elapsed_us),
        _ => None,
    });
    let after = after.await;
    assert!((300_000..1_000_000).contains(&after), "killed after {after} µs");
    bench.kind(EventKind::Removed).await;
    bench.platform.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn shutdown_leaves_nothing() {
    let bench = Bench::start(config()).await;
    bench.put("orphan", "probe", Value::Null).await;
    let result =
        bench.invoke("orphan", &json!({ "orphan": true })).await.json()["response"]["result"].clone();
    let orphan = result["orphan"].as_u64().unwrap_or_else(|| panic!("{result}"));
    let pid = bench.invoke("orphan", &json!({})).await.json()["response"]["result"]["pid"].as_u64().unwrap();
    assert!(common::is_alive(orphan) && common::is_alive(pid));
    let address = bench.address();
    bench.platform.shutdown().await;
    assert!(!common::is_alive(orphan) && !common::is_alive(pid));
    assert!(tokio::net::TcpStream::connect(address).await.is_err());
}
