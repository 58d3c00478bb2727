//! The command line.

mod deploy;
mod image;
mod plan;
mod records;
mod rollout;

use std::ffi::OsString;
use std::path::PathBuf;

use anstyle::{AnsiColor, Style};
use clap::builder::Styles;
use clap::{Args, Parser, Subcommand};

use crate::exit;

pub use deploy::{Dev, Invoke, New, Pick, Place, Remote, Resume, Run, Setting, Target, Template, Wake};
pub use image::{Build, Libc, Make};
pub use plan::{Calibrate, Graph, Plan, Predict, Profile};
pub use records::{Cancel, Gc, List, Logs, ResultOf, Status};
pub use rollout::{Deploy, Remove, Versions};

const EXAMPLES: &str = "\
Examples:
  cargo faas new collatz                                       a project that runs as it is
  cargo faas run factors --input '{\"n\": 360}'                  build, run, print the result
  cargo faas run factors --input @n.json --time-limit 2s       … over as many invocations as it takes
  cargo faas run factors --input @n.json --time-limit 2s --faults all --seed 7
  cargo faas dev                                               the platform on this machine, rebuilt on change
  cargo faas status last                                       what became of the latest execution";

/// Runs Rust functions that outlive their platform's time limit.
#[derive(Debug, Parser)]
#[command(
    name = "cargo faas",
    bin_name = "cargo faas",
    version,
    about,
    after_help = format!("{EXAMPLES}\n\n{}", exit::help_table()),
    styles = styles(),
    disable_help_subcommand = true,
    subcommand_required = true,
    arg_required_else_help = true,
)]
pub struct Cli {
    #[command(flatten)]
    pub global: Global,
    #[command(subcommand)]
    pub command: Command,
}

/// What every command understands.
#[derive(Clone, Debug, Default, Args)]
pub struct Global {
    /// Print one JSON object on stdout
    #[arg(long, global = true, help_heading = "General")]
    pub json: bool,
    /// Say only what went wrong
    #[arg(long, short, global = true, help_heading = "General")]
    pub quiet: bool,
    /// The project's Cargo.toml, instead of the one of the current folder
    #[arg(long, global = true, help_heading = "General", value_name = "PATH")]
    pub manifest_path: Option<PathBuf>,
    /// Cargo's target folder
    #[arg(long, global = true, help_heading = "General", value_name = "FOLDER")]
    pub target_dir: Option<PathBuf>,
    /// Where the default store, captured output and the running `dev` stand [default: faas in the target folder]
    #[arg(long, global = true, help_heading = "General", value_name = "FOLDER")]
    pub state_dir: Option<PathBuf>,
}

/// The commands.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Build a handler, run it on the embedded platform and print its result
    Run(Run),
    /// Run the platform on this machine with every handler deployed, rebuilt on change
    Dev(Dev),
    /// Build a container image of the functions, without a container engine
    Build(Build),
    /// Build, push and deploy the functions to OpenWhisk or OpenFaaS, each version beside those that run
    Deploy(Box<Deploy>),
    /// List the versions that are deployed, and remove old ones
    Versions(Versions),
    /// Remove a handler from a platform
    Remove(Remove),
    /// Make a project with a handler, a workflow or a program that tests and runs as it is
    New(New),
    /// Call a handler on a running platform: `cargo faas dev`, OpenWhisk or OpenFaaS
    Invoke(Invoke),
    /// List the executions in the store
    List(List),
    /// Show what became of an execution
    Status(Status),
    /// Print an execution's result
    Result(ResultOf),
    /// Print what an execution's function processes printed
    Logs(Logs),
    /// Call an execution off
    Cancel(Cancel),
    /// Let an execution go on that was interrupted, crashed or never delivered
    Resume(Resume),
    /// Let executions go on that slept until now, or make an event happen to one
    Wake(Wake),
    /// Remove what executions that have ended left in the store
    Gc(Gc),
    /// Show a workflow's graph: its stages, or a picture of it
    Graph(Graph),
    /// Pack a workflow into the fewest CPUs that meet its SLO
    Plan(Plan),
    /// Run a handler alone and record when it computes and when it waits
    Profile(Profile),
    /// Predict what a workflow takes under each deployment model, and measure it beside
    Predict(Predict),
    /// Measure what starting, calling and switching cost on this machine
    Calibrate(Calibrate),
}

impl Cli {
    /// Reads the command line, called as `cargo faas …` or as `cargo-faas …`.
    ///
    /// # Errors
    /// The message to print: help and version are such too.
    pub fn read(args: impl IntoIterator<Item = OsString>) -> Result<Self, clap::Error> {
        let mut args: Vec<OsString> = args.into_iter().collect();
        // cargo passes the subcommand's own name on; no command of ours has it.
        if args.get(1).is_some_and(|first| first == "faas") {
            args.remove(1);
        }
        Self::try_parse_from(args)
    }
}

fn styles() -> Styles {
    let bold = |color: AnsiColor| Style::new().fg_color(Some(color.into())).bold();
    Styles::styled()
        .header(bold(AnsiColor::Green))
        .usage(bold(AnsiColor::Green))
        .literal(bold(AnsiColor::Cyan))
        .placeholder(Style::new().fg_color(Some(AnsiColor::Cyan.into())))
        .error(bold(AnsiColor::Red))
        .valid(bold(AnsiColor::Cyan))
        .invalid(bold(AnsiColor::Yellow))
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    fn read(line: &str) -> Result<Cli, clap::Error> {
        Cli::read(line.split(' ').map(OsString::from))
    }

    #[test]
    fn the_definition_is_sound() {
        Cli::command().debug_assert();
    }

    #[test]
    fn every_help_is_as_reviewed() {
        let mut command = Cli::command().term_width(100);
        command.build();
        let mut help = |name: &str| {
            let command =
                if name.is_empty() { Some(&mut command) } else { command.find_subcommand_mut(name) };
            command.unwrap().render_help().to_string()
        };
        let names = [
            "",
            "run",
            "dev",
            "build",
            "deploy",
            "versions",
            "remove",
            "new",
            "invoke",
            "list",
            "status",
            "result",
            "logs",
            "cancel",
            "resume",
            "wake",
            "gc",
            "graph",
            "plan",
            "profile",
            "predict",
            "calibrate",
        ];
        for name in names {
            let title = if name.is_empty() { "cargo-faas" } else { name };
            insta::assert_snapshot!(format!("help-{title}"), help(name));
        }
    }

    #[test]
    fn cargo_and_people_call_it_alike() {
        for line in ["cargo-faas run factors --json", "/x/cargo-faas faas run factors --json"] {
            let cli = read(line).unwrap();
            assert!(cli.global.json, "{line}");
            assert!(matches!(cli.command, Command::Run(run) if run.handler == "factors"), "{line}");
        }
    }

    #[test]
    fn what_can_not_be_meant_is_refused() {
        for line in [
            "cargo-faas",
            "cargo-faas runn factors",
            "cargo-faas run",
            "cargo-faas run f --time-limit soon",
            "cargo-faas run f --memory lots",
            "cargo-faas run f --faults kil=1",
            "cargo-faas run f --example a --bin b",
            "cargo-faas run f --max-invocations 0",
            "cargo-faas run f --env NOVALUE",
        ] {
            assert!(read(line).is_err(), "{line}");
        }
    }
}
