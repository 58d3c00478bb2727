//! Building a binary with cargo.

use std::path::PathBuf;
use std::process::Stdio;

use cargo_metadata::{Artifact, Message, TargetKind};
use rustix::process::{Pid, Signal, kill_process_group};
use tokio::io::AsyncReadExt;
use tokio::process::Command;

use super::{Project, Target};
use crate::error::{Context, Error, Result};
use crate::exit::Exit;

/// How to build.
#[derive(Clone, Debug)]
pub struct Profile<'a> {
    /// With optimisation.
    pub release: bool,
    /// Features to turn on.
    pub features: &'a [String],
    /// For another target than this machine's own.
    pub triple: Option<&'a str>,
    /// Without cargo's progress.
    pub quiet: bool,
}

/// Builds `target`; cargo's own progress and errors go to stderr.
pub(super) async fn build(project: &Project, target: &Target, profile: &Profile<'_>) -> Result<PathBuf> {
    let mut child = command(project, target, profile)
        .spawn()
        .context(Exit::Build, || "failed to start cargo".to_owned())?;
    let mut group = Group(child.id().and_then(|pid| Pid::from_raw(pid.cast_signed())));
    let mut out = child.stdout.take().ok_or_else(|| Error::bug("cargo has no stdout"))?;
    let mut messages = Vec::new();
    out.read_to_end(&mut messages)
        .await
        .context(Exit::Build, || "failed to read cargo's messages".to_owned())?;
    let status = child.wait().await.context(Exit::Build, || "failed to wait for cargo".to_owned())?;
    group.0 = None;
    if !status.success() {
        return Err(
            Error::new(Exit::Build, format!("failed to build {target}")).help("cargo's errors stand above")
        );
    }
    executable(&messages, target)
        .ok_or_else(|| Error::new(Exit::Build, format!("cargo built no executable of {target}")))
}

/// Cargo and whatever it started: the compilers and build scripts of a build that is given up end with it.
struct Group(Option<Pid>);

impl Drop for Group {
    fn drop(&mut self) {
        if let Some(group) = self.0 {
            // It fails where they have ended. A softer signal may be ignored: a shell's background jobs inherit that from it.
            let _gone = kill_process_group(group, Signal::KILL);
        }
    }
}

fn command(project: &Project, target: &Target, profile: &Profile<'_>) -> Command {
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let mut command = Command::new(cargo);
    command.args(["build", "--message-format=json-render-diagnostics", "--package", &target.package]);
    command.args([if target.is_example { "--example" } else { "--bin" }, &target.name]);
    if profile.release {
        command.arg("--release");
    }
    if profile.quiet {
        command.arg("--quiet");
    }
    for features in profile.features {
        command.args(["--features", features]);
    }
    if let Some(triple) = profile.triple {
        command.args(["--target", triple]);
    }
    command.arg("--target-dir").arg(project.target_dir());
    command.current_dir(project.metadata.workspace_root.as_std_path());
    // A terminal's Ctrl-C reaches this process alone, which then ends the group: so an interruption never looks like a failed build.
    command.stdin(Stdio::null()).stdout(Stdio::piped()).kill_on_drop(true).process_group(0);
    command
}

fn executable(messages: &[u8], target: &Target) -> Option<PathBuf> {
    let kind = if target.is_example { TargetKind::Example } else { TargetKind::Bin };
    let is_it =
        |artifact: &Artifact| artifact.target.name == target.name && artifact.target.kind.contains(&kind);
    let artifacts = Message::parse_stream(messages).filter_map(|message| match message {
        Ok(Message::CompilerArtifact(artifact)) => Some(artifact),
        _ => None,
    });
    artifacts.filter(is_it).find_map(|artifact| artifact.executable).map(Into::into)
}
