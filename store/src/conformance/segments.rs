//! Segments: appends at known offsets, each of which can be repeated.

use std::io::Read;

use bytes::Bytes;

use super::{Breach, Suite, pattern, settled};
use crate::{Key, StoreErrorKind};

pub(super) async fn check(suite: &Suite) -> Result<(), Breach> {
    let key = suite.key("segments/1-aa")?;
    let mut expected = Vec::new();
    for number in 0..50 {
        let record = Bytes::from(pattern(number, 1 + usize::try_from(number).unwrap_or_default() * 97));
        let at = expected.len() as u64;
        expected.extend_from_slice(&record);
        // Sent again, as after an acknowledgement that was lost: it lands on itself.
        for _ in 0..=number % 2 {
            let len = suite.retried(|| suite.store.append(&key, at, record.clone())).await?;
            suite.expect(len == expected.len() as u64, || {
                format!("length {len} instead of {}", expected.len())
            })?;
        }
    }
    check_content(suite, &key, &expected).await?;
    let end = expected.len() as u64;
    for (what, at, bytes) in [
        ("a gap", end + 1, &b"x"[..] as &'static [u8]),
        ("other bytes at its beginning", 0, b"x"),
        ("other bytes at its end", end - 1, b"other"),
    ] {
        let refused = settled(|| suite.store.append(&key, at, Bytes::from_static(bytes))).await;
        let is_refused = matches!(&refused, Err(error) if error.kind() == StoreErrorKind::Conflict);
        suite.expect(is_refused, || format!("{what} was not refused: {refused:?}"))?;
    }
    suite.retried(|| suite.store.settle(&key)).await?;
    check_content(suite, &key, &expected).await?;
    suite.delete(&key).await
}

async fn check_content(suite: &Suite, key: &Key, expected: &[u8]) -> Result<(), Breach> {
    let reader = suite.retried(|| suite.store.read_blob(key)).await?;
    let mut read = Vec::new();
    if let Some(mut reader) = reader {
        reader.read_to_end(&mut read).map_err(|error| suite.breach(error))?;
    }
    suite.expect(read == expected, || format!("{} bytes instead of {}", read.len(), expected.len()))
}
