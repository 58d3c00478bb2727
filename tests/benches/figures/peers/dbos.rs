//! DBOS: a library in the Node process, which keeps workflows in Postgres.

use std::os::unix::fs::chown;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use limitless_faas_tests::until;

use super::super::stores::free_port;
use super::peer::{Peer, STARTING, Start};
use super::process::Process;

/// A new database of Postgres, with its defaults: it syncs each commit.
pub(super) async fn start(programs: &Path) -> Result<Peer, String> {
    let told = |error: std::io::Error| error.to_string();
    let folder = tempfile::tempdir().map_err(told)?;
    let (database, service) = (free_port(), free_port());
    let binaries = binaries()?;
    let data = folder.path().join("data");
    let mut initdb = Command::new(binaries.join("initdb"));
    initdb.arg("-D").arg(&data).args(["-U", "postgres", "-A", "trust"]);
    let mut postgres = Command::new(binaries.join("postgres"));
    postgres.arg("-D").arg(&data).args(["-p", &database.to_string(), "-c", "listen_addresses=127.0.0.1"]);
    postgres.args(["-c", "unix_socket_directories="]);
    // It refuses to run for root.
    if let Some((user, group)) = unprivileged()? {
        chown(folder.path(), Some(user), Some(group)).map_err(told)?;
        for command in [&mut initdb, &mut postgres] {
            command.uid(user).gid(group).current_dir(folder.path());
        }
    }
    let made = initdb.output().map_err(told)?;
    if !made.status.success() {
        return Err(format!("initdb: {}", String::from_utf8_lossy(&made.stderr)));
    }
    // At once, with its clients connected.
    let server = Process::start(postgres, "-INT")?;
    until("PostgreSQL listens", STARTING, async || {
        tokio::net::TcpStream::connect(("127.0.0.1", database)).await.ok()
    })
    .await;
    let address = format!("postgres://postgres@127.0.0.1:{database}/steps");
    let arguments = vec!["dbos.mjs".to_owned(), service.to_string(), address];
    let start = Start { programs: programs.to_owned(), arguments };
    let program = Some(start.run()?);
    until("DBOS has made its tables", STARTING, async || {
        tokio::net::TcpStream::connect(("127.0.0.1", service)).await.ok()
    })
    .await;
    let url = format!("http://127.0.0.1:{service}");
    Ok(Peer { name: "DBOS", url, program, start, server, client: reqwest::Client::new(), _folder: folder })
}

/// Where the newest Postgres has its programs, on Debian.
fn binaries() -> Result<PathBuf, String> {
    let versions =
        std::fs::read_dir("/usr/lib/postgresql").map_err(|error| format!("no PostgreSQL: {error}"))?;
    let newest = versions.filter_map(Result::ok).map(|version| version.path().join("bin")).max();
    newest
        .filter(|path| path.join("postgres").is_file())
        .ok_or_else(|| "no PostgreSQL is installed".to_owned())
}

/// The user and group that Postgres is to run as, where this is root.
fn unprivileged() -> Result<Option<(u32, u32)>, String> {
    let id = |arguments: &[&str]| -> Result<u32, String> {
        let output = Command::new("id").args(arguments).output().map_err(|error| format!("id: {error}"))?;
        let text = String::from_utf8_lossy(&output.stdout);
        text.trim().parse().map_err(|_| format!("id {arguments:?} said {text:?}"))
    };
    if id(&["-u"])? != 0 {
        return Ok(None);
    }
    Ok(Some((id(&["-u", "postgres"])?, id(&["-g", "postgres"])?)))
}
