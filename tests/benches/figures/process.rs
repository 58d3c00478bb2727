//! The function process of the `factors` example: how large, how soon, how heavy.

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Instant;

use command_fds::{CommandFdExt, FdMapping};

use super::{Figure, median};

const STARTS: usize = 41;

pub(super) fn figures() -> Vec<Figure> {
    let plain = build(&[], "plain");
    let tls = build(&["--features", "factors/tls"], "tls");
    let (first_answer, rss_kb): (Vec<f64>, Vec<f64>) = (0..STARTS).map(|_| start(&plain)).unzip();
    let (first_answer, rss_mb) = (median(first_answer), median(rss_kb) / 1024.0);
    let size_mb = |path: &Path| path.metadata().unwrap().len() as f64 / 1e6;
    let (plain_mb, tls_mb) = (size_mb(&plain), size_mb(&tls));
    vec![
        Figure::new("spawn to first answer", "≤ 5 ms", format!("{first_answer:.2} ms"), first_answer <= 5.0),
        Figure::new("resident memory after it", "< 6 MB", format!("{rss_mb:.1} MB"), rss_mb < 6.0),
        Figure::new("binary without TLS", "< 2.5 MB", format!("{plain_mb:.2} MB"), plain_mb < 2.5),
        Figure::new("binary with TLS", "< 6 MB", format!("{tls_mb:.2} MB"), tls_mb < 6.0),
    ]
}

/// The release binary, in a target folder of its own kind of build.
fn build(features: &[&str], name: &str) -> PathBuf {
    let target = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("factors-{name}"));
    let cargo = std::env::var("CARGO").unwrap_or_else(|_| "cargo".to_owned());
    let mut command = Command::new(cargo);
    command.args(["build", "--release", "--quiet", "--package", "factors"]).args(features);
    assert!(command.env("CARGO_TARGET_DIR", &target).status().unwrap().success());
    target.join("release/factors")
}

/// Milliseconds from spawn to the first answer, and the resident memory then in kilobytes.
fn start(program: &Path) -> (f64, f64) {
    let listener = TcpListener::bind(("127.0.0.1", 0)).unwrap();
    let address = listener.local_addr().unwrap();
    let mut command = Command::new(program);
    command.env("LISTEN_FDS", "1").stdout(Stdio::null()).stderr(Stdio::null());
    command.fd_mappings(vec![FdMapping { parent_fd: listener.into(), child_fd: 3 }]).unwrap();
    let started = Instant::now();
    let mut child = command.spawn().unwrap();
    let mut stream = TcpStream::connect(address).unwrap();
    let body = r#"{"value":{"n":360},"action_name":"/guest/factors","activation_id":"a","deadline":"9999999999999"}"#;
    let length = body.len();
    write!(
        stream,
        "POST /run HTTP/1.1\r\nHost: x\r\nConnection: close\r\nContent-Length: {length}\r\n\r\n{body}"
    )
    .unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    let elapsed = started.elapsed().as_secs_f64() * 1000.0;
    assert!(answer.contains("[2,2,2,3,3,5]"), "{answer}");
    let status = std::fs::read_to_string(format!("/proc/{}/status", child.id())).unwrap();
    let rss = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap();
    let rss_kb = rss.trim().trim_end_matches(" kB").parse().unwrap();
    child.kill().unwrap();
    child.wait().unwrap();
    (elapsed, rss_kb)
}
