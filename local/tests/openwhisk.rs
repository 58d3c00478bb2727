//! OpenWhisk's contract, row by row. Tests without a file are in this one; those of `tests/` run a real function process.
//!
//! | the contract | the test |
//! | --- | --- |
//! | `/init`, then `/run`, and what is in them; `deadline` as a string | `a_container_gets_init_then_run_as_the_contract_says` |
//! | the function takes the deadline as string and number, answers with a length and never chunked | `tests/tests/process.rs`: `openwhisk_init_and_run_are_answered_as_its_contract_says` |
//! | `api_key` only with `provide-api-key` | `the_key_is_given_only_to_actions_that_ask_for_it` |
//! | a failed `/init` is a developer error, and ends the logs | `a_failing_init_is_a_developer_error`; `tests/tests/process.rs`: `a_failed_init_says_so_and_ends_the_logs` |
//! | 200 and an object or array; `{"error"}`; another status; no object; over 1 MB; connection lost; chunked; 503 | `answers_become_what_the_table_says` |
//! | `/init` and `/run` each get the whole time; SIGKILL past it | `a_failing_init_is_a_developer_error`, `past_its_time_limit_an_action_is_killed` |
//! | more memory than allowed | `past_its_memory_limit_an_action_is_killed` |
//! | paused soon after an answer, removed when idle for long | `idle_containers_are_paused_and_go_on`, `idle_containers_are_removed_in_time` |
//! | used again for the same version only | `warm_containers_are_used_again_until_the_action_changes` |
//! | the line that ends an activation's logs, on both streams | `records_are_written_after_the_end_with_logs_up_to_the_sentinel`, `missing_sentinels_are_reported` |
//! | a run can happen twice | `local/tests/faults.rs`; `tests/tests/faults.rs` |
//! | the engine's flags | `cli/tests/in_containers.rs` |
//! | limits told at `/` | `the_limits_can_be_read` |
//! | 400 outside the limits, 409 without `overwrite`, 413 too large, 429 too many and no `Retry-After` | `what_is_not_allowed_is_refused_and_says_why`, `actions_are_created_shown_listed_and_deleted`, `too_many_invocations_get_429` |
//! | blocking and not, past the waiting time, 502 for errors | `invocations_are_answered_as_asked` |
//! | a record only after the end | `records_are_written_after_the_end_with_logs_up_to_the_sentinel` |
//! | clients' habits: a bare `?`, `limit=30&skip=0`, `overwrite=` | `actions_are_created_shown_listed_and_deleted`; `local/tests/npm.rs` with the JavaScript client |
//!
//! Conductor actions, rules and triggers are not built.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test fails by panicking")]

mod common;

use std::time::Duration;

use common::{Bench, config, image_with};
use limitless_faas_local::{Config, EventKind, KillReason, Limits};
use serde_json::{Value, json};

fn result(answer: &common::Answer) -> Value {
    answer.json()["response"]["result"].clone()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_container_gets_init_then_run_as_the_contract_says() {
    let bench = Bench::start(config()).await;
    bench.put("echo", "probe", json!({ "timeout": 5000 })).await;
    let answer = bench.invoke("echo", &json!({ "n": 360 })).await;
    assert_eq!(answer.status, 200, "{:?}", answer.json());
    let record = answer.json();
    assert_eq!(record["response"]["status"], "success");
    assert_eq!(answer.header("x-openwhisk-activation-id"), record["activationId"].as_str());
    let (told, body) = (result(&answer), result(&answer)["body"].clone());
    assert_eq!(body["value"], json!({ "n": 360 }));
    assert_eq!(body["namespace"], "guest");
    assert_eq!(body["action_name"], "/guest/echo");
    assert_eq!(body["action_version"], "0.0.1");
    assert_eq!(body["activation_id"], record["activationId"]);
    assert!(body["transaction_id"].is_string());
    let deadline: u64 = body["deadline"].as_str().unwrap().parse().unwrap();
    let start = record["start"].as_u64().unwrap();
    assert!((start..=start + 6000).contains(&deadline), "{deadline} after {start}");
    assert_eq!(body.get("api_key"), None);
    assert_eq!(told["inits"], 1);
    assert_eq!(told["env"]["__OW_API_HOST"], bench.platform.url());
    assert_eq!(told["headers"].get("x-limitless-owner-dead"), None);
    bench.platform.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_key_is_given_only_to_actions_that_ask_for_it() {
    let bench = Bench::start(config()).await;
    let action = json!({
        "exec": { "kind": "blackbox", "image": "probe" },
        "annotations": [{ "key": "provide-api-key", "value": true }],
        "parameters": [{ "key": "a", "value": 1 }, { "key": "b", "value": 2 }],
    });
    assert_eq!(bench.whisk("PUT", "actions/keyed", &action).await.status, 200);
    let body = result(&bench.invoke("keyed", &json!({ "b": 3 })).await)["body"].clone();
    assert_eq!(body["api_key"], bench.platform.api_key().as_str());
    assert_eq!(body["value"], json!({ "a": 1, "b": 3 }));
    bench.platform.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn warm_containers_are_used_again_until_the_action_changes() {
    let mut bench = Bench::start(config()).await;
    bench.put("echo", "probe", Value::Null).await;
    let first = result(&bench.invoke("echo", &Value::Null).await);
    let second = result(&bench.invoke("echo", &Value::Null).await);
    assert_eq!(first["pid"], second["pid"]);
    assert_eq!((&second["inits"], &second["runs"]), (&json!(1), &json!(2)));
    let updated = bench.put("echo", "probe", Value::Null).await.json();
    assert_eq!(updated["version"], "0.0.2");
    bench.kind(EventKind::Removed).await;
    let third = result(&bench.invoke("echo", &Value::Null).await);
    assert_ne!(second["pid"], third["pid"]);
    assert_eq!(third["body"]["action_version"], "0.0.2");
    bench.platform.set_image("probe", image_with("GENERATION", "2"));
    bench.kind(EventKind::Removed).await;
    let fourth = result(&bench.invoke("echo", &Value::Null).await);
    assert_eq!(fourth["env"]["GENERATION"], "2");
    bench.platform.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn answers_become_what_the_table_says() {
    let bench = Bench::start(config()).await;
    bench.put("a", "probe", json!({ "timeout": 5000 })).await;
    let developer = "action developer error";
    for (params, status, kind) in [
        (json!({ "body": r#"{"x":1}"# }), 200, "success"),
        (json!({ "body": "[1,2]" }), 200, "success"),
        (json!({ "body": r#"{"error":"e"}"# }), 502, "application error"),
        (json!({ "body": "7" }), 502, developer),
        (json!({ "body": "no json" }), 502, developer),
        (json!({ "body": r#"{"x":1}"#, "status": 201 }), 502, developer),
        (json!({ "body": r#"{"error":"e"}"#, "status": 500 }), 502, developer),
        (json!({ "body": "{}", "status": 503 }), 500, "whisk internal error"),
        (json!({ "big": 1_100_000 }), 502, "application error"),
        (json!({ "chunked": true }), 502, developer),
        (json!({ "hang_up": true }), 502, developer),
        (json!({ "exit": 3 }), 502, developer),
    ] {
        let answer = bench.invoke("a", &params).await;
        assert_eq!(answer.status, status, "{params}");
        assert_eq!(answer.json()["response"]["status"], kind, "{params}");
    }
    // An application error keeps its container, a developer error does not.
    let pid = |answer: common::Answer| answer.json()["response"]["result"]["pid"].clone();
    let before = pid(bench.invoke("a", &Value::Null).await);
    bench.invoke("a", &json!({ "body": r#"{"error":"e"}"# })).await;
    assert_eq!(pid(bench.invoke("a", &Value::Null).await), before);
    bench.invoke("a", &json!({ "body": "7" })).await;
    assert_ne!(pid(bench.invoke("a", &Value::Null).await), before);
    bench.platform.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_failing_init_is_a_developer_error() {
    let mut setup = config();
    for how in ["fail", "exit", "hang"] {
        setup.images.insert(how.to_owned(), image_with("PROBE_INIT", how));
    }
    setup.images.insert("dies".to_owned(), image_with("PROBE_START", "exit"));
    let bench = Bench::start(setup).await;
    for (image, said) in [
        ("fail", "no way"),
        ("exit", "exit status: 9"),
        ("hang", "time limits of 200 milliseconds during initialization"),
        ("dies", "exit status: 7"),
    ] {
        bench.put(image, image, json!({ "timeout": 200 })).await;
        let answer = bench.invoke(image, &Value::Null).await;
        assert_eq!(answer.status, 502, "{image}");
        assert_eq!(answer.json()["response"]["status"], "action developer error", "{image}");
        let error = result(&answer)["error"].to_string();
        assert!(error.contains(said), "{image}: {error}");
    }
    bench.platform.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn past_its_time_limit_an_action_is_killed() {
    let mut bench = Bench::start(config()).await;
    bench.put("slow", "probe", json!({ "timeout": 300 })).await;
    let answer = bench.invoke("slow", &json!({ "sleep_ms": 60_000 })).await;
    assert_eq!(answer.status, 502);
    assert_eq!(answer.json()["response"]["status"], "action developer error");
    assert_eq!(result(&answer)["error"], "The action exceeded its time limits of 300 milliseconds.");
    let after = bench.event(|event| match event.kind {
        EventKind::Killed { reason: KillReason::TimeLimit, elapsed_us } => Some(elapsed_us),
        _ => None,
    });
    let after = after.await;
    assert!((300_000..3_000_000).contains(&after), "killed after {after} µs");
    bench.kind(EventKind::Removed).await;
    bench.platform.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn past_its_memory_limit_an_action_is_killed() {
    let mut bench = Bench::start(config()).await;
    bench.put("fat", "probe", json!({ "memory": 64 })).await;
    let fits = bench.whisk("POST", "actions/fat", &json!({ "allocate_mb": 32 })).await;
    assert_eq!(fits.status, 202);
    let answer = bench.invoke("fat", &json!({ "allocate_mb": 128 })).await;
    assert_eq!(answer.status, 502);
    let error = result(&answer)["error"].to_string();
    assert!(error.contains("exhausted its memory") && error.contains("64 MB of resident memory"), "{error}");
    let killed = |event: &limitless_faas_local::Event| match event.kind {
        EventKind::Killed { reason, .. } => Some((event.activation.clone(), reason)),
        _ => None,
    };
    let (id, reason) = bench.event(killed).await;
    assert_eq!(reason, KillReason::Memory);
    assert_eq!(id, answer.json()["activationId"].as_str().unwrap());
    // What a child of the function holds counts too.
    let child = json!({ "shell": "head -c 134217728 /dev/zero | tail -c 134217728 | sleep 60" });
    let answer = bench.invoke("fat", &child).await;
    assert!(result(&answer)["error"].to_string().contains("exhausted its memory"), "{:?}", answer.json());
    bench.platform.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn idle_containers_are_paused_and_go_on() {
    let mut bench = Bench::start(config()).await;
    bench.put("echo", "probe", Value::Null).await;
    let pid = result(&bench.invoke("echo", &Value::Null).await)["pid"].as_u64().unwrap();
    bench.kind(EventKind::Paused).await;
    let state = || std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap();
    common::until("it is stopped", || state().contains(") T ")).await;
    assert_eq!(result(&bench.invoke("echo", &Value::Null).await)["pid"], pid);
    bench.kind(EventKind::Unpaused).await;
    bench.platform.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn idle_containers_are_removed_in_time() {
    let mut setup = config();
    setup.limits.idle_after = Duration::from_millis(30);
    setup.limits.pause_after = Duration::from_millis(1);
    let mut bench = Bench::start(setup).await;
    bench.put("echo", "probe", Value::Null).await;
    let pid = result(&bench.invoke("echo", &Value::Null).await)["pid"].as_u64().unwrap();
    bench.kind(EventKind::Removed).await;
    assert!(!common::is_alive(pid));
    bench.platform.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn no_more_processes_than_allowed_run_at_once() {
    let mut setup = config();
    setup.limits.processes = 2;
    let bench = Bench::start(setup).await;
    for name in ["a", "b"] {
        bench.put(name, "probe", Value::Null).await;
    }
    let sleep = json!({ "sleep_ms": 30 });
    // Six calls for two actions share two processes; idle ones of the other action make room.
    let calls = tokio::join!(
        bench.invoke("a", &sleep),
        bench.invoke("b", &sleep),
        bench.invoke("a", &sleep),
        bench.invoke("b", &sleep),
        bench.invoke("b", &sleep),
        bench.invoke("a", &sleep),
    );
    let calls = [calls.0, calls.1, calls.2, calls.3, calls.4, calls.5];
    assert!(calls.iter().all(|answer| answer.status == 200));
    bench.platform.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn records_are_written_after_the_end_with_logs_up_to_the_sentinel() {
    let bench = Bench::start(config()).await;
    bench.put("talk", "probe", Value::Null).await;
    let accepted = bench.whisk("POST", "actions/talk?", &json!({ "print": "héllo", "sleep_ms": 50 })).await;
    assert_eq!(accepted.status, 202);
    assert_eq!(accepted.json().as_object().unwrap().len(), 1);
    let id = accepted.json()["activationId"].as_str().unwrap().to_owned();
    assert_eq!(bench.whisk("GET", &format!("activations/{id}"), &Value::Null).await.status, 404);
    let record = bench.record(&id).await;
    let logs: Vec<_> = record["logs"].as_array().unwrap().iter().filter_map(Value::as_str).collect();
    assert_eq!(logs.len(), 2, "{logs:?}");
    assert!(logs.iter().any(|line| line.ends_with("Z stdout: héllo")), "{logs:?}");
    assert!(logs.iter().any(|line| line.ends_with("Z stderr: héllo (err)")), "{logs:?}");
    assert!(record["duration"].as_u64().unwrap() >= 50);
    let shown = bench.whisk("GET", &format!("activations/{id}/logs"), &Value::Null).await.json();
    assert_eq!(shown["logs"], record["logs"]);
    let shown = bench.whisk("GET", &format!("activations/{id}/result?"), &Value::Null).await.json();
    assert_eq!((&shown["success"], &shown["status"]), (&json!(true), &json!("success")));
    bench.invoke("talk", &json!({})).await;
    for (query, count) in [
        ("?limit=30&skip=0", 2),
        ("?name=talk&limit=1", 1),
        ("?name=other", 0),
        ("?upto=1", 0),
        ("?docs=true&skip=1", 1),
    ] {
        let listed = bench.whisk("GET", &format!("activations{query}"), &Value::Null).await.json();
        assert_eq!(listed.as_array().unwrap().len(), count, "{query}: {listed}");
    }
    bench.platform.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn missing_sentinels_are_reported() {
    let mut setup = config();
    setup.images.insert("mute".to_owned(), image_with("PROBE_SENTINEL", "no"));
    setup.limits.log_wait = Duration::from_millis(50);
    let bench = Bench::start(setup).await;
    bench.put("mute", "mute", Value::Null).await;
    let id = bench.invoke("mute", &json!({ "print": "x" })).await.json()["activationId"]
        .as_str()
        .unwrap()
        .to_owned();
    let logs = bench.record(&id).await["logs"].to_string();
    assert!(logs.contains("stdout: x") && logs.contains("Data might be missing"), "{logs}");
    bench.platform.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn invocations_are_answered_as_asked() {
    let bench = Bench::start(config()).await;
    bench.put("a", "probe", Value::Null).await;
    let ask = |query: &str, params: Value| (format!("actions/a?{query}"), params);
    let good = json!({ "body": r#"{"x":1}"# });
    let bad = json!({ "body": r#"{"error":"e"}"# });
    for ((path, params), status, body) in [
        (ask("blocking=true&result=true", good.clone()), 200, Some(json!({ "x": 1 }))),
        (ask("blocking=true&result=true", bad), 502, Some(json!({ "error": "e" }))),
        (ask("blocking=false&result=false", good.clone()), 202, None),
        (ask("blocking=true&timeout=20", json!({ "sleep_ms": 300 })), 202, None),
        (ask("blocking=true&timeout=0", good.clone()), 400, None),
        (ask("blocking=true&timeout=60001", good), 400, None),
        (ask("", json!([1])), 400, None),
        (ask("", json!("text")), 400, None),
    ] {
        let answer = bench.whisk("POST", &path, &params).await;
        assert_eq!(answer.status, status, "{path} {params}");
        assert!(body.is_none_or(|body| body == answer.json()), "{path}: {:?}", answer.json());
        if status == 202 {
            let id = answer.json()["activationId"].as_str().unwrap().to_owned();
            assert_eq!(bench.record(&id).await["response"]["success"], true);
        }
    }
    bench.platform.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn actions_are_created_shown_listed_and_deleted() {
    let bench = Bench::start(config()).await;
    let put = json!({
        "namespace": "_", "name": "x",
        "exec": { "kind": "blackbox", "image": "probe" }, "limits": { "timeout": 1500, "memory": 256, "logs": 1, "concurrency": 1 },
        "annotations": [{ "key": "a", "value": { "b": 1 } }],
    });
    assert_eq!(bench.whisk("PUT", "actions/x?overwrite=", &put).await.status, 200);
    assert_eq!(bench.whisk("PUT", "actions/x?overwrite=false", &put).await.status, 409);
    assert_eq!(
        bench
            .whisk("PUT", "actions/x?overwrite=true", &json!({ "limits": { "timeout": 2000 } }))
            .await
            .status,
        200
    );
    let shown = bench.whisk("GET", "actions/x?", &Value::Null).await.json();
    assert_eq!(shown["version"], "0.0.2");
    assert_eq!(shown["exec"]["image"], "probe");
    assert_eq!(shown["limits"], json!({ "timeout": 2000, "memory": 256, "logs": 1, "concurrency": 1 }));
    let annotations = shown["annotations"].to_string();
    assert!(
        annotations.contains(r#"{"key":"a","value":{"b":1}}"#) && annotations.contains("provide-api-key")
    );
    // A package must be there before its actions.
    assert_eq!(bench.whisk("PUT", "actions/pkg/y", &put).await.status, 404);
    let package = json!({ "parameters": [{ "key": "from", "value": "package" }] });
    assert_eq!(bench.whisk("PUT", "packages/pkg", &package).await.status, 200);
    assert_eq!(bench.whisk("PUT", "packages/pkg", &package).await.status, 409);
    let packaged = bench.whisk("PUT", "actions/pkg/y", &put).await;
    assert_eq!((packaged.status, &packaged.json()["namespace"]), (200, &json!("guest/pkg")));
    let body = result(&bench.invoke("pkg/y", &Value::Null).await)["body"].clone();
    assert_eq!((&body["action_name"], &body["value"]["from"]), (&json!("/guest/pkg/y"), &json!("package")));
    let list = bench.whisk("GET", "actions?limit=30&skip=0", &Value::Null).await.json();
    assert_eq!(list.as_array().unwrap().len(), 2);
    assert_eq!(
        bench.whisk("GET", "actions?limit=1&skip=1", &Value::Null).await.json().as_array().unwrap().len(),
        1
    );
    assert_eq!(bench.whisk("DELETE", "packages/pkg", &Value::Null).await.status, 409);
    assert_eq!(bench.whisk("DELETE", "actions/pkg/y", &Value::Null).await.status, 200);
    assert_eq!(bench.whisk("DELETE", "packages/pkg", &Value::Null).await.status, 200);
    for (method, path) in
        [("GET", "actions/y"), ("DELETE", "actions/y"), ("POST", "actions/y"), ("GET", "nothing")]
    {
        assert_eq!(bench.whisk(method, path, &Value::Null).await.status, 404, "{method} {path}");
    }
    bench.platform.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_not_allowed_is_refused_and_says_why() {
    let bench = Bench::start(Config { limits: Limits::default(), ..config() }).await;
    let with = |limits: Value| json!({ "exec": { "kind": "blackbox", "image": "probe" }, "limits": limits });
    for (put, status, said) in [
        (with(json!({ "timeout": 99 })), 400, "below allowed threshold of 100 milliseconds"),
        (with(json!({ "timeout": 300_001 })), 400, "exceeds allowed threshold of 300000 milliseconds"),
        (with(json!({ "memory": 127 })), 400, "128 MB"),
        (with(json!({ "memory": 513 })), 400, "512 MB"),
        (with(json!({ "logs": 11 })), 400, "10 MB"),
        (with(json!({ "concurrency": 2 })), 400, "concurrency"),
        (json!({ "exec": { "kind": "blackbox", "image": "/bin/sh" } }), 400, "not registered"),
        (json!({ "exec": { "kind": "nodejs:20", "code": "x" } }), 400, "blackbox"),
        (json!({}), 400, "exec undefined"),
        (json!([]), 400, "malformed"),
    ] {
        let answer = bench.whisk("PUT", "actions/x", &put).await;
        let error = answer.json()["error"].as_str().unwrap().to_owned();
        assert!(answer.status == status && error.contains(said), "{put}: {} {error}", answer.status);
        assert!(answer.json()["code"].is_string());
    }
    assert_eq!(bench.whisk("PUT", "actions/x", &with(Value::Null)).await.status, 200);
    let large = bench.whisk("POST", "actions/x", &json!({ "x": "y".repeat(1 << 20) })).await;
    assert_eq!(large.status, 413);
    assert!(large.json()["error"].as_str().unwrap().contains("> 1048576 bytes"));
    bench.platform.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn too_many_invocations_get_429() {
    let mut setup = config();
    setup.limits.invocations_per_minute = 3;
    setup.limits.concurrent_invocations = 2;
    let bench = Bench::start(setup).await;
    bench.put("a", "probe", Value::Null).await;
    let sleep = json!({ "sleep_ms": 200 });
    let (one, two) = (bench.whisk("POST", "actions/a", &sleep).await, bench.invoke("a", &sleep).await);
    assert_eq!((one.status, two.status), (202, 200));
    assert_eq!(bench.whisk("POST", "actions/a", &sleep).await.status, 202);
    let fourth = bench.invoke("a", &Value::Null).await;
    assert_eq!(fourth.status, 429);
    assert!(fourth.json()["error"].as_str().unwrap().starts_with("Too many"), "{:?}", fourth.json());
    assert_eq!(fourth.header("retry-after"), None);
    bench.platform.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_limits_can_be_read() {
    let bench = Bench::start(Config { limits: Limits::default(), ..config() }).await;
    for path in ["/", "/api/v1", "/api/v1/", "/api/v1?"] {
        let limits = bench.send("GET", path, "", b"").await.json()["limits"].clone();
        assert_eq!(limits["max_action_duration"], 300_000, "{path}");
        assert_eq!(limits["max_action_memory"], 512 << 20, "{path}");
    }
    assert_eq!(bench.send("GET", "/api/v1/namespaces", "", b"").await.json(), json!(["guest"]));
    let own = bench.whisk("GET", "limits", &Value::Null).await.json();
    assert_eq!((&own["invocationsPerMinute"], &own["concurrentInvocations"]), (&json!(60), &json!(30)));
    bench.platform.shutdown().await;
}
