//! What goes wrong between two invocations: damage, changed code, a store that is away or full, a lost successor.

#![allow(clippy::unwrap_used, clippy::panic, reason = "tests may fail, and their helpers with them")]

use std::fs;
use std::path::PathBuf;
use std::time::Duration;

use limitless_faas_core::log::{Kind, Status};
use limitless_faas_core::{ExecutionId, key};
use limitless_faas_local::{Config, EventKind, Image};
use limitless_faas_tests::{Setting, Stage, result};
use serde_json::{Value, json};

const SUBJECT: &str = env!("CARGO_BIN_EXE_subject");
const CHANGED: &str = env!("CARGO_BIN_EXE_subject_changed");
const PATIENCE: Duration = Duration::from_secs(60);

fn limited(ms: u64, config: Config) -> Setting {
    Setting { time_limit: Duration::from_millis(ms), config }
}

/// A stage whose every successor is lost, so that an execution waits where it suspended.
async fn losing(handler: &str, ms: u64) -> Stage {
    let config = Config { faults: "lose=1".parse().unwrap(), ..Config::default() };
    Stage::set(SUBJECT, handler, limited(ms, config)).await.unwrap()
}

/// Runs the first invocation and waits for its suspension.
async fn suspended(stage: &Stage, handler: &str, input: &Value) -> ExecutionId {
    let mut input = input.clone();
    input["$limitless"] = json!({ "idempotency_key": "k" });
    let (_, answer) = stage.invoke(handler, &input).await.unwrap();
    assert_eq!(answer["status"], "running", "{answer}");
    ExecutionId::derive(handler, "k")
}

/// One more invocation, whose caller waits.
async fn resume(stage: &Stage, handler: &str, execution: &ExecutionId) -> Value {
    stage.invoke(handler, &json!({ "$limitless": { "resume": execution } })).await.unwrap().1
}

/// Resumes until there is an answer. An invocation that a busy machine left no time, so that it was killed, is none.
async fn resume_to_the_end(stage: &Stage, handler: &str, execution: &ExecutionId) -> Value {
    let until = tokio::time::Instant::now() + PATIENCE;
    loop {
        let answer = resume(stage, handler, execution).await;
        let was_killed =
            answer["error"].as_str().is_some_and(|error| error.contains("exceeded its time limit"));
        if answer["status"] != "running" && !was_killed {
            return answer;
        }
        assert!(tokio::time::Instant::now() < until, "no end: {answer}");
    }
}

fn blobs(stage: &Stage, execution: &ExecutionId) -> Vec<PathBuf> {
    let folder = stage.folder.path().join(key::execution(execution)).join("checkpoints");
    let mut files: Vec<_> = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    files.sort();
    files
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_damaged_newest_checkpoint_falls_back_to_the_one_before_and_says_so() {
    let stage = losing("bulky", 800).await;
    let execution = suspended(&stage, "bulky", &json!({ "mb": 1, "pauses": 2000 })).await;
    resume(&stage, "bulky", &execution).await;
    let newest = blobs(&stage, &execution).pop().unwrap();
    let mut bytes = fs::read(&newest).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    fs::write(&newest, bytes).unwrap();
    let mut events = stage.platform.events();
    resume_to_the_end(&stage, "bulky", &execution).await;
    let mut said = String::new();
    while let Ok(event) = events.try_recv() {
        if let EventKind::Log { line, .. } = event.kind {
            said.push_str(&line);
        }
    }
    assert!(said.contains("the newest checkpoint can't be used"), "{said}");
    assert!(said.contains("from the checkpoint before it"), "{said}");
    let (folded, entries) = stage.end(&execution, PATIENCE).await.unwrap();
    let data = (0..131_072_u64).map(|i| i.wrapping_mul(0x9E37_79B9_7F4A_7C15));
    assert_eq!(result(&folded), json!(data.fold(2000_u64, |digest, word| digest.rotate_left(5) ^ word)));
    let older = entries.iter().any(|entry| match entry.kind {
        Kind::Claimed { from: Some(from), .. } => {
            let last = entries[..].iter().position(|other| other == entry).unwrap() as u64 - 1;
            from < last
        }
        _ => false,
    });
    assert!(older, "nobody went back: {entries:#?}");
    stage.platform.shutdown().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn changed_code_leaves_the_checkpoint_and_says_what_changed() {
    let stage = losing("squares", 400).await;
    let input = json!({ "n": 1000, "pause_us": 1000 });
    let execution = suspended(&stage, "squares", &input).await;
    stage.platform.set_image("subject", Image { resumable: true, ..Image::new(CHANGED) });
    stage.redeploy("squares", Duration::from_millis(400)).await.unwrap();
    // As often as one likes: nothing is lost by trying.
    for _ in 0..5 {
        let answer = resume(&stage, "squares", &execution).await;
        assert_eq!(answer["code"], "LF007", "{answer}");
        let text = answer["error"].as_str().unwrap();
        assert!(text.contains("`squares`") && text.contains("changed"), "{text}");
    }
    let folded = stage.log(&execution).unwrap().execution().await.unwrap().unwrap();
    assert_eq!(folded.status(), Status::Suspended);
    stage.platform.set_image("subject", Image { resumable: true, ..Image::new(SUBJECT) });
    stage.redeploy("squares", Duration::from_millis(400)).await.unwrap();
    let answer = resume_to_the_end(&stage, "squares", &execution).await;
    assert_eq!(answer, json!({ "result": (0..1000_u64).map(|i| i * i).sum::<u64>() }));
    stage.platform.shutdown().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn named_state_migrates_to_the_new_version_in_flight() {
    let stage = losing("waves", 400).await;
    let execution = suspended(&stage, "waves", &json!({ "n": 100, "pause_ms": 10 })).await;
    stage.platform.set_image("subject", Image { resumable: true, ..Image::new(CHANGED) });
    stage.redeploy("waves", Duration::from_millis(400)).await.unwrap();
    let answer = resume_to_the_end(&stage, "waves", &execution).await;
    assert_eq!(answer, json!({ "result": (0..100).sum::<u64>() }));
    stage.platform.shutdown().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_unknown_execution_and_a_hostile_id_are_refused() {
    let stage = Stage::set(SUBJECT, "squares", Setting::default()).await.unwrap();
    let unknown = ExecutionId::derive("squares", "never");
    assert_eq!(resume(&stage, "squares", &unknown).await["code"], "LF013");
    for id in ["../../../etc/passwd", "", "0", "A".repeat(32).as_str()] {
        let body = json!({ "$limitless": { "resume": id } });
        let (_, answer) = stage.invoke("squares", &body).await.unwrap();
        assert_eq!(answer["code"], "LF001", "{answer}");
    }
    stage.platform.shutdown().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_store_that_is_full_or_away_is_an_error_and_nothing_is_lost() {
    let stage = losing("squares", 400).await;
    let execution = suspended(&stage, "squares", &json!({ "n": 1000, "pause_us": 1000 })).await;
    let before = stage.log(&execution).unwrap().execution().await.unwrap().unwrap();
    for faults in ["full-after=0", "fail=1"] {
        let mut image = Image { resumable: false, ..Image::new(SUBJECT) };
        image.env.insert("LIMITLESS_STORE_FAULTS".into(), faults.into());
        stage.platform.set_image("subject", image);
        stage.redeploy("squares", Duration::from_millis(400)).await.unwrap();
        let answer = resume(&stage, "squares", &execution).await;
        assert_eq!(answer["code"], "LF004", "{faults}: {answer}");
    }
    let after = stage.log(&execution).unwrap().execution().await.unwrap().unwrap();
    assert_eq!(before, after);
    stage.platform.set_image("subject", Image { resumable: true, ..Image::new(SUBJECT) });
    stage.redeploy("squares", Duration::from_millis(400)).await.unwrap();
    let answer = resume_to_the_end(&stage, "squares", &execution).await;
    assert_eq!(answer, json!({ "result": (0..1000_u64).map(|i| i * i).sum::<u64>() }));
    stage.platform.shutdown().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_large_state_that_the_store_breaks_off_is_offered_again() {
    let mut config = Config::default();
    config.env.insert("LIMITLESS_STORE_FAULTS".into(), "seed=7,fail=0.4".into());
    let stage = Stage::set(SUBJECT, "bulky", limited(900, config)).await.unwrap();
    let input = json!({ "mb": 2, "pauses": 6000 });
    let (folded, entries) = stage.see_through("bulky", &input, "k", PATIENCE).await.unwrap();
    let data = (0..2 * 131_072_u64).map(|i| i.wrapping_mul(0x9E37_79B9_7F4A_7C15));
    assert_eq!(result(&folded), json!(data.fold(6000_u64, |digest, word| digest.rotate_left(5) ^ word)));
    // The name of a checkpoint ends with the number of attempts that came before. Without the second attempt all work since the
    // checkpoint before would be lost.
    let attempts: Vec<&str> = entries
        .iter()
        .filter_map(|entry| match &entry.kind {
            Kind::Suspended { saved: Some(saved), .. } | Kind::Checkpointed { saved } => {
                saved.checkpoint.rsplit('-').next()
            }
            _ => None,
        })
        .collect();
    assert!(attempts.iter().any(|before| *before != "0"), "{attempts:?}");
    stage.platform.shutdown().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_state_that_grows_tenfold_is_saved_in_time_where_the_store_is_slow() {
    let mut config = Config::default();
    config.env.insert("LIMITLESS_STORE_FAULTS".into(), "rate=10MB".into());
    // Saving what it grows to takes a second: the reserve that the checkpoint before asks for would be far too small.
    let stage = Stage::set(SUBJECT, "swells", limited(6000, config)).await.unwrap();
    let (folded, entries) = stage.see_through("swells", &json!({ "mb": 1 }), "k", PATIENCE).await.unwrap();
    assert_eq!(result(&folded), json!(10));
    let saved: Vec<(u64, u64)> = entries
        .iter()
        .filter_map(|entry| match &entry.kind {
            Kind::Suspended { saved: Some(saved), .. } | Kind::Checkpointed { saved } => {
                Some((entry.epoch, saved.state_bytes >> 20))
            }
            _ => None,
        })
        .collect();
    let [(before, 1), (grown, 10), ..] = saved[..] else { panic!("{saved:?}: {entries:#?}") };
    assert!(grown <= before + 1, "an invocation was lost with what had grown: {entries:#?}");
    stage.platform.shutdown().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn without_a_store_short_calls_work_and_long_ones_say_what_is_missing() {
    let config = Config { watchdog: false, ..Config::default() };
    let stage = Stage::set(SUBJECT, "squares", limited(400, config)).await.unwrap();
    let mut image = Image::new(SUBJECT);
    image.env.insert("LIMITLESS_STORE".into(), String::new());
    stage.platform.set_image("subject", image);
    stage.redeploy("squares", Duration::from_millis(400)).await.unwrap();
    let (_, answer) = stage.invoke("squares", &json!({ "n": 3 })).await.unwrap();
    assert_eq!(answer, json!({ "result": 5 }));
    let (_, answer) = stage.invoke("squares", &json!({ "n": 1000, "pause_us": 1000 })).await.unwrap();
    assert_eq!(answer["code"], "LF018", "{answer}");
    assert!(answer["error"].as_str().unwrap().contains("LIMITLESS_STORE"), "{answer}");
    stage.platform.shutdown().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_killed_process_is_gone_on_from_before_its_lease_ends() {
    let config = Config { faults: "kill=0.8".parse().unwrap(), seed: 4, ..Config::default() };
    let stage = Stage::set(SUBJECT, "squares", limited(3000, config)).await.unwrap();
    let started = std::time::Instant::now();
    let input = json!({ "n": 6000, "pause_us": 1000 });
    let (folded, entries) = stage.see_through("squares", &input, "k", PATIENCE).await.unwrap();
    assert_eq!(result(&folded), json!((0..6000_u64).map(|i| i * i).sum::<u64>()));
    assert!(folded.tally.crashes_ever > 0, "nothing was killed: {entries:#?}");
    // Six seconds of work; waiting for one lease alone would take four and a half.
    assert!(started.elapsed() < Duration::from_secs(30));
    stage.platform.shutdown().await;
}
