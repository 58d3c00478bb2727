//! How much longer a program takes where it is stopped and moved all the time.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Instant;

use super::Figure;
use super::folder::{Folder, invocations, seconds};

/// A prime: all divisors up to its root are tried.
const PRIME: &str = "160000000000000009";

pub(super) fn figures() -> Vec<Figure> {
    let factors = measured("factors.py", &[PRIME], None);
    let matrix = measured("matrix.py", &[], Some(r#"{"n": 950}"#));
    [("wall time of factors in Python, limit 5 s", factors), ("the same of matrix", matrix)]
        .map(|(what, (ratio, invocations))| {
            let measured = format!("{ratio:.3} × over {invocations} invocations");
            Figure::new(what, "≤ 1.10 ×", measured, ratio <= 1.1 && invocations >= 10)
        })
        .into()
}

/// The time over several invocations against that of the program alone, and how many they were.
fn measured(file: &str, args: &[&str], input: Option<&str>) -> (f64, usize) {
    let program = Path::new(env!("CARGO_MANIFEST_DIR")).join("../examples/programs").join(file);
    let alone = alone(&program, args, input);
    // Braces in a declaration stand for fields of the input.
    let printed = input.unwrap_or_default().replace('{', r"\173").replace('}', r"\175");
    let shell = format!("printf '{printed}' | exec /usr/bin/python3 {file} {}", args.join(" "));
    let words: Vec<&str> = match input {
        // One process, as it is alone.
        None => [&["/usr/bin/python3", file], args].concat(),
        Some(_) => vec!["/bin/sh", "-c", &shell],
    };
    let report = Folder::new(&words, &program).run("5s");
    (seconds(&report["timings"], "wall_us") / alone, invocations(&report).len())
}

fn alone(program: &PathBuf, args: &[&str], input: Option<&str>) -> f64 {
    let folder = tempfile::tempdir().unwrap();
    let stdin = folder.path().join("input");
    std::fs::write(&stdin, input.unwrap_or_default()).unwrap();
    let mut command = Command::new("/usr/bin/python3");
    command.arg(program).args(args).stdin(std::fs::File::open(stdin).unwrap());
    let began = Instant::now();
    let status = command.stdout(Stdio::null()).stderr(Stdio::null()).status().unwrap();
    assert!(status.success());
    began.elapsed().as_secs_f64()
}
