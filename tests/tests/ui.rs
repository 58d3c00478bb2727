//! Each file in `ui/` is one mistake; beside it is what its author reads.
#![allow(clippy::unwrap_used, reason = "in tests what is wrong panics")]

use std::path::{Path, PathBuf};
use std::process::Command;

/// `TRYBUILD=overwrite cargo test --test ui` writes the messages anew: read each as the user would.
#[test]
fn mistakes() {
    let cases = trybuild::TestCases::new();
    cases.compile_fail("tests/ui/*.rs");
}

/// The profile is no part of a file, so this one is compiled by hand.
#[test]
fn panic_abort() {
    let source = "#[limitless_faas::handler] fn add(a: u64, b: u64) -> u64 { a + b }\nfn main() {}";
    assert!(compile(source, "unwind").is_ok());
    let message = compile(source, "abort").unwrap_err();
    let wanted = "error: a handler is suspended by unwinding, which `panic = \"abort\"` forbids";
    assert!(message.contains(wanted), "{message}");
    assert!(message.contains("help: take `panic = \"abort\"` out of the profile in Cargo.toml"), "{message}");
}

fn compile(source: &str, panic: &str) -> Result<(), String> {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("main.rs");
    std::fs::write(&file, source).unwrap();
    let libraries = std::env::current_exe().unwrap().parent().unwrap().to_owned();
    let library = newest(&libraries, "liblimitless_faas-");
    let output = Command::new(std::env::var_os("RUSTC").unwrap_or("rustc".into()))
        .args(["--edition=2024", "--emit=metadata", "--crate-type=bin", "-C"])
        .arg(format!("panic={panic}"))
        .arg(format!("--extern=limitless_faas={}", library.display()))
        .arg(format!("-Ldependency={}", libraries.display()))
        .arg("--out-dir")
        .args([folder.path(), &file])
        .output()
        .unwrap();
    if output.status.success() { Ok(()) } else { Err(String::from_utf8_lossy(&output.stderr).into_owned()) }
}

/// Builds with other features leave theirs beside the one that this test was built with.
fn newest(folder: &Path, prefix: &str) -> PathBuf {
    let files = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    let named = files.filter(|file| {
        let name = file.file_name().unwrap().to_string_lossy().into_owned();
        name.starts_with(prefix) && file.extension().is_some_and(|extension| extension == "rlib")
    });
    named.max_by_key(|file| file.metadata().unwrap().modified().unwrap()).unwrap()
}
