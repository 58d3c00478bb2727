//! Stores over a network: Redis behind a [line](line::Line) with 20 ms and 100 MB/s, and real servers on this machine.
//!
//! Needs the feature `stores`, and leaves out aloud what is not installed here.

mod checkpoints;
mod executions;
mod line;
#[path = "../../../../store/tests/servers/mod.rs"]
mod servers;

use std::sync::Arc;
use std::time::Duration;

use limitless_faas_store::{Encrypted, FolderStore, Keys, Settings, Store, StoreErrorKind};

use self::checkpoints::{STATE_MB, Saves};
use self::line::Line;
pub(super) use self::servers::free_port;
use self::servers::or_skip;
use super::{Figure, median};

/// A benchmark that hangs tells nobody anything.
const LONGEST: Duration = Duration::from_secs(220);

fn end_in_time() {
    std::thread::spawn(|| {
        std::thread::sleep(LONGEST);
        println!("the figures of stores took more than {} s, and were given up", LONGEST.as_secs());
        std::process::exit(1);
    });
}

fn redis_url(port: u16, folder: &str) -> String {
    format!("redis://127.0.0.1:{port}/0/{folder}")
}

fn open(url: &str, settings: &Settings) -> Arc<dyn Store> {
    limitless_faas_store::open_with(url, settings).unwrap()
}

fn open_redis(port: u16, folder: &str) -> Arc<dyn Store> {
    open(&redis_url(port, folder), &Settings::new(|_| None))
}

fn encrypted(store: Arc<dyn Store>) -> Arc<dyn Store> {
    Arc::new(Encrypted::new(store, Keys::parse(&"5a".repeat(32)).unwrap()))
}

/// The parts of these figures, each to be asked for by itself.
pub(super) const PARTS: [&str; 4] = ["stores-large", "stores-small", "stores-encrypted", "stores-servers"];

pub(super) async fn figures(is_wanted: impl Fn(&str) -> bool) -> Vec<Figure> {
    let lacks = |url| {
        let opened = limitless_faas_store::open(url);
        opened.is_err_and(|error| error.kind() == StoreErrorKind::NotSupported)
    };
    if lacks("redis://localhost") || lacks("sftp://localhost/x") || lacks("s3://x") {
        println!("skipped the figures of stores: they need `--features stores`");
        return Vec::new();
    }
    end_in_time();
    let mut figures = Vec::new();
    // How long a write takes is the line's to say.
    if let Some(redis) = or_skip("the figures over a line", servers::redis_syncing("no")) {
        let line = Line::to(redis.port);
        if is_wanted("stores-large") {
            figures.extend(executions::large_state(redis.port, &line).await);
        }
        if is_wanted("stores-small") {
            figures.push(executions::round_trips(redis.port, &line).await);
        }
        if is_wanted("stores-encrypted") {
            figures.extend(of_line(&line).await);
        }
    }
    if is_wanted("stores-servers") {
        figures.extend(of_servers().await);
    }
    figures
}

/// What the store's own code does over the line, with and without encryption.
async fn of_line(line: &Line) -> Vec<Figure> {
    let plain = checkpoints::measure(open_redis(line.port, "plain")).await;
    let sealed = checkpoints::measure(encrypted(open_redis(line.port, "sealed"))).await;
    let ratio = |of: fn(&Saves) -> f64| of(&sealed) / of(&plain);
    let (saving, reading) = (ratio(|saves| saves.first_s), ratio(|saves| saves.read_s));
    let measured = |ratio: f64, plain: f64| format!("{ratio:.2} × of {plain:.2} s");
    vec![
        Figure::new(
            "100 MB saved with encryption, 20 ms and 100 MB/s",
            "≤ 1.25 ×",
            measured(saving, plain.first_s),
            saving <= 1.25,
        ),
        Figure::new(
            "the same read back and verified",
            "≤ 1.25 ×",
            measured(reading, plain.read_s),
            reading <= 1.25,
        ),
    ]
}

/// Real servers on this machine, one after the other, and a folder beside them.
async fn of_servers() -> Vec<Figure> {
    let mut figures = Vec::new();
    let folder = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
    figures.push(of_server("a folder", Arc::new(FolderStore::new(folder.path()).unwrap())).await);
    if let Some(redis) = or_skip("Redis's figures", servers::redis()) {
        figures.push(of_server("Redis, each write synced", open_redis(redis.port, "near")).await);
    }
    if let Some(sshd) = or_skip("OpenSSH's figures", servers::sshd()) {
        let (key, host) = (sshd.file("user"), sshd.file("host.pub"));
        let settings = Settings::new(move |name| match name {
            "SFTP_PRIVATE_KEY" => Some(key.clone()),
            "SFTP_HOST_KEYS" => Some(host.clone()),
            _ => None,
        });
        figures.push(of_server("OpenSSH", open(&servers::sftp_url(&sshd), &settings)).await);
    }
    if let Some(moto) = or_skip("moto's figures", servers::moto()) {
        let settings = Settings::new(|name| {
            name.starts_with("AWS_")
                .then(|| if name == "AWS_REGION" { "us-east-1" } else { "testing" }.to_owned())
        });
        let url = format!(
            "s3://bucket/near?endpoint=http://127.0.0.1:{}&path_style=true&allow_http=true",
            moto.port
        );
        figures.push(of_server("S3 by moto", open(&url, &settings)).await);
    }
    figures
}

async fn of_server(name: &'static str, store: Arc<dyn Store>) -> Figure {
    let entry_ms = checkpoints::entry_ms(&store).await;
    let saves = checkpoints::measure(store).await;
    let measured = format!(
        "{:.2} s; the next {:.0} ms and {:.2} MB; read back {:.2} s; an entry {entry_ms:.1} ms",
        saves.first_s, saves.next_ms, saves.moved_mb, saves.read_s
    );
    Figure::new(name, format!("{STATE_MB} MB, then 1 % of it"), measured, true)
}
