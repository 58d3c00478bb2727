//! Keys: which one seals, and which can open.

use std::fmt;
use std::sync::Arc;

use chacha20poly1305::aead::AeadInOut;
use chacha20poly1305::{KeyInit, Tag, XChaCha20Poly1305, XNonce};
use limitless_faas_core::signature::{BadKey, SecretKeys};

use super::KeyId;
use crate::{Settings, StoreError, StoreErrorKind};

pub(super) const NONCE_LEN: usize = 24;
const TAG_LEN: usize = 16;
/// What sealing adds to a text: the nonce in front and the tag behind.
pub(super) const SEAL_LEN: usize = NONCE_LEN + TAG_LEN;

/// The keys of an [`Encrypted`](super::Encrypted) store: the first seals, all of them open.
///
/// Nothing shows a key; what names it is its id, which follows from it.
pub struct Keys(Vec<Arc<KeyPair>>);

/// What follows from one key.
pub(super) struct KeyPair {
    pub(super) id: KeyId,
    cipher: XChaCha20Poly1305,
    nonces: [u8; 32],
}

impl Keys {
    /// Keys of 64 hexadecimal digits each, between commas or white space.
    ///
    /// # Errors
    /// [`StoreErrorKind::Invalid`] where one is none, or there is none at all. The message does not repeat it.
    pub fn parse(text: &str) -> Result<Self, StoreError> {
        let keys = SecretKeys::parse(text).map_err(|error| refused(&error))?;
        Ok(Self(keys.iter().map(|key| Arc::new(KeyPair::new(key))).collect()))
    }

    /// The keys that `LIMITLESS_KEY` holds, if it is set.
    pub(crate) fn from_settings(settings: &Settings) -> Option<Result<Self, StoreError>> {
        let text = settings.get(super::KEY_VARIABLE)?;
        SecretKeys::split(&text).for_each(|key| settings.keep_secret(key));
        Some(Self::parse(&text))
    }

    /// The key that seals.
    pub(super) fn first(&self) -> &Arc<KeyPair> {
        &self.0[0]
    }

    pub(super) fn get(&self, id: KeyId) -> Option<&Arc<KeyPair>> {
        self.0.iter().find(|key| key.id == id)
    }

    /// The ids of all keys, the one that seals first.
    pub fn ids(&self) -> Vec<String> {
        self.0.iter().map(|key| key.id.to_string()).collect()
    }
}

impl fmt::Debug for Keys {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Keys").field(&self.ids()).finish()
    }
}

impl fmt::Debug for KeyPair {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "KeyPair({})", self.id)
    }
}

impl KeyPair {
    fn new(key: &[u8; 32]) -> Self {
        let derive = |purpose: &str| blake3::derive_key(&format!("limitless-faas sealed 1: {purpose}"), key);
        let mut id = [0; 8];
        id.copy_from_slice(&derive("id")[..8]);
        Self {
            id: KeyId(id),
            cipher: XChaCha20Poly1305::new(&derive("cipher").into()),
            nonces: derive("nonces"),
        }
    }

    /// Appends the sealed `text` to `out`: nonce, cipher text, tag.
    ///
    /// The nonce follows from all that is sealed, so it repeats only where the very same is sealed again: a write that is
    /// repeated, which must be the same bytes.
    pub(super) fn seal(&self, bound: &[u8], text: &[u8], out: &mut Vec<u8>) -> Result<(), StoreError> {
        let mut nonce = [0; NONCE_LEN];
        let mut hash = blake3::Hasher::new_keyed(&self.nonces);
        hash.update(&(bound.len() as u64).to_le_bytes())
            .update(bound)
            .update(text)
            .finalize_xof()
            .fill(&mut nonce);
        out.reserve(SEAL_LEN + text.len());
        out.extend_from_slice(&nonce);
        let begin = out.len();
        out.extend_from_slice(text);
        let text = out[begin..].as_mut().into();
        let tag = self.cipher.encrypt_inout_detached(&XNonce::from(nonce), bound, text);
        let tag = tag
            .map_err(|_| StoreError::new(StoreErrorKind::TooLarge, "a value is too large to be encrypted"))?;
        out.extend_from_slice(&tag);
        Ok(())
    }

    /// Appends what was sealed to `out`, unless a byte of it or of what it is bound to is another.
    pub(super) fn open(&self, bound: &[u8], sealed: &[u8], out: &mut Vec<u8>) -> Option<()> {
        let (nonce, sealed) = sealed.split_first_chunk::<NONCE_LEN>()?;
        let (sealed, tag) = sealed.split_last_chunk::<TAG_LEN>()?;
        let begin = out.len();
        out.extend_from_slice(sealed);
        let text = out[begin..].as_mut().into();
        let opened = self.cipher.decrypt_inout_detached(&XNonce::from(*nonce), bound, text, &Tag::from(*tag));
        if opened.is_err() {
            out.truncate(begin);
        }
        opened.ok()
    }

    /// Eight bytes that only who has the key can make of `bytes`.
    pub(super) fn check(&self, bytes: &[u8]) -> [u8; 8] {
        let mut check = [0; 8];
        check.copy_from_slice(&blake3::keyed_hash(&self.nonces, bytes).as_bytes()[..8]);
        check
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
