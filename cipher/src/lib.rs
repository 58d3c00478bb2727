//! Seals pieces of text with one secret key, and opens them.
//!
//! A crate of its own because the cipher is generic: it is compiled here, and fast, also where everything around it is compiled for
//! size.

use std::fmt;

use chacha20poly1305::aead::AeadInOut;
use chacha20poly1305::{KeyInit, Tag, XChaCha20Poly1305, XNonce};

const NONCE_LEN: usize = 24;
const TAG_LEN: usize = 16;
/// How many bytes sealing adds to a text: the nonce in front and the tag behind.
pub const SEAL_LEN: usize = NONCE_LEN + TAG_LEN;

/// What follows from one key.
pub struct Cipher {
    id: [u8; 8],
    aead: XChaCha20Poly1305,
    nonces: [u8; 32],
}

/// A text of more bytes than can be sealed in one piece: 256 GB.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TooLarge;

impl Cipher {
    /// The cipher of this key.
    pub fn new(key: &[u8; 32]) -> Self {
        let derive = |purpose: &str| blake3::derive_key(&format!("limitless-faas sealed 1: {purpose}"), key);
        let mut id = [0; 8];
        id.copy_from_slice(&derive("id")[..8]);
        Self { id, aead: XChaCha20Poly1305::new(&derive("cipher").into()), nonces: derive("nonces") }
    }

    /// What names the key; it tells nothing of it.
    pub fn id(&self) -> [u8; 8] {
        self.id
    }

    /// Appends the sealed `text` to `out`: nonce, cipher text, tag. It opens only with the same `bound`.
    ///
    /// The nonce follows from all that is sealed, so it repeats only where the very same is sealed again: a write that is
    /// repeated, which must be the same bytes.
    ///
    /// # Errors
    /// [`TooLarge`], and then `out` is of no use.
    pub fn seal(&self, bound: &[u8], text: &[u8], out: &mut Vec<u8>) -> Result<(), TooLarge> {
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
        let sealed = self.aead.encrypt_inout_detached(&XNonce::from(nonce), bound, text);
        out.extend_from_slice(&sealed.map_err(|_| TooLarge)?);
        Ok(())
    }

    /// Appends what was sealed to `out`; nothing, unless every byte of it and of what it is bound to is the same.
    pub fn open(&self, bound: &[u8], sealed: &[u8], out: &mut Vec<u8>) -> Option<()> {
        let (nonce, sealed) = sealed.split_first_chunk::<NONCE_LEN>()?;
        let (sealed, tag) = sealed.split_last_chunk::<TAG_LEN>()?;
        let begin = out.len();
        out.extend_from_slice(sealed);
        let text = out[begin..].as_mut().into();
        let opened = self.aead.decrypt_inout_detached(&XNonce::from(*nonce), bound, text, &Tag::from(*tag));
        if opened.is_err() {
            out.truncate(begin);
        }
        opened.ok()
    }

    /// Eight bytes that only who has the key can make of `bytes`.
    pub fn check(&self, bytes: &[u8]) -> [u8; 8] {
        let mut check = [0; 8];
        check.copy_from_slice(&blake3::keyed_hash(&self.nonces, bytes).as_bytes()[..8]);
        check
    }
}

impl fmt::Debug for Cipher {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Cipher")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_same_key_and_what_it_was_bound_to_open_it() {
        let (cipher, other) = (Cipher::new(&[1; 32]), Cipher::new(&[2; 32]));
        let (mut sealed, mut text) = (Vec::new(), b"before ".to_vec());
        cipher.seal(b"place", b"text", &mut sealed).unwrap();
        assert_eq!(sealed.len(), 4 + SEAL_LEN);
        assert_eq!(other.open(b"place", &sealed, &mut text), None);
        assert_eq!(cipher.open(b"elsewhere", &sealed, &mut text), None);
        for at in 0..sealed.len() {
            let mut altered = sealed.clone();
            altered[at] ^= 1;
            assert_eq!(cipher.open(b"place", &altered, &mut text), None, "byte {at}");
            assert_eq!(cipher.open(b"place", &sealed[..at], &mut text), None, "{at} bytes");
        }
        assert_eq!(text, b"before ");
        cipher.open(b"place", &sealed, &mut text).unwrap();
        assert_eq!(text, b"before text");
    }

    #[test]
    fn the_same_is_sealed_the_same() {
        let cipher = Cipher::new(&[1; 32]);
        let sealed = |text: &[u8]| {
            let mut out = Vec::new();
            cipher.seal(b"place", text, &mut out).unwrap();
            out
        };
        assert_eq!(sealed(b"text"), sealed(b"text"));
        assert_ne!(sealed(b"text")[..NONCE_LEN], sealed(b"next")[..NONCE_LEN]);
    }
}
