//! What went wrong in a store, said so that the caller knows what to do.

use std::io;

use crate::{Key, KeyError};

/// What the caller of a store can do about an error.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum StoreErrorKind {
    /// Temporary, or the outcome is unknown: do the very same again.
    Retry,
    /// It will fail again until a person changes something, such as a permission.
    Terminal,
    /// What the store holds is not what was written: parts of a value are missing or changed.
    Damaged,
    /// The store is full. Nothing is left of the failed write; trying again helps once there is space. (An append that fitted in
    /// part is [`Retry`](StoreErrorKind::Retry).)
    Full,
    /// The value is over a size limit.
    TooLarge,
    /// The store can't do this at all.
    NotSupported,
    /// Bytes that can't change would have to: the blob exists, or a segment has a second writer.
    Conflict,
    /// The key, URL or option is not valid.
    Invalid,
}

/// An error of a [`Store`](crate::Store): the message says what failed where and why, [`kind`](StoreError::kind) what to do.
#[derive(Debug, thiserror::Error)]
#[error("{message}")]
pub struct StoreError {
    kind: StoreErrorKind,
    may_have_happened: bool,
    message: String,
}

impl StoreError {
    /// An error after which it is certain that nothing was written.
    pub fn new(kind: StoreErrorKind, message: impl Into<String>) -> Self {
        Self { kind, may_have_happened: false, message: message.into() }
    }

    /// The error of a write whose outcome nobody knows.
    pub fn unknown_outcome(message: impl Into<String>) -> Self {
        Self { kind: StoreErrorKind::Retry, may_have_happened: true, message: message.into() }
    }

    /// An operating system's error of `action` (such as "create") on `key`, before anything became visible.
    pub fn from_io(action: &str, key: &Key, place: &str, error: &io::Error) -> Self {
        Self::new(kind_of(error), format!("failed to {action} {key} in {place}: {error}"))
    }

    /// What a server said, or that it said nothing: an error that stays where it is known to be of that kind; else nobody knows whether
    /// the request is yet carried out. The message is rid of `secrets`.
    #[cfg(feature = "remote")]
    pub(crate) fn of_server(secrets: &crate::Settings, message: &str, stays: Option<StoreErrorKind>) -> Self {
        let message = secrets.redact(message);
        match stays {
            Some(kind) => Self::new(kind, message),
            None => Self::unknown_outcome(message),
        }
    }

    /// The refusal to replace a blob.
    pub fn blob_exists(key: &Key, place: &str) -> Self {
        let message = format!("failed to store the blob {key} in {place}: it exists, and blobs never change");
        Self::new(StoreErrorKind::Conflict, message)
    }

    /// The refusal to put a value where a folder is.
    pub fn is_folder(key: &Key, place: &str) -> Self {
        let message = format!("failed to create {key} in {place}: there are keys below it");
        Self::new(StoreErrorKind::Invalid, message)
    }

    /// The error of an append that does not continue what the segment holds.
    pub fn second_writer(key: &Key, at: u64, len_bytes: u64) -> Self {
        let message = format!(
            "failed to append to {key} at {at}: it is {len_bytes} bytes long and does not go on as its writer left it"
        );
        Self::new(StoreErrorKind::Conflict, message)
    }

    /// The same error where the write may have become visible: it can only be decided by doing the same again.
    #[must_use]
    pub fn with_unknown_outcome(mut self) -> Self {
        self.kind = StoreErrorKind::Retry;
        self.may_have_happened = true;
        self
    }

    /// What the caller can do.
    pub fn kind(&self) -> StoreErrorKind {
        self.kind
    }

    /// Whether the failed write may be in the store nevertheless, now or later. Then only the same bytes may be sent to
    /// the same key, until the store says how it ended.
    pub fn may_have_happened(&self) -> bool {
        self.may_have_happened
    }

    /// Whether doing the same again can succeed without anybody changing anything.
    pub fn is_retryable(&self) -> bool {
        self.kind == StoreErrorKind::Retry
    }
}

impl From<KeyError> for StoreError {
    fn from(error: KeyError) -> Self {
        Self::new(StoreErrorKind::Invalid, error.to_string())
    }
}

impl From<StoreError> for io::Error {
    fn from(error: StoreError) -> Self {
        let kind = match error.kind {
            StoreErrorKind::Full => io::ErrorKind::StorageFull,
            StoreErrorKind::TooLarge => io::ErrorKind::FileTooLarge,
            StoreErrorKind::NotSupported => io::ErrorKind::Unsupported,
            StoreErrorKind::Conflict => io::ErrorKind::AlreadyExists,
            StoreErrorKind::Invalid => io::ErrorKind::InvalidInput,
            StoreErrorKind::Damaged => io::ErrorKind::InvalidData,
            StoreErrorKind::Retry | StoreErrorKind::Terminal => io::ErrorKind::Other,
        };
        Self::new(kind, error)
    }
}

/// Which kind an operating system's error is. Those that are not known to stay are worth another attempt.
fn kind_of(error: &io::Error) -> StoreErrorKind {
    match error.kind() {
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => StoreErrorKind::Full,
        io::ErrorKind::FileTooLarge => StoreErrorKind::TooLarge,
        io::ErrorKind::Unsupported => StoreErrorKind::NotSupported,
        io::ErrorKind::PermissionDenied
        | io::ErrorKind::ReadOnlyFilesystem
        | io::ErrorKind::NotADirectory
        | io::ErrorKind::IsADirectory
        | io::ErrorKind::InvalidInput
        | io::ErrorKind::InvalidFilename => StoreErrorKind::Terminal,
        _ => StoreErrorKind::Retry,
    }
}
