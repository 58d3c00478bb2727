//! Numbered errors: what went wrong, and what a caller can do about it.

use std::fmt;

use serde::{Deserialize, Serialize};

/// What whoever meets an error can do.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Advice {
    /// The same call may succeed later; nothing was lost.
    Retry,
    /// It will fail the same way again.
    Terminal,
    /// Another invocation drives the execution: leave it alone.
    Fenced,
    /// The code that saved the state and the code that would go on differ.
    Incompatible,
    /// The call itself is wrong.
    Usage,
}

/// The numbered errors of limitless-faas. Numbers are never used again for something else.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Code {
    /// The input is not what the handler takes.
    #[serde(rename = "LF001")]
    BadInput,
    /// The handler returned `Err`.
    #[serde(rename = "LF002")]
    Application,
    /// The handler panicked.
    #[serde(rename = "LF003")]
    Panicked,
    /// The store does not answer, or answers with an error.
    #[serde(rename = "LF004")]
    StoreAway,
    /// The state could not be saved.
    #[serde(rename = "LF005")]
    SaveFailed,
    /// No checkpoint of the execution can be read whole.
    #[serde(rename = "LF006")]
    Damaged,
    /// The checkpoint was written by other code.
    #[serde(rename = "LF007")]
    Incompatible,
    /// Several invocations in a row got no further.
    #[serde(rename = "LF008")]
    NoProgress,
    /// The execution used up its invocations.
    #[serde(rename = "LF009")]
    TooManyInvocations,
    /// The successor, or a function that has to be called, could not be invoked; the execution stays resumable.
    #[serde(rename = "LF010")]
    SuccessorRefused,
    /// Another invocation drives the execution.
    #[serde(rename = "LF011")]
    AlreadyClaimed,
    /// The same call id or idempotency key came with another input.
    #[serde(rename = "LF012")]
    InputChanged,
    /// There is no such execution.
    #[serde(rename = "LF013")]
    UnknownExecution,
    /// The binary has no such handler.
    #[serde(rename = "LF014")]
    UnknownHandler,
    /// A step key was used twice in one execution.
    #[serde(rename = "LF015")]
    StepRepeated,
    /// The log has an entry that this version can't read.
    #[serde(rename = "LF016")]
    UnreadableLog,
    /// The execution was cancelled.
    #[serde(rename = "LF017")]
    Cancelled,
    /// The function process is not set up for what was asked of it.
    #[serde(rename = "LF018")]
    NotConfigured,
    /// A step that may run once at most was interrupted: whether its effect happened is not known.
    #[serde(rename = "LF019")]
    StepInterrupted,
    /// A program could not be saved or restarted this time; what was saved before still stands.
    #[serde(rename = "LF020")]
    ImageFailed,
    /// A call to go on with an execution is not signed with a key of the deployment.
    #[serde(rename = "LF021")]
    NotSigned,
}

impl Code {
    /// What a caller can do.
    pub fn advice(self) -> Advice {
        match self {
            Self::StoreAway | Self::SuccessorRefused | Self::ImageFailed => Advice::Retry,
            Self::AlreadyClaimed => Advice::Fenced,
            Self::Incompatible => Advice::Incompatible,
            Self::BadInput
            | Self::InputChanged
            | Self::UnknownExecution
            | Self::UnknownHandler
            | Self::NotSigned
            | Self::NotConfigured => Advice::Usage,
            Self::Application
            | Self::Panicked
            | Self::SaveFailed
            | Self::Damaged
            | Self::NoProgress
            | Self::TooManyInvocations
            | Self::StepRepeated
            | Self::StepInterrupted
            | Self::UnreadableLog
            | Self::Cancelled => Advice::Terminal,
        }
    }

    /// The number as it stands in messages: `LF008`.
    pub fn number(self) -> String {
        // The serde name is the one place where numbers are written down.
        serde_json::to_value(self).ok().and_then(|v| v.as_str().map(str::to_owned)).unwrap_or_default()
    }
}

impl fmt::Display for Code {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.number())
    }
}

/// An error as it is recorded in the log and answered to callers.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, thiserror::Error)]
#[error("{message} ({code})")]
pub struct Failure {
    /// Which error.
    pub code: Code,
    /// What happened and what can be done, for a person.
    pub message: String,
}

impl Failure {
    /// An error with its message.
    pub fn new(code: Code, message: impl Into<String>) -> Self {
        Self { code, message: message.into() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_stable_and_read_back() {
        assert_eq!(Code::BadInput.number(), "LF001");
        assert_eq!(Code::NotConfigured.number(), "LF018");
        let failure = Failure::new(Code::NoProgress, "stuck");
        assert_eq!(failure.to_string(), "stuck (LF008)");
        let json = serde_json::to_string(&failure).unwrap();
        assert_eq!(json, r#"{"code":"LF008","message":"stuck"}"#);
        assert_eq!(serde_json::from_str::<Failure>(&json).unwrap(), failure);
    }
}
