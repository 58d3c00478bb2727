//! Real servers, started for a test and ended with it.
//!
//! Programs come from the path; what is installed for these tests alone is looked for in the folder `LIMITLESS_TEST_SERVERS`, or
//! `target/ci/servers`. A server that is not there is skipped aloud, unless `LIMITLESS_TEST_SERVERS_REQUIRED` is set.

#![allow(dead_code, reason = "every test uses some of it")]

mod proxy;

use std::env;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use tempfile::TempDir;

#[allow(unused_imports, reason = "every test uses some of it")]
pub(crate) use proxy::Proxy;

/// A server that runs until this is dropped.
pub(crate) struct Server {
    child: Child,
    pub(crate) port: u16,
    pub(crate) folder: TempDir,
    pub(crate) version: String,
}

impl Server {
    /// What a file in its folder holds.
    pub(crate) fn file(&self, name: &str) -> String {
        std::fs::read_to_string(self.folder.path().join(name)).unwrap()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Why a server can't be had here.
type Missing = String;

/// The server, or none where it is missing, which is said.
pub(crate) fn or_skip(test: &str, server: Result<Server, Missing>) -> Option<Server> {
    match server {
        Ok(server) => {
            say(&format!("{test}: against {}", server.version));
            Some(server)
        }
        Err(why) => {
            assert!(env::var_os("LIMITLESS_TEST_SERVERS_REQUIRED").is_none(), "{test}: {why}");
            say(&format!("skipped {test}: {why}"));
            None
        }
    }
}

/// Past the capture of a test's output: what was skipped is to be seen in every run.
pub(crate) fn say(what: &str) {
    let _ = writeln!(std::io::stderr(), "{what}");
}

fn installed(below: &str) -> Result<PathBuf, Missing> {
    let folder = env::var_os("LIMITLESS_TEST_SERVERS")
        .map_or_else(|| Path::new(env!("CARGO_MANIFEST_DIR")).join("../target/ci/servers"), PathBuf::from);
    let path = folder.join(below);
    if path.exists() { Ok(path) } else { Err(format!("{below} is not installed below {}", folder.display())) }
}

fn program(names: &[&str]) -> Result<PathBuf, Missing> {
    let folders = env::var_os("PATH").unwrap_or_default();
    let folders = env::split_paths(&folders).chain(["/usr/sbin".into(), "/usr/lib/openssh".into()]);
    let found = folders
        .flat_map(|folder| names.iter().map(move |name| folder.join(name)))
        .find(|path| path.is_file());
    found.ok_or_else(|| format!("{} is not installed", names[0]))
}

pub(crate) fn free_port() -> u16 {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port()
}

fn version(command: &mut Command) -> String {
    let output = command.output().unwrap();
    let text = [output.stdout, output.stderr].concat();
    String::from_utf8_lossy(&text).lines().next().unwrap_or_default().trim().to_owned()
}

/// Starts a program and waits until it says `ready`, on either of its outputs.
fn start(
    mut command: Command,
    port: u16,
    folder: TempDir,
    version: String,
    ready: &str,
) -> Result<Server, Missing> {
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).current_dir(folder.path());
    let mut child = command
        .spawn()
        .map_err(|error| format!("{} did not start: {error}", command.get_program().display()))?;
    let (sender, said) = std::sync::mpsc::channel();
    let outputs: [Option<Box<dyn Read + Send>>; 2] = [
        child.stdout.take().map(|out| Box::new(out) as _),
        child.stderr.take().map(|out| Box::new(out) as _),
    ];
    for output in outputs.into_iter().flatten() {
        let sender = sender.clone();
        // It reads on to the end, so that the server never waits for a full pipe.
        std::thread::spawn(move || {
            for line in BufReader::new(output).lines().map_while(Result::ok) {
                let _ = sender.send(line);
            }
        });
    }
    drop(sender);
    let server = Server { child, port, folder, version };
    let mut lines = Vec::new();
    while let Ok(line) = said.recv() {
        if line.contains(ready) {
            return Ok(server);
        }
        lines.push(line);
    }
    panic!("{} ended before it said {ready:?}: {}", server.version, lines.join("\n"));
}

pub(crate) fn redis() -> Result<Server, Missing> {
    redis_syncing("always")
}

/// Redis that syncs its log when this says so.
pub(crate) fn redis_syncing(when: &str) -> Result<Server, Missing> {
    let path = program(&["redis-server", "valkey-server"])?;
    let (port, folder) = (free_port(), tempfile::tempdir().unwrap());
    let mut command = Command::new(&path);
    command.args(["--port", &port.to_string(), "--bind", "127.0.0.1", "--save", "", "--appendonly", "yes"]);
    command.args(["--appendfsync", when, "--dir"]).arg(folder.path());
    let version = version(Command::new(&path).arg("--version"));
    start(command, port, folder, version, "Ready to accept connections")
}

/// OpenSSH, with the keys `host` and `user` in its folder, and its files below `files`.
pub(crate) fn sshd() -> Result<Server, Missing> {
    let (path, sftp_server) = (program(&["sshd"])?, program(&["sftp-server"])?);
    let keygen = program(&["ssh-keygen"])?;
    // A store's folder has no name that begins with a dot.
    let (port, folder) = (free_port(), tempfile::Builder::new().prefix("sshd-").tempdir().unwrap());
    let below = folder.path().display();
    for name in ["host", "user"] {
        let file = folder.path().join(name);
        let made = Command::new(&keygen).args(["-q", "-t", "ed25519", "-N", "", "-f"]).arg(&file).status();
        assert!(made.unwrap().success(), "no key was made");
    }
    std::fs::create_dir(folder.path().join("files")).unwrap();
    let config = format!(
        "HostKey {below}/host\nAuthorizedKeysFile {below}/user.pub\nPidFile none\nStrictModes no\nUsePAM no\n\
         PasswordAuthentication no\nPermitRootLogin yes\nListenAddress 127.0.0.1:{port}\n\
         Subsystem sftp {}\n",
        sftp_server.display()
    );
    std::fs::write(folder.path().join("config"), config).unwrap();
    // It wants this folder, which the service of the same name would have made.
    let _ = std::fs::create_dir_all("/run/sshd");
    let mut command = Command::new(&path);
    command.args(["-D", "-e", "-f"]).arg(folder.path().join("config"));
    let version = version(Command::new(program(&["ssh"])?).arg("-V"));
    start(command, port, folder, version, "Server listening on")
}

/// Its folder as a store, for whoever runs the test.
pub(crate) fn sftp_url(server: &Server) -> String {
    let user = version(Command::new("id").arg("-un"));
    format!("sftp://{user}@127.0.0.1:{}{}/files/some/prefix", server.port, server.folder.path().display())
}

/// S3's protocol by moto, with the bucket `bucket`.
pub(crate) fn moto() -> Result<Server, Missing> {
    let python = program(&["python3"])?;
    let library = installed("py")?;
    let (port, folder) = (free_port(), tempfile::tempdir().unwrap());
    let mut command = Command::new(&python);
    command.env("PYTHONPATH", &library).env("PYTHONUNBUFFERED", "1");
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("../store/tests/servers/one_by_one.py");
    command.arg(script).arg(port.to_string());
    let version = version(
        Command::new(&python)
            .env("PYTHONPATH", &library)
            .args(["-c", "import moto; print('moto', moto.__version__)"]),
    );
    let server = start(command, port, folder, version, "Running on")?;
    request(port, "PUT", "/bucket", "", &["accept: */*"]);
    Ok(server)
}

/// S3's protocol by s3rver, which ignores conditions.
pub(crate) fn s3rver() -> Result<Server, Missing> {
    let node = program(&["node"])?;
    let script = installed("npm/node_modules/s3rver/bin/s3rver.js")?;
    let (port, folder) = (free_port(), tempfile::tempdir().unwrap());
    let mut command = Command::new(&node);
    command.arg(&script).args([
        "-a",
        "127.0.0.1",
        "-p",
        &port.to_string(),
        "--configure-bucket",
        "bucket",
        "-d",
    ]);
    command.arg(folder.path());
    start(command, port, folder, npm_version("s3rver"), "listening on")
}

/// Azure's blob protocol by Azurite, with the container `container`.
pub(crate) fn azurite() -> Result<Server, Missing> {
    let node = program(&["node"])?;
    let script = installed("npm/node_modules/azurite/dist/src/blob/main.js")?;
    let (port, folder) = (free_port(), tempfile::tempdir().unwrap());
    let mut command = Command::new(&node);
    command.arg(&script).args(["--blobHost", "127.0.0.1", "--blobPort", &port.to_string(), "--silent"]);
    command.args(["--inMemoryPersistence", "--skipApiVersionCheck", "--disableTelemetry"]);
    let server = start(command, port, folder, npm_version("azurite"), "successfully listens")?;
    let made = Command::new(&node).args(["-e", MAKE_CONTAINER, &port.to_string()]).output().unwrap();
    assert!(made.status.success(), "no container: {}", String::from_utf8_lossy(&made.stderr));
    Ok(server)
}

/// CouchDB's protocol by `PouchDB`'s server, in memory, with the database `results`.
pub(crate) fn couchdb() -> Result<Server, Missing> {
    let node = program(&["node"])?;
    let script = installed("npm/node_modules/pouchdb-server/bin/pouchdb-server")?;
    let (port, folder) = (free_port(), tempfile::tempdir().unwrap());
    let mut command = Command::new(&node);
    command.arg(&script).args(["--in-memory", "--host", "127.0.0.1", "--port", &port.to_string()]);
    let server = start(command, port, folder, npm_version("pouchdb-server"), "has started on")?;
    let made = request(port, "PUT", "/results", "", &["accept: */*"]);
    assert!(made.contains("201"), "no database: {made}");
    Ok(server)
}

/// Azurite's account and key are the emulator's published ones.
pub(crate) const AZURITE_KEY: &str =
    "Eby8vdM02xNOcqFlqUwJPLlmEtlCDXJ1OUzFT50uSRZ6IFsuFq2UVErCz4I6tq/K1SZFPTOtr/KBHBeksoGMGw==";

const MAKE_CONTAINER: &str = r"
const crypto = require('crypto'), http = require('http'), port = process.argv[1];
const key = Buffer.from('Eby8vdM02xNOcqFlqUwJPLlmEtlCDXJ1OUzFT50uSRZ6IFsuFq2UVErCz4I6tq/K1SZFPTOtr/KBHBeksoGMGw==', 'base64');
const date = new Date().toUTCString(), version = '2021-08-06';
const to_sign = ['PUT', '', '', '', '', '', '', '', '', '', '', '', 'x-ms-date:' + date, 'x-ms-version:' + version,
  '/devstoreaccount1/devstoreaccount1/container', 'restype:container'].join('\n');
const signature = crypto.createHmac('sha256', key).update(to_sign, 'utf8').digest('base64');
const headers = { 'x-ms-date': date, 'x-ms-version': version, 'content-length': 0,
  authorization: 'SharedKey devstoreaccount1:' + signature };
const path = '/devstoreaccount1/container?restype=container';
http.request({ host: '127.0.0.1', port, path, method: 'PUT', headers }, (response) => {
  if (response.statusCode !== 201) { console.error(response.statusCode); process.exit(1); }
  response.resume();
}).end();
";

fn npm_version(package: &str) -> String {
    let description = installed(&format!("npm/node_modules/{package}/package.json"));
    let text = description.ok().and_then(|path| std::fs::read_to_string(path).ok()).unwrap_or_default();
    let version =
        text.lines().find_map(|line| line.trim().strip_prefix(r#""version": ""#)?.split('"').next());
    format!("{package} {}", version.unwrap_or("?"))
}

/// One plain request; answers the status line.
fn request(port: u16, method: &str, path: &str, body: &str, headers: &[&str]) -> String {
    let mut stream = TcpStream::connect(("127.0.0.1", port)).unwrap();
    let headers = [headers.join("\r\n"), String::new()].join("\r\n");
    let len = body.len();
    let head =
        format!("{method} {path} HTTP/1.1\r\nhost: 127.0.0.1:{port}\r\n{headers}content-length: {len}\r\n");
    write!(stream, "{head}connection: close\r\n\r\n{body}").unwrap();
    let mut line = String::new();
    BufReader::new(stream).read_line(&mut line).unwrap();
    line
}
