//! Keys: which one seals, and which can open.

use std::fmt;
use std::sync::Arc;

use limitless_faas_cipher::Cipher;
use limitless_faas_core::signature::{BadKey, SecretKeys};

use super::KeyId;
use crate::{Settings, StoreError, StoreErrorKind};

/// The keys of an [`Encrypted`](super::Encrypted) store: the first seals, all of them open.
///
/// Nothing shows a key; what names it is its id, which follows from it.
pub struct Keys(Vec<Arc<Cipher>>);

impl Keys {
    /// Keys of 64 hexadecimal digits each, between commas or white space.
    ///
    /// # Errors
    /// [`StoreErrorKind::Invalid`] where one is none, or there is none at all. The message does not repeat it.
    pub fn parse(text: &str) -> Result<Self, StoreError> {
        let keys = SecretKeys::parse(text).map_err(|error| refused(&error))?;
        Ok(Self(keys.iter().map(|key| Arc::new(Cipher::new(key))).collect()))
    }

    /// The keys that `LIMITLESS_KEY` holds, if it is set.
    pub(crate) fn from_settings(settings: &Settings) -> Option<Result<Self, StoreError>> {
        let text = settings.get(super::KEY_VARIABLE)?;
        SecretKeys::split(&text).for_each(|key| settings.keep_secret(key));
        Some(Self::parse(&text))
    }

    /// The key that seals.
    pub(super) fn first(&self) -> &Arc<Cipher> {
        &self.0[0]
    }

    pub(super) fn get(&self, id: KeyId) -> Option<&Arc<Cipher>> {
        self.0.iter().find(|key| KeyId(key.id()) == id)
    }

    /// The ids of all keys, the one that seals first.
    pub fn ids(&self) -> Vec<String> {
        self.0.iter().map(|key| KeyId(key.id()).to_string()).collect()
    }
}

impl fmt::Debug for Keys {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Keys").field(&self.ids()).finish()
    }
}

fn refused(error: &BadKey) -> StoreError {
    let message = format!(
        "{} is not usable: {error}; make a key with `openssl rand -hex 32`, and write several with \
         commas between them, the one to encrypt with first",
        super::KEY_VARIABLE
    );
    StoreError::new(StoreErrorKind::Invalid, message)
}
