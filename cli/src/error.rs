//! Errors for a person: what failed, why, and what to do.

use std::error::Error as StdError;
use std::fmt;

use limitless_faas_core::{Code, Failure};
use limitless_faas_store::{StoreError, StoreErrorKind};
use serde_json::{Value, json};

use crate::exit::Exit;

/// What a command answers.
pub type Result<T> = std::result::Result<T, Error>;

/// Why a command did not do what was asked.
///
/// Messages are lower-case fragments. Almost all are the user's or the environment's; [`Exit::Bug`] marks ours.
#[derive(Debug)]
pub struct Error {
    exit: Exit,
    code: Option<Code>,
    message: String,
    help: Vec<String>,
    is_printed: bool,
    source: Option<Box<dyn StdError + Send + Sync>>,
}

impl Error {
    /// An error that ends the command with `exit`.
    pub fn new(exit: Exit, message: impl Into<String>) -> Self {
        Self { exit, code: None, message: message.into(), help: Vec::new(), is_printed: false, source: None }
    }

    /// The command can't be carried out as written.
    pub fn usage(message: impl Into<String>) -> Self {
        Self::new(Exit::Usage, message)
    }

    /// The platform can't be reached, or refused.
    pub fn platform(message: impl Into<String>) -> Self {
        Self::new(Exit::Platform, message)
    }

    /// A bug of ours: it asks to be reported.
    pub fn bug(message: impl Into<String>) -> Self {
        let report =
            format!("this is a bug in cargo faas; please report it at {}", env!("CARGO_PKG_REPOSITORY"));
        Self::new(Exit::Bug, message).help(report)
    }

    /// The failure that an execution's log or a function's answer tells.
    pub fn failure(failure: &Failure) -> Self {
        let error = Self::new(Exit::of_failure(failure.code), failure.message.clone());
        Self { code: Some(failure.code), ..error }
    }

    /// Adds a line that says what to do.
    #[must_use]
    pub fn help(mut self, help: impl Into<String>) -> Self {
        self.help.push(help.into());
        self
    }

    /// Adds a line that says what to do, where there is one.
    #[must_use]
    pub fn maybe_help(self, help: Option<String>) -> Self {
        match help {
            Some(help) => self.help(help),
            None => self,
        }
    }

    /// Adds what caused it.
    #[must_use]
    pub fn because(mut self, source: impl Into<Box<dyn StdError + Send + Sync>>) -> Self {
        self.source = Some(source.into());
        self
    }

    /// The JSON object that a command printed tells this error already.
    #[must_use]
    pub fn printed_if(mut self, is_printed: bool) -> Self {
        self.is_printed = is_printed;
        self
    }

    /// Whether a JSON object on stdout tells it already.
    pub fn is_printed(&self) -> bool {
        self.is_printed
    }

    /// How the command ends.
    pub fn exit(&self) -> Exit {
        self.exit
    }

    /// The causes, nearest first, without those that only repeat the one before.
    pub fn causes(&self) -> Vec<String> {
        let mut causes: Vec<String> = Vec::new();
        let mut next: Option<&(dyn StdError + 'static)> = self.source.as_ref().map(|source| {
            let source: &(dyn StdError + 'static) = source.as_ref();
            source
        });
        while let Some(cause) = next {
            let text = cause.to_string();
            if causes.last().is_none_or(|last| !last.ends_with(&text)) {
                causes.push(text);
            }
            next = cause.source();
        }
        causes
    }

    /// The lines that say what to do.
    pub fn helps(&self) -> &[String] {
        &self.help
    }

    /// The value under `error` in `--json`.
    pub fn to_json(&self) -> Value {
        let mut value =
            json!({ "kind": self.exit.word(), "message": self.message, "exit_code": self.exit.code() });
        if let Some(code) = self.code {
            value["code"] = json!(code);
        }
        let causes = self.causes();
        if !causes.is_empty() {
            value["causes"] = json!(causes);
        }
        if !self.help.is_empty() {
            value["help"] = json!(self.help.join("\n"));
        }
        value
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)?;
        match self.code {
            Some(code) => write!(f, " ({code})"),
            None => Ok(()),
        }
    }
}

impl StdError for Error {
    fn source(&self) -> Option<&(dyn StdError + 'static)> {
        self.source.as_ref().map(|source| {
            let source: &(dyn StdError + 'static) = source.as_ref();
            source
        })
    }
}

impl From<StoreError> for Error {
    fn from(error: StoreError) -> Self {
        let help = match error.kind() {
            StoreErrorKind::Retry => {
                "nothing was lost: try again, or check the store's URL and who may write there"
            }
            StoreErrorKind::Full => "make room, then go on with `cargo faas resume`",
            StoreErrorKind::Invalid => "write the store as file:/absolute/folder",
            _ => "check the store's URL, and who may write there",
        };
        let exit = if error.kind() == StoreErrorKind::Invalid { Exit::Usage } else { Exit::Store };
        Self::new(exit, error.to_string()).help(help)
    }
}

/// Gives an [`std::io::Error`] and its like the fragment that says what was tried.
pub trait Context<T> {
    /// The error says `message`, and what it was as its cause.
    ///
    /// # Errors
    /// Where `self` is one.
    fn context(self, exit: Exit, message: impl FnOnce() -> String) -> Result<T>;
}

impl<T, E: StdError + Send + Sync + 'static> Context<T> for std::result::Result<T, E> {
    fn context(self, exit: Exit, message: impl FnOnce() -> String) -> Result<T> {
        self.map_err(|error| Error::new(exit, message()).because(error))
    }
}
