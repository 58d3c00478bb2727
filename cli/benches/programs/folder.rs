//! A folder of programs that the benchmark wrote, and what `cargo faas run` tells of them.

use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::{Value, json};
use tempfile::TempDir;

/// Where DMTCP's programs are.
pub(super) fn dmtcp() -> Option<PathBuf> {
    let given = std::env::var_os("DMTCP_ROOT").map(|root| PathBuf::from(root).join("bin"));
    let path = std::env::var_os("PATH").unwrap_or_default();
    let usual = ["/usr/local/bin", "/opt/dmtcp/bin"].map(PathBuf::from);
    let mut places = given.into_iter().chain(std::env::split_paths(&path)).chain(usual);
    places.find(|place| place.join("dmtcp_launch").is_file())
}

/// A folder with one program, `p`.
pub(super) struct Folder(TempDir);

impl Folder {
    /// Declares `command`, whose first word is the program's; `file` comes along.
    pub(super) fn new(command: &[&str], file: &Path) -> Self {
        Self::with_margin(command, file, None)
    }

    /// As [`Folder::new`], with the least reserve before a limit.
    pub(super) fn with_margin(command: &[&str], file: &Path, margin: Option<&str>) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let name = file.file_name().unwrap().to_str().unwrap();
        fs::copy(file, folder.path().join(name)).unwrap();
        let mut declaration = format!(
            "[[program]]\nname = \"p\"\ncommand = {:?}\nargs = {:?}\nstdin = \"none\"\nfiles = [{name:?}]\n",
            command[0],
            &command[1..]
        );
        if let Some(margin) = margin {
            writeln!(declaration, "margin = {margin:?}").unwrap();
        }
        fs::write(folder.path().join("faas.toml"), declaration).unwrap();
        Self(folder)
    }

    /// Runs it under this limit, to its end; answers the report.
    pub(super) fn run(&self, limit: &str) -> Value {
        self.run_with(&json!({}), limit)
    }

    /// As [`Folder::run`], on this input.
    pub(super) fn run_with(&self, input: &Value, limit: &str) -> Value {
        let mut command = Command::new(env!("CARGO_BIN_EXE_cargo-faas"));
        command.args(["run", "p", "--time-limit", limit, "--memory", "4096", "--json"]);
        command.args(["--input", &input.to_string()]);
        command.current_dir(self.0.path()).arg("--state-dir").arg(self.0.path().join(".faas"));
        let output = command.output().unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        serde_json::from_slice(&output.stdout).unwrap()
    }
}

/// The invocations that a report tells of.
pub(super) fn invocations(report: &Value) -> &[Value] {
    report["invocations"].as_array().unwrap()
}

/// The images that were saved, one after another.
pub(super) fn images(report: &Value) -> Vec<&Value> {
    invocations(report).iter().flat_map(|one| one["checkpoints"].as_array().unwrap()).collect()
}

/// A figure of a report, in seconds.
pub(super) fn seconds(value: &Value, name: &str) -> f64 {
    value[name].as_f64().unwrap() / 1e6
}

/// Builds a C program of the benchmark's.
pub(super) fn compile(source: &str, to: &Path) {
    let from = to.with_extension("c");
    fs::write(&from, source).unwrap();
    let status = Command::new("cc").arg("-O2").arg("-o").arg(to).arg(from).status().unwrap();
    assert!(status.success(), "cc failed");
}
