//! Keys, checked once so that no store needs to fear them.

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

/// The most bytes a whole key may have. Object stores allow 1024, a prefix included.
const KEY_LIMIT_BYTES: usize = 512;
/// The most bytes one segment may have: file systems allow 255, temporary names included.
const SEGMENT_LIMIT_BYTES: usize = 128;

/// The name of a value in a store: segments of `A-Z a-z 0-9 . _ -`, joined by `/`.
///
/// A segment is never empty and never begins with a dot, so a key can't leave its prefix or meet a store's own files,
/// whatever it was made from.
///
/// ```
/// use limitless_faas_store::Key;
///
/// let log = Key::new("executions/0f/log")?;
/// assert_eq!(log.join("00000000")?.as_str(), "executions/0f/log/00000000");
/// assert!(Key::new("executions/../../etc/passwd").is_err());
/// # Ok::<(), limitless_faas_store::KeyError>(())
/// ```
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Key(Arc<str>);

/// Why a text can't be a [`Key`].
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum KeyError {
    /// The key, or one of its segments, is empty.
    #[error("store key {0:?} has an empty segment")]
    Empty(String),
    /// A segment begins with a dot.
    #[error("store key {0:?} has a segment that begins with a dot")]
    LeadingDot(String),
    /// A character outside `A-Z a-z 0-9 . _ - /`.
    #[error("store key {key:?} has the character {character:?}; only A-Z a-z 0-9 . _ - and / are allowed")]
    Character {
        /// The refused text, shortened.
        key: String,
        /// The first character that is not allowed.
        character: char,
    },
    /// The key or one of its segments is too long.
    #[error(
        "store key {0:?} is too long: at most {SEGMENT_LIMIT_BYTES} bytes a segment and {KEY_LIMIT_BYTES} in all"
    )]
    TooLong(String),
}

impl Key {
    /// Checks `text` and makes a key of it.
    ///
    /// # Errors
    /// A [`KeyError`] that says what is wrong with it.
    pub fn new(text: &str) -> Result<Self, KeyError> {
        let shown = || text.chars().take(80).collect::<String>();
        if text.len() > KEY_LIMIT_BYTES {
            return Err(KeyError::TooLong(shown()));
        }
        for segment in text.split('/') {
            if segment.is_empty() {
                return Err(KeyError::Empty(shown()));
            }
            if segment.starts_with('.') {
                return Err(KeyError::LeadingDot(shown()));
            }
            if segment.len() > SEGMENT_LIMIT_BYTES {
                return Err(KeyError::TooLong(shown()));
            }
            if let Some(character) = segment.chars().find(|c| !is_allowed(*c)) {
                return Err(KeyError::Character { key: shown(), character });
            }
        }
        Ok(Self(text.into()))
    }

    /// This key with further segments below it.
    ///
    /// # Errors
    /// A [`KeyError`] as for [`Key::new`].
    pub fn join(&self, below: &str) -> Result<Self, KeyError> {
        Self::new(&format!("{}/{below}", self.0))
    }

    /// The key as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The last segment.
    pub fn name(&self) -> &str {
        self.0.rsplit_once('/').map_or(&self.0, |(_, name)| name)
    }
}

fn is_allowed(character: char) -> bool {
    character.is_ascii_alphanumeric() || matches!(character, '.' | '_' | '-')
}

impl FromStr for Key {
    type Err = KeyError;

    fn from_str(text: &str) -> Result<Self, KeyError> {
        Self::new(text)
    }
}

impl fmt::Display for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Key({})", self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_layout_of_an_execution_is_allowed() {
        for text in ["executions/0f/log/00000000", "executions/0f/segments/3-9a", "a", "A-b_c.d"] {
            assert_eq!(Key::new(text).unwrap().as_str(), text);
        }
        assert_eq!(Key::new("a/b/c").unwrap().name(), "c");
        assert_eq!(Key::new("a").unwrap().name(), "a");
    }

    #[test]
    fn hostile_keys_are_refused() {
        let long_segment = "x".repeat(129);
        let long_key = "x/".repeat(300) + "x";
        let hostile = [
            "",
            "/",
            "/a",
            "a/",
            "a//b",
            ".",
            "..",
            "a/..",
            "../a",
            "a/./b",
            "a/.tmp",
            "a\0b",
            "a b",
            "a\\b",
            "ä",
            "a\n",
            "a%2e",
            "~",
            "a:b",
            "*",
            &long_segment,
            &long_key,
        ];
        for text in hostile {
            assert!(Key::new(text).is_err(), "{text:?} must be refused");
        }
        assert!(Key::new("a").unwrap().join("..").is_err());
        assert!(Key::new(&"x".repeat(128)).is_ok());
    }
}
