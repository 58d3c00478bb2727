//! How long a result is kept, where its caller asks for that.

/// The longest time that can be asked for: ten years.
pub const LONGEST_KEEP_MS: u64 = 10 * 365 * 24 * 60 * 60 * 1000;

/// More than can be asked for.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a result can be kept for {LONGEST_KEEP_MS} ms, ten years, and not for {asked_ms} ms")]
pub struct TooLong {
    asked_ms: u64,
}

/// Checks what a caller asks for, ms.
///
/// # Errors
/// It is longer than [`LONGEST_KEEP_MS`].
pub fn check(keep_ms: u64) -> Result<(), TooLong> {
    if keep_ms > LONGEST_KEEP_MS { Err(TooLong { asked_ms: keep_ms }) } else { Ok(()) }
}
