//! Nothing is left, however the platform ends.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test fails by panicking")]

mod common;

use std::io::{BufRead as _, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use common::{Bench, config, is_alive, until};
use limitless_faas_local::{ApiKey, EventKind, KillReason};
use serde_json::{Value, json};

/// The process ids of a function that works, one that is paused, and one that left its group.
async fn occupy(bench: &mut Bench) -> [u64; 3] {
    for name in ["idle", "busy", "orphan"] {
        bench.put(name, "probe", Value::Null).await;
    }
    let result = |answer: common::Answer| answer.json()["response"]["result"].clone();
    let orphan = result(bench.invoke("orphan", &json!({ "orphan": true })).await);
    let orphan = orphan["orphan"].as_u64().unwrap_or_else(|| panic!("{orphan}"));
    let idle = result(bench.invoke("idle", &Value::Null).await)["pid"].as_u64().unwrap();
    bench.kind(EventKind::Paused).await;
    bench.whisk("POST", "actions/busy", &json!({ "sleep_ms": 600_000 })).await;
    let busy = bench.event(|event| match event.kind {
        EventKind::Started { pid, .. } if event.function == "busy" => Some(u64::from(pid)),
        _ => None,
    });
    let pids = [idle, busy.await, orphan];
    assert!(pids.into_iter().all(is_alive));
    pids
}

/// Processes that carry this platform's folder in their command line or environment: its keeper.
fn keepers(folder: &Path) -> usize {
    let folder = folder.to_str().unwrap();
    let processes = std::fs::read_dir("/proc").unwrap().flatten();
    let line = |process: std::fs::DirEntry| std::fs::read(process.path().join("cmdline")).unwrap_or_default();
    processes.map(line).filter(|line| String::from_utf8_lossy(line).contains(folder)).count()
}

fn folders(of: &Path) -> Vec<PathBuf> {
    std::fs::read_dir(of).unwrap().flatten().map(|entry| entry.path()).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn shutdown_leaves_no_process_and_no_port() {
    let mut bench = Bench::start(config()).await;
    let pids = occupy(&mut bench).await;
    let address = bench.address();
    let mut events = bench.events.resubscribe();
    bench.platform.shutdown().await;
    assert!(!pids.into_iter().any(is_alive));
    assert!(tokio::net::TcpStream::connect(address).await.is_err());
    let mut told = false;
    while let Ok(event) = events.try_recv() {
        told |= matches!(event.kind, EventKind::Killed { reason: KillReason::Shutdown, .. });
    }
    assert!(told, "who worked was not told of");
}

#[tokio::test(flavor = "multi_thread")]
async fn dropping_the_platform_leaves_no_process_and_no_port() {
    let mut bench = Bench::start(config()).await;
    let pids = occupy(&mut bench).await;
    let address = bench.address();
    drop(bench);
    until("all have ended", || !pids.into_iter().any(is_alive)).await;
    until("the port is closed", || std::net::TcpStream::connect(&address).is_err()).await;
}

/// A platform in a process of its own, with a temporary folder of its own.
struct Apart {
    child: Child,
    address: String,
    key: ApiKey,
    folder: tempfile::TempDir,
}

impl Apart {
    fn start() -> Self {
        let program = common::example("platform");
        let folder = tempfile::tempdir().unwrap();
        let mut child = Command::new(program)
            .arg(format!("probe={}", common::probe().display()))
            .env("TMPDIR", folder.path())
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
        let address = lines.next().unwrap().unwrap().replace("http://", "");
        let key = lines.next().unwrap().unwrap().parse().unwrap();
        std::thread::spawn(move || lines.for_each(drop));
        Self { child, address, key, folder }
    }

    async fn whisk(&self, method: &str, path: &str, body: &Value) -> common::Answer {
        let body = body.to_string();
        let request = format!(
            "{method} /api/v1/namespaces/_/{path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\nAuthorization: {}\r\n\
             Content-Length: {}\r\n\r\n{body}",
            self.key.basic(),
            body.len()
        );
        common::raw(&self.address, request.as_bytes()).await
    }
}

impl Drop for Apart {
    fn drop(&mut self) {
        drop(self.child.kill());
        drop(self.child.wait());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_killed_platform_leaves_no_process_and_no_file() {
    let mut apart = Apart::start();
    let action = json!({ "exec": { "kind": "blackbox", "image": "probe" } });
    let invoke = async |name: &str, params: Value| {
        assert_eq!(apart.whisk("PUT", &format!("actions/{name}?overwrite=true"), &action).await.status, 200);
        let path = format!("actions/{name}?blocking=true&result=true");
        let answer = apart.whisk("POST", &path, &params).await;
        assert_eq!(answer.status, 200, "{:?}", answer.json());
        answer.json()
    };
    let orphan = invoke("orphan", json!({ "orphan": true })).await["orphan"].as_u64().unwrap();
    let idle = invoke("idle", json!({})).await["pid"].as_u64().unwrap();
    let busy = invoke("busy", json!({})).await["pid"].as_u64().unwrap();
    apart.whisk("POST", "actions/busy", &json!({ "sleep_ms": 600_000 })).await;
    let folders = folders(apart.folder.path());
    assert_eq!((folders.len(), keepers(&folders[0])), (1, 1), "{folders:?}");
    assert!([orphan, idle, busy].into_iter().all(is_alive));
    apart.child.kill().unwrap();
    apart.child.wait().unwrap();
    until("the functions have ended", || ![orphan, idle, busy].into_iter().any(is_alive)).await;
    until("the folder is removed", || !folders[0].exists()).await;
    until("the keeper has ended", || keepers(&folders[0]) == 0).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_end_of_the_input_ends_the_example_cleanly() {
    let mut apart = Apart::start();
    drop(apart.child.stdin.take());
    assert!(apart.child.wait().unwrap().success());
    assert_eq!(folders(apart.folder.path()), Vec::<PathBuf>::new());
}
