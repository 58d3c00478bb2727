//! Exit codes: what a script can tell apart.

use limitless_faas_core::Code;

/// How `cargo faas` ends. The numbers are documented in `cargo faas --help` and never change their meaning.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Exit {
    /// It did what was asked.
    Ok = 0,
    /// The handler itself failed: it returned an error or panicked.
    Application = 1,
    /// The command can't be carried out as written.
    Usage = 2,
    /// cargo could not build the function.
    Build = 3,
    /// The checkpoint was saved by other code; it was left alone.
    Incompatible = 4,
    /// The execution got no further, or used up its invocations.
    NoProgress = 5,
    /// The execution was cancelled.
    Cancelled = 6,
    /// The platform can't be reached or refused.
    Platform = 7,
    /// The store can't be reached, or what it holds can't be read.
    Store = 8,
    /// The execution has no result yet; it can go on.
    Unfinished = 9,
    /// No plan meets the target.
    Infeasible = 10,
    /// A bug in cargo faas.
    Bug = 70,
    /// Ctrl-C or SIGTERM.
    Interrupted = 130,
}

/// Every exit code with what it means, in order: the table in the help and in the README.
pub const TABLE: &[(Exit, &str)] = &[
    (Exit::Ok, "it worked"),
    (Exit::Application, "the handler returned an error or panicked"),
    (Exit::Usage, "the command can't be carried out as written, or the handler refused its input"),
    (Exit::Build, "cargo could not build the function"),
    (Exit::Incompatible, "the checkpoint was saved by other code; it was left as it is"),
    (Exit::NoProgress, "no progress in several invocations, or too many invocations"),
    (Exit::Cancelled, "the execution was cancelled"),
    (Exit::Platform, "the platform can't be reached, or refused"),
    (Exit::Store, "the store can't be reached, or what it holds can't be read"),
    (Exit::Unfinished, "no result yet; the execution can go on"),
    (Exit::Infeasible, "no plan meets the target, or none was found"),
    (Exit::Bug, "a bug in cargo faas"),
    (Exit::Interrupted, "interrupted; the execution can go on"),
];

impl Exit {
    /// The number.
    pub fn code(self) -> u8 {
        self as u8
    }

    /// The word that stands in `--json` errors.
    pub fn word(self) -> &'static str {
        match self {
            Self::Ok => "ok",
            Self::Application => "application",
            Self::Usage => "usage",
            Self::Build => "build",
            Self::Incompatible => "incompatible",
            Self::NoProgress => "no_progress",
            Self::Cancelled => "cancelled",
            Self::Platform => "platform",
            Self::Store => "store",
            Self::Unfinished => "unfinished",
            Self::Infeasible => "infeasible",
            Self::Bug => "bug",
            Self::Interrupted => "interrupted",
        }
    }

    /// How an execution that failed with this error ends the command that waited for it.
    pub fn of_failure(code: Code) -> Self {
        match code {
            Code::Application | Code::Panicked | Code::StepRepeated | Code::StepInterrupted => {
                Self::Application
            }
            Code::Incompatible => Self::Incompatible,
            Code::NoProgress | Code::TooManyInvocations => Self::NoProgress,
            Code::Cancelled => Self::Cancelled,
            Code::StoreAway | Code::SaveFailed | Code::ImageFailed | Code::Damaged | Code::UnreadableLog => {
                Self::Store
            }
            Code::SuccessorRefused | Code::AlreadyClaimed => Self::Platform,
            Code::BadInput
            | Code::InputChanged
            | Code::UnknownExecution
            | Code::UnknownHandler
            | Code::NotSigned
            | Code::NotConfigured => Self::Usage,
        }
    }
}

/// The table as it stands in the help.
pub fn help_table() -> String {
    TABLE.iter().fold(String::from("Exit codes:"), |text, (exit, meaning)| {
        format!("{text}\n  {:>3}  {meaning}", exit.code())
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table_is_complete_and_in_order() {
        let numbers: Vec<u8> = TABLE.iter().map(|(exit, _)| exit.code()).collect();
        assert_eq!(numbers, [0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 70, 130]);
    }

    #[test]
    fn failures_a_script_must_tell_apart_have_codes_of_their_own() {
        assert_eq!(Exit::of_failure(Code::Application).code(), 1);
        assert_eq!(Exit::of_failure(Code::Incompatible).code(), 4);
        assert_eq!(Exit::of_failure(Code::NoProgress).code(), 5);
        assert_eq!(Exit::of_failure(Code::TooManyInvocations).code(), 5);
        assert_eq!(Exit::of_failure(Code::Cancelled).code(), 6);
    }
}
