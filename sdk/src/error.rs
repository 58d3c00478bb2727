//! The error that handlers may return.

use std::error::Error as StdError;
use std::fmt;

use limitless_faas_core::{Code, Failure};

use crate::call::CallError;

/// Any error of a handler, and ours: what `?` turns errors into.
///
/// It keeps the text of the error and of its sources, which is all that outlives the process.
pub struct Error {
    message: String,
    code: Option<Code>,
    is_terminal: bool,
}

/// A handler's usual result.
pub type Result<T, E = Error> = std::result::Result<T, E>;

impl Error {
    /// An error with this text.
    pub fn msg(message: impl fmt::Display) -> Self {
        Self { message: message.to_string(), code: None, is_terminal: false }
    }

    /// This error, as one that another try will not mend: a step's retry policy stops at it.
    #[must_use]
    pub fn terminal(self) -> Self {
        Self { is_terminal: true, ..self }
    }

    /// Whether another try is of no use: it was said to be terminal, or is one of ours.
    pub fn is_terminal(&self) -> bool {
        self.is_terminal || self.code.is_some()
    }

    /// Its number, where it is one of ours.
    pub fn code(&self) -> Option<Code> {
        self.code
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl fmt::Debug for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl<E: StdError + Send + Sync + 'static> From<E> for Error {
    fn from(error: E) -> Self {
        let any = &error as &dyn StdError;
        let of_call = || any.downcast_ref::<CallError>().map(|error| &error.failure);
        let code = any.downcast_ref::<Failure>().or_else(of_call).map(|failure| failure.code);
        let mut message = error.to_string();
        let mut source = error.source();
        while let Some(error) = source {
            let text = error.to_string();
            // Many errors already say what their source says.
            if !message.contains(&text) {
                message.push_str(": ");
                message.push_str(&text);
            }
            source = error.source();
        }
        Self { message, code, is_terminal: false }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_question_mark_turns_any_error_into_this_one() {
        fn parse(text: &str) -> Result<u8> {
            Ok(text.parse()?)
        }
        assert_eq!(parse("7").unwrap(), 7);
        assert_eq!(parse("x").unwrap_err().to_string(), "invalid digit found in string");
    }

    #[test]
    fn what_a_call_came_to_keeps_its_number() {
        let failure = Failure::new(Code::Panicked, "at once");
        let execution = limitless_faas_core::ExecutionId::derive("h", "k");
        let error = CallError { key: "k".to_owned(), handler: "h".to_owned(), execution, failure };
        let error = Error::from(error);
        assert_eq!(error.code(), Some(Code::Panicked));
        assert!(error.to_string().starts_with("call `k` of handler `h`"), "{error}");
    }

    #[test]
    fn our_own_errors_keep_their_number() {
        let error = Error::from(Failure::new(Code::StepRepeated, "twice"));
        assert_eq!(error.code(), Some(Code::StepRepeated));
    }
}
