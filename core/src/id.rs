//! Names that stand in keys and messages: [`ExecutionId`] and [`Nonce`].

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// The durable name of one execution: 32 lowercase hexadecimal digits.
///
/// Only such a text can become an id, so an id that came over the network never leaves its prefix in a store.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct ExecutionId(String);

impl ExecutionId {
    /// The id of the execution that a caller's own key or a platform's call id names.
    ///
    /// The same handler and key always give the same id, so two deliveries of one call meet in one log. The
    /// key itself never becomes part of a path.
    pub fn derive(handler: &str, call: &str) -> Self {
        let mut hash = blake3::Hasher::new_derive_key("limitless-faas execution id v1");
        hash.update(&(handler.len() as u64).to_le_bytes());
        hash.update(handler.as_bytes());
        hash.update(call.as_bytes());
        Self(hash.finalize().to_hex()[..32].to_owned())
    }

    /// The id made of 16 random bytes.
    pub fn from_random(bytes: [u8; 16]) -> Self {
        Self(hex(&bytes))
    }

    /// The id as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// One delivery's random mark in everything it writes.
///
/// It is drawn anew for each *delivery*, never made from the platform's activation or call id: two deliveries
/// of one call would otherwise both believe that they own the execution.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Nonce(u64);

impl Nonce {
    /// The nonce made of 8 random bytes.
    pub fn from_random(bytes: [u8; 8]) -> Self {
        Self(u64::from_be_bytes(bytes))
    }
}

/// A text that is not an id: says which form was expected.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("expected {expected} lowercase hexadecimal digits, found `{found}`")]
pub struct BadId {
    expected: usize,
    found: String,
}

impl BadId {
    fn new(expected: usize, found: &str) -> Self {
        // A hostile id may be megabytes long, and this text ends in logs and terminals.
        Self { expected, found: found.chars().take(40).flat_map(char::escape_default).collect() }
    }
}

fn is_lowercase_hex(text: &str, digits: usize) -> bool {
    text.len() == digits && text.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'))
}

fn hex(bytes: &[u8]) -> String {
    use fmt::Write;
    bytes.iter().fold(String::with_capacity(bytes.len() * 2), |mut text, byte| {
        // Writing to a String cannot fail.
        let _ = write!(text, "{byte:02x}");
        text
    })
}

impl FromStr for ExecutionId {
    type Err = BadId;

    fn from_str(text: &str) -> Result<Self, BadId> {
        if is_lowercase_hex(text, 32) { Ok(Self(text.to_owned())) } else { Err(BadId::new(32, text)) }
    }
}

impl TryFrom<String> for ExecutionId {
    type Error = BadId;

    fn try_from(text: String) -> Result<Self, BadId> {
        text.parse()
    }
}

impl From<ExecutionId> for String {
    fn from(id: ExecutionId) -> Self {
        id.0
    }
}

impl fmt::Display for ExecutionId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl FromStr for Nonce {
    type Err = BadId;

    fn from_str(text: &str) -> Result<Self, BadId> {
        let bad = || BadId::new(16, text);
        if !is_lowercase_hex(text, 16) {
            return Err(bad());
        }
        u64::from_str_radix(text, 16).map(Self).map_err(|_| bad())
    }
}

impl TryFrom<String> for Nonce {
    type Error = BadId;

    fn try_from(text: String) -> Result<Self, BadId> {
        text.parse()
    }
}

impl From<Nonce> for String {
    fn from(nonce: Nonce) -> Self {
        nonce.to_string()
    }
}

impl fmt::Display for Nonce {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:016x}", self.0)
    }
}

impl fmt::Debug for Nonce {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Nonce({self})")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_derived_id_depends_on_the_handler_and_the_call() {
        let id = ExecutionId::derive("factors", "call-1");
        assert_eq!(id, ExecutionId::derive("factors", "call-1"));
        assert_ne!(id, ExecutionId::derive("factors", "call-2"));
        // The boundary between the two texts counts too.
        assert_ne!(ExecutionId::derive("ab", "c"), ExecutionId::derive("a", "bc"));
        assert_eq!(id.as_str().parse::<ExecutionId>().unwrap(), id);
    }

    #[test]
    fn hostile_ids_are_refused() {
        let long = "a".repeat(10_000);
        for text in
            ["", "../../etc/passwd", "ABCDEF00112233445566778899aabbcc", "g".repeat(32).as_str(), &long]
        {
            let error = text.parse::<ExecutionId>().unwrap_err();
            assert!(error.to_string().len() < 200, "{error}");
        }
        assert!(serde_json::from_str::<ExecutionId>("\"..\"").is_err());
    }

    #[test]
    fn a_nonce_reads_back() {
        let nonce = Nonce::from_random([0, 1, 2, 3, 4, 5, 6, 255]);
        assert_eq!(nonce.to_string(), "00010203040506ff");
        assert_eq!(nonce.to_string().parse::<Nonce>().unwrap(), nonce);
        assert!("+0010203040506ff".parse::<Nonce>().is_err());
    }
}
