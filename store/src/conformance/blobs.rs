//! Blobs: invisible until finished, then whole, unchanging, and as large as one likes.

use std::io::{self, Read, Seek, SeekFrom};

use super::{ATTEMPTS, Breach, Suite, pattern};
use crate::{BlobReader, BlobWriter, Key, StoreError, StoreErrorKind};

pub(super) async fn check(suite: &Suite) -> Result<(), Breach> {
    for len in [0, 1, 70_000, 3 << 20] {
        check_one(suite, len).await?;
    }
    check_dropped(suite).await?;
    check_replacing(suite).await
}

/// Writes all of it; answers whether the store broke off, and another attempt may do better.
fn breaks_off(suite: &Suite, writer: &mut dyn BlobWriter, bytes: &[u8]) -> Result<bool, Breach> {
    let is_retryable = |error: &io::Error| {
        let inner = error.get_ref().and_then(|inner| inner.downcast_ref::<StoreError>());
        inner.is_some_and(StoreError::is_retryable)
    };
    match bytes.chunks(50_000).try_for_each(|piece| writer.write_all(piece)) {
        Ok(()) => Ok(false),
        Err(error) if is_retryable(&error) => Ok(true),
        Err(error) => Err(suite.breach(error)),
    }
}

/// Writes under names derived from `name`, a new one for each attempt, as every writer of blobs must.
async fn write(suite: &Suite, name: &str, bytes: &[u8]) -> Result<Key, Breach> {
    for attempt in 0..ATTEMPTS {
        let key = suite.key(&format!("blobs/{name}-{attempt}"))?;
        let mut writer = suite.retried(|| suite.store.write_blob(&key)).await?;
        if breaks_off(suite, writer.as_mut(), bytes)? {
            continue;
        }
        let hidden = suite.read(&key).await?;
        suite.expect(hidden.is_none(), || "an unfinished blob was read".to_owned())?;
        match writer.finish() {
            Ok(len) if len == bytes.len() as u64 => return Ok(key),
            Ok(len) => return Err(suite.breach(format!("{len} bytes were stored of {}", bytes.len()))),
            Err(error) if error.is_retryable() => suite.delete(&key).await?,
            Err(error) => return Err(suite.breach(error)),
        }
    }
    Err(suite.breach("no attempt to store a blob was acknowledged"))
}

async fn open(suite: &Suite, key: &Key) -> Result<Box<dyn BlobReader>, Breach> {
    let reader = suite.retried(|| suite.store.read_blob(key)).await?;
    reader.ok_or_else(|| suite.breach(format!("the blob {key} is absent")))
}

async fn check_one(suite: &Suite, len: usize) -> Result<(), Breach> {
    let bytes = pattern(3, len);
    let key = write(suite, &len.to_string(), &bytes).await?;
    let mut reader = open(suite, &key).await?;
    suite.expect(reader.len_bytes() == len as u64, || {
        format!("{} bytes instead of {len}", reader.len_bytes())
    })?;
    let mut read = Vec::new();
    let failed = |error: io::Error| suite.breach(error);
    reader.read_to_end(&mut read).map_err(failed)?;
    suite.expect(read == bytes, || format!("{len} bytes were read back as others"))?;
    let half = len / 2;
    reader.seek(SeekFrom::Start(half as u64)).map_err(failed)?;
    read.clear();
    reader.read_to_end(&mut read).map_err(failed)?;
    suite.expect(read == bytes[half..], || format!("not the bytes from {half} on after a seek"))?;
    let end = reader.seek(SeekFrom::End(0)).map_err(failed)?;
    suite.expect(end == len as u64, || format!("the end is at {end}, not at {len}"))?;
    suite.delete(&key).await
}

async fn check_dropped(suite: &Suite) -> Result<(), Breach> {
    let key = suite.key("blobs/dropped")?;
    let mut writer = suite.retried(|| suite.store.write_blob(&key)).await?;
    // Broken off or not: it is dropped before its end.
    breaks_off(suite, writer.as_mut(), &pattern(4, 200_000))?;
    drop(writer);
    let names = suite.children("blobs").await?;
    suite.expect(names.is_empty(), || format!("{names:?} are left of a dropped blob"))
}

async fn check_replacing(suite: &Suite) -> Result<(), Breach> {
    let first = pattern(5, 70_000);
    let key = write(suite, "kept", &first).await?;
    let mut refused = false;
    for _ in 0..ATTEMPTS {
        let mut writer = suite.retried(|| suite.store.write_blob(&key)).await?;
        if breaks_off(suite, writer.as_mut(), b"other bytes")? {
            continue;
        }
        match writer.finish() {
            Err(error) if error.is_retryable() => {}
            Err(error) if error.kind() == StoreErrorKind::Conflict => {
                refused = true;
                break;
            }
            done => return Err(suite.breach(format!("replacing a blob gave {done:?}"))),
        }
    }
    suite.expect(refused, || "replacing a blob was never refused".to_owned())?;
    let mut read = Vec::new();
    open(suite, &key).await?.read_to_end(&mut read).map_err(|error| suite.breach(error))?;
    suite.expect(read == first, || "a blob was replaced".to_owned())?;
    suite.delete(&key).await
}

/// A blob of any size streams through pieces of one megabyte.
pub(super) async fn check_large(suite: &Suite) -> Result<(), Breach> {
    let len = suite.extent.blob_bytes;
    let mut piece = pattern(6, 1 << 20);
    let pieces = len >> 20;
    let failed = |error: io::Error| suite.breach(error);
    let key = suite.key("blobs/large")?;
    let mut writer = suite.retried(|| suite.store.write_blob(&key)).await?;
    for number in 0..pieces {
        piece[..8].copy_from_slice(&number.to_le_bytes());
        if breaks_off(suite, writer.as_mut(), &piece)? {
            return suite.delete(&key).await;
        }
    }
    match writer.finish() {
        Err(error) if !error.is_retryable() => return Err(suite.breach(error)),
        // Nobody knows whether it is there; that is for the small ones.
        Err(_) => return suite.delete(&key).await,
        Ok(_) => {}
    }
    let mut reader = open(suite, &key).await?;
    let mut read = vec![0; 1 << 20];
    for number in 0..pieces {
        reader.read_exact(&mut read).map_err(failed)?;
        piece[..8].copy_from_slice(&number.to_le_bytes());
        suite.expect(read == piece, || format!("megabyte {number} of {pieces} was read back as another"))?;
    }
    let end = reader.read(&mut read).map_err(failed)?;
    suite.expect(end == 0, || "there is more than was written".to_owned())?;
    suite.delete(&key).await
}
