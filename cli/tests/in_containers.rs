//! `--containers`: functions as images in a real engine, with the flags of the real platforms. Skipped aloud without one.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

mod common;

use std::collections::BTreeSet;
use std::fs;
use std::time::{Duration, Instant};

use common::containers::{docker, engine, text};
use common::{Ended, Sample};
use rustix::process::Signal;
use serde_json::{Value, json};

/// Leaves at each turn the name of the container that it is in.
const BOXES: &str = r#"
use std::path::Path;
use std::time::Duration;

use limitless_faas::handler;

#[handler]
fn boxed(n: u64, marks: String) -> u64 {
    let mut sum = 0;
    #[checkpoint]
    for i in 0..n {
        let name = std::fs::read_to_string("/etc/hostname").unwrap();
        std::fs::write(Path::new(&marks).join(name.trim()), "").unwrap();
        std::thread::sleep(Duration::from_millis(50));
        sum += i;
    }
    sum
}

#[handler]
fn says(line: String) -> String {
    println!("{line}");
    line
}

fn main() {
    limitless_faas::serve!(boxed, says);
}
"#;

/// The containers of this sample's images, running or not.
fn containers(sample: &str) -> Vec<String> {
    let listed = text(&docker(&["ps", "--all", "--no-trunc", "--format", "{{.ID}} {{.Image}}"]));
    let own = |line: &str| {
        let (id, image) = line.split_once(' ')?;
        image.starts_with(&format!("sample-{sample}:")).then(|| id.to_owned())
    };
    listed.lines().filter_map(own).collect()
}

#[track_caller]
fn wait_for(what: &str, mut is_so: impl FnMut() -> bool) {
    let until = Instant::now() + Duration::from_secs(60);
    while !is_so() {
        assert!(Instant::now() < until, "{what}");
        std::thread::sleep(Duration::from_millis(20));
    }
}

fn remove_images(sample: &str) {
    let listed = text(&docker(&["images", "--format", "{{.Repository}}:{{.Tag}}"]));
    for image in listed.lines().filter(|image| image.starts_with(&format!("sample-{sample}:"))) {
        docker(&["rmi", "--force", image]);
    }
}

#[test]
fn an_execution_over_containers_that_are_killed_gives_one_right_result() {
    if engine().is_none() {
        return;
    }
    let sample = Sample::with_main("boxes", BOXES);
    // The store's folder is what containers and this machine share.
    let marks = sample.state().join("store/marks");
    fs::create_dir_all(&marks).unwrap();
    let input = json!({ "n": 240, "marks": marks }).to_string();
    let faults = ["--faults", "kill=0.6", "--seed", "3"];
    let args = ["run", "boxed", "--input", &input, "--time-limit", "2s", "--containers", "--json"];
    let report = sample.run(&[&args[..], &faults].concat()).expect(0).json();
    assert_eq!((&report["status"], &report["result"]), (&json!("completed"), &json!(28680)), "{report}");
    let used = fs::read_dir(&marks).unwrap().count();
    assert!(used >= 5, "{used} containers: {report}");
    assert_eq!(containers("boxes"), [""; 0], "containers are left");
    remove_images("boxes");
}

/// `dev` with one warm container, which `check` looks at; then it is interrupted.
fn served_in_a_container(name: &str, platform: &str, check: impl FnOnce(&str)) {
    if engine().is_none() {
        return;
    }
    let sample = Sample::with_main(name, BOXES);
    let mut dev = sample.start(&[
        "dev",
        "--containers",
        "--platform",
        platform,
        "--no-watch",
        "--env",
        "WORDS=a b",
        "--json",
    ]);
    let told = dev.next_json();
    assert_eq!(told["status"], "serving", "{told}");
    let says = |line: &str| {
        let input = json!({ "line": line }).to_string();
        let said =
            Ended::from(sample.command(&["invoke", "says", "--input", &input]).output().unwrap()).expect(0);
        assert_eq!(said.stdout, format!("\"{line}\"\n"), "{}", said.stderr);
    };
    says("good evening");
    let warm = containers(name);
    // OpenFaaS starts one of each function at once.
    assert!(!warm.is_empty());
    check(&warm[0]);
    says("good night");
    dev.signal(Signal::INT);
    dev.wait().expect(0);
    assert_eq!(containers(name), [""; 0], "containers are left");
    sample.assert_nothing_left();
    remove_images(name);
}

/// Newer command lines write `CAP_` before them.
fn dropped(host: &Value) -> BTreeSet<&str> {
    let names = host["CapDrop"].as_array().unwrap().iter().map(|name| name.as_str().unwrap());
    names.map(|name| name.trim_start_matches("CAP_")).collect()
}

fn configuration(container: &str) -> Value {
    serde_json::from_str(&text(&docker(&["inspect", "-f", "{{json .HostConfig}}", container]))).unwrap()
}

#[test]
fn openwhisks_containers_have_its_flags_are_paused_when_idle_and_go_with_the_platform() {
    served_in_a_container("whisk-box", "openwhisk", |container| {
        let host = configuration(container);
        assert_eq!((&host["PidsLimit"], &host["Memory"]), (&json!(1024), &json!(256 << 20)), "{host}");
        assert_eq!(host["MemorySwap"], host["Memory"]);
        assert_eq!(dropped(&host), BTreeSet::from(["NET_RAW", "NET_ADMIN"]));
        assert_eq!((&host["CapAdd"], &host["Privileged"]), (&Value::Null, &json!(false)));
        assert_eq!(host["Ulimits"], json!([{ "Name": "nofile", "Hard": 1024, "Soft": 1024 }]));
        wait_for("it is not paused", || {
            text(&docker(&["inspect", "-f", "{{.State.Paused}}", container])) == "true"
        });
    });
}

#[test]
fn openfaass_containers_have_no_capabilities_and_run_on() {
    served_in_a_container("faas-box", "openfaas", |container| {
        let host = configuration(container);
        assert_eq!((dropped(&host), &host["Memory"]), (BTreeSet::from(["ALL"]), &json!(256 << 20)), "{host}");
        assert_eq!(text(&docker(&["inspect", "-f", "{{.State.Status}}", container])), "running");
    });
}

#[test]
fn what_can_not_run_in_a_container_is_told() {
    if engine().is_none() {
        return;
    }
    let sample = Sample::with_main("no-box", BOXES);
    for store in ["redis://127.0.0.1:1/0/faas", "memory:"] {
        let ended =
            sample.run(&["run", "says", "--input", r#"{"line": ""}"#, "--containers", "--store", store]);
        assert!(ended.code != 0 && ended.stderr.contains("help:"), "{store}: {}", ended.stderr);
    }
    assert_eq!(containers("no-box"), [""; 0]);
}

#[test]
fn without_an_engine_it_says_what_to_install() {
    let sample = Sample::new("no-engine");
    let mut command = sample.command(&["run", "says", "--input", r#"{"line": ""}"#, "--containers"]);
    let ended = Ended::from(command.env("LIMITLESS_ENGINE", "/no/such/engine").output().unwrap()).expect(7);
    assert!(ended.stderr.contains("help: install and start docker or podman"), "{}", ended.stderr);
}

/// A program that nobody changed, over containers that are killed at their limit: its images go from one to the next.
#[test]
fn a_python_program_goes_on_in_the_next_container() {
    if engine().is_none() || !common::dmtcp::is_installed() {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let new = common::faas()
        .args(["new", "contained", "--template", "program"])
        .current_dir(folder.path())
        .output();
    Ended::from(new.unwrap()).expect(0);
    let project = folder.path().join("contained");
    let faas = |args: &[&str]| Ended::from(common::faas().args(args).current_dir(&project).output().unwrap());
    let built = faas(&["build", "--json", "-o", "image.tar"]).expect(0).json();
    assert_eq!(built["images"][0]["handlers"], json!(["contained"]), "{built}");
    let input = r#"{"below": 700000}"#;
    let run = ["run", "contained", "--input", input, "--time-limit", "4s", "--containers", "--json"];
    let report = faas(&run).expect(0).json();
    assert_eq!(report["result"], json!([626_331, 509]), "{report}");
    assert!(report["invocations"].as_array().unwrap().len() > 1, "{report}");
    let listed = text(&docker(&["images", "--format", "{{.Repository}}:{{.Tag}}"]));
    for image in listed.lines().filter(|image| image.starts_with("contained:")) {
        docker(&["rmi", "--force", image]);
    }
}
