//! `cargo faas run` on real functions: results, exit codes, faults, what is left behind.

mod common;

use common::{Sample, build_folder, faas, workspace};
use rustix::process::Signal;
use serde_json::{Value, json};

#[test]
fn a_function_outlives_its_limit() {
    let sample = Sample::new("outlives");
    let input = r#"{"n": 60, "pause_ms": 50}"#;
    let ended = sample.run(&["run", "slow", "--input", input, "--time-limit", "1s", "--json"]).expect(0);
    let report = ended.json();
    assert_eq!((&report["status"], &report["result"]), (&json!("completed"), &json!(1770)), "{report}");
    let invocations = report["invocations"].as_array().unwrap();
    assert!(invocations.len() >= 3, "{report}");
    let (last, before) = invocations.split_last().unwrap();
    assert_eq!(last["outcome"], "completed");
    // On a busy machine one may be too late to save and be killed: that costs time and changes nothing else.
    let (suspended, gone): (Vec<&Value>, Vec<&Value>) =
        before.iter().partition(|one| one["outcome"] == "suspended");
    assert!(!suspended.is_empty() && gone.iter().all(|one| one["outcome"] == "lost"), "{report}");
    for one in suspended {
        assert!(one["limit_ms"] == 1000 && one["used_us"].as_u64().unwrap() < 1_000_000, "{one}");
        assert!(
            one["checkpoints"][0]["bytes"].as_u64().unwrap() > 0 && one["hand_over_us"].is_u64(),
            "{one}"
        );
    }
    // What it tells afterwards is the same.
    let id = report["execution"].as_str().unwrap();
    let status = sample.run(&["status", &id[..8], "--json"]).expect(0).json();
    assert_eq!(status["invocations"].as_array().unwrap().len(), invocations.len());
    assert_eq!(sample.run(&["result", "last"]).expect(0).stdout, "1770\n");
}

#[test]
fn progress_is_on_stderr_and_the_result_alone_on_stdout() {
    let sample = Sample::new("progress");
    let input = r#"{"n": 30, "pause_ms": 50}"#;
    let ended = sample.run(&["run", "slow", "--input", input, "--time-limit", "1s"]).expect(0);
    assert_eq!(ended.stdout, "435\n");
    for part in [
        "   Running slow as ",
        "   1  ━",
        "of 1s",
        "saved ",
        "handed over in",
        "completed",
        "Finished slow in",
    ] {
        assert!(ended.stderr.contains(part), "{part}\n{}", ended.stderr);
    }
    let quiet = sample.run(&["run", "says", "-q", "--input", r#"{"line": "hello"}"#]).expect(0);
    assert_eq!((quiet.stdout.as_str(), quiet.stderr.as_str()), ("\"hello\"\n", ""));
}

#[test]
fn faults_change_nothing_but_the_way() {
    let sample = Sample::new("faults");
    let input = r#"{"n": 40, "pause_ms": 20}"#;
    for seed in ["1", "2", "3", "4"] {
        let platform = if seed == "4" { "openfaas" } else { "openwhisk" };
        let args = [
            "run",
            "slow",
            "--input",
            input,
            "--time-limit",
            "400ms",
            "--faults",
            "all,lose=0.2",
            "--seed",
            seed,
            "--platform",
            platform,
            "--json",
        ];
        let report = sample.run(&args).expect(0).json();
        assert_eq!(report["result"], 780, "seed {seed}: {report}");
    }
}

#[test]
fn the_same_key_is_the_same_execution() {
    let sample = Sample::new("key");
    let run = |line: &str| sample.run(&["run", "says", "--key", "k1", "--input", line, "--json"]);
    let first = run(r#"{"line": "once"}"#).expect(0).json();
    let second = run(r#"{"line": "once"}"#).expect(0).json();
    assert_eq!(first["execution"], second["execution"]);
    assert_eq!(sample.executions().len(), 1);
    let printed = sample.run(&["logs", "last", "--json"]).expect(0).json();
    // The second call got the recorded result: the handler ran once.
    assert_eq!(printed["invocations"][0]["lines"].as_array().unwrap().len(), 1, "{printed}");
}

#[test]
fn no_number_loses_a_digit() {
    let sample = Sample::new("wide");
    let input = |turns: u64| format!(r#"{{"n": 340282366920938463463374607431768211455, "turns": {turns}}}"#);
    let once = sample.run(&["run", "wide", "--input", &input(0)]).expect(0);
    assert_eq!(once.stdout, "340282366920938463463374607431768211455\n");
    let args = ["run", "wide", "--input", &input(30), "--time-limit", "1s", "--json"];
    let report = sample.run(&args).expect(0);
    assert!(
        report.stdout.contains("\"result\": 340282366920938463463374607431768211425,"),
        "{}",
        report.stdout
    );
    assert!(report.json()["invocations"].as_array().unwrap().len() >= 2, "{}", report.stdout);
    assert_eq!(sample.run(&["result", "last"]).expect(0).stdout, "340282366920938463463374607431768211425\n");
}

#[test]
fn a_program_beside_the_functions_is_passed_over() {
    let sample = Sample::new("beside");
    let bins = sample.project().join("src/bin");
    std::fs::create_dir(&bins).unwrap();
    std::fs::write(bins.join("sample-beside-tool.rs"), "fn main() {}").unwrap();
    let unknown = sample.run(&["run", "nobody"]).expect(2);
    let told = "has no handler `nobody`\n  help: the handlers are `slow`, `wide`, `says`, `fails`, `panics`, `stuck`";
    assert!(unknown.stderr.contains(told), "{}", unknown.stderr);
    sample.run(&["run", "says", "--input", r#"{"line": "found"}"#]).expect(0);
    let tool = sample.run(&["run", "says", "--bin", "sample-beside-tool"]).expect(2);
    assert!(tool.stderr.contains("`sample-beside-tool` does not say which handlers"), "{}", tool.stderr);
}

#[test]
fn a_failing_handler_is_told_from_a_failing_command() {
    let sample = Sample::new("failing");
    let fails = sample.run(&["run", "fails", "--json"]).expect(1);
    let report = fails.json();
    assert_eq!(
        (&report["status"], &report["error"]["code"]),
        (&json!("failed"), &json!("LF002")),
        "{report}"
    );
    assert!(fails.stderr.contains("error: no luck today"), "{}", fails.stderr);
    let panics = sample.run(&["run", "panics"]).expect(1);
    assert!(panics.stderr.contains("at the disco") && panics.stderr.contains("LF003"), "{}", panics.stderr);

    let unknown = sample.run(&["run", "slwo"]).expect(2);
    assert!(
        unknown.stderr.contains("has no handler `slwo`\n  help: did you mean `slow`?"),
        "{}",
        unknown.stderr
    );
    let input = sample.run(&["run", "slow", "--input", r#"{"n": 1, "pause": 2}"#, "--json"]).expect(2);
    assert_eq!(input.json()["error"]["kind"], "usage");
    assert!(input.stderr.contains("there is no field `pause`"), "{}", input.stderr);
    sample.run(&["run", "slow", "--input", "@/no/such/file"]).expect(2);
    sample.run(&["result", "00112233445566778899aabbccddeeff"]).expect(2);
    let store = sample
        .run(&["run", "slow", "--input", r#"{"n": 1, "pause_ms": 0}"#, "--store", "file:/proc/no"])
        .expect(8);
    assert!(store.stderr.contains("help: "), "{}", store.stderr);
}

#[test]
fn no_progress_and_too_many_invocations_end() {
    let sample = Sample::new("progressless");
    let stuck =
        sample.run(&["run", "stuck", "--input", r#"{"ms": 60000}"#, "--time-limit", "200ms"]).expect(5);
    assert!(stuck.stderr.contains("#[checkpoint]"), "{}", stuck.stderr);
    let input = r#"{"n": 100, "pause_ms": 50}"#;
    let args = ["run", "slow", "--input", input, "--time-limit", "500ms", "--max-invocations", "2", "--json"];
    let report = sample.run(&args).expect(5).json();
    assert_eq!(
        (&report["status"], &report["error"]["code"]),
        (&json!("failed"), &json!("LF009")),
        "{report}"
    );
}

#[test]
fn an_interrupted_execution_goes_on() {
    let sample = Sample::new("interrupted");
    let input = r#"{"n": 60, "pause_ms": 50}"#;
    let running = sample.start(&["run", "slow", "--input", input, "--time-limit", "1s"]);
    let id = sample.wait_for_entries(3);
    running.signal(Signal::INT);
    let ended = running.wait().expect(130);
    sample.assert_nothing_left();
    assert!(ended.stderr.contains(&format!("cargo faas resume {id}")), "{}", ended.stderr);
    assert_eq!(ended.stdout, "");
    sample.run(&["result", &id]).expect(9);
    let resumed = sample.run(&["resume", "last", "--time-limit", "1s"]).expect(0);
    assert_eq!(resumed.stdout, "1770\n", "{}", resumed.stderr);
    assert_eq!(sample.executions().len(), 1);
}

#[test]
fn a_checkpoint_of_other_code_is_left_alone() {
    let sample = Sample::new("incompatible");
    let input = r#"{"n": 60, "pause_ms": 50}"#;
    let running = sample.start(&["run", "slow", "--input", input, "--time-limit", "1s"]);
    let id = sample.wait_for_entries(3);
    running.signal(Signal::TERM);
    running.wait().expect(130);
    let main = sample.main();
    sample.write_main(&main.replace("sum += i;", "sum += i + 1;"));
    let refused = sample.run(&["resume", &id, "--time-limit", "1s", "--json"]).expect(4);
    assert_eq!(refused.json()["error"]["kind"], "incompatible");
    assert!(refused.stderr.contains("slow"), "{}", refused.stderr);
    sample.write_main(&main);
    assert_eq!(sample.run(&["resume", &id, "--time-limit", "1s"]).expect(0).stdout, "1770\n");
}

#[test]
fn a_cancelled_execution_ends() {
    let sample = Sample::new("cancelled");
    let input = r#"{"n": 2000, "pause_ms": 20}"#;
    let running = sample.start(&["run", "slow", "--input", input, "--time-limit", "1s", "--json"]);
    let id = sample.wait_for_entries(3);
    let cancelled = sample.command(&["cancel", "last", "--json"]).output().unwrap();
    assert!(cancelled.status.success());
    let report = running.wait().expect(6).json();
    assert_eq!((&report["status"], &report["execution"]), (&json!("cancelled"), &json!(id)));
    sample.assert_nothing_left();
    sample.run(&["result", &id]).expect(6);
    sample.run(&["resume", &id]).expect(6);
    sample.run(&["cancel", &id]).expect(0);
}

#[test]
fn what_does_not_build_or_is_no_function_says_so() {
    let broken = Sample::with_main("broken", "fn main() { let x: u32 = \"\"; }");
    let ended = broken.run(&["run", "slow"]).expect(3);
    assert!(
        ended.stderr.contains("mismatched types") && ended.stderr.contains("failed to build"),
        "{}",
        ended.stderr
    );
    let other = Sample::with_main("other", "fn main() { println!(\"Hello, world!\"); }");
    let ended = other.run(&["run", "slow"]).expect(2);
    assert!(ended.stderr.contains("does not say which handlers it has"), "{}", ended.stderr);
    let nowhere = tempfile::tempdir().unwrap();
    let ended =
        common::Ended::from(faas().args(["run", "slow"]).current_dir(nowhere.path()).output().unwrap());
    let ended = ended.expect(2);
    assert!(ended.stderr.contains("failed to find a cargo project"), "{}", ended.stderr);
}

#[test]
fn a_mistyped_input_or_store_is_told_before_a_build() {
    let sample = Sample::with_main("mistyped", "fn main() { does_not_build }");
    let input = sample.run(&["run", "sum", "--input", "{"]).expect(2);
    assert!(input.stderr.contains("JSON") && !input.stderr.contains("does_not_build"), "{}", input.stderr);
    for store in ["nowhere", "files:/store", "file:", "file://host/store"] {
        let ended = sample.run(&["run", "sum", "--input", "{}", "--store", store]);
        assert!(ended.code != 0 && ended.stderr.contains("store"), "{store}: {}", ended.stderr);
        assert!(!ended.stderr.contains("does_not_build"), "{store}: {}", ended.stderr);
    }
}

#[test]
fn a_handler_is_found_in_a_workspace() {
    let state = tempfile::tempdir().unwrap();
    let mut command = faas();
    command.args(["run", "factors", "--input", r#"{"n": 360}"#]).current_dir(workspace());
    command.arg("--target-dir").arg(build_folder()).arg("--state-dir").arg(state.path());
    let ended = common::Ended::from(command.output().unwrap()).expect(0);
    assert_eq!(ended.stdout, "[2,2,2,3,3,5]\n");
}
