//! Records: what was created is read back, once and unchanged; and names are listed.

use bytes::Bytes;

use super::{Breach, Suite, pattern, settled};
use crate::{Created, Key, RECORD_LIMIT_BYTES, StoreErrorKind};

pub(super) async fn check(suite: &Suite) -> Result<(), Breach> {
    check_absent(suite).await?;
    for len in [0, 1, 1024, 4095, 4096, 4097, 1 << 20, suite.extent.record_bytes] {
        check_one(suite, len).await?;
    }
    let key = suite.key("too-large")?;
    let bytes = Bytes::from(vec![0; RECORD_LIMIT_BYTES + 1]);
    let refused = settled(|| suite.store.create(&key, bytes.clone())).await;
    let is_refused = matches!(&refused, Err(error) if error.kind() == StoreErrorKind::TooLarge);
    suite.expect(is_refused, || format!("a record over the limit was not refused: {refused:?}"))?;
    let found = suite.read(&key).await?;
    suite.expect(found.is_none(), || "a refused record is there".to_owned())
}

async fn check_absent(suite: &Suite) -> Result<(), Breach> {
    let key = suite.key("nothing/here")?;
    suite.expect(suite.read(&key).await?.is_none(), || "an absent record was read".to_owned())?;
    let found = suite.retried(|| suite.store.read_record(&key)).await?;
    suite.expect(found.is_none(), || "an absent record was found".to_owned())?;
    let blob = suite.retried(|| suite.store.read_blob(&key)).await?;
    suite.expect(blob.is_none(), || "an absent blob was opened".to_owned())?;
    let names = suite.children("nothing").await?;
    suite.expect(names.is_empty(), || format!("an absent folder has {names:?}"))?;
    suite.delete(&key).await
}

async fn check_one(suite: &Suite, len: usize) -> Result<(), Breach> {
    let key = suite.key(&format!("records/{len}"))?;
    let (first, second) = (Bytes::from(pattern(1, len)), Bytes::from(pattern(2, len)));
    suite.expect(suite.wins(&key, &first).await?, || format!("{len} bytes were not created"))?;
    let again = suite.retried(|| suite.store.create(&key, second.clone())).await?;
    suite.expect(again == Created::Exists, || format!("{len} bytes were created twice"))?;
    let found = suite.read(&key).await?;
    suite.expect(found.as_ref() == Some(&first), || format!("{len} bytes were read back as others"))?;
    let found = suite.retried(|| suite.store.read_record(&key)).await?;
    suite.expect(found.as_ref() == Some(&first), || format!("{len} bytes are another record"))?;
    suite.delete(&key).await?;
    suite.expect(suite.read(&key).await?.is_none(), || "a deleted record was read".to_owned())?;
    // Deleted names are free again.
    suite.expect(suite.wins(&key, &second).await?, || "a deleted record was not created again".to_owned())?;
    suite.delete(&key).await
}

/// Listings are whole, sorted, and one level deep.
pub(super) async fn check_listing(suite: &Suite) -> Result<(), Breach> {
    let names: Vec<String> = (0..suite.extent.names).map(|number| format!("{number:08}")).collect();
    let value = Bytes::from_static(b"x");
    let many = |name: &String| suite.key(&format!("list/many/{name}"));
    let keys = names.iter().map(many).collect::<Result<Vec<_>, _>>()?;
    at_once(
        suite,
        &keys,
        |suite, key| async move { suite.wins(&key, &Bytes::from_static(b"x")).await.map(drop) },
    )
    .await?;
    for other in ["list/many-more/one", "list/other.a", "list/other-b"] {
        suite.wins(&suite.key(other)?, &value).await?;
    }
    let found = suite.children("list/many").await?;
    suite.expect(found == names, || {
        format!("{} names of {} were listed, or not in order", found.len(), names.len())
    })?;
    let found = suite.children("list").await?;
    let expected = ["many", "many-more", "other-b", "other.a"];
    suite.expect(found == expected, || format!("{found:?} were listed instead of {expected:?}"))?;
    for below in ["list/many-more/one", "list/other.a", "list/other-b"] {
        suite.delete(&suite.key(below)?).await?;
    }
    at_once(suite, &keys, |suite, key| async move { suite.delete(&key).await }).await?;
    let found = suite.children("list").await?;
    suite.expect(found.is_empty(), || format!("{found:?} are listed although they were deleted"))
}

/// Does something with every key, many at a time: one after the other, syncs would take minutes on a slow disk.
async fn at_once<F: Future<Output = Result<(), Breach>> + Send + 'static>(
    suite: &Suite,
    keys: &[Key],
    what: impl Fn(Suite, Key) -> F,
) -> Result<(), Breach> {
    for keys in keys.chunks(64) {
        let running: Vec<_> = keys.iter().map(|key| tokio::spawn(what(suite.clone(), key.clone()))).collect();
        for one in running {
            one.await.map_err(|error| suite.breach(error))??;
        }
    }
    Ok(())
}
