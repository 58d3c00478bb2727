//! The client that JavaScript applications use, from npm, as it is.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test fails by panicking")]

mod common;

use std::io::Write as _;
use std::path::Path;
use std::process::Command;

use common::{Bench, config};

/// Installs the client into `folder`; says why not, where there is no npm or nothing to install from.
fn install(folder: &Path) -> Result<(), String> {
    let npm = Command::new("npm")
        .args([
            "install",
            "--no-audit",
            "--no-fund",
            "--prefer-offline",
            "--fetch-retries=0",
            "openwhisk@3.21",
        ])
        .current_dir(folder)
        .output()
        .map_err(|error| format!("npm can't be run: {error}"))?;
    if npm.status.success() {
        return Ok(());
    }
    Err(format!("npm can't install openwhisk@3.21: {}", String::from_utf8_lossy(&npm.stderr).trim()))
}

#[tokio::test(flavor = "multi_thread")]
async fn the_javascript_client_works() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("package.json"), "{}").unwrap();
    if let Err(why) = install(folder.path()) {
        // Not `eprintln!`: a passing test's output would not be seen.
        writeln!(std::io::stderr(), "skipped: {why}").unwrap();
        return;
    }
    std::fs::copy(
        concat!(env!("CARGO_MANIFEST_DIR"), "/tests/npm/client.js"),
        folder.path().join("client.js"),
    )
    .unwrap();
    let bench = Bench::start(config()).await;
    let mut node = Command::new("node");
    node.arg("client.js").current_dir(folder.path());
    node.env("__OW_API_HOST", bench.platform.url()).env("__OW_API_KEY", bench.platform.api_key().as_str());
    for proxy in ["PROXY", "proxy", "HTTP_PROXY", "http_proxy", "HTTPS_PROXY", "https_proxy"] {
        node.env_remove(proxy);
    }
    let output = tokio::task::spawn_blocking(move || node.output()).await.unwrap().unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success() && output.stdout == b"done\n", "{said}");
    bench.platform.shutdown().await;
}
