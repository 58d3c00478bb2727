//! `cargo faas new`, `dev`, `invoke`, `logs` and `gc`.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod common;

use std::path::Path;
use std::process::Command;

use common::{Ended, Sample, build_folder, faas, workspace};
use rustix::process::Signal;
use serde_json::json;

/// The one test of a fresh project, built with what this workspace is built with.
fn its_test_passes(project: &Path) {
    std::fs::copy(workspace().join("Cargo.lock"), project.join("Cargo.lock")).unwrap();
    let mut cargo = Command::new(env!("CARGO"));
    cargo.arg("test").arg("--target-dir").arg(build_folder()).current_dir(project);
    let tested = Ended::from(cargo.output().unwrap()).expect(0);
    assert!(tested.stdout.contains("test result: ok. 1 passed"), "{}", tested.stdout);
}

#[test]
fn a_new_project_builds_tests_and_runs_as_it_is() {
    let folder = tempfile::tempdir().unwrap();
    let made = faas()
        .args(["new", "sample-new", "--handler", "longest"])
        .current_dir(folder.path())
        .output()
        .unwrap();
    let made = Ended::from(made).expect(0);
    assert!(made.stderr.contains("cargo faas run longest"), "{}", made.stderr);
    let project = folder.path().join("sample-new");
    its_test_passes(&project);

    let mut run = faas();
    run.args(["run", "longest", "--input", r#"{"below": 100}"#]).current_dir(&project);
    run.arg("--target-dir").arg(build_folder()).arg("--state-dir").arg(folder.path().join("state"));
    assert_eq!(Ended::from(run.output().unwrap()).expect(0).stdout, "[97,119]\n");

    let again = faas().args(["new", "sample-new"]).current_dir(folder.path()).output().unwrap();
    Ended::from(again).expect(2);
}

#[test]
fn a_new_workflow_tests_and_runs_as_it_is() {
    let folder = tempfile::tempdir().unwrap();
    let new = |args: &[&str]| {
        let made = faas().arg("new").args(args).current_dir(folder.path()).output().unwrap();
        Ended::from(made)
    };
    new(&["sample-flow", "--template", "workflow", "--handler", "counted"]).expect(0);
    let project = folder.path().join("sample-flow");
    its_test_passes(&project);

    let mut run = faas();
    run.args(["run", "counted", "--input", r#"{"text": "A rose is a rose, is a Rose."}"#]);
    run.current_dir(&project).arg("--target-dir").arg(build_folder());
    run.arg("--state-dir").arg(folder.path().join("state"));
    assert_eq!(Ended::from(run.output().unwrap()).expect(0).stdout, "[3,\"rose\"]\n");

    let taken = new(&["sample-taken", "--template", "workflow", "--handler", "count_words"]).expect(2);
    assert!(taken.stderr.contains("--handler NAME"), "{}", taken.stderr);
    assert!(!folder.path().join("sample-taken").exists());
}

#[test]
fn a_new_program_tests_and_runs_as_it_is() {
    let folder = tempfile::tempdir().unwrap();
    let made = faas().args(["new", "longest", "--template", "program"]).current_dir(folder.path()).output();
    Ended::from(made.unwrap()).expect(0);
    let project = folder.path().join("longest");
    let mut unittest = Command::new("/usr/bin/python3");
    unittest.args(["-m", "unittest"]).env("PYTHONDONTWRITEBYTECODE", "1").current_dir(&project);
    match unittest.output() {
        Ok(tested) => assert!(tested.status.success(), "{}", String::from_utf8_lossy(&tested.stderr)),
        Err(error) => return println!("skipped: /usr/bin/python3 can't be run: {error}"),
    }
    if !common::dmtcp::is_installed() {
        return;
    }
    let mut run = faas();
    run.args(["run", "longest", "--input", r#"{"below": 100}"#]).current_dir(&project);
    assert_eq!(Ended::from(run.output().unwrap()).expect(0).json(), json!([97, 119]));
}

#[test]
fn dev_serves_rebuilds_and_leaves_nothing() {
    let sample = Sample::new("dev");
    let mut dev = sample.start(&["dev", "--time-limit", "1s", "--json"]);
    let serving = dev.next_json();
    assert_eq!(serving["handlers"], json!(["slow", "wide", "says", "fails", "panics", "stuck"]));
    let invoke = |args: &[&str]| {
        let args = [&["invoke"], args].concat();
        Ended::from(sample.command(&args).output().unwrap())
    };
    let input = r#"{"n": 40, "pause_ms": 50}"#;
    let report = invoke(&["slow", "--input", input, "--json"]).expect(0).json();
    assert_eq!(report["result"], 780);
    assert!(report["invocations"].as_array().unwrap().len() >= 2, "{report}");
    invoke(&["fails"]).expect(1);
    invoke(&["nobody"]).expect(7);
    // What ended at once is found like what took many invocations.
    invoke(&["says", "--input", r#"{"line": "good morning"}"#]).expect(0);
    let logs = Ended::from(sample.command(&["logs", "last"]).output().unwrap()).expect(0);
    assert!(logs.stdout.contains("good morning"), "{}{}", logs.stdout, logs.stderr);
    let id = invoke(&["says", "--input", r#"{"line": "x"}"#, "--detach"]).expect(0).stdout;
    assert_eq!(id.trim().len(), 32);

    let second = Ended::from(sample.command(&["dev"]).output().unwrap()).expect(2);
    assert!(second.stderr.contains("runs already"), "{}", second.stderr);

    // A change is served without a restart.
    sample.write_main(&sample.main().replace("println!(\"{line}\");\n    line\n", "line + \"!\"\n"));
    let until = std::time::Instant::now() + std::time::Duration::from_secs(60);
    while invoke(&["says", "-q", "--input", r#"{"line": "new"}"#]).expect(0).stdout != "\"new!\"\n" {
        assert!(std::time::Instant::now() < until, "the change is not served");
        std::thread::sleep(std::time::Duration::from_millis(200));
    }

    dev.signal(Signal::INT);
    dev.wait().expect(0);
    sample.assert_nothing_left();
    assert!(!sample.state().join("dev.json").exists());
    assert_eq!(std::fs::read_dir(sample.state().join("images")).unwrap().count(), 0);
    invoke(&["slow"]).expect(7);
}

#[test]
fn what_a_function_printed_is_kept() {
    let sample = Sample::new("logs");
    sample.run(&["run", "says", "--input", r#"{"line": "good evening"}"#]).expect(0);
    let id = sample.executions()[0]["execution"].as_str().unwrap().to_owned();
    let logs = sample.run(&["logs", &id]).expect(0);
    assert!(logs.stdout.contains("good evening"), "{}{}", logs.stdout, logs.stderr);
    sample.run(&["logs", &id, "--invocation", "7"]).expect(2);
}

#[test]
fn what_has_ended_is_collected() {
    let sample = Sample::new("gc");
    let input = r#"{"n": 20, "pause_ms": 50}"#;
    sample.run(&["run", "slow", "--input", input, "--time-limit", "500ms"]).expect(0);
    sample.run(&["run", "fails"]).expect(1);
    let kept = sample.run(&["gc", "--json"]).expect(0).json();
    assert_eq!((&kept["removed"], &kept["kept"]), (&json!([]), &json!(2)), "{kept}");
    let dry = sample.run(&["gc", "--older-than", "0s", "--dry-run", "--json"]).expect(0).json();
    assert_eq!(sample.executions().len(), 2, "{dry}");
    // The log stays for the same time again, which is none here; a lease has to end before anything goes.
    let until = std::time::Instant::now() + std::time::Duration::from_secs(20);
    while !sample.executions().is_empty() {
        assert!(std::time::Instant::now() < until, "not collected");
        sample.run(&["gc", "--older-than", "0s"]).expect(0);
        std::thread::sleep(std::time::Duration::from_millis(200));
    }
    let executions = sample.state().join("store/executions");
    let left = std::fs::read_dir(executions).map_or(0, Iterator::count);
    assert_eq!(left, 0);
}
