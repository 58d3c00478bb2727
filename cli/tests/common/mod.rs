//! A function project of its own for each test, the command line on it, and the check that nothing is left behind.

#![allow(dead_code, unreachable_pub, reason = "each test file uses its part of it")]
#![allow(clippy::unwrap_used, clippy::panic, reason = "this is a part of tests")]

pub mod containers;
pub mod dmtcp;
pub mod programs;
pub mod proxy;

use std::fs;
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;
use tempfile::TempDir;

const SAMPLE: &str = include_str!("sample.rs");

/// A project, and folders for its state.
pub struct Sample {
    folder: TempDir,
    name: String,
}

/// What a command ended with.
pub struct Ended {
    pub code: i32,
    pub stdout: String,
    pub stderr: String,
}

impl Ended {
    pub fn json(&self) -> Value {
        serde_json::from_str(&self.stdout).unwrap_or_else(|e| panic!("{e}\n{}\n{}", self.stdout, self.stderr))
    }

    #[track_caller]
    pub fn expect(self, code: i32) -> Self {
        assert_eq!(self.code, code, "stdout: {}\nstderr: {}", self.stdout, self.stderr);
        self
    }
}

impl From<Output> for Ended {
    fn from(output: Output) -> Self {
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        let code = output.status.code().unwrap_or(-1);
        Self { code, stdout: text(&output.stdout), stderr: text(&output.stderr) }
    }
}

pub fn workspace() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap().to_owned()
}

/// Builds of all tests share their dependencies.
pub fn build_folder() -> PathBuf {
    Path::new(env!("CARGO_TARGET_TMPDIR")).join("build")
}

/// `cargo faas`, away from any project and without anything of the developer's own settings.
pub fn faas() -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_cargo-faas"));
    command.arg("faas").stdin(Stdio::null());
    for name in ["__OW_API_HOST", "__OW_API_KEY", "APIHOST", "AUTH", "OPENFAAS_URL", "CARGO_TARGET_DIR"] {
        command.env_remove(name);
    }
    command
        .env("WSK_CONFIG_FILE", "/no/such/file")
        .env("OPENFAAS_CONFIG", "/no/such/folder")
        .env("NO_COLOR", "1");
    command
}

impl Sample {
    /// A project called `sample-NAME`: no two tests may share the name of a binary.
    pub fn new(name: &str) -> Self {
        Self::with_main(name, SAMPLE)
    }

    pub fn with_main(name: &str, main: &str) -> Self {
        let sample = Self { folder: tempfile::tempdir().unwrap(), name: format!("sample-{name}") };
        fs::create_dir_all(sample.project().join("src")).unwrap();
        let sdk = workspace().join("sdk").display().to_string();
        let manifest = format!(
            "[package]\nname = \"{}\"\nversion = \"0.1.0\"\nedition = \"2024\"\n\n[dependencies]\n\
             limitless-faas = {{ path = {sdk:?} }}\n",
            sample.name
        );
        fs::write(sample.project().join("Cargo.toml"), manifest).unwrap();
        fs::copy(workspace().join("Cargo.lock"), sample.project().join("Cargo.lock")).unwrap();
        sample.write_main(main);
        sample
    }

    pub fn write_main(&self, main: &str) {
        fs::write(self.project().join("src/main.rs"), main).unwrap();
    }

    pub fn main(&self) -> String {
        fs::read_to_string(self.project().join("src/main.rs")).unwrap()
    }

    pub fn project(&self) -> PathBuf {
        self.folder.path().join("project")
    }

    pub fn state(&self) -> PathBuf {
        self.folder.path().join("state")
    }

    /// `cargo faas ARGS` in the project.
    pub fn command(&self, args: &[&str]) -> Command {
        let mut command = faas();
        command.args(args).current_dir(self.project());
        command.arg("--target-dir").arg(build_folder()).arg("--state-dir").arg(self.state());
        command
    }

    /// Runs to the end, and sees that nothing is left behind.
    #[track_caller]
    pub fn run(&self, args: &[&str]) -> Ended {
        let ended = self.command(args).output().unwrap().into();
        self.assert_nothing_left();
        ended
    }

    /// What a command that may fail prints as JSON.
    pub fn run_quietly(&self, args: &[&str]) -> Value {
        let ended = Ended::from(self.command(args).output().unwrap());
        serde_json::from_str(&ended.stdout).unwrap_or_default()
    }

    pub fn start(&self, args: &[&str]) -> Running {
        Running::of(&mut self.command(args))
    }

    /// Functions carry their store in their environment; this project's store is no other's.
    #[track_caller]
    pub fn assert_nothing_left(&self) {
        let mark = format!("LIMITLESS_STORE=file:{}", self.state().display());
        let until = Instant::now() + Duration::from_secs(5);
        loop {
            let left = processes_with(&mark);
            if left.is_empty() {
                return;
            }
            assert!(Instant::now() < until, "processes are left: {left:?}");
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    /// The executions in the store.
    pub fn executions(&self) -> Vec<Value> {
        self.run(&["list", "--json"]).expect(0).json()["executions"].as_array().unwrap().clone()
    }

    /// Waits until the log of the latest execution has so many entries.
    pub fn wait_for_entries(&self, count: usize) -> String {
        wait_for_entries(&self.state().join("store/executions"), count)
    }
}

/// Looks until it is so.
#[track_caller]
pub fn wait_until(what: &str, mut is_so: impl FnMut() -> bool) {
    let until = Instant::now() + Duration::from_secs(120);
    while !is_so() {
        assert!(Instant::now() < until, "{what}");
        std::thread::sleep(Duration::from_millis(1));
    }
}

/// Waits until the log of one of the executions in this folder has so many entries; answers the execution.
pub fn wait_for_entries(executions: &Path, count: usize) -> String {
    let until = Instant::now() + Duration::from_secs(120);
    loop {
        for folder in fs::read_dir(executions).into_iter().flatten().flatten() {
            let entries = fs::read_dir(folder.path().join("log")).map_or(0, Iterator::count);
            if entries >= count {
                return folder.file_name().into_string().unwrap();
            }
        }
        assert!(Instant::now() < until, "the log did not grow to {count} entries");
        std::thread::sleep(Duration::from_millis(10));
    }
}

/// A command under way; killed with the test.
pub struct Running {
    child: Child,
}

impl Running {
    pub fn of(command: &mut Command) -> Self {
        Self { child: command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap() }
    }

    pub fn signal(&self, signal: Signal) {
        kill_process(Pid::from_child(&self.child), signal).unwrap();
    }

    /// The next JSON object on its stdout, which ends with a line `}`.
    pub fn next_json(&mut self) -> Value {
        let mut text = String::new();
        let mut lines = BufReader::new(self.child.stdout.as_mut().unwrap());
        while !text.ends_with("}\n") || text.lines().last() != Some("}") {
            assert_ne!(lines.read_line(&mut text).unwrap(), 0, "it ended: {text}");
        }
        serde_json::from_str(&text).unwrap()
    }

    /// Reads what it says until a line has this in it.
    pub fn wait_for_line(&mut self, part: &str) {
        let (mut text, mut byte) = (String::new(), [0]);
        let err = self.child.stderr.as_mut().unwrap();
        // Not a byte more, so that the rest is still there.
        while !(text.ends_with('\n') && text.contains(part)) {
            assert_eq!(std::io::Read::read(err, &mut byte).unwrap(), 1, "it ended: {text}");
            text.push(char::from(byte[0]));
        }
    }

    /// Waits until it has ended without reading what it prints; how it ended.
    pub fn wait_unread(&mut self) -> i32 {
        let mut code = None;
        wait_until("it does not end", || {
            code = self.child.try_wait().unwrap();
            code.is_some()
        });
        code.unwrap().code().unwrap_or(-1)
    }

    /// Waits until it prints something.
    pub fn wait_for_output(&mut self) {
        let read = std::io::Read::read(self.child.stdout.as_mut().unwrap(), &mut [0]).unwrap();
        assert_eq!(read, 1, "it printed nothing");
    }

    pub fn wait(mut self) -> Ended {
        let mut ended = Ended { code: -1, stdout: String::new(), stderr: String::new() };
        let mut err = self.child.stderr.take().unwrap();
        let reader = std::thread::spawn(move || {
            let mut text = String::new();
            std::io::Read::read_to_string(&mut err, &mut text).map(|_| text)
        });
        std::io::Read::read_to_string(self.child.stdout.as_mut().unwrap(), &mut ended.stdout).unwrap();
        ended.stderr = reader.join().unwrap().unwrap();
        ended.code = self.child.wait().unwrap().code().unwrap_or(-1);
        ended
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        // Ending it fails where it has ended.
        drop(self.child.kill());
        drop(self.child.wait());
    }
}

/// Processes that have a variable which begins so.
pub fn processes_with(mark: &str) -> Vec<String> {
    let all = fs::read_dir("/proc").unwrap().flatten().map(|entry| entry.path());
    let has = |path: &PathBuf| {
        let environment = fs::read(path.join("environ")).unwrap_or_default();
        environment.split(|b| *b == 0).any(|variable| variable.starts_with(mark.as_bytes()))
    };
    all.filter(has).map(|path| path.display().to_string()).collect()
}
