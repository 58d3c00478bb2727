//! Programs of several kinds, each as an example: the same result as without a limit, over several invocations.

#![allow(clippy::print_stdout, reason = "a test that is skipped says so")]
#![allow(clippy::unwrap_used, clippy::panic, reason = "tests may fail, and their helpers with them")]

mod common;

use std::path::Path;
use std::process::{Command, Stdio};

use common::programs::{Folder, has, invocations};
use common::{dmtcp, workspace};
use serde_json::Value;

/// What the program prints when nobody stops it.
fn uninterrupted(folder: &Folder, words: &[&str], input: &str) -> Value {
    let stdin = folder.write("input", input);
    let mut command = Command::new(words[0]);
    command.args(&words[1..]).current_dir(folder.path());
    let output = command.stdin(Stdio::from(std::fs::File::open(stdin).unwrap())).output().unwrap();
    assert!(output.status.success(), "{output:?}");
    serde_json::from_slice(&output.stdout).unwrap()
}

/// Runs the example under a limit that it can't meet at once.
#[track_caller]
fn runs_alike(name: &str, input: &str, limit: &str, plain: &[&str]) -> Value {
    let folder = Folder::of_example();
    if name == "state" {
        compile(&folder, &[]);
    }
    let expected = uninterrupted(&folder, plain, input);
    let args = ["run", name, "--input", input, "--time-limit", limit, "--memory", "1024", "--json"];
    let report = folder.run(&args).expect(0).json();
    assert_eq!(report["result"], expected, "{report}");
    assert!(
        invocations(&report).len() >= 2,
        "one invocation was enough: the example shows nothing: {report}"
    );
    report
}

fn compile(folder: &Folder, flags: &[&str]) {
    let source = workspace().join("examples/programs/state.c");
    let mut command = Command::new("cc");
    command.args(["-O2", "-o", "state"]).args(flags).arg(source).current_dir(folder.path());
    assert!(command.status().unwrap().success());
}

#[test]
fn matrices_in_plain_python() {
    if dmtcp::is_installed() && has("/usr/bin/python3") {
        runs_alike("matrix", r#"{"n": 420}"#, "3s", &["/usr/bin/python3", "matrix.py"]);
    }
}

#[test]
fn a_hundred_megabytes_in_c_move_once() {
    if !dmtcp::is_installed() {
        return;
    }
    let report = runs_alike("state", r#"{"rounds": 1000}"#, "10s", &["./state", "1000"]);
    let bytes: Vec<u64> = invocations(&report)
        .iter()
        .flat_map(|one| one["checkpoints"].as_array().unwrap())
        .map(|checkpoint| checkpoint["bytes"].as_u64().unwrap())
        .collect();
    assert!(bytes[0] > 100_000_000, "{bytes:?}");
}

#[test]
fn timers_in_javascript() {
    if dmtcp::is_installed() && has("/usr/bin/node") {
        runs_alike("primes", r#"{"n": 9000000}"#, "4s", &["node", "primes.js"]);
    }
}

#[test]
fn a_static_program_is_refused_when_it_is_to_start() {
    if !dmtcp::is_installed() || !Path::new("/usr/lib/x86_64-linux-gnu/libc.a").is_file() {
        println!("skipped: there is no static libc, or no DMTCP");
        return;
    }
    let folder = Folder::of_example();
    compile(&folder, &["-static"]);
    let ended = folder.run(&["run", "state", "--input", r#"{"rounds": 1}"#]).expect(1);
    assert!(
        ended.stderr.contains("linked statically") && ended.stderr.contains("Link it dynamically"),
        "{}",
        ended.stderr
    );
}
