//! How a run ends.

use std::fmt;

use serde_json::value::RawValue;

use super::codec::Incompatible;
use crate::handler::CheckpointDef;

/// How one run of a handler ended.
#[derive(Debug)]
#[non_exhaustive]
pub enum Outcome {
    /// The handler returned: its result as JSON, or the `Err` it chose to return. Terminal.
    Returned(Result<Box<RawValue>, ApplicationError>),
    /// The state was written to the sink; the execution can go on from it.
    Suspended(Point),
    /// The handler waits for something that is far off; it goes on from its last checkpoint and its recorded steps.
    Waiting(limitless_faas_core::log::Wake),
    /// The handler panicked. Terminal unless the panic came from outside the handler's own logic.
    Panicked {
        /// The panic's message and place.
        message: String,
    },
    /// The input does not fit the handler's parameters; the handler did not run.
    BadInput {
        /// Names the field.
        message: String,
    },
    /// The sink could not be opened or written. The previous checkpoint still holds.
    SaveFailed {
        /// Where the handler stood.
        point: Point,
        /// Why.
        source: std::io::Error,
    },
    /// The saved state belongs to another version of the handler.
    Incompatible(Incompatible),
    /// The saved state could not be decoded.
    Damaged {
        /// What could not be read.
        message: String,
    },
}

/// The `Err` that a handler returned.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ApplicationError {
    /// The error's `Display`.
    pub message: String,
}

impl fmt::Display for ApplicationError {
    fn fmt(&self, to: &mut fmt::Formatter<'_>) -> fmt::Result {
        to.write_str(&self.message)
    }
}

impl std::error::Error for ApplicationError {}

/// A place in a handler where it can be suspended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Point {
    /// The loop's number, counted from 1 in the order of the source; 0 is `Context::checkpoint`.
    pub number: u32,
    /// The loop's line in its source file.
    pub line: u32,
    /// The head of the loop as written, such as `for d in 2..=n.isqrt()`.
    pub label: String,
}

impl Point {
    pub(crate) fn find(points: &[CheckpointDef], number: u32) -> Point {
        match points.iter().find(|point| point.number == number) {
            Some(found) => Point { number, line: found.line, label: found.label.to_owned() },
            None => Point { number, line: 0, label: String::from("ctx.checkpoint(…)") },
        }
    }
}

impl fmt::Display for Point {
    fn fmt(&self, to: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.line {
            0 => write!(to, "`{}`", self.label),
            line => write!(to, "`{}` (line {line})", self.label),
        }
    }
}
