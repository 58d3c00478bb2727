//! `cargo faas`: builds Rust functions, runs them on a platform of this machine, and follows their executions over
//! any number of invocations.
//!
//! The binary is a thin wrapper around [`main`]. The library has no stable interface of its own: what is stable is
//! the command line, its `--json` and its [exit codes](exit::TABLE).

#![expect(
    missing_docs,
    unreachable_pub,
    reason = "only the command line is public; its arguments are documented in --help"
)]

pub mod args;
pub mod exit;

mod capture;
mod commands;
mod deliveries;
mod error;
mod follow;
mod history;
mod image;
mod platform;
mod project;
mod records;
mod recover;
mod render;
mod report;
mod state;
mod suggest;
mod ui;
mod units;

use std::ffi::OsString;
use std::process::ExitCode;

use crate::args::{Cli, Command};
use crate::commands::Session;
use crate::error::{Error, Result};
use crate::exit::Exit;

/// Carries out the command line and says how it ended.
pub fn main(args: impl IntoIterator<Item = OsString>) -> ExitCode {
    let args: Vec<OsString> = args.into_iter().collect();
    if project::play_role(&args) {
        return Exit::Ok.into();
    }
    let cli = match Cli::read(args) {
        Ok(cli) => cli,
        Err(message) => {
            // Nobody is left to be told that the terminal is gone.
            drop(message.print());
            return if message.use_stderr() { Exit::Usage } else { Exit::Ok }.into();
        }
    };
    let session = Session::new(cli.global.clone());
    let Err(error) = block_on(&cli, &session) else { return Exit::Ok.into() };
    if session.ui.is_json() && !error.is_printed() {
        let value = serde_json::json!({ "status": "error", "error": error.to_json() });
        drop(session.ui.print_json(&value));
    }
    ui::report(&error);
    error.exit().into()
}

fn block_on(cli: &Cli, session: &Session) -> Result<()> {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .map_err(|error| Error::new(Exit::Platform, "failed to start threads").because(error))?;
    let ended = runtime.block_on(async {
        // Dropping the command ends its platform, its builds and its files.
        let mut command = std::pin::pin!(commands::carry_out(cli, session));
        tokio::select! {
            biased;
            ended = &mut command => return ended,
            interrupted = interrupted() => interrupted?,
        }
        // What was done elsewhere dropping does not undo: the command does, unless it is interrupted once more.
        if session.ask_to_undo() {
            session.ui.say("interrupted: putting back what was there; once more leaves it as it is");
            tokio::select! {
                biased;
                ended = &mut command => return ended,
                interrupted = interrupted() => interrupted?,
            }
        }
        after_interruption(cli, session)
    });
    // A thread may still wait for a line of stdin.
    runtime.shutdown_background();
    ended
}

fn after_interruption(cli: &Cli, session: &Session) -> Result<()> {
    if matches!(cli.command, Command::Dev(_)) {
        return Ok(());
    }
    Err(Error::new(Exit::Interrupted, "interrupted").maybe_help(session.left()))
}

/// Ready when the person or the system wants us to stop.
async fn interrupted() -> Result<()> {
    use tokio::signal::unix::{SignalKind, signal};
    let listen =
        |kind| signal(kind).map_err(|error| Error::bug("failed to listen to signals").because(error));
    let (mut interrupt, mut terminate, mut hang_up) =
        (listen(SignalKind::interrupt())?, listen(SignalKind::terminate())?, listen(SignalKind::hangup())?);
    tokio::select! {
        _ = interrupt.recv() => {}
        _ = terminate.recv() => {}
        _ = hang_up.recv() => {}
    }
    Ok(())
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        Self::from(exit.code())
    }
}
