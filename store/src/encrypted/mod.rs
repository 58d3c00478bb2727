//! A store that encrypts what it is given before another store gets it.
//!
//! A value is a head, which names the key, and chunks of [`CHUNK_BYTES`], each sealed with XChaCha20-Poly1305. A chunk is bound to the
//! value's name in the store, to its number, and to whether it is the last: nothing can be altered, moved, swapped or cut short
//! unnoticed. An append to a segment is a frame of its own, bound to its offset; that the last appends are gone can't be told from
//! their never having been made.
//!
//! The same text under the same name is always the same bytes, so a repeated write lands on itself, as [`Store`] asks for.

mod blob;
mod keys;
mod segment;

use std::io::{Cursor, Read};
use std::sync::Arc;

use bytes::Bytes;
use limitless_faas_cipher::{Cipher, SEAL_LEN};

pub use keys::Keys;

use self::blob::{ValueReader, ValueWriter};
use self::segment::Ends;
use crate::sealed::{HEAD_LEN, Head, KEY_VARIABLE, KeyId};
use crate::{
    Behind, BlobReader, BlobWriter, BoxFuture, Created, Key, RECORD_LIMIT_BYTES, Store, StoreError,
    StoreErrorKind,
};

/// How much is sealed at a time.
pub(crate) const CHUNK_BYTES: usize = 64 << 10;
/// The most bytes a record may have here: with what sealing adds it is still a record of the store below.
pub const ENCRYPTED_RECORD_LIMIT_BYTES: usize = RECORD_LIMIT_BYTES - (8 << 10);

/// Encrypts everything that another store keeps: log, inputs, results, checkpoints and the results of steps. Names, lengths and times
/// stay visible, and what a probe writes below `probe/`.
///
/// A value that no key opens, or that is not encrypted at all, is refused with the key's id; nothing is written instead.
///
/// ```
/// # tokio::runtime::Builder::new_current_thread().build().unwrap().block_on(async {
/// use std::sync::Arc;
/// use limitless_faas_store::{Encrypted, Key, Keys, MemoryStore, Store};
///
/// let below = MemoryStore::new();
/// let keys = Keys::parse("000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f")?;
/// let store = Encrypted::new(Arc::new(below.clone()), keys);
/// let key = Key::new("executions/0f/log/00000000")?;
/// store.create(&key, "plain text".into()).await?;
/// assert_eq!(store.read(&key).await?.as_deref(), Some(&b"plain text"[..]));
/// assert!(below.read(&key).await?.is_some_and(|kept| kept.starts_with(b"limitless sealed 1\n")));
/// # Ok::<(), limitless_faas_store::StoreError>(()) }).unwrap();
/// ```
#[derive(Debug, Clone)]
pub struct Encrypted {
    store: Arc<dyn Store>,
    keys: Arc<Keys>,
    ends: Arc<Ends>,
}

impl Encrypted {
    /// Encrypts what `store` keeps.
    pub fn new(store: Arc<dyn Store>, keys: Keys) -> Self {
        Self { store, keys: Arc::new(keys), ends: Arc::default() }
    }

    async fn create_sealed(&self, key: &Key, bytes: &[u8]) -> Result<Created, StoreError> {
        if bytes.len() > ENCRYPTED_RECORD_LIMIT_BYTES {
            let message = format!(
                "{key} has {} bytes; an encrypted record has at most {ENCRYPTED_RECORD_LIMIT_BYTES}, more is a blob",
                bytes.len()
            );
            return Err(StoreError::new(StoreErrorKind::TooLarge, message));
        }
        let sealed = self.sealer(key).whole(bytes)?;
        self.store.create(key, sealed.into()).await
    }

    fn sealer(&self, key: &Key) -> Sealer {
        Sealer::new(self.keys.first(), false, key)
    }

    /// What seals and opens a value that begins like this.
    fn opener(&self, key: &Key, begin: &[u8]) -> Result<Sealer, StoreError> {
        let refused =
            |why: String| StoreError::new(StoreErrorKind::Terminal, format!("failed to read {key}: {why}"));
        let head = Head::of(begin).ok_or_else(|| {
            refused(format!(
                "it is not encrypted, and {KEY_VARIABLE} is set; read it without, and encrypt under another prefix or folder"
            ))
        })?;
        let pair = self.keys.get(head.key).ok_or_else(|| {
            let known = self.keys.ids().join(" and ");
            refused(format!(
                "it is encrypted with the key {}, and {KEY_VARIABLE} has {known}; add that key behind them",
                head.key
            ))
        })?;
        Ok(Sealer::new(pair, head.is_segment, key))
    }

    fn open_whole(&self, key: &Key, bytes: &[u8]) -> Result<Bytes, StoreError> {
        let opener = self.opener(key, bytes)?;
        let text = if opener.head.is_segment {
            segment::open(&opener, &bytes[HEAD_LEN..])?
        } else {
            opener.open_all(&bytes[HEAD_LEN..])?
        };
        Ok(text.into())
    }

    async fn open_blob(&self, key: &Key) -> Result<Option<Box<dyn BlobReader>>, StoreError> {
        let Some(mut blob) = self.store.read_blob(key).await? else { return Ok(None) };
        let failed = |error: std::io::Error| StoreError::from_io("read", key, &self.store.describe(), &error);
        let mut head = Vec::with_capacity(HEAD_LEN);
        blob.by_ref().take(HEAD_LEN as u64).read_to_end(&mut head).map_err(failed)?;
        let opener = self.opener(key, &head)?;
        if opener.head.is_segment {
            let text = segment::open(&opener, &segment::rest(blob, key, &self.store.describe())?)?;
            return Ok(Some(Box::new(Cursor::new(Bytes::from(text)))));
        }
        Ok(Some(Box::new(ValueReader::new(blob, opener)?)))
    }
}

/// What a probe asks a store with is no secret, and is read by processes that have no key.
fn is_plain(key: &Key) -> bool {
    key.as_str().starts_with("probe/")
}

/// Seals and opens the parts of one value.
#[derive(Debug, Clone)]
struct Sealer {
    key: Arc<Cipher>,
    head: Head,
    name: Key,
}

impl Sealer {
    fn new(key: &Arc<Cipher>, is_segment: bool, name: &Key) -> Self {
        Self { head: Head { is_segment, key: KeyId(key.id()) }, key: Arc::clone(key), name: name.clone() }
    }

    /// What a part is bound to: its value, its place in it, and whether it ends it.
    fn bound(&self, place: u64, is_last: bool) -> Vec<u8> {
        let mut bound = self.head.to_bytes().to_vec();
        // No name has a zero byte, so none goes over into the place.
        bound.extend_from_slice(self.name.as_str().as_bytes());
        bound.push(0);
        bound.extend_from_slice(&place.to_le_bytes());
        bound.push(u8::from(is_last));
        bound
    }

    fn seal(&self, place: u64, is_last: bool, text: &[u8], out: &mut Vec<u8>) -> Result<(), StoreError> {
        let sealed = self.key.seal(&self.bound(place, is_last), text, out);
        sealed.map_err(|_| StoreError::new(StoreErrorKind::TooLarge, "a value is too large to be encrypted"))
    }

    fn open(&self, place: u64, is_last: bool, sealed: &[u8], out: &mut Vec<u8>) -> Result<(), StoreError> {
        self.key.open(&self.bound(place, is_last), sealed, out).ok_or_else(|| self.damaged(place))
    }

    fn damaged(&self, place: u64) -> StoreError {
        let message = format!(
            "failed to read {}: part {place} is damaged, or is another's; it is encrypted with the key {}",
            self.name, self.head.key
        );
        StoreError::new(StoreErrorKind::Damaged, message)
    }

    fn whole(&self, text: &[u8]) -> Result<Vec<u8>, StoreError> {
        let mut sealed =
            Vec::with_capacity(HEAD_LEN + text.len() + (text.len() / CHUNK_BYTES + 1) * SEAL_LEN);
        sealed.extend_from_slice(&self.head.to_bytes());
        let mut rest = text;
        for place in 0.. {
            let (chunk, behind) = rest.split_at(rest.len().min(CHUNK_BYTES));
            self.seal(place, behind.is_empty(), chunk, &mut sealed)?;
            rest = behind;
            if rest.is_empty() {
                break;
            }
        }
        Ok(sealed)
    }

    fn open_all(&self, sealed: &[u8]) -> Result<Vec<u8>, StoreError> {
        let chunks: Vec<&[u8]> = sealed.chunks(CHUNK_BYTES + SEAL_LEN).collect();
        let last = chunks.len().checked_sub(1).ok_or_else(|| self.damaged(0))?;
        let mut text = Vec::with_capacity(sealed.len());
        for (place, chunk) in chunks.into_iter().enumerate() {
            self.open(place as u64, place == last, chunk, &mut text)?;
        }
        Ok(text)
    }
}

impl Store for Encrypted {
    fn create(&self, key: &Key, bytes: Bytes) -> BoxFuture<'_, Result<Created, StoreError>> {
        if is_plain(key) {
            return self.store.create(key, bytes);
        }
        let key = key.clone();
        Box::pin(async move { self.create_sealed(&key, &bytes).await })
    }

    fn read(&self, key: &Key) -> BoxFuture<'_, Result<Option<Bytes>, StoreError>> {
        if is_plain(key) {
            return self.store.read(key);
        }
        let key = key.clone();
        Box::pin(async move {
            let found = self.store.read(&key).await?;
            found.map(|sealed| self.open_whole(&key, &sealed)).transpose()
        })
    }

    fn read_record(&self, key: &Key) -> BoxFuture<'_, Result<Option<Bytes>, StoreError>> {
        if is_plain(key) {
            return self.store.read_record(key);
        }
        let key = key.clone();
        Box::pin(async move {
            let found = self.store.read_record(&key).await?;
            found.map(|sealed| self.open_whole(&key, &sealed)).transpose()
        })
    }

    fn write_blob(&self, key: &Key) -> BoxFuture<'_, Result<Box<dyn BlobWriter>, StoreError>> {
        let key = key.clone();
        Box::pin(async move {
            let writer = self.store.write_blob(&key).await?;
            Ok(Box::new(ValueWriter::new(writer, self.sealer(&key))) as Box<dyn BlobWriter>)
        })
    }

    fn read_blob(&self, key: &Key) -> BoxFuture<'_, Result<Option<Box<dyn BlobReader>>, StoreError>> {
        let key = key.clone();
        Box::pin(async move { self.open_blob(&key).await })
    }

    fn append(&self, key: &Key, at: u64, bytes: Bytes) -> BoxFuture<'_, Result<u64, StoreError>> {
        let key = key.clone();
        Box::pin(async move { self.append_frame(&key, at, &bytes).await })
    }

    /// A frame that was altered is told from one that was torn by where the segment ends.
    fn append_here(&self, key: &Key, at: u64, bytes: &Bytes, _: Behind) -> Option<Result<u64, StoreError>> {
        self.append_frame_here(key, at, bytes)
    }

    fn settle(&self, key: &Key) -> BoxFuture<'_, Result<(), StoreError>> {
        self.store.settle(key)
    }

    fn children(&self, folder: &Key) -> BoxFuture<'_, Result<Vec<String>, StoreError>> {
        self.store.children(folder)
    }

    fn delete(&self, key: &Key) -> BoxFuture<'_, Result<(), StoreError>> {
        self.ends.forget(key);
        self.store.delete(key)
    }

    fn describe(&self) -> String {
        self.store.describe()
    }

    fn is_remote(&self) -> bool {
        self.store.is_remote()
    }
}

/// A segment is opened as a whole.
impl BlobReader for Cursor<Bytes> {
    fn len_bytes(&self) -> u64 {
        self.get_ref().len() as u64
    }
}
