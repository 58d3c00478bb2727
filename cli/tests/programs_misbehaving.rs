//! Programs, and DMTCP itself, that do what they should not: a clear message or the right result, and nothing left behind.

#![allow(clippy::unwrap_used, clippy::panic, reason = "tests may fail, and their helpers with them")]

mod common;

use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::Path;
use std::process::Command;

use common::programs::{Folder, has, invocations};
use common::{Ended, dmtcp, processes_with, workspace};
use limitless_faas::program;
use serde_json::{Value, json};

const PYTHON: &str = "/usr/bin/python3";
/// What a program that was stopped in many places must come to all the same.
const N: u64 = 400_000_000_000_063;

/// A folder with one program, whose name is that of its file without the ending.
fn python(name: &str, source: &str, more: &str) -> Folder {
    let folder = Folder::new(&format!(
        "[[program]]\nname = \"{name}\"\ncommand = \"{PYTHON}\"\nargs = [\"{name}.py\"]\nstdin = \"none\"\nfiles = [\"{name}.py\"]\n{more}\n"
    ));
    folder.write(&format!("{name}.py"), source);
    folder
}

fn message(report: &Value) -> &str {
    report["error"]["message"].as_str().unwrap()
}

#[test]
fn a_program_that_forks_without_end_is_ended_with_all_that_it_became() {
    if !dmtcp::is_installed() || !has(PYTHON) {
        return;
    }
    let mark = tempfile::tempdir().unwrap();
    let mark = mark.path().display().to_string();
    let more = format!("env = {{ MARK = \"{mark}\" }}");
    let folder = python("forks", "import os\nwhile True: os.fork()\n", &more);
    let args = ["run", "forks", "--time-limit", "120s", "--memory", "60000", "--json"];
    let report = folder.run(&args).expect(1).json();
    assert!(message(&report).contains("more than 400 processes at once"), "{report}");
    assert_eq!(invocations(&report).len(), 1, "{report}");
    assert_eq!(processes_with(&format!("MARK={mark}")), [""; 0]);
}

#[test]
fn what_prints_without_end_fills_neither_memory_nor_disk() {
    if !dmtcp::is_installed() {
        return;
    }
    let folder = Folder::new(
        "[[program]]\nname = \"prints\"\ncommand = \"sh\"\n\
         args = [\"-c\", \"yes 'a line of some length, again and again' | head -c {input.mb}M; echo 1 > out.json\"]\n\
         stdin = \"none\"\nstdout = \"file:out.json\"\n",
    );
    // The function and its program have no more memory than this.
    let args =
        ["run", "prints", "--input", r#"{"mb": 100}"#, "--time-limit", "300s", "--memory", "128", "--json"];
    let report = folder.run(&args).expect(0).json();
    assert_eq!(report["result"], json!(1), "{report}");
    let kept: u64 = fs::read_dir(folder.path().join(".faas/logs"))
        .unwrap()
        .map(|file| file.unwrap().metadata().unwrap().len())
        .sum();
    assert!(kept < 33 << 20, "{kept} bytes on the disk");
}

#[test]
fn bytes_that_are_no_text_change_nothing() {
    if !dmtcp::is_installed() || !has(PYTHON) {
        return;
    }
    let source = "import sys\nsys.stderr.buffer.write(bytes(range(256)) * 300)\nsys.stdout.buffer.write(bytes(range(255, -1, -1)))\n\
                  open('out.json', 'w').write('7')\n";
    let folder = python("binary", source, "stdout = \"file:out.json\"");
    let report = folder.run(&["run", "binary", "--json"]).expect(0).json();
    assert_eq!(report["result"], json!(7), "{report}");
    let printed = folder.run(&["logs", "last", "--json"]).expect(0).json();
    assert!(printed.to_string().contains("ABCDEFGH"), "{printed}");
}

#[test]
fn a_program_that_ignores_every_signal_is_saved_all_the_same() {
    if !dmtcp::is_installed() || !has(PYTHON) {
        return;
    }
    let factors = fs::read_to_string(workspace().join("examples/programs/factors.py")).unwrap();
    let source = format!(
        "import signal, sys\nfor number in range(1, signal.NSIG):\n    try: signal.signal(number, signal.SIG_IGN)\n    \
         except (OSError, ValueError): pass\nsignal.pthread_sigmask(signal.SIG_BLOCK, signal.valid_signals())\n\
         sys.argv = ['factors.py', '{N}']\n{factors}"
    );
    let folder = python("deaf", &source, "");
    let report = folder.run(&["run", "deaf", "--time-limit", "3s", "--json"]).expect(0).json();
    assert_eq!(report["result"], json!([N]), "{report}");
    assert!(invocations(&report).len() >= 2, "{report}");
}

/// Blocks all signals without its C library, which would have told DMTCP.
#[cfg(target_arch = "x86_64")]
const STUBBORN: &str = r#"
#include <stdio.h>
#include <time.h>
int main(void) {
    unsigned long all = ~0ul;
    long result;
    register long size __asm__("r10") = sizeof all;
    __asm__ volatile("syscall" : "=a"(result) : "a"(14), "D"(0), "S"(&all), "d"(0), "r"(size) : "rcx", "r11", "memory");
    for (time_t end = time(0) + 600; time(0) < end;) {}
    return result != 0;
}
"#;

#[cfg(target_arch = "x86_64")]
#[test]
fn a_program_that_can_not_be_stopped_is_told_before_the_limit() {
    if !dmtcp::is_installed() {
        return;
    }
    let folder = Folder::new(
        "[[program]]\nname = \"stubborn\"\ncommand = \"./stubborn\"\nstdin = \"none\"\nfiles = [\"stubborn\"]\n",
    );
    let source = folder.write("stubborn.c", STUBBORN);
    let mut command = Command::new("cc");
    command.args(["-O2", "-o", "stubborn"]).arg(source).current_dir(folder.path());
    assert!(command.status().unwrap().success());
    let ended = folder.run(&["run", "stubborn", "--time-limit", "3s"]);
    assert!(ended.code != 0 && ended.stderr.contains("did not stop for its image"), "{}", ended.stderr);
}

/// DMTCP as it is installed, but for what `restart` does in place of `dmtcp_restart`; `$REAL` is the real one.
fn dmtcp_with(folder: &Path, restart: &str) {
    let real = program::dmtcp().unwrap();
    let bin = folder.join("bin");
    fs::create_dir_all(&bin).unwrap();
    for tool in fs::read_dir(&real).unwrap().flatten() {
        if tool.file_name() != "dmtcp_restart" {
            symlink(tool.path(), bin.join(tool.file_name())).unwrap();
        }
    }
    let script = format!("#!/bin/sh\nREAL='{}'\n{restart}\n", real.join("dmtcp_restart").display());
    fs::write(bin.join("dmtcp_restart"), script).unwrap();
    fs::set_permissions(bin.join("dmtcp_restart"), fs::Permissions::from_mode(0o755)).unwrap();
}

#[test]
fn a_restart_that_hangs_is_ended_and_gives_way_to_the_generation_before() {
    // It takes long enough for two images also where Python is fast.
    const PRIME: u64 = 36_028_797_018_963_913;
    if !dmtcp::is_installed() || !has(PYTHON) {
        return;
    }
    let factors = fs::read_to_string(workspace().join("examples/programs/factors.py")).unwrap();
    let source = format!("import sys\nsys.argv = ['factors.py', '{PRIME}']\n{factors}");
    // It is saved halfway through an invocation; going on has the other half.
    let folder = python("factors", &source, "margin = \"11s\"");
    let tools = tempfile::tempdir().unwrap();
    let begun = tools.path().join("begun").display().to_string();
    // The second one.
    let hangs =
        format!("echo >> {begun}; [ $(wc -l < {begun}) != 2 ] || exec sleep 600\nexec \"$REAL\" \"$@\"");
    dmtcp_with(tools.path(), &hangs);
    let mut command = folder.command(&["run", "factors", "--time-limit", "14s", "--json"]);
    let ended: Ended = command.env("DMTCP_ROOT", tools.path()).output().unwrap().into();
    let ended = ended.expect(0);
    assert_eq!(ended.json()["result"], json!([PRIME]), "{}", ended.stderr);
    let printed = folder.run(&["logs", "last"]).expect(0).stdout;
    for words in ["did not go on from its image within", "going on from the checkpoint before it"] {
        assert!(printed.contains(words), "{printed}");
    }
}
