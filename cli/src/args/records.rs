//! Arguments of the commands that read and change an execution's records.

use std::time::Duration;

use clap::Args;

use super::Pick;
use crate::units;

/// Where the records stand.
#[derive(Clone, Debug, Default, Args)]
pub struct Records {
    /// The store's URL [default: `file:` and the folder faas/store in the target folder]
    #[arg(long, value_name = "URL")]
    pub store: Option<String>,
}

/// One execution.
#[derive(Clone, Debug, Args)]
pub struct One {
    /// The execution: its id, the beginning of it, or `last`
    pub id: String,
    #[command(flatten)]
    pub records: Records,
}

/// `cargo faas list`
#[derive(Clone, Debug, Args)]
#[command(after_help = "\
Examples:
  cargo faas list
  cargo faas list --status suspended --json
  cargo faas list --handlers -p factors")]
pub struct List {
    /// Only executions that are running, suspended, completed, failed or cancelled
    #[arg(long, value_name = "STATUS", value_parser = ["running", "suspended", "completed", "failed", "cancelled"])]
    pub status: Option<String>,
    /// Only executions of this handler
    #[arg(long, value_name = "NAME")]
    pub handler: Option<String>,
    /// At most so many, newest first
    #[arg(long, value_name = "N", default_value_t = 50)]
    pub limit: usize,
    /// List the handlers of the package instead
    #[arg(long, conflicts_with_all = ["status", "handler"])]
    pub handlers: bool,
    #[command(flatten)]
    pub records: Records,
    #[command(flatten)]
    pub pick: Pick,
}

/// `cargo faas status`
#[derive(Clone, Debug, Args)]
#[command(after_help = "Examples:\n  cargo faas status last\n  cargo faas status 3f2a --json")]
pub struct Status {
    #[command(flatten)]
    pub one: One,
}

/// `cargo faas result`
#[derive(Clone, Debug, Args)]
#[command(after_help = "Examples:\n  cargo faas result last\n  cargo faas result 3f2a > factors.json")]
pub struct ResultOf {
    #[command(flatten)]
    pub one: One,
}

/// `cargo faas logs`
#[derive(Clone, Debug, Args)]
#[command(after_help = "\
Examples:
  cargo faas logs last
  cargo faas logs 3f2a --invocation 3

Function output is kept for executions that `cargo faas run`, `resume` and `dev` ran on this machine.")]
pub struct Logs {
    #[command(flatten)]
    pub one: One,
    /// Only the invocation with this number
    #[arg(long, value_name = "N")]
    pub invocation: Option<u64>,
}

/// `cargo faas cancel`
#[derive(Clone, Debug, Args)]
#[command(after_help = "\
Examples:
  cargo faas cancel last
  cargo faas cancel 3f2a… --handler factors       one that was called and has not begun: its whole id")]
pub struct Cancel {
    #[command(flatten)]
    pub one: One,
    /// The handler, for an execution that has not begun
    #[arg(long, value_name = "NAME")]
    pub handler: Option<String>,
}

/// `cargo faas gc`
#[derive(Clone, Debug, Args)]
#[command(after_help = "\
Examples:
  cargo faas gc --dry-run
  cargo faas gc --older-than 12h
  cargo faas gc --older-than 1h --keep-results 30d

Only executions that have ended are touched, and none that an invocation may still drive. What is
large goes first; the log, with the result, stays for the same time again at least.")]
pub struct Gc {
    /// Only executions that ended so long ago
    #[arg(long, value_name = "DURATION", default_value = "7d", value_parser = units::parse_duration)]
    pub older_than: Duration,
    /// Keep results, with their logs, for so long after their end
    #[arg(long, value_name = "DURATION", default_value = "0s", hide_default_value = true, value_parser = units::parse_duration)]
    pub keep_results: Duration,
    /// Say what would be removed and remove nothing
    #[arg(long)]
    pub dry_run: bool,
    #[command(flatten)]
    pub records: Records,
}
