//! The watchdog, and faults on demand.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test fails by panicking")]

mod common;

use common::{Bench, config};
use limitless_faas_local::{Config, Event, EventKind, Faults, KillReason};
use serde_json::{Value, json};

fn faulty(faults: &str, seed: u64) -> Config {
    Config { faults: faults.parse::<Faults>().unwrap(), seed, ..config() }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_call_whose_process_died_is_delivered_again_with_the_proof() {
    let bench = Bench::start(config()).await;
    let folder = tempfile::tempdir().unwrap();
    for image in ["probe", "resumable"] {
        bench.put(image, image, Value::Null).await;
        let params = json!({ "exit_once": folder.path().join(image) });
        let accepted = bench.whisk("POST", &format!("actions/{image}"), &params).await.json();
        let id = accepted["activationId"].as_str().unwrap();
        let record = bench.record(id).await;
        let result = &record["response"]["result"];
        if image == "probe" {
            assert_eq!(record["response"]["status"], "action developer error");
            continue;
        }
        assert_eq!(record["response"]["status"], "success", "{record}");
        assert_eq!(result["body"]["activation_id"], id);
        let token = result["env"]["LIMITLESS_WATCHDOG_TOKEN"].as_str().unwrap();
        assert_eq!(result["headers"]["x-limitless-owner-dead"], token);
    }
    bench.platform.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_blocking_caller_is_told_and_the_call_goes_on() {
    let mut bench = Bench::start(config()).await;
    let folder = tempfile::tempdir().unwrap();
    bench.put("a", "resumable", Value::Null).await;
    let answer = bench.invoke("a", &json!({ "exit_once": folder.path().join("x") })).await;
    assert_eq!(answer.status, 502);
    assert!(answer.json().to_string().contains("exit status: 3"));
    bench.kind(EventKind::Redelivered { attempt: 1 }).await;
    bench.event(|event| matches!(event.kind, EventKind::Answered { status: 200, .. }).then_some(())).await;
    bench.platform.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn redeliveries_are_bounded_and_can_be_turned_off() {
    for (watchdog, deaths) in [(true, 3), (false, 1)] {
        let mut setup = Config { watchdog, ..config() };
        setup.limits.redeliveries = 2;
        let mut bench = Bench::start(setup).await;
        bench.put("a", "resumable", Value::Null).await;
        let accepted = bench.whisk("POST", "actions/a", &json!({ "exit": 1 })).await.json();
        let record = bench.record(accepted["activationId"].as_str().unwrap()).await;
        assert_eq!(record["response"]["status"], "action developer error");
        let mut died = 0;
        while died < deaths {
            died += bench.event(|event| matches!(event.kind, EventKind::Died { .. }).then_some(1)).await;
        }
        bench.platform.shutdown().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_function_killed_at_its_limit_is_delivered_again() {
    let mut bench = Bench::start(config()).await;
    bench.put("a", "resumable", json!({ "timeout": 100 })).await;
    bench.whisk("POST", "actions/a", &json!({ "sleep_ms": 60_000 })).await;
    for attempt in 1..=3 {
        bench.kind(EventKind::Redelivered { attempt }).await;
    }
    bench.platform.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_openfaas_call_is_delivered_again_with_the_proof() {
    let mut bench = Bench::start(config()).await;
    let folder = tempfile::tempdir().unwrap();
    let function = json!({ "service": "f", "image": "resumable" }).to_string();
    assert_eq!(bench.send("POST", "/system/functions", "", function.as_bytes()).await.status, 202);
    let body = json!({ "exit_once": folder.path().join("x"), "print": "seen" }).to_string();
    assert_eq!(
        bench.send("POST", "/async-function/f", "X-Call-Id: c1\r\n", body.as_bytes()).await.status,
        202
    );
    let of_call = |event: &Event| (event.activation == "c1").then(|| event.kind.clone());
    loop {
        let kind = bench.event(of_call).await;
        if matches!(kind, EventKind::Redelivered { attempt: 1 }) {
            break;
        }
    }
    bench.event(|event| matches!(event.kind, EventKind::Answered { status: 200, .. }).then_some(())).await;
    bench.platform.shutdown().await;
}

/// What happens to each of twenty calls, one after the other.
async fn story(seed: u64) -> Vec<Vec<&'static str>> {
    let mut bench = Bench::start(faulty("duplicate=0.3,lose=0.3,delay=0.3:1ms", seed)).await;
    bench.put("a", "probe", Value::Null).await;
    let mut stories = Vec::new();
    for _ in 0..20 {
        let id = bench.whisk("POST", "actions/a", &Value::Null).await.json()["activationId"].clone();
        let (mut told, mut due) = (Vec::new(), 1);
        while due > 0 {
            match bench.event(|event| (event.activation == id).then(|| event.kind.clone())).await {
                EventKind::Lost => (told, due) = ([told, vec!["lost"]].concat(), 0),
                EventKind::Delayed { by_ms: 1 } => told.push("delayed"),
                EventKind::Duplicated => (told, due) = ([told, vec!["duplicated"]].concat(), 2),
                EventKind::Answered { .. } => due -= 1,
                _ => {}
            }
        }
        stories.push(told);
    }
    bench.platform.shutdown().await;
    stories
}

#[tokio::test(flavor = "multi_thread")]
async fn the_same_seed_makes_the_same_faults() {
    let first = story(7).await;
    for fault in ["lost", "delayed", "duplicated"] {
        assert!(first.iter().flatten().any(|told| *told == fault), "{fault} in {first:?}");
    }
    assert_eq!(first, story(7).await);
    assert_ne!(first, story(8).await);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_lost_call_leaves_no_record_and_a_waiting_caller_is_spared() {
    let mut bench = Bench::start(faulty("lose=1", 1)).await;
    bench.put("a", "probe", Value::Null).await;
    let id = bench.whisk("POST", "actions/a", &Value::Null).await.json()["activationId"]
        .as_str()
        .unwrap()
        .to_owned();
    bench.kind(EventKind::Lost).await;
    assert_eq!(bench.whisk("GET", &format!("activations/{id}"), &Value::Null).await.status, 404);
    assert_eq!(bench.invoke("a", &Value::Null).await.status, 200);
    bench.platform.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_duplicated_call_runs_in_two_processes_under_one_id() {
    let mut bench = Bench::start(faulty("duplicate=1", 1)).await;
    bench.put("a", "probe", Value::Null).await;
    let file = tempfile::NamedTempFile::new().unwrap();
    let params = json!({ "sleep_ms": 30, "append": file.path() });
    let id = bench.whisk("POST", "actions/a", &params).await.json()["activationId"].clone();
    let mut pids = Vec::new();
    while pids.len() < 2 {
        let started = |event: &Event| match event.kind {
            EventKind::Started { pid, .. } if event.activation == id => Some(pid),
            _ => None,
        };
        pids.push(bench.event(started).await);
    }
    assert_ne!(pids[0], pids[1]);
    bench.platform.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_killed_call_is_told_as_a_fault() {
    let mut bench = Bench::start(faulty("kill=1", 3)).await;
    bench.put("a", "probe", json!({ "timeout": 200 })).await;
    let answer = bench.invoke("a", &json!({ "sleep_ms": 60_000 })).await;
    assert_eq!(answer.status, 502);
    assert!(answer.json().to_string().contains("killed by a fault on demand"), "{:?}", answer.json());
    let reason = bench.event(|event| match event.kind {
        EventKind::Killed { reason, .. } => Some(reason),
        _ => None,
    });
    assert_eq!(reason.await, KillReason::Fault);
    bench.platform.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn no_proof_is_given_while_a_duplicate_lives() {
    let mut setup = faulty("duplicate=1", 1);
    setup.limits.redeliveries = 1;
    let mut bench = Bench::start(setup).await;
    bench.put("a", "resumable", Value::Null).await;
    let folder = tempfile::tempdir().unwrap();
    // Whoever comes first dies at once, the other one works on for a while.
    let params = json!({ "exit_once": folder.path().join("x"), "sleep_ms": 50 });
    bench.whisk("POST", "actions/a", &params).await;
    let (mut working, mut redelivered) = (0_i32, false);
    while !redelivered {
        match bench.event(|event| Some(event.kind.clone())).await {
            EventKind::Started { .. } => working += 1,
            EventKind::Died { .. } | EventKind::Answered { .. } => working -= 1,
            EventKind::Redelivered { .. } => redelivered = true,
            _ => {}
        }
    }
    assert_eq!(working, 0, "the proof came while another delivery was under way");
    bench.platform.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn store_faults_reach_the_function() {
    let bench = Bench::start(faulty("store-fail=0.1,store-lost-ack=5%,store-slow", 1)).await;
    bench.put("a", "probe", Value::Null).await;
    let env = bench.invoke("a", &Value::Null).await.json()["response"]["result"]["env"].clone();
    let faults = env["LIMITLESS_STORE_FAULTS"].as_str().unwrap();
    assert!(faults.starts_with("seed=") && faults.ends_with(",fail=0.1,lost-ack=0.05,slow=20ms"), "{faults}");
    bench.platform.shutdown().await;
}
