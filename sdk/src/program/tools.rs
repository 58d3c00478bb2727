//! DMTCP's own programs: where they are, and the three that are used.

use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::sync::OnceLock;
use std::time::{Duration, Instant};

use tokio::process::Command;

use super::folders::Private;
use super::spec::{Coordinator, PORT};

/// DMTCP ends a process with this status where it can't do its part, so that its failures are told from the program's own.
pub(super) const FAILED: i32 = 213;

/// The one of restarted processes that could not reach what they had open.
pub(super) const ABORTED: i32 = 99;

/// The first version that can checkpoint and kill in one.
const OLDEST: u32 = 3;

/// How long one of DMTCP's programs may take to say something.
const PATIENCE: Duration = Duration::from_secs(20);
/// Between two looks at whether a program is ready: DMTCP tells nobody.
const LOOK_AGAIN: Duration = Duration::from_millis(5);
const LONGEST_LOOK: Duration = Duration::from_millis(500);

/// An installation of DMTCP.
#[derive(Clone, Debug)]
pub(super) struct Tools {
    bin: PathBuf,
    /// Such as `5.0.0`.
    pub(super) version: String,
}

impl Tools {
    /// The installation that this process uses.
    ///
    /// # Errors
    /// Says that there is none, or that it is too old, and what to do.
    pub(super) fn find() -> Result<Self, String> {
        static FOUND: OnceLock<Result<Tools, String>> = OnceLock::new();
        FOUND.get_or_init(|| find().ok_or_else(|| {
            "DMTCP, which saves programs from outside, is not installed here: install it, or set DMTCP_ROOT to where it is"
                .to_owned()
        }).and_then(Self::of)).clone()
    }

    /// Where its programs are.
    pub(super) fn folder(&self) -> &Path {
        &self.bin
    }

    fn of(bin: PathBuf) -> Result<Self, String> {
        let told = std::process::Command::new(bin.join("dmtcp_launch")).arg("--version").output();
        let told =
            told.map_err(|error| format!("{} can't be run: {error}", bin.join("dmtcp_launch").display()))?;
        let text = String::from_utf8_lossy(&told.stdout).into_owned();
        let version = version_in(&text)
            .ok_or_else(|| format!("DMTCP in {} does not tell its version", bin.display()))?;
        let major = version.split('.').next().and_then(|major| major.parse::<u32>().ok()).unwrap_or_default();
        if major < OLDEST {
            return Err(format!(
                "DMTCP in {} is version {version}, and {OLDEST}.0 is the oldest that can save and stop in one",
                bin.display()
            ));
        }
        Ok(Self { bin, version })
    }

    /// The command line that starts `program` so that it can be saved into `images`.
    pub(super) fn launch(
        &self,
        private: &Private,
        images: &Path,
        program: &Path,
        args: Vec<String>,
    ) -> (String, Vec<String>) {
        let mut words = joining(private, images);
        words.push("--no-gzip".to_owned());
        words.push(program.to_string_lossy().into_owned());
        words.extend(args);
        (self.path("dmtcp_launch"), words)
    }

    /// The command line that goes on from `from`, and saves into `images`.
    pub(super) fn restart(
        &self,
        private: &Private,
        images: &Path,
        from: &[PathBuf],
    ) -> (String, Vec<String>) {
        let mut words = joining(private, images);
        // The work folder is the same by its path, not by its number on a disk.
        words.push("--no-strict-checking".to_owned());
        words.extend(from.iter().map(|image| image.to_string_lossy().into_owned()));
        (self.path("dmtcp_restart"), words)
    }

    /// The coordinator of a program.
    pub(super) fn coordinator(&self, private: &Private) -> Coordinator {
        let port_file = port_file(&private.path);
        let mut args: Vec<String> =
            ["--quiet", "--exit-on-last", "--coord-port", "0", "--port-file"].map(str::to_owned).into();
        args.push(port_file.to_string_lossy().into_owned());
        args.extend(["--tmpdir".to_owned(), private.path.to_string_lossy().into_owned()]);
        Coordinator { program: self.path("dmtcp_coordinator"), args, port_file, folder: private.path.clone() }
    }

    /// Waits until the program can be saved, up to this instant.
    ///
    /// # Errors
    /// Says that it is not ready in time.
    pub(super) async fn ready(&self, private: &Path, until: Instant) -> Result<(), String> {
        let mut look_again = LOOK_AGAIN;
        loop {
            let said = match port(private) {
                Some(port) => self.command(&["-p", &port, "-s"]).await?,
                None => String::new(),
            };
            if is_running(&said) {
                return Ok(());
            }
            if Instant::now() >= until {
                return Err("DMTCP did not get hold of all its processes".to_owned());
            }
            tokio::time::sleep(look_again).await;
            look_again = (look_again * 2).min(LONGEST_LOOK);
        }
    }

    /// Asks for images and the end of the program. Only what then stands in the folder of images says whether it came to that.
    pub(super) async fn yield_now(&self, private: &Private) -> Result<(), String> {
        let port = port(&private.path).ok_or("DMTCP's coordinator is gone")?;
        self.command(&["-p", &port, "-kc"]).await.map(|_| ())
    }

    async fn command(&self, args: &[&str]) -> Result<String, String> {
        let mut command = Command::new(self.path("dmtcp_command"));
        command.args(args).env_clear().stdin(Stdio::null()).kill_on_drop(true);
        let ended = tokio::time::timeout(PATIENCE, command.output()).await;
        match ended {
            Ok(Ok(output)) => {
                Ok(String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).into_owned())
            }
            Ok(Err(error)) => Err(format!("{} can't be run: {error}", self.path("dmtcp_command"))),
            Err(_) => Err(format!("DMTCP's coordinator did not answer in {} s", PATIENCE.as_secs())),
        }
    }

    fn path(&self, name: &str) -> String {
        self.bin.join(name).to_string_lossy().into_owned()
    }
}

/// How a program finds its coordinator, and where its images go.
fn joining(private: &Private, images: &Path) -> Vec<String> {
    let mut words: Vec<String> =
        ["--quiet", "--join-coordinator", "--coord-host", "127.0.0.1", "--coord-port", PORT]
            .map(str::to_owned)
            .into();
    for (flag, path) in [("--ckptdir", images), ("--tmpdir", &private.path)] {
        words.extend([flag.to_owned(), path.to_string_lossy().into_owned()]);
    }
    words
}

fn port_file(private: &Path) -> PathBuf {
    private.join("port")
}

fn port(private: &Path) -> Option<String> {
    let text = std::fs::read_to_string(port_file(private)).ok()?;
    let port = text.trim();
    port.parse::<u16>().is_ok().then(|| port.to_owned())
}

/// Both forms in which versions tell it: `Workers: RUNNING=yes` and `"running":true`.
fn is_running(said: &str) -> bool {
    let said: String = said.to_lowercase().chars().filter(|c| !c.is_whitespace()).collect();
    said.contains("running=yes") || said.contains("\"running\":true")
}

fn version_in(text: &str) -> Option<String> {
    let is_version = |word: &&str| word.contains('.') && word.starts_with(|c: char| c.is_ascii_digit());
    text.split(|c: char| !(c.is_ascii_alphanumeric() || c == '.')).find(is_version).map(str::to_owned)
}

/// Where it is. A place that was named is the only one that counts.
fn find() -> Option<PathBuf> {
    let is_here = |place: &PathBuf| place.join("dmtcp_launch").is_file();
    if let Some(root) = std::env::var_os("DMTCP_ROOT") {
        return Some(PathBuf::from(root).join("bin")).filter(is_here);
    }
    let path = std::env::var_os("PATH").unwrap_or_default();
    let usual = ["/usr/bin", "/usr/local/bin", "/opt/dmtcp/bin"].map(PathBuf::from);
    let mut places = std::env::split_paths(&path).chain(usual);
    places.find(is_here)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_and_states_are_read_in_every_form() {
        assert_eq!(version_in("dmtcp_launch (DMTCP) 5.0.0\nCopyright (C) 2006").as_deref(), Some("5.0.0"));
        assert_eq!(version_in("dmtcp_launch (DMTCP) 4.2.0-rc1").as_deref(), Some("4.2.0"));
        assert_eq!(version_in("nothing"), None);
        assert!(is_running("Status...\n  RUNNING=yes\n") && is_running("{\"running\": true}"));
        assert!(!is_running("  NUM_PEERS=1\n  RUNNING=no\n") && !is_running(""));
    }
}
