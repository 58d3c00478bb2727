//! The container engine and the registry that tests use where there are any.

use std::fs;
use std::io::Write as _;
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};

use tempfile::TempDir;

/// Not `eprintln!`: a passing test's output would not be seen.
fn skipped(why: &str) {
    drop(std::io::stderr().write_all(format!("{why}\n").as_bytes()));
}

/// The engine of this machine; says why not, where there is none.
pub fn engine() -> Option<&'static str> {
    let asked = Command::new("docker").args(["version", "--format", "{{.Server.Version}}"]).output();
    if asked.is_ok_and(|asked| asked.status.success()) {
        return Some("docker");
    }
    skipped("skipped: no docker answers on this machine");
    None
}

pub fn docker(args: &[&str]) -> Output {
    let output = Command::new("docker").args(args).output().unwrap();
    assert!(output.status.success(), "docker {args:?}: {}", String::from_utf8_lossy(&output.stderr));
    output
}

pub fn text(output: &Output) -> String {
    String::from_utf8(output.stdout.clone()).unwrap().trim().to_owned()
}

/// Debian's registry on a free port, for as long as the test runs.
pub struct Hub {
    child: Child,
    pub address: String,
    _folder: TempDir,
}

impl Hub {
    pub fn start() -> Option<Self> {
        let folder = tempfile::tempdir().unwrap();
        let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let address = format!("127.0.0.1:{port}");
        let config = format!(
            "version: 0.1\nlog:\n  level: error\nstorage:\n  filesystem:\n    rootdirectory: {}\nhttp:\n  addr: {address}\n",
            folder.path().join("data").display()
        );
        fs::write(folder.path().join("config.yml"), config).unwrap();
        let mut command = Command::new("docker-registry");
        command.args(["serve".as_ref(), folder.path().join("config.yml").as_os_str()]);
        let child = command.stdout(Stdio::null()).stderr(Stdio::null()).spawn();
        let Ok(child) = child else {
            skipped("skipped: docker-registry is not installed");
            return None;
        };
        let hub = Self { child, address, _folder: folder };
        let until = Instant::now() + Duration::from_secs(60);
        while std::net::TcpStream::connect(&hub.address).is_err() {
            assert!(Instant::now() < until, "the registry does not answer");
            std::thread::sleep(Duration::from_millis(20));
        }
        Some(hub)
    }
}

impl Drop for Hub {
    fn drop(&mut self) {
        drop(self.child.kill());
        drop(self.child.wait());
    }
}
