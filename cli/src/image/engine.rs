//! The container engine of this machine: docker, or what answers in its place.

use std::process::Stdio;

use tokio::io::AsyncWriteExt as _;
use tokio::process::Command;

use super::Built;
use crate::error::{Context, Error, Result};
use crate::exit::Exit;

/// A container engine's command line.
#[derive(Clone, Debug)]
pub struct Engine {
    program: String,
}

/// Names another engine's program, such as `podman`.
const VARIABLE: &str = "LIMITLESS_ENGINE";

impl Engine {
    /// The engine that answers here: `$LIMITLESS_ENGINE`, docker or podman.
    ///
    /// # Errors
    /// Where none does.
    pub async fn find() -> Result<Self> {
        let given = std::env::var(VARIABLE).ok().filter(|given| !given.is_empty());
        let candidates = match &given {
            Some(given) => vec![given.as_str()],
            None => vec!["docker", "podman"],
        };
        let mut why = Vec::new();
        for program in candidates {
            match Command::new(program).args(["version", "--format", "{{.Server.Version}}"]).output().await {
                Ok(output) if output.status.success() => return Ok(Self { program: program.to_owned() }),
                Ok(output) => why.push(format!("{program}: {}", last_line(&output.stderr))),
                Err(error) => why.push(format!("{program}: {error}")),
            }
        }
        Err(Error::platform("failed to find a running container engine")
            .because(std::io::Error::other(why.join("; ")))
            .help("install and start docker or podman; another's program is named by $LIMITLESS_ENGINE")
            .help("images are built without one: -o image.tar, or --push"))
    }

    /// Its program.
    pub fn program(&self) -> &str {
        &self.program
    }

    /// Whether it has an image of this name.
    pub async fn has(&self, name: &str) -> bool {
        let asked =
            Command::new(&self.program).args(["image", "inspect", "-f", "{{.Id}}", name]).output().await;
        asked.is_ok_and(|asked| asked.status.success())
    }

    /// Loads an image.
    ///
    /// # Errors
    /// Where the engine does not take it.
    pub async fn load(&self, built: &Built) -> Result<()> {
        let failed = || format!("failed to load {} into {}", built.name, self.program);
        let mut archive = Vec::new();
        built
            .image
            .write_archive(&built.name, &mut archive)
            .map_err(|error| Error::new(Exit::Build, failed()).because(error))?;
        let mut child = Command::new(&self.program)
            .args(["load", "--quiet"])
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .context(Exit::Platform, failed)?;
        let mut stdin = child.stdin.take().ok_or_else(|| Error::bug("the engine has no stdin"))?;
        // An engine that refuses stops reading: what it says counts.
        let written = stdin.write_all(&archive).await;
        drop(stdin);
        let output = child.wait_with_output().await.context(Exit::Platform, failed)?;
        if output.status.success() {
            return written.context(Exit::Platform, failed);
        }
        Err(Error::platform(failed()).because(std::io::Error::other(last_line(&output.stderr))))
    }
}

fn last_line(said: &[u8]) -> String {
    let text = String::from_utf8_lossy(said);
    let line = text.lines().rfind(|line| !line.trim().is_empty()).unwrap_or_default();
    line.chars().filter(|c| !c.is_control()).take(300).collect()
}
