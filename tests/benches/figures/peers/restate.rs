//! Restate: one server on this machine, which calls a service of its Node SDK over HTTP/2.

use std::path::Path;
use std::process::Command;

use limitless_faas_tests::until;
use serde_json::json;

use super::super::stores::free_port;
use super::peer::{Peer, STARTING, Start};
use super::process::Process;

/// The service holds a connection to the server for as long as a handler runs.
pub(super) async fn streams(programs: &Path) -> Result<Peer, String> {
    start(programs, "Restate", "streams").await
}

/// Each invocation is a request with one answer, as on platforms for functions.
pub(super) async fn calls(programs: &Path) -> Result<Peer, String> {
    start(programs, "Restate", "calls").await
}

async fn start(programs: &Path, name: &'static str, mode: &str) -> Result<Peer, String> {
    let folder = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).map_err(|error| error.to_string())?;
    let (ingress, admin, node, service) = (free_port(), free_port(), free_port(), free_port());
    let on = |port: u16| format!("127.0.0.1:{port}");
    let package = "node_modules/@restatedev/restate-server-linux-x64/bin/restate-server";
    let mut command = Command::new(programs.join(package));
    command.args([
        "--no-logo",
        "--node-name",
        "peer",
        "--bind-ip",
        "127.0.0.1",
        "--listen-mode",
        "tcp",
        "--base-dir",
    ]);
    command.arg(folder.path()).current_dir(folder.path());
    command.env("RESTATE_BIND_ADDRESS", on(node)).env("RESTATE_ADMIN__BIND_ADDRESS", on(admin));
    command.env("RESTATE_INGRESS__BIND_ADDRESS", on(ingress));
    command.env("RESTATE_DISABLE_TELEMETRY", "true").env("DO_NOT_TRACK", "1");
    let server = Process::start(command, "-KILL")?;
    let arguments = vec!["restate.mjs".to_owned(), service.to_string(), mode.to_owned()];
    let start = Start { programs: programs.to_owned(), arguments };
    let program = Some(start.run()?);
    let client = reqwest::Client::new();
    let registration = json!({ "uri": format!("http://{}", on(service)) }).to_string();
    // It is refused until the service listens and the server has made its partitions.
    until("Restate knows the service", STARTING, async || {
        let request = client.post(format!("http://{}/deployments", on(admin)));
        let request = request.header("content-type", "application/json").body(registration.clone());
        request.send().await.ok().filter(|answer| answer.status().is_success())
    })
    .await;
    let url = format!("http://{}/{mode}", on(ingress));
    Ok(Peer { name, url, program, start, server, client, _folder: folder })
}
