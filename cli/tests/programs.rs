//! Programs that nobody changed, through `cargo faas run`: under limits that they can't meet at once.

#![allow(clippy::print_stdout, reason = "a figure is printed")]
#![allow(clippy::unwrap_used, reason = "tests may fail, and their helpers with them")]

mod common;

use std::fs;
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use common::programs::{Folder, has, invocations};
use common::{Ended, dmtcp, workspace};
use rustix::process::Signal;
use serde_json::{Value, json};

/// Plain Python: a shim of a version manager would be several processes.
const PYTHON: &str = "/usr/bin/python3";

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
    if !dmtcp::is_installed() || !has(PYTHON) {
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
    if !dmtcp::is_installed() || !has(PYTHON) {
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

#[test]
fn faults_change_nothing_but_the_way() {
    if !dmtcp::is_installed() || !has(PYTHON) {
        return;
    }
    let folder = Folder::of_example();
    let input = r#"{"n": 400000000000063}"#;
    for seed in ["3", "4"] {
        let args = [
            "run",
            "factors",
            "--input",
            input,
            "--time-limit",
            "3s",
            "--faults",
            "all",
            "--seed",
            seed,
            "--json",
        ];
        let report = folder.run(&args).expect(0).json();
        assert_eq!(report["result"], json!([400_000_000_000_063_u64]), "seed {seed}: {report}");
    }
}

#[test]
fn a_damaged_image_gives_way_to_the_generation_before() {
    if !dmtcp::is_installed() || !has(PYTHON) {
        return;
    }
    let folder = Folder::of_example();
    let args = ["run", "factors", "--input", r#"{"n": 400000000000063}"#, "--time-limit", "2s", "--json"];
    let running = folder.start(&args);
    // Started, suspended, claimed, suspended: two generations.
    let execution = folder.wait_for_entries(4);
    running.signal(Signal::INT);
    running.wait();
    let packs = folder.path().join(".faas/store/executions").join(execution).join("packs");
    let newest = fs::read_dir(&packs).unwrap().map(|entry| entry.unwrap().path()).max().unwrap();
    let mut bytes = fs::read(&newest).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    fs::write(&newest, bytes).unwrap();
    let report = folder.run(&["resume", "last", "--time-limit", "20s", "--json"]).expect(0).json();
    assert_eq!(report["result"], json!([400_000_000_000_063_u64]), "{report}");
    let printed = folder.run(&["logs", "last"]).expect(0).stdout;
    assert!(printed.contains("going on from the checkpoint before it"), "{printed}");
}

#[test]
fn what_no_result_can_be_made_of_is_said() {
    if !dmtcp::is_installed() {
        return;
    }
    let folder = Folder::new(
        "[[program]]\nname = \"much\"\ncommand = \"sh\"\nargs = [\"-c\", \"yes\"]\nstdout = \"text\"\n\
         [[program]]\nname = \"binary\"\ncommand = \"printf\"\nargs = ['\\377\\376']\nstdout = \"text\"\n\
         [[program]]\nname = \"slow\"\ncommand = \"sleep\"\nargs = [\"60\"]\ntimeout = \"1s\"\n\
         [[program]]\nname = \"leaves\"\ncommand = \"sh\"\nargs = [\"-c\", \"sleep 60 & echo 1\"]\n",
    );
    for (name, words) in [
        ("much", "more than 4194304 bytes"),
        ("binary", "no UTF-8 text"),
        ("slow", "longer than its timeout of 1s"),
    ] {
        let failed = folder.run(&["run", name, "--json"]).expect(1).json();
        assert!(failed["error"]["message"].as_str().unwrap().contains(words), "{name}: {failed}");
    }
    // What it leaves running ends with it.
    assert_eq!(folder.run(&["run", "leaves", "--json"]).expect(0).json()["result"], json!(1));
}

#[test]
fn an_open_connection_to_somebody_else_is_named() {
    if !dmtcp::is_installed() || !has(PYTHON) {
        return;
    }
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    let folder = Folder::new(
        "[[program]]\nname = \"holds\"\ncommand = \"/usr/bin/python3\"\nargs = [\"holds.py\", \"{input.port}\"]\n\
         files = [\"holds.py\"]\n",
    );
    folder.write(
        "holds.py",
        "import socket, sys\nsocket.create_connection(('127.0.0.1', int(sys.argv[1]))).recv(1)\n",
    );
    let input = format!("{{\"port\": {port}}}");
    let ended = folder.run(&["run", "holds", "--input", &input, "--time-limit", "2s"]).expect(8);
    let words = format!("holds a connection to 127.0.0.1:{port} open");
    assert!(ended.stderr.contains(&words), "{}", ended.stderr);
}

/// The end of a program swept against the moment at which it is asked to yield: one result and one effect each time. The benchmark does it
/// more often.
#[test]
fn a_program_that_ends_while_it_is_asked_to_yield_ends_once() {
    const RUNS: u32 = 12;
    if !dmtcp::is_installed() || !has(PYTHON) {
        return;
    }
    let folder = Folder::new(
        "[[program]]\nname = \"ends\"\ncommand = \"/usr/bin/python3\"\nargs = [\"ends.py\", \"{input.ms}\", \"{input.mark}\"]\n\
         files = [\"ends.py\"]\nmargin = \"2s\"\n",
    );
    let program = "import sys, time\nend = time.monotonic() + int(sys.argv[1]) / 1000\nwhile time.monotonic() < end: pass\n\
                   open(sys.argv[2], 'a').write('end\\n')\nprint(1)\n";
    folder.write("ends.py", program);
    let mut yielded = 0;
    for run in 0..RUNS {
        let mark = folder.path().join(format!("mark-{run}"));
        // It is asked after half its limit, since no margin is larger, and saved within some tenths of a second.
        let ms = 1250 + 450 * run / RUNS;
        let input = json!({ "ms": ms, "mark": mark }).to_string();
        let report =
            folder.run(&["run", "ends", "--input", &input, "--time-limit", "3s", "--json"]).expect(0).json();
        assert_eq!(report["result"], json!(1), "{ms} ms: {report}");
        assert_eq!(fs::read_to_string(&mark).unwrap(), "end\n", "{ms} ms: {report}");
        yielded += u32::from(invocations(&report).len() > 1);
    }
    println!("{RUNS} runs, {RUNS} single results; {yielded} yielded before their end");
}

/// Where a test finds itself in a mount namespace of its own, with a small file system there.
const PLACE: &str = "LIMITLESS_TEST_SMALL_DISK";

/// It holds some images of a small program.
const SMALL_DISK_MB: usize = 240;

/// Runs the named test again where that is so; skips aloud where it is not allowed.
fn run_on_a_small_disk(test: &str) {
    let folder = tempfile::tempdir().unwrap();
    // Room for the images of a slow machine, on which the program needs some more of them.
    let mounted = format!("mount -t tmpfs -o size={SMALL_DISK_MB}m tmpfs '{}'", folder.path().display());
    let unshare = |script: &str| {
        let mut command = std::process::Command::new("unshare");
        command.args(["--user", "--map-root-user", "--mount", "sh", "-ec", script]);
        command.arg(std::env::current_exe().unwrap());
        command
    };
    if !unshare(&mounted).output().is_ok_and(|output| output.status.success()) {
        println!("skipped: this machine does not let a test mount file systems");
        return;
    }
    let again = format!("{mounted} && exec \"$0\" --exact {test} --nocapture");
    assert!(unshare(&again).env(PLACE, folder.path()).status().unwrap().success());
}

/// Waits until somebody wrote until nothing more fitted, and gave up.
fn wait_until_it_was_full(place: &Path) {
    let free = || {
        let there = rustix::fs::statvfs(place).unwrap();
        there.f_bavail * there.f_frsize
    };
    for is_over in [false, true] {
        let until = Instant::now() + Duration::from_secs(60);
        while (free() > 128 << 10) != is_over {
            assert!(Instant::now() < until, "the disk has {} bytes free", free());
            std::thread::sleep(Duration::from_millis(1));
        }
    }
}

#[test]
fn images_are_offered_again_to_a_store_whose_disk_was_full() {
    if !dmtcp::is_installed() || !has(PYTHON) {
        return;
    }
    let Some(place) = std::env::var_os(PLACE).map(PathBuf::from) else {
        return run_on_a_small_disk("images_are_offered_again_to_a_store_whose_disk_was_full");
    };
    let ballast = place.join("ballast");
    fs::write(&ballast, vec![7; (SMALL_DISK_MB - 4) << 20]).unwrap();
    let folder = Folder::new(
        "[[program]]\nname = \"factors\"\ncommand = \"/usr/bin/python3\"\nargs = [\"factors.py\", \"{input.n}\"]\nstdin = \"none\"\n\
         files = [\"factors.py\"]\nmargin = \"12s\"\n",
    );
    folder
        .write("factors.py", &fs::read_to_string(workspace().join("examples/programs/factors.py")).unwrap());
    let store = format!("file:{}", place.join("store").display());
    let input = r#"{"n": 3000000000000037}"#;
    let running = folder.start(&[
        "run",
        "factors",
        "--input",
        input,
        "--time-limit",
        "15s",
        "--store",
        &store,
        "--json",
    ]);
    wait_until_it_was_full(&place);
    fs::remove_file(ballast).unwrap();
    let report = running.wait().expect(0).json();
    assert_eq!(report["result"], json!([3_000_000_000_000_037_u64]), "{report}");
    assert!(invocations(&report).iter().all(|one| one["outcome"] != "lost"), "{report}");
    let id = report["execution"].as_str().unwrap();
    let printed = folder.run(&["logs", id, "--store", &store]).expect(0).stdout;
    assert!(printed.contains("the images are offered again"), "{printed}");
}
