//! Encrypted stores keep every promise of a store, and what stands below them tells nothing and can't be altered unnoticed.

#![cfg(feature = "encryption")]
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::io::{Read, Write};
use std::path::Path;
use std::sync::Arc;

use bytes::Bytes;
use limitless_faas_core::log::{Driver, Entry, Input, Kind, Origin, Stored};
use limitless_faas_core::{Code, ExecutionId, Nonce};
use limitless_faas_store::conformance::{Extent, check_all};
use limitless_faas_store::{
    Behind, Created, ENCRYPTED_RECORD_LIMIT_BYTES, Encrypted, Faulty, FolderStore, Key, Keys, Log,
    MemoryStore, Pieces, Settings, Store, StoreErrorKind, open_with,
};

const OLD: &str = "000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f";
const NEW: &str = "ffeeddccbbaa99887766554433221100ffeeddccbbaa99887766554433221100";
const SECRET: &[u8] = b"the patient's name is Erika";

fn encrypted(store: impl Store, keys: &str) -> Encrypted {
    Encrypted::new(Arc::new(store), Keys::parse(keys).unwrap())
}

fn key(name: &str) -> Key {
    Key::new(name).unwrap()
}

fn id_of(keys: &str) -> String {
    Keys::parse(keys).unwrap().ids().remove(0)
}

async fn write_blob(store: &dyn Store, name: &str, bytes: &[u8]) {
    let mut blob = store.write_blob(&key(name)).await.unwrap();
    blob.write_all(bytes).unwrap();
    assert_eq!(blob.finish().unwrap(), bytes.len() as u64);
}

async fn read_blob(store: &dyn Store, name: &str) -> std::io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    store.read_blob(&key(name)).await?.unwrap().read_to_end(&mut bytes)?;
    Ok(bytes)
}

/// What stands under a name below the encryption, replaced.
async fn replace(below: &MemoryStore, name: &str, bytes: impl Into<Bytes>) {
    below.delete(&key(name)).await.unwrap();
    below.create(&key(name), bytes.into()).await.unwrap();
}

async fn raw(below: &MemoryStore, name: &str) -> Vec<u8> {
    below.read(&key(name)).await.unwrap().unwrap().to_vec()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn encrypted_stores_pass_the_suite_also_while_they_fail() {
    // Ciphers are slow in a build that is not optimised, so the values are small, if larger than a chunk.
    let extent =
        Extent { names: 100, rounds: 20, blob_bytes: 2 << 20, record_bytes: 1 << 20, ..Extent::default() };
    let root = tempfile::tempdir().unwrap();
    let faults = |seed| format!("seed={seed},fail=0.2,lost-ack=0.3").parse().unwrap();
    let stores: [Arc<dyn Store>; 4] = [
        Arc::new(encrypted(MemoryStore::new(), OLD)),
        Arc::new(encrypted(FolderStore::new(root.path().join("store")).unwrap(), OLD)),
        Arc::new(Faulty::new(Arc::new(encrypted(MemoryStore::new(), OLD)), faults(1))),
        Arc::new(encrypted(Faulty::new(Arc::new(MemoryStore::new()), faults(2)), OLD)),
    ];
    for store in stores {
        check_all(&store, &key("suite"), extent).await.unwrap();
    }
}

#[tokio::test]
async fn values_of_any_length_read_back() {
    let store = encrypted(MemoryStore::new(), OLD);
    for len in [0, 1, 65_535, 65_536, 65_537, 131_072, 300_000] {
        let bytes: Vec<u8> =
            (0..len).map(|number: u32| number.to_le_bytes()[0] ^ number.to_le_bytes()[1]).collect();
        let (record, blob) = (format!("record/{len}"), format!("blob/{len}"));
        store.create(&key(&record), bytes.clone().into()).await.unwrap();
        write_blob(&store, &blob, &bytes).await;
        // Each can be read as the other.
        for name in [&record, &blob] {
            assert_eq!(store.read(&key(name)).await.unwrap().unwrap(), bytes, "{name}");
            assert_eq!(read_blob(&store, name).await.unwrap(), bytes, "{name}");
        }
    }
}

#[tokio::test]
async fn the_largest_record_is_one_below_too() {
    let store = encrypted(MemoryStore::new(), OLD);
    let (fits, large) = (ENCRYPTED_RECORD_LIMIT_BYTES, ENCRYPTED_RECORD_LIMIT_BYTES + 1);
    assert_eq!(store.create(&key("fits"), vec![7; fits].into()).await.unwrap(), Created::New);
    let error = store.create(&key("large"), vec![7; large].into()).await.unwrap_err();
    assert_eq!(error.kind(), StoreErrorKind::TooLarge);
}

#[tokio::test]
async fn a_repeated_write_is_the_same_bytes() {
    let (one, other) = (MemoryStore::new(), MemoryStore::new());
    for below in [&one, &other] {
        encrypted(below.clone(), OLD).create(&key("a"), SECRET.into()).await.unwrap();
        encrypted(below.clone(), OLD).create(&key("b"), SECRET.into()).await.unwrap();
    }
    assert_eq!(raw(&one, "a").await, raw(&other, "a").await);
    assert_ne!(raw(&one, "a").await, raw(&one, "b").await, "the same text under two names is two");
}

#[tokio::test]
async fn two_that_were_swapped_are_refused() {
    let below = MemoryStore::new();
    let store = encrypted(below.clone(), OLD);
    write_blob(&store, "e/1", b"state one").await;
    write_blob(&store, "e/2", b"state two").await;
    store.append(&key("e/3"), 0, "step one".into()).await.unwrap();
    store.append(&key("e/4"), 0, "step two".into()).await.unwrap();
    for (one, other) in [("e/1", "e/2"), ("e/3", "e/4")] {
        let (of_one, of_other) = (raw(&below, one).await, raw(&below, other).await);
        replace(&below, one, of_other).await;
        replace(&below, other, of_one).await;
        for name in [one, other] {
            assert_eq!(store.read(&key(name)).await.unwrap_err().kind(), StoreErrorKind::Damaged, "{name}");
            assert!(read_blob(&store, name).await.is_err(), "{name}");
        }
    }
}

#[tokio::test]
async fn no_byte_can_be_altered_added_or_taken_away() {
    let below = MemoryStore::new();
    let store = encrypted(below.clone(), OLD);
    let text = vec![7; 65_536 + 10];
    write_blob(&store, "blob", &text).await;
    store.append(&key("segment"), 0, "one".into()).await.unwrap();
    store.append(&key("segment"), 3, "three".into()).await.unwrap();
    for name in ["blob", "segment"] {
        let whole = raw(&below, name).await;
        let step = if name == "blob" { 997 } else { 1 };
        for at in (0..whole.len()).step_by(step) {
            let mut altered = whole.clone();
            altered[at] ^= 1;
            replace(&below, name, altered).await;
            store.read(&key(name)).await.unwrap_err();
            read_blob(&store, name).await.unwrap_err();
        }
        replace(&below, name, [&whole[..], &[0; 50]].concat()).await;
        store.read(&key(name)).await.unwrap_err();
        replace(&below, name, whole).await;
    }
    // Also not where a chunk ends.
    let whole = raw(&below, "blob").await;
    for len in [0, 10, 28, 28 + 65_536 + 40, whole.len() - 1] {
        replace(&below, "blob", whole[..len].to_vec()).await;
        store.read(&key("blob")).await.unwrap_err();
        read_blob(&store, "blob").await.unwrap_err();
    }
}

#[tokio::test]
async fn an_append_on_the_calling_thread_is_encrypted_as_any_other() {
    let root = tempfile::tempdir().unwrap();
    let folder = || Arc::new(FolderStore::new(root.path()).unwrap());
    let open = || Encrypted::new(folder(), Keys::parse(OLD).unwrap());
    let (store, segment) = (open(), key("s"));
    assert_eq!(store.append_here(&segment, 0, &"one".into(), Behind::Nothing).unwrap().unwrap(), 3);
    assert_eq!(store.append_here(&segment, 3, &"two".into(), Behind::Nothing).unwrap().unwrap(), 6);
    // Another process has to look where the end is.
    let other = open();
    assert!(other.append_here(&segment, 6, &"three".into(), Behind::Nothing).is_none());
    assert_eq!(other.append(&segment, 6, "three".into()).await.unwrap(), 11);
    assert_eq!(open().read(&segment).await.unwrap().unwrap(), "onetwothree");
    let below = folder().read(&segment).await.unwrap().unwrap();
    assert!(!below.windows(3).any(|window| window == b"two"), "it is not encrypted");
    // What is no server, and no folder, has nothing to wait for.
    assert!(
        encrypted(MemoryStore::new(), OLD).append_here(&segment, 0, &"x".into(), Behind::Nothing).is_none()
    );
}

#[tokio::test]
async fn a_torn_append_is_completed_by_its_repetition() {
    let below = MemoryStore::new();
    let reference = MemoryStore::new();
    let like = encrypted(reference.clone(), OLD);
    like.append(&key("s"), 0, "one".into()).await.unwrap();
    like.append(&key("s"), 3, "three".into()).await.unwrap();
    let bytes = raw(&reference, "s").await;
    for torn in 28 + 12 + 3 + 40..bytes.len() {
        below.delete(&key("s")).await.unwrap();
        below.append(&key("s"), 0, bytes[..torn].to_vec().into()).await.unwrap();
        // Another process, which knows nothing.
        let store = encrypted(below.clone(), OLD);
        assert_eq!(store.read(&key("s")).await.unwrap().unwrap(), "one");
        assert_eq!(store.append(&key("s"), 3, "three".into()).await.unwrap(), 8);
        assert_eq!(store.append(&key("s"), 8, "!".into()).await.unwrap(), 9);
        assert_eq!(store.read(&key("s")).await.unwrap().unwrap(), "onethree!");
    }
}

#[tokio::test]
async fn keys_rotate_and_what_the_old_one_sealed_stays_readable() {
    let below = MemoryStore::new();
    let old = encrypted(below.clone(), OLD);
    old.create(&key("old"), SECRET.into()).await.unwrap();
    old.append(&key("segment"), 0, "one".into()).await.unwrap();
    let both = encrypted(below.clone(), &format!("{NEW},\n{OLD}"));
    assert_eq!(both.read(&key("old")).await.unwrap().unwrap(), SECRET);
    // A segment goes on with the key that it began with.
    both.append(&key("segment"), 3, "two".into()).await.unwrap();
    assert_eq!(old.read(&key("segment")).await.unwrap().unwrap(), "onetwo");
    both.create(&key("new"), SECRET.into()).await.unwrap();
    let only_new = encrypted(below, NEW);
    assert_eq!(only_new.read(&key("new")).await.unwrap().unwrap(), SECRET);
    let error = only_new.read(&key("old")).await.unwrap_err();
    assert_eq!(error.kind(), StoreErrorKind::Terminal);
    assert!(error.to_string().contains(&id_of(OLD)) && error.to_string().contains(&id_of(NEW)), "{error}");
}

fn started(execution: &ExecutionId) -> Entry {
    let json = format!("{:?}", String::from_utf8_lossy(SECRET));
    let origin = Origin {
        input: Input { digest: "d".into(), stored: Stored::Json(json) },
        callback: None,
        caller: None,
        keep_ms: None,
    };
    Entry {
        execution: execution.clone(),
        handler: "h".into(),
        epoch: 1,
        nonce: Nonce::from_random([1; 8]),
        at_us: 0,
        kind: Kind::Started { origin, lease_until_ms: 9, driver: Driver::default(), saved: None },
    }
}

#[tokio::test]
async fn a_wrong_or_missing_key_is_named_and_nothing_is_lost_or_overwritten() {
    let below = MemoryStore::new();
    let execution = ExecutionId::derive("h", "call");
    let log = Log::new(Arc::new(encrypted(below.clone(), OLD)), execution.clone());
    log.create(0, &started(&execution)).await;
    let without: [Arc<dyn Store>; 2] = [Arc::new(below.clone()), Arc::new(encrypted(below.clone(), NEW))];
    for store in without {
        let log = Log::new(store, execution.clone());
        let failure = log.execution().await.unwrap_err();
        assert_eq!(failure.code, Code::NotConfigured, "{failure}");
        assert!(failure.message.contains(&id_of(OLD)), "{failure}");
        assert!(log.cancel("a test", Nonce::from_random([2; 8]), 1).await.is_err());
        // Who can't read it can't replace it either.
        log.create(0, &started(&execution)).await;
    }
    assert_eq!(log.entries(0).await.unwrap(), [started(&execution)]);
}

#[tokio::test]
async fn plain_text_is_refused_where_a_key_is_set() {
    let below = MemoryStore::new();
    below.create(&key("plain"), "forged".into()).await.unwrap();
    let error = encrypted(below, OLD).read(&key("plain")).await.unwrap_err();
    assert_eq!(error.kind(), StoreErrorKind::Terminal);
    assert!(error.to_string().contains("not encrypted"), "{error}");
}

fn with_key(url: &str, keys: &'static str) -> Result<Arc<dyn Store>, limitless_faas_store::StoreError> {
    open_with(url, &Settings::new(move |name| (name == "LIMITLESS_KEY").then(|| keys.to_owned())))
}

#[test]
fn what_is_no_key_is_refused_and_not_repeated() {
    for keys in ["x", " ", "000102", "zz0102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f"] {
        let error = with_key("memory:", keys).unwrap_err();
        assert_eq!(error.kind(), StoreErrorKind::Invalid);
        assert!(
            error.to_string().contains("64 hexadecimal digits") && !error.to_string().contains("zz01"),
            "{error}"
        );
    }
    assert!(!format!("{:?}", Keys::parse(OLD).unwrap()).contains("0001020304"));
}

/// All bytes of all files below a folder.
fn files(folder: &Path) -> Vec<Vec<u8>> {
    let entries = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    entries
        .flat_map(|path| if path.is_dir() { files(&path) } else { vec![std::fs::read(path).unwrap()] })
        .collect()
}

#[tokio::test]
async fn no_plain_text_reaches_the_disk() {
    for (keys, is_plain) in [(Some(OLD), false), (None, true)] {
        let folder = tempfile::tempdir().unwrap();
        let url = format!("file:{}", folder.path().display());
        let store = match keys {
            Some(keys) => with_key(&url, keys).unwrap(),
            None => open_with(&url, &Settings::new(|_| None)).unwrap(),
        };
        let execution = ExecutionId::derive("h", "call");
        Log::new(store.clone(), execution.clone()).create(0, &started(&execution)).await;
        write_blob(&*store, "e/blob", SECRET).await;
        store.append(&key("e/segment"), 0, SECRET.into()).await.unwrap();
        let mut pieces =
            Pieces::new(store.clone(), key("e/packs")).write(&key("e/state"), None).await.unwrap();
        pieces.write_all(SECRET).unwrap();
        pieces.finish().unwrap();
        let files = files(folder.path());
        let telling =
            files.iter().filter(|file| file.windows(SECRET.len()).any(|part| part == SECRET)).count();
        // The search itself finds it where nothing is encrypted: in the entry, the blob, the segment and the pack.
        assert_eq!((files.len(), telling), (5, if is_plain { 4 } else { 0 }));
    }
}
