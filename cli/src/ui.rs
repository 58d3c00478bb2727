//! What a person reads: stdout carries the result alone, stderr everything else.

use std::io::{self, IsTerminal, Write};

use anstyle::{AnsiColor, Style};
use serde::Serialize;

use crate::args::Global;
use crate::error::{Error, Result};
use crate::exit::Exit;

/// Green and bold, as cargo's own verbs.
pub const VERB: Style = AnsiColor::Green.on_default().bold();
/// What needs attention.
pub const WARN: Style = AnsiColor::Yellow.on_default().bold();
/// What went wrong.
pub const BAD: Style = AnsiColor::Red.on_default().bold();
/// What to do.
pub const HELP: Style = AnsiColor::Cyan.on_default().bold();
/// What matters less.
pub const DIM: Style = Style::new().dimmed();

/// `text` in `style`.
pub fn paint(style: Style, text: &str) -> String {
    format!("{style}{text}{style:#}")
}

/// Where a command's messages go.
#[derive(Clone, Debug)]
pub struct Ui {
    json: bool,
    quiet: bool,
    live: bool,
}

impl Ui {
    /// As the command line asks for it.
    pub fn new(global: &Global) -> Self {
        Self { json: global.json, quiet: global.quiet, live: !global.quiet && io::stderr().is_terminal() }
    }

    /// Whether one JSON object is wanted on stdout.
    pub fn is_json(&self) -> bool {
        self.json
    }

    /// Whether messages are unwanted.
    pub fn is_quiet(&self) -> bool {
        self.quiet
    }

    /// Whether stderr is a terminal whose lines may be drawn anew.
    pub fn is_live(&self) -> bool {
        self.live
    }

    /// A line on stderr.
    pub fn say(&self, line: &str) {
        if !self.quiet {
            note(line);
        }
    }

    /// A line on stderr that begins with a verb, as cargo's do.
    pub fn status(&self, verb: &str, text: &str) {
        self.say(&format!("{} {text}", paint(VERB, &format!("{verb:>12}"))));
    }

    /// A line on stderr that needs attention.
    pub fn warn(&self, text: &str) {
        self.say(&format!("{} {text}", paint(WARN, "warning:")));
    }

    /// Text for stdout, with a line end.
    ///
    /// # Errors
    /// Where stdout can't be written; a reader that has left is none.
    #[expect(clippy::unused_self, reason = "stdout belongs to the session")]
    pub fn print(&self, text: &str) -> Result<()> {
        let mut out = anstream::stdout().lock();
        match writeln!(out, "{text}").and_then(|()| out.flush()) {
            Err(error) if error.kind() != io::ErrorKind::BrokenPipe => {
                Err(Error::new(Exit::Usage, "failed to write to stdout").because(error))
            }
            _ => Ok(()),
        }
    }

    /// One JSON value for stdout.
    ///
    /// # Errors
    /// As [`Ui::print`].
    pub fn print_json(&self, value: &impl Serialize) -> Result<()> {
        let text =
            serde_json::to_string_pretty(value).map_err(|error| Error::bug("no JSON").because(error))?;
        self.print(&text)
    }
}

/// A line on stderr. A terminal that is gone is no reason to stop.
fn note(line: &str) {
    let mut err = anstream::stderr().lock();
    drop(writeln!(err, "{line}"));
}

/// Prints why a command ended, in both tiers.
pub fn report(error: &Error) {
    note(&render(error));
}

/// An error as a person reads it.
pub fn render(error: &Error) -> String {
    let title = if error.exit() == Exit::Bug { "internal error:" } else { "error:" };
    let mut lines = vec![format!("{} {error}", paint(BAD, title))];
    for cause in error.causes() {
        lines.push(format!("  {} {}", paint(DIM, "because:"), indent(&cause, "           ")));
    }
    for help in error.helps() {
        lines.push(format!("  {} {}", paint(HELP, "help:"), indent(help, "        ")));
    }
    lines.join("\n")
}

fn indent(text: &str, by: &str) -> String {
    text.trim_end().replace('\n', &format!("\n{by}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_error_says_what_why_and_what_to_do() {
        let error = Error::new(Exit::Store, "failed to read the log of execution 3f2a")
            .because(io::Error::other("permission denied"))
            .help("check who may read the store")
            .help("or name another with --store");
        let text = anstream::adapter::strip_str(&render(&error)).to_string();
        insta::assert_snapshot!(text, @r"
        error: failed to read the log of execution 3f2a
          because: permission denied
          help: check who may read the store
          help: or name another with --store
        ");
    }

    #[test]
    fn a_bug_of_ours_asks_to_be_reported() {
        let text = anstream::adapter::strip_str(&render(&Error::bug("the log shrank"))).to_string();
        assert!(text.starts_with("internal error: the log shrank"), "{text}");
        assert!(text.contains("please report it at https://"), "{text}");
    }
}
