//! A function outlives its time limit on the local platform, and ends as often as it was asked to: once.

#![allow(clippy::unwrap_used, clippy::panic, reason = "tests may fail, and their helpers with them")]

use std::time::Duration;

use limitless_faas_core::ExecutionId;
use limitless_faas_core::log::{Kind, Phase, Stored};
use limitless_faas_core::{Code, Nonce};
use limitless_faas_tests::{Setting, Stage, result};
use serde_json::json;

const SUBJECT: &str = env!("CARGO_BIN_EXE_subject");
const PATIENCE: Duration = Duration::from_secs(60);

fn limited(ms: u64) -> Setting {
    Setting { time_limit: Duration::from_millis(ms), ..Setting::default() }
}

fn squares(n: u64) -> u64 {
    (0..n).fold(0, |sum, i| sum + i * i)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_function_that_ends_in_time_is_an_ordinary_function() {
    let stage = Stage::set(SUBJECT, "squares", Setting::default()).await.unwrap();
    let (status, answer) = stage.invoke("squares", &json!({ "n": 10 })).await.unwrap();
    assert_eq!((status, answer), (200, json!({ "result": squares(10) })));
    assert_eq!(
        std::fs::read_dir(stage.folder.path()).unwrap().count(),
        0,
        "something was written to the store"
    );
    stage.platform.shutdown().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_input_and_a_result_are_passed_on_to_the_letter() {
    let stage = Stage::set(SUBJECT, "wide", Setting::default()).await.unwrap();
    let input = r#"{ "n": 340282366920938463463374607431768211455, "xs": [0.30000000000000004, 1e23] }"#;
    for (query, around) in [("blocking=true&result=true", ""), ("blocking=true", r#""response":{"#)] {
        let path = format!("actions/wide?{query}");
        let asked = stage.request_text(reqwest::Method::POST, &path, input.to_owned());
        let (status, answer) = asked.await.unwrap();
        let told = r#"{"result":[340282366920938463463374607431768211454,[0.30000000000000004,1e+23]]}"#;
        assert!(status == 200 && answer.contains(told) && answer.contains(around), "{answer}");
    }
    // So are parameters that are bound to the action, which are shown to the letter too.
    let bound = r#"{ "exec": { "kind": "blackbox", "image": "subject" }, "parameters": [
        { "key": "n", "value": 340282366920938463463374607431768211455 }, { "key": "xs", "value": [0.30000000000000004, 1e23] }
    ] }"#;
    let put = stage.request_text(reqwest::Method::PUT, "actions/wide?overwrite=true", bound.to_owned());
    let (status, answer) = put.await.unwrap();
    assert!(status == 200 && answer.contains("340282366920938463463374607431768211455"), "{answer}");
    let path = "actions/wide?blocking=true&result=true";
    let (_, answer) = stage.request_text(reqwest::Method::POST, path, "{}".to_owned()).await.unwrap();
    assert_eq!(answer, r#"{"result":[340282366920938463463374607431768211454,[0.30000000000000004,1e+23]]}"#);
    stage.platform.shutdown().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_function_outlives_its_limit_over_several_invocations() {
    let stage = Stage::set(SUBJECT, "squares", limited(500)).await.unwrap();
    let input = json!({ "n": 1500, "pause_us": 1000, "$limitless": { "idempotency_key": "k" } });
    let (status, answer) = stage.invoke("squares", &input).await.unwrap();
    let execution = ExecutionId::derive("squares", "k");
    assert_eq!((status, answer), (200, json!({ "execution": execution, "status": "running" })));
    let (folded, entries) = stage.end(&execution, PATIENCE).await.unwrap();
    assert_eq!(result(&folded), json!(squares(1500)));
    let suspended = entries.iter().filter(|entry| matches!(entry.kind, Kind::Suspended { .. })).count();
    assert!(suspended >= 3, "{entries:#?}");
    // Asked again under the same key, it answers what the log says; with another input it refuses.
    let (status, answer) = stage.invoke("squares", &input).await.unwrap();
    assert_eq!((status, answer), (200, json!({ "result": squares(1500) })));
    let other = json!({ "n": 3, "$limitless": { "idempotency_key": "k" } });
    let (_, answer) = stage.invoke("squares", &other).await.unwrap();
    assert_eq!(answer["code"], "LF012", "{answer}");
    stage.platform.shutdown().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_async_handler_with_named_state_goes_on_too() {
    let stage = Stage::set(SUBJECT, "waves", limited(400)).await.unwrap();
    let input = json!({ "n": 200, "pause_ms": 5 });
    let (folded, _) = stage.see_through("waves", &input, "k", PATIENCE).await.unwrap();
    assert_eq!(result(&folded), json!((0..200).sum::<u64>()));
    assert!(folded.tally.invocations >= 3, "{folded:#?}");
    stage.platform.shutdown().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn recorded_steps_do_not_run_again() {
    for handler in ["stairs", "ladder"] {
        climb(handler).await;
    }
}

async fn climb(handler: &str) {
    let stage = Stage::set(SUBJECT, handler, limited(400)).await.unwrap();
    let file = stage.folder.path().join("steps.txt");
    let input = json!({ "n": 30, "pause_ms": 40, "file": file });
    let (folded, _) = stage.see_through(handler, &input, "k", PATIENCE).await.unwrap();
    assert_eq!(result(&folded), json!(30));
    assert!(folded.tally.invocations >= 3);
    let lines = std::fs::read_to_string(&file).unwrap();
    let numbers: Vec<u32> = lines.lines().map(|line| line.parse().unwrap()).collect();
    assert_eq!(numbers, (0..30).collect::<Vec<_>>());
    stage.platform.shutdown().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn steps_before_explicit_state_are_met_again_and_do_not_run_again() {
    let stage = Stage::set(SUBJECT, "visits", limited(400)).await.unwrap();
    let file = stage.folder.path().join("visits.txt");
    let input = json!({ "n": 30, "pause_ms": 40, "file": file });
    let (folded, _) = stage.see_through("visits", &input, "k", PATIENCE).await.unwrap();
    assert_eq!(result(&folded), json!(30));
    assert!(folded.tally.invocations >= 3);
    let lines = std::fs::read_to_string(&file).unwrap();
    let numbers: Vec<u32> = lines.lines().map(|line| line.parse().unwrap()).collect();
    assert_eq!(numbers, (0..=30).collect::<Vec<_>>());
    stage.platform.shutdown().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_large_state_of_an_async_handler_goes_through_a_blob() {
    let stage = Stage::set(SUBJECT, "bulky_async", limited(1000)).await.unwrap();
    let input = json!({ "mb": 3, "pauses": 1200 });
    let (folded, _) = stage.see_through("bulky_async", &input, "k", PATIENCE).await.unwrap();
    let expected = (0..3 * 131_072_u64).fold(1200_u64, |digest, word| digest.rotate_left(5) ^ word);
    assert_eq!(result(&folded), json!(expected));
    assert!(folded.tally.invocations >= 2);
    stage.platform.shutdown().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_large_state_goes_through_a_blob() {
    let stage = Stage::set(SUBJECT, "bulky", limited(1000)).await.unwrap();
    let input = json!({ "mb": 8, "pauses": 2500 });
    let (folded, entries) = stage.see_through("bulky", &input, "k", PATIENCE).await.unwrap();
    let data = (0..8 * 131_072_u64).map(|i| i.wrapping_mul(0x9E37_79B9_7F4A_7C15));
    let expected = data.fold(2500_u64, |digest, word| digest.rotate_left(5) ^ word);
    assert_eq!(result(&folded), json!(expected));
    let blobs = entries.iter().filter_map(|entry| match &entry.kind {
        Kind::Suspended { saved: Some(saved), .. } => Some(saved.clone()),
        _ => None,
    });
    for saved in blobs {
        assert!(
            saved.bytes > 8 << 20 && saved.inline.is_empty() && !saved.checkpoint.is_empty(),
            "{saved:?}"
        );
    }
    stage.platform.shutdown().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_result_and_an_input_too_large_for_an_entry_stand_beside_the_log() {
    let stage = Stage::set(SUBJECT, "echoes", Setting::default()).await.unwrap();
    let text = "long ".repeat(20_000);
    let (folded, _) = stage.see_through("echoes", &json!({ "text": text }), "k", PATIENCE).await.unwrap();
    let Phase::Completed(stored @ Stored::Key(_)) = &folded.phase else { panic!("{folded:?}") };
    let log = stage.log(&folded.id).unwrap();
    assert_eq!(log.json(stored).await.unwrap(), json!(text).to_string());
    stage.platform.shutdown().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_cancelled_execution_stops_and_stays_cancelled() {
    let stage = Stage::set(SUBJECT, "waves", limited(1500)).await.unwrap();
    let input = json!({ "n": 100_000, "pause_ms": 5, "$limitless": { "idempotency_key": "k" } });
    stage.invoke("waves", &input).await.unwrap();
    let execution = ExecutionId::derive("waves", "k");
    let log = stage.log(&execution).unwrap();
    let folded = log.cancel("a test", Nonce::from_random([9; 8]), 0).await.unwrap();
    assert_eq!(folded.status().as_str(), "cancelled");
    // A successor that is already running notices and says so.
    let resume = json!({ "$limitless": { "resume": execution } });
    let (_, answer) = stage.invoke("waves", &resume).await.unwrap();
    assert_eq!(answer["code"], "LF017", "{answer}");
    let length = log.entries(0).await.unwrap().len();
    tokio::time::sleep(Duration::from_millis(1800)).await;
    assert_eq!(log.entries(0).await.unwrap().len(), length, "somebody wrote after the cancellation");
    stage.platform.shutdown().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_handler_that_gets_nowhere_is_failed_with_its_name_its_loop_and_its_limit() {
    let stage = Stage::set(SUBJECT, "idle", limited(300)).await.unwrap();
    let (folded, _) = stage.see_through("idle", &json!({}), "k", PATIENCE).await.unwrap();
    let Phase::Failed(failure) = &folded.phase else { panic!("{folded:?}") };
    assert_eq!(failure.code, Code::NoProgress);
    for word in ["`idle`", "ctx.checkpoint", "300 ms"] {
        assert!(failure.message.contains(word), "{failure}");
    }
    stage.platform.shutdown().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_body_longer_than_the_limit_ends_in_an_error_and_not_in_an_endless_chain() {
    let stage = Stage::set(SUBJECT, "stuck", limited(150)).await.unwrap();
    let (folded, _) = stage.see_through("stuck", &json!({ "ms": 5000 }), "k", PATIENCE).await.unwrap();
    let Phase::Failed(failure) = &folded.phase else { panic!("{folded:?}") };
    assert_eq!(failure.code, Code::NoProgress);
    assert!(failure.message.contains("`stuck`"), "{failure}");
    stage.platform.shutdown().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn failures_are_one_end_like_results() {
    for (handler, input, code, text) in [
        ("refuses", json!({ "why": "no seats" }), Code::Application, "no seats"),
        ("panics", json!({ "why": "out of luck" }), Code::Panicked, "out of luck"),
        ("squares", json!({ "n": "many" }), Code::BadInput, "`n`"),
        ("stumbles", json!({}), Code::StepRepeated, "`one`"),
    ] {
        let stage = Stage::set(SUBJECT, handler, Setting::default()).await.unwrap();
        let (folded, _) = stage.see_through(handler, &input, "k", PATIENCE).await.unwrap();
        let Phase::Failed(failure) = &folded.phase else { panic!("{folded:?}") };
        assert_eq!(failure.code, code);
        assert!(failure.message.contains(text), "{failure}");
        stage.platform.shutdown().await;
    }
}
