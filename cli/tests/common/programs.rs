//! A folder of programs for each test.

#![allow(clippy::print_stdout, reason = "a test that is skipped says so")]

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::Value;
use tempfile::TempDir;

use super::{Ended, Running, faas, wait_for_entries, workspace};

/// A folder with a `faas.toml` and what it declares.
pub struct Folder(TempDir);

impl Folder {
    pub fn new(declarations: &str) -> Self {
        let folder = tempfile::tempdir().unwrap();
        fs::write(folder.path().join("faas.toml"), declarations).unwrap();
        Self(folder)
    }

    /// The example's.
    pub fn of_example() -> Self {
        let example = workspace().join("examples/programs");
        let folder = Self::new(&fs::read_to_string(example.join("faas.toml")).unwrap());
        for file in ["factors.py", "matrix.py", "state.c", "primes.js"] {
            folder.write(file, &fs::read_to_string(example.join(file)).unwrap());
        }
        folder
    }

    pub fn write(&self, name: &str, text: &str) -> PathBuf {
        let path = self.0.path().join(name);
        fs::write(&path, text).unwrap();
        path
    }

    pub fn path(&self) -> &Path {
        self.0.path()
    }

    pub fn command(&self, args: &[&str]) -> Command {
        let mut command = faas();
        command.args(args).current_dir(self.path()).arg("--state-dir").arg(self.path().join(".faas"));
        command
    }

    pub fn run(&self, args: &[&str]) -> Ended {
        self.command(args).output().unwrap().into()
    }

    pub fn start(&self, args: &[&str]) -> Running {
        Running::of(&mut self.command(args))
    }

    /// Waits until the log of the only execution has so many entries; answers the execution.
    pub fn wait_for_entries(&self, count: usize) -> String {
        wait_for_entries(&self.path().join(".faas/store/executions"), count)
    }
}

/// Whether a program is on this machine; where it is not, says that the test is skipped.
pub fn has(program: &str) -> bool {
    let has = Path::new(program).is_file();
    if !has {
        println!("skipped: {program} is not there");
    }
    has
}

/// The invocations that a report tells of.
pub fn invocations(report: &Value) -> &Vec<Value> {
    report["invocations"].as_array().unwrap()
}
