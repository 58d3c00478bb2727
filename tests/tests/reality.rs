//! Misfortune that no injected fault stands in for: a process that is frozen and wakes too late, a disk that is full.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::print_stderr,
    reason = "tests may fail, and say aloud what they skip"
)]

mod alone;

use std::collections::BTreeSet;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use alone::{Process, raw, start};
use limitless_faas_core::ExecutionId;
use limitless_faas_core::log::{Entry, Execution, Kind, Phase, Stored, fold};
use limitless_faas_store::Log;
use serde_json::json;

const PATIENCE: Duration = Duration::from_secs(120);
/// Where a test finds itself in a mount namespace of its own.
const PLACE: &str = "LIMITLESS_TEST_PLACE";

/// The handler `stairs` in a process of its own, whose successors reach nobody.
fn stairs(store: &Path, limit_ms: u32, faults: &str) -> Process {
    start(&[
        ("LIMITLESS_HANDLER", "stairs"),
        ("LIMITLESS_GATEWAY_URL", "http://127.0.0.1:1"),
        ("LIMITLESS_STORE", &format!("file:{}", store.display())),
        ("LIMITLESS_STORE_FAULTS", faults),
        ("LIMITLESS_TIME_LIMIT_MS", &limit_ms.to_string()),
    ])
}

type Answer = (u16, String, String);

/// Calls it in the background, under the key `k`.
fn call(process: &Process, n: u32, pause_ms: u32, file: &Path) -> JoinHandle<Answer> {
    let (port, body) = (process.port, json!({ "n": n, "pause_ms": pause_ms, "file": file }).to_string());
    std::thread::spawn(move || raw(port, "POST", "/", "Idempotency-Key: k\r\n", &body))
}

fn execution() -> ExecutionId {
    ExecutionId::derive("stairs", "k")
}

/// The numbers of the steps whose effects have happened so far.
fn effects(file: &Path) -> Vec<u32> {
    let text = std::fs::read_to_string(file).unwrap_or_default();
    text.lines().map(|line| line.parse().unwrap()).collect()
}

fn wait_until(what: &str, mut is_so: impl FnMut() -> bool) {
    let until = Instant::now() + PATIENCE;
    while !is_so() {
        assert!(Instant::now() < until, "it never came so far that {what}");
        std::thread::sleep(Duration::from_millis(10));
    }
}

fn log(store: &Path) -> (Execution, Vec<Entry>) {
    let store = limitless_faas_store::open(&format!("file:{}", store.display())).unwrap();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let entries = runtime.block_on(Log::new(Arc::clone(&store), execution()).entries(0)).unwrap();
    (fold(&entries).unwrap().unwrap(), entries)
}

/// Asks until the execution has ended.
fn see_through(process: &Process, store: &Path) -> Execution {
    let body = json!({ "$limitless": { "resume": execution() } }).to_string();
    let until = Instant::now() + PATIENCE;
    loop {
        let answer = raw(process.port, "POST", "/", "", &body);
        let (folded, _) = log(store);
        if folded.status().is_terminal() {
            return folded;
        }
        assert!(Instant::now() < until, "no end; the last answer is {answer:?}, the log {folded:#?}");
        std::thread::sleep(Duration::from_millis(50));
    }
}

#[test]
fn a_process_that_wakes_after_its_lease_is_fenced() {
    const STEPS: u32 = 200;
    let folder = tempfile::tempdir().unwrap();
    let (store, file) = (folder.path().join("store"), folder.path().join("effects"));
    let frozen = stairs(&store, 2500, "");
    let calling = call(&frozen, STEPS, 20, &file);
    wait_until("some steps are recorded", || effects(&file).len() > 10);
    frozen.signal("STOP");
    let before = effects(&file).len();
    // Whoever takes over waits for the lease: nobody vouches that the frozen process is dead.
    let successor = stairs(&store, 60_000, "");
    let ended = see_through(&successor, &store);
    assert_eq!(ended.phase, Phase::Completed(Stored::Json(STEPS.to_string())));
    let (after, (_, entries)) = (effects(&file), log(&store));
    let repeated = after.len() - after.iter().collect::<BTreeSet<_>>().len();
    assert!(repeated <= 1, "only the step under way when it froze runs again, not {repeated}");
    assert!(before < STEPS as usize && after.len() >= STEPS as usize, "{before} of {}", after.len());
    assert!(entries.iter().any(|entry| matches!(entry.kind, Kind::Claimed { .. })), "{entries:#?}");

    frozen.signal("CONT");
    let (status, _, body) = calling.join().unwrap();
    // It may say what the log says, or that it does not know; nothing else.
    assert!(status != 200 || body == STEPS.to_string(), "{status}: {body}");
    let (folded, afterwards) = log(&store);
    assert_eq!((folded, afterwards), (ended, entries), "what wakes too late changes nothing in the log");
    let zombies = effects(&file).len() - after.len();
    assert!(zombies <= 1, "no step begins after one that could not be recorded, but {zombies} did");
}

#[test]
fn a_store_that_commits_and_reports_failure_gets_every_step_once() {
    const STEPS: u32 = 60;
    let folder = tempfile::tempdir().unwrap();
    let (store, file) = (folder.path().join("store"), folder.path().join("effects"));
    let process = stairs(&store, 60_000, "seed=7,lost-ack=0.5");
    let (status, _, body) = call(&process, STEPS, 1, &file).join().unwrap();
    assert_eq!((status, body), (200, STEPS.to_string()));
    assert_eq!(effects(&file), (0..STEPS).collect::<Vec<_>>());
    let (folded, entries) = log(&store);
    assert_eq!(folded.phase, Phase::Completed(Stored::Json(STEPS.to_string())));
    let ends = entries.iter().filter(|entry| matches!(entry.kind, Kind::Completed { .. })).count();
    assert_eq!(ends, 1, "{entries:#?}");
}

/// Runs the named test again in a mount namespace with a small file system; skips aloud where that is not allowed.
fn run_on_a_small_disk(test: &str) {
    let folder = tempfile::tempdir().unwrap();
    let mounted = format!("mount -t tmpfs -o size=1m tmpfs '{}'", folder.path().display());
    let unshare = |script: &str| {
        let mut command = Command::new("unshare");
        command.args(["--user", "--map-root-user", "--mount", "sh", "-ec", script]);
        command.arg(std::env::current_exe().unwrap());
        command
    };
    if !unshare(&mounted).output().is_ok_and(|output| output.status.success()) {
        eprintln!("skipped {test}: this machine does not let a test mount file systems");
        return;
    }
    let again = format!("{mounted} && exec \"$0\" --exact {test} --nocapture");
    let status = unshare(&again).env(PLACE, folder.path()).status().unwrap();
    assert!(status.success(), "{test} failed on its small disk");
}

/// Writes until nothing more fits.
fn fill(ballast: &Path) {
    let mut file = std::fs::File::create(ballast).unwrap();
    while file.write_all(&[7; 4096]).is_ok() {}
    while file.write_all(&[7]).is_ok() {}
}

#[test]
fn a_full_disk_holds_steps_up_and_none_is_lost_or_repeated() {
    const STEPS: u32 = 400;
    let Some(place) = std::env::var_os(PLACE).map(PathBuf::from) else {
        run_on_a_small_disk("a_full_disk_holds_steps_up_and_none_is_lost_or_repeated");
        return;
    };
    let elsewhere = tempfile::tempdir().unwrap();
    let (store, file, ballast) =
        (place.join("store"), elsewhere.path().join("effects"), place.join("ballast"));
    let process = stairs(&store, 100_000, "");
    let calling = call(&process, STEPS, 2, &file);
    wait_until("some steps are recorded", || effects(&file).len() > 3);
    fill(&ballast);
    // Some records still fit where their segment's last page has room.
    let mut held = (effects(&file).len(), Instant::now());
    wait_until("steps wait for space", || {
        let now = effects(&file).len();
        if now != held.0 {
            held = (now, Instant::now());
        }
        held.1.elapsed() > Duration::from_secs(1)
    });
    assert!(held.0 < STEPS as usize && !calling.is_finished(), "the disk was not full for them");
    std::fs::remove_file(&ballast).unwrap();
    let (status, _, body) = calling.join().unwrap();
    assert_eq!((status, body), (200, STEPS.to_string()));
    assert_eq!(effects(&file), (0..STEPS).collect::<Vec<_>>());
    assert_eq!(log(&store).0.phase, Phase::Completed(Stored::Json(STEPS.to_string())));
}
