//! What a run begins with: folders, a supervisor, and the command line of a first start or of going on.

use std::fs;
use std::io;
use std::sync::Arc;
use std::time::Duration;

use limitless_faas_core::program::Stdout;
use limitless_faas_core::{Code, Failure};
use limitless_faas_store::pieces::PiecesReader;
use serde_json::Value;
use tokio::sync::Notify;

use super::Stopped;
use crate::checkpoint::Session;
use crate::program::control::{Pipes, Supervisor};
use crate::program::folders::{self, Claimed, Paths, Private};
use crate::program::keep::{self, Manifest};
use crate::program::output::{Stream, To};
use crate::program::tools::Tools;
use crate::program::{Declared, executable, prepared};

/// How long another invocation of the same execution may still take here.
const CLAIMING: Duration = Duration::from_secs(20);

pub(super) fn read_manifest(session: &Session) -> Result<Option<Manifest>, Stopped> {
    let Some(mut state) = session.take_from() else { return Ok(None) };
    let bytes = state.rest().map_err(|error| Stopped::unable("the checkpoint can't be read", &error))?;
    let damaged = |error| {
        Stopped::Unable(Failure::new(
            Code::Damaged,
            format!("the checkpoint's manifest can't be read: {error}"),
        ))
    };
    serde_json::from_slice(&bytes).map(Some).map_err(damaged)
}

#[expect(clippy::needless_pass_by_value, reason = "what map_err passes")]
pub(super) fn no_folder(error: io::Error) -> Stopped {
    Stopped::unable("a folder for the program can't be made", &error)
}

pub(super) fn gone() -> Stopped {
    Stopped::Unable(Failure::new(Code::ImageFailed, "the images that were read are gone"))
}

/// The right to the folders: an invocation that was delivered twice must not empty them while this one stores what is in them.
pub(super) async fn claim(paths: &Paths) -> Result<Claimed, Stopped> {
    let path = paths.claim();
    let waiting = tokio::task::spawn_blocking(move || Claimed::wait(path));
    let busy = || io::Error::other("another invocation of this execution still runs here");
    let claimed = tokio::time::timeout(CLAIMING, waiting).await.map_err(|_| busy());
    let claimed = claimed.and_then(|claimed| claimed.map_err(io::Error::other)).and_then(|claimed| claimed);
    claimed.map_err(no_folder)
}

/// A supervisor that has the folders to itself; they are empty.
pub(super) async fn supervisor(
    declared: &Declared,
    private: &Private,
    paths: &Paths,
    input: &Value,
    before: Option<&Manifest>,
) -> Result<(Supervisor, Pipes), Stopped> {
    let stdin = private.path.join("stdin");
    let text = declared.program.stdin_text(input).map_err(|error| Stopped::BadInput(error.to_string()))?;
    fs::write(&stdin, text).map_err(no_folder)?;
    let stdin_at = before.map_or(0, |before| before.stdin_at);
    let started = Supervisor::start(private, &paths.locks(), &stdin, stdin_at)
        .await
        .map_err(|error| Stopped::unable("the program's supervisor could not be started", &error))?;
    paths.renew().map_err(no_folder)?;
    Ok(started)
}

/// The command line of a program's first start.
pub(super) fn first(
    tools: &Tools,
    declared: &Declared,
    private: &Private,
    paths: &Paths,
    input: &Value,
) -> Result<(String, Vec<String>), Stopped> {
    folders::fill(&paths.work, declared).map_err(Stopped::Failed)?;
    let path = std::env::var("PATH").unwrap_or_default();
    let command = executable::find(&declared.program.command, &paths.work, &path).map_err(Stopped::Failed)?;
    executable::check(&command, &path).map_err(Stopped::Failed)?;
    let args =
        declared.program.args.iter().map(|argument| argument.fill(input)).collect::<Result<Vec<_>, _>>();
    let args = args.map_err(|error| Stopped::BadInput(error.to_string()))?;
    Ok(tools.launch(private, &paths.of_generation(), &command, args))
}

/// The command line that goes on from its images, which are put where they were, as is the work folder.
pub(super) fn again(
    tools: &Tools,
    private: &Private,
    paths: &Paths,
    before: &Manifest,
    mut reader: PiecesReader,
) -> Result<(String, Vec<String>), Stopped> {
    keep::unpack(before, &mut reader)
        .map_err(|error| Stopped::unable("the work folder can't be restored", &error))?;
    let images = prepared::move_images(private, &before.paths)
        .map_err(|error| Stopped::unable("the images can't be put where they were written", &error))?;
    Ok(tools.restart(private, &paths.of_generation(), &images))
}

pub(super) fn streams(
    declared: &Declared,
    pipes: Pipes,
    before: Option<&Manifest>,
    output: Vec<u8>,
    too_long: &Arc<Notify>,
) -> (Stream, Stream) {
    let begun = |of: fn(&Manifest) -> &Vec<u8>| before.map(|before| of(before).clone()).unwrap_or_default();
    let stdout = match declared.program.stdout {
        Stdout::File(_) => {
            Stream::read(pipes.stdout, To::Stdout, begun(|before| &before.begun_stdout), too_long.clone())
        }
        Stdout::Json | Stdout::Text => Stream::read(pipes.stdout, To::Result, output, too_long.clone()),
    };
    (stdout, Stream::read(pipes.stderr, To::Stderr, begun(|before| &before.begun_stderr), too_long.clone()))
}
