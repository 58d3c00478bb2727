//! Programs that nobody changed, through `cargo faas run`: under limits that they can't meet at once.

#![allow(clippy::print_stdout, reason = "a test that is skipped says so")]
#![allow(clippy::unwrap_used, reason = "tests may fail, and their helpers with them")]

mod common;

use std::fs;
use std::path::Path;
use std::process::Command;

use common::{Ended, dmtcp, faas, workspace};
use serde_json::{Value, json};
use tempfile::TempDir;

/// Plain Python: a shim of a version manager would be several processes.
const PYTHON: &str = "/usr/bin/python3";

/// A folder with a `faas.toml` and what it declares.
struct Folder(TempDir);

impl Folder {
    fn new(declarations: &str) -> Self {
        let folder = tempfile::tempdir().unwrap();
        fs::write(folder.path().join("faas.toml"), declarations).unwrap();
        Self(folder)
    }

    /// The example's.
    fn of_example() -> Self {
        let example = workspace().join("examples/programs");
        let folder = Self::new(&fs::read_to_string(example.join("faas.toml")).unwrap());
        for file in ["factors.py", "matrix.py"] {
            folder.write(file, &fs::read_to_string(example.join(file)).unwrap());
        }
        folder
    }

    fn write(&self, name: &str, text: &str) {
        fs::write(self.0.path().join(name), text).unwrap();
    }

    fn path(&self) -> &Path {
        self.0.path()
    }

    fn command(&self, args: &[&str]) -> Command {
        let mut command = faas();
        command.args(args).current_dir(self.path()).arg("--state-dir").arg(self.path().join("state"));
        command
    }

    fn run(&self, args: &[&str]) -> Ended {
        self.command(args).output().unwrap().into()
    }
}

fn has_python() -> bool {
    let has = Path::new(PYTHON).is_file();
    if !has {
        println!("skipped: {PYTHON} is not there");
    }
    has
}

fn invocations(report: &Value) -> &Vec<Value> {
    report["invocations"].as_array().unwrap()
}

/// What the invocations that were not lost printed, in order: a lost one's lines are printed again by the next.
fn lines(folder: &Folder, report: &Value) -> Vec<String> {
    let printed = folder.run(&["logs", report["execution"].as_str().unwrap(), "--json"]).expect(0).json();
    let lost: Vec<&Value> = invocations(report)
        .iter()
        .filter(|one| one["outcome"] == "lost")
        .map(|one| &one["activation"])
        .collect();
    let kept =
        printed["invocations"].as_array().unwrap().iter().filter(|one| !lost.contains(&&one["activation"]));
    let lines = kept.flat_map(|one| one["lines"].as_array().unwrap());
    lines.map(|line| line["text"].as_str().unwrap().to_owned()).collect()
}

#[test]
fn a_plain_python_program_outlives_its_limit() {
    if !dmtcp::is_installed() || !has_python() {
        return;
    }
    let folder = Folder::of_example();
    let input = r#"{"n": 400000000000063}"#;
    let args = ["run", "factors", "--input", input, "--time-limit", "3s", "--json"];
    let report = folder.run(&args).expect(0).json();
    assert_eq!(
        (&report["status"], &report["result"]),
        (&json!("completed"), &json!([400_000_000_000_063_u64])),
        "{report}"
    );
    assert!(invocations(&report).len() >= 2, "{report}");
    let suspended = invocations(&report).iter().find(|one| one["outcome"] == "suspended").unwrap();
    assert!(suspended["checkpoints"][0]["bytes"].as_u64().unwrap() > 1_000_000, "{report}");
    let expected: Vec<String> = (1..=20).map(|million| format!("tried all up to {million}000000")).collect();
    let printed: Vec<String> =
        lines(&folder, &report).into_iter().filter(|line| line.starts_with("tried")).collect();
    assert_eq!(printed, expected);
    assert_eq!(folder.run(&["result", "last"]).expect(0).stdout, "[400000000000063]\n");
}

#[test]
fn what_a_program_makes_of_its_input_is_its_result() {
    if !dmtcp::is_installed() || !has_python() {
        return;
    }
    let folder = Folder::new(
        "[[program]]\nname = \"text\"\ncommand = \"tr\"\nargs = [\"{input.from}\", \"{input.to}\"]\nstdin = \"text\"\nstdout = \"text\"\n\
         [[program]]\nname = \"file\"\ncommand = \"sh\"\nargs = [\"-c\", \"echo printed; cat data/in > out.json\"]\nstdin = \"none\"\n\
         stdout = \"file:out.json\"\nfiles = [\"data\"]\n\
         [[program]]\nname = \"fails\"\ncommand = \"sh\"\nargs = [\"-c\", \"echo no such luck >&2; exit 3\"]\n\
         [[program]]\nname = \"no-json\"\ncommand = \"echo\"\nargs = [\"two words\"]\n\
         [[program]]\nname = \"absent\"\ncommand = \"no-such-program\"\n",
    );
    fs::create_dir(folder.path().join("data")).unwrap();
    folder.write("data/in", "{\"a\": [1, 2]}\n");
    let input = r#"{"from": "a-z", "to": "A-Z", "stdin": "loud"}"#;
    let text = folder.run(&["run", "text", "--input", input, "--json"]).expect(0).json();
    assert_eq!(text["result"], json!("LOUD"));
    let file = folder.run(&["run", "file", "--json"]).expect(0).json();
    assert_eq!(file["result"], json!({ "a": [1, 2] }));
    let failed = folder.run(&["run", "fails", "--json"]).expect(1).json();
    let message = failed["error"]["message"].as_str().unwrap();
    assert!(message.contains("status 3") && message.contains("no such luck"), "{message}");
    let no_json = folder.run(&["run", "no-json", "--json"]).expect(1).json();
    assert!(no_json["error"]["message"].as_str().unwrap().contains("not one JSON value"), "{no_json}");
    let absent = folder.run(&["run", "absent", "--json"]).expect(1).json();
    assert!(
        absent["error"]["message"].as_str().unwrap().contains("no program `no-such-program` on PATH"),
        "{absent}"
    );
    let missing = folder.run(&["run", "text", "--input", r#"{"from": "a", "to": "b"}"#]).expect(2);
    assert!(missing.stderr.contains("`stdin` is missing"), "{}", missing.stderr);
}

#[test]
fn without_dmtcp_it_says_what_to_install() {
    let folder = Folder::new("[[program]]\nname = \"true\"\ncommand = \"true\"\n");
    let ended: Ended =
        folder.command(&["run", "true"]).env("DMTCP_ROOT", "/no/such/folder").output().unwrap().into();
    let ended = ended.expect(2);
    assert!(ended.stderr.contains("DMTCP") && ended.stderr.contains("install it"), "{}", ended.stderr);
}

#[test]
fn a_mistake_in_the_file_is_told_with_its_line() {
    let folder = Folder::new("[[program]]\nname = \"a\"\ncommand = \"true\"\nargs = [\"{inptu}\"]\n");
    let ended = folder.run(&["run", "a"]).expect(2);
    assert!(ended.stderr.contains("faas.toml:4: ") && ended.stderr.contains("{input}"), "{}", ended.stderr);
    folder.write("faas.toml", "[[program]]\nname = \"factors\"\ncommand = \"true\"\n");
    let ended = folder.run(&["run", "factor"]).expect(2);
    assert!(ended.stderr.contains("did you mean `factors`?"), "{}", ended.stderr);
}
