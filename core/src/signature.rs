//! Signatures of successor invocations: whoever can call a function can't thereby let its executions go on.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::ExecutionId;

/// A signature that names no entry counts for so long. One that names an entry has no end, since a queue may hold a successor
/// for any time; delivered again it finds that entry taken.
const VALID_MS: u64 = 15 * 60 * 1000;
const PURPOSE: &str = "limitless-faas successor 1";

/// The secret keys of a deployment: the first signs and encrypts, all of them verify and decrypt.
///
/// Nothing shows a key.
#[derive(Clone)]
pub struct SecretKeys(Vec<[u8; 32]>);

/// Why a text holds no keys; it does not repeat the text.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{what} is not 64 hexadecimal digits")]
pub struct BadKey {
    what: String,
}

impl SecretKeys {
    /// Keys of 64 hexadecimal digits each, between commas or white space.
    ///
    /// # Errors
    /// [`BadKey`] where one is none, or there is none at all.
    pub fn parse(text: &str) -> Result<Self, BadKey> {
        let keys = Self::split(text).enumerate().map(|(number, part)| {
            let key = part.is_ascii().then(|| part.to_ascii_lowercase());
            let key = key.and_then(|part| blake3::Hash::from_hex(part).ok());
            key.map(Into::into).ok_or_else(|| BadKey { what: format!("key {}", number + 1) })
        });
        let keys = keys.collect::<Result<Vec<_>, _>>()?;
        if keys.is_empty() { Err(BadKey { what: "what it holds".to_owned() }) } else { Ok(Self(keys)) }
    }

    /// The texts of the keys, for whoever must keep them out of messages.
    pub fn split(text: &str) -> impl Iterator<Item = &str> {
        text.split(|c: char| c == ',' || c.is_whitespace()).filter(|part| !part.is_empty())
    }

    /// The keys, the one to sign and encrypt with first.
    pub fn iter(&self) -> impl Iterator<Item = &[u8; 32]> {
        self.0.iter()
    }

    /// Signs what a successor is asked, at this time.
    pub fn sign(&self, asked: &Resumption<'_>, at_ms: u64) -> Signature {
        Signature { at_ms, mac: asked.mac(&self.0[0], at_ms) }
    }

    /// Whether one of these keys signed just this.
    ///
    /// # Errors
    /// [`NotSigned`] says why it is not believed.
    pub fn verify(
        &self,
        asked: &Resumption<'_>,
        signature: Option<&Signature>,
        now_ms: u64,
    ) -> Result<(), NotSigned> {
        let signature = signature.ok_or(NotSigned::Missing)?;
        // Hashes are compared in a time that says nothing about them.
        if !self.0.iter().any(|key| asked.mac(key, signature.at_ms) == signature.mac) {
            return Err(NotSigned::Other);
        }
        if asked.entry.is_none() && signature.at_ms.abs_diff(now_ms) > VALID_MS {
            return Err(NotSigned::Old);
        }
        Ok(())
    }
}

impl fmt::Debug for SecretKeys {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "SecretKeys({})", self.0.len())
    }
}

/// What a successor is asked: to go on with an execution.
#[derive(Clone, Copy, Debug)]
pub struct Resumption<'a> {
    /// The execution.
    pub execution: &'a ExecutionId,
    /// The number of the `Suspended` entry to go on from; none where the log has to be asked.
    pub entry: Option<u64>,
    /// The handler, where a deployment runs several.
    pub node: Option<&'a str>,
}

impl Resumption<'_> {
    fn mac(&self, key: &[u8; 32], at_ms: u64) -> blake3::Hash {
        let mut hash = blake3::Hasher::new_keyed(&blake3::derive_key(PURPOSE, key));
        hash.update(self.execution.as_str().as_bytes()).update(&at_ms.to_le_bytes());
        // Each part says whether it is there, so that no two askings are the same bytes.
        match self.entry {
            Some(entry) => hash.update(&[1]).update(&entry.to_le_bytes()),
            None => hash.update(&[0]),
        };
        if let Some(node) = self.node {
            hash.update(&[1]).update(node.as_bytes());
        }
        hash.finalize()
    }
}

/// That somebody with a key asks for it, and when: `<ms since 1970>-<64 hexadecimal digits>`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Signature {
    at_ms: u64,
    mac: blake3::Hash,
}

/// A text that is no signature.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a signature is milliseconds, `-` and 64 hexadecimal digits")]
pub struct BadSignature;

impl FromStr for Signature {
    type Err = BadSignature;

    fn from_str(text: &str) -> Result<Self, BadSignature> {
        let (at_ms, mac) = text.split_once('-').ok_or(BadSignature)?;
        let at_ms = at_ms.parse().map_err(|_| BadSignature)?;
        Ok(Self { at_ms, mac: blake3::Hash::from_hex(mac).map_err(|_| BadSignature)? })
    }
}

impl TryFrom<String> for Signature {
    type Error = BadSignature;

    fn try_from(text: String) -> Result<Self, BadSignature> {
        text.parse()
    }
}

impl From<Signature> for String {
    fn from(signature: Signature) -> Self {
        signature.to_string()
    }
}

impl fmt::Display for Signature {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}-{}", self.at_ms, self.mac.to_hex())
    }
}

/// Why a call to go on is not believed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NotSigned {
    /// It has no signature.
    #[error("it is not signed")]
    Missing,
    /// No key here made the signature, or something else was signed with it.
    #[error("its signature is of another key or another call")]
    Other,
    /// It was signed too long ago, or by a clock that is far ahead.
    #[error("it was signed more than 15 minutes ago, or the clocks differ by as much")]
    Old,
}

#[cfg(test)]
mod tests {
    use super::*;

    fn keys(bytes: &[&str]) -> SecretKeys {
        SecretKeys::parse(&bytes.iter().map(|byte| byte.repeat(32)).collect::<Vec<_>>().join(",")).unwrap()
    }

    #[test]
    fn what_was_signed_is_believed_and_nothing_else() {
        let (id, other) = (ExecutionId::derive("h", "a"), ExecutionId::derive("h", "b"));
        let asked = Resumption { execution: &id, entry: Some(3), node: Some("count") };
        let (old, new) = (keys(&["1f"]), keys(&["2f", "1f"]));
        let signature = old.sign(&asked, 5);
        assert_eq!(old.verify(&asked, Some(&signature), 6), Ok(()));
        assert_eq!(new.verify(&asked, Some(&signature), u64::MAX), Ok(()), "after a rotation, however late");
        let refused = Err(NotSigned::Other);
        assert_eq!(old.verify(&asked, Some(&new.sign(&asked, 5)), 6), refused, "a key that is not known");
        for altered in [
            Resumption { execution: &other, ..asked },
            Resumption { entry: Some(4), ..asked },
            Resumption { entry: None, ..asked },
            Resumption { node: Some("coun"), ..asked },
            Resumption { node: None, ..asked },
        ] {
            assert_eq!(old.verify(&altered, Some(&signature), 6), refused, "{altered:?}");
        }
        let later = Signature { at_ms: 6, ..signature };
        assert_eq!(old.verify(&asked, Some(&later), 6), refused);
        assert_eq!(old.verify(&asked, None, 6), Err(NotSigned::Missing));
    }

    #[test]
    fn a_signature_that_names_no_entry_ages() {
        let id = ExecutionId::derive("h", "a");
        let (keys, asked) = (keys(&["1f"]), Resumption { execution: &id, entry: None, node: None });
        let signature = keys.sign(&asked, 10 * VALID_MS);
        for (now_ms, believed) in [
            (10 * VALID_MS, Ok(())),
            (9 * VALID_MS, Ok(())),
            (11 * VALID_MS + 1, Err(NotSigned::Old)),
            (9 * VALID_MS - 1, Err(NotSigned::Old)),
        ] {
            assert_eq!(keys.verify(&asked, Some(&signature), now_ms), believed, "{now_ms}");
        }
    }

    #[test]
    fn signatures_read_back_and_keys_are_not_shown() {
        let id = ExecutionId::derive("h", "a");
        let keys = keys(&["AB"]);
        let signature = keys.sign(&Resumption { execution: &id, entry: None, node: None }, 7);
        assert_eq!(signature.to_string().parse(), Ok(signature));
        for text in ["", "7", "7-", "-7-00", "7-zz"] {
            assert_eq!(text.parse::<Signature>(), Err(BadSignature), "{text}");
        }
        assert_eq!(format!("{keys:?}"), "SecretKeys(1)");
        for text in ["", "1f", &"ä".repeat(32), &format!("{},1f", "1f".repeat(32))] {
            let error = SecretKeys::parse(text).unwrap_err().to_string();
            assert!(!error.contains("1f") && !error.contains('ä'), "{error}");
        }
    }
}
