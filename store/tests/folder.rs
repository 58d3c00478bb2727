//! The folder store, where it differs from others: files, links, syncs, folders.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::fs;
use std::io::Read;
use std::path::{Path, PathBuf};

use bytes::Bytes;
use limitless_faas_store::{Behind, Created, FolderStore, Key, Store, StoreErrorKind};

fn key(text: &str) -> Key {
    Key::new(text).unwrap()
}

/// Every file and folder below `root`, hidden ones too.
fn everything(root: &Path) -> Vec<PathBuf> {
    let Ok(entries) = fs::read_dir(root) else { return Vec::new() };
    let mut found = Vec::new();
    for path in entries.map(|entry| entry.unwrap().path()) {
        found.push(path.clone());
        found.extend(everything(&path));
    }
    found
}

fn both(root: &Path) -> [FolderStore; 2] {
    let unnamed = FolderStore::new(root.join("unnamed")).unwrap();
    [unnamed, FolderStore::with_named_temporaries(root.join("named")).unwrap()]
}

#[tokio::test]
async fn nothing_is_written_before_the_first_write() {
    let root = tempfile::tempdir().unwrap();
    for store in both(root.path()) {
        assert_eq!(store.read(&key("a/b")).await.unwrap(), None);
        assert!(store.read_blob(&key("a/b")).await.unwrap().is_none());
        assert_eq!(store.children(&key("a")).await.unwrap(), [""; 0]);
        store.delete(&key("a/b")).await.unwrap();
    }
    assert!(everything(root.path()).is_empty());
}

#[tokio::test]
async fn a_blob_that_is_dropped_leaves_nothing() {
    let root = tempfile::tempdir().unwrap();
    for store in both(root.path()) {
        let mut writer = store.write_blob(&key("a/blob")).await.unwrap();
        writer.write_all(&vec![7; 100_000]).unwrap();
        drop(writer);
    }
    let files: Vec<_> = everything(root.path()).into_iter().filter(|path| path.is_file()).collect();
    assert!(files.is_empty(), "{files:?}");
}

#[tokio::test]
async fn deleting_the_last_record_removes_its_folders() {
    let root = tempfile::tempdir().unwrap();
    for store in both(root.path()) {
        let record = key("executions/0f/log/00000000");
        assert_eq!(store.create(&record, "x".into()).await.unwrap(), Created::New);
        store.delete(&record).await.unwrap();
        assert_eq!(store.children(&key("executions")).await.unwrap(), [""; 0]);
        // And it can be made again, although the store once knew its folder.
        assert_eq!(store.create(&record, "y".into()).await.unwrap(), Created::New);
        assert_eq!(store.read(&record).await.unwrap().unwrap(), "y");
    }
}

#[tokio::test]
async fn a_folder_is_no_record_and_a_record_no_folder() {
    let root = tempfile::tempdir().unwrap();
    for store in both(root.path()) {
        store.create(&key("a/b"), "x".into()).await.unwrap();
        assert_eq!(store.create(&key("a"), "x".into()).await.unwrap_err().kind(), StoreErrorKind::Invalid);
        assert!(!store.create(&key("a/b/c"), "x".into()).await.unwrap_err().is_retryable());
        assert_eq!(store.read(&key("a")).await.unwrap(), None);
        assert_eq!(store.read(&key("a/b/c")).await.unwrap(), None);
    }
}

#[tokio::test]
async fn what_is_damaged_is_given_as_it_is() {
    let root = tempfile::tempdir().unwrap();
    let store = FolderStore::new(root.path()).unwrap();
    store.create(&key("a/record"), "0123456789".into()).await.unwrap();
    fs::write(root.path().join("a/record"), "01X").unwrap();
    assert_eq!(store.read(&key("a/record")).await.unwrap().unwrap(), "01X");
    let mut blob = store.read_blob(&key("a/record")).await.unwrap().unwrap();
    let mut bytes = Vec::new();
    blob.read_to_end(&mut bytes).unwrap();
    assert_eq!(bytes, b"01X");
}

#[tokio::test]
async fn a_torn_tail_is_completed_by_the_same_append() {
    let root = tempfile::tempdir().unwrap();
    let store = FolderStore::new(root.path()).unwrap();
    let segment = key("a/segment");
    assert_eq!(store.append(&segment, 0, "first ".into()).await.unwrap(), 6);
    assert_eq!(store.append(&segment, 6, "second".into()).await.unwrap(), 12);
    for kept in 6..12 {
        // A crash left a part of the second record.
        let file = fs::OpenOptions::new().write(true).open(root.path().join("a/segment")).unwrap();
        file.set_len(kept).unwrap();
        assert_eq!(store.append(&segment, 6, "second".into()).await.unwrap(), 12);
        assert_eq!(store.read(&segment).await.unwrap().unwrap(), "first second");
    }
}

#[tokio::test]
async fn an_append_on_the_calling_thread_is_the_same_append() {
    let root = tempfile::tempdir().unwrap();
    let (store, segment) = (FolderStore::new(root.path()).unwrap(), key("a/segment"));
    assert_eq!(store.append_here(&segment, 0, &"first ".into(), Behind::Nothing).unwrap().unwrap(), 6);
    assert_eq!(store.append(&segment, 6, "second ".into()).await.unwrap(), 13);
    for _ in 0..2 {
        assert_eq!(store.append_here(&segment, 13, &"third".into(), Behind::Nothing).unwrap().unwrap(), 18);
    }
    assert_eq!(store.read(&segment).await.unwrap().unwrap(), "first second third");
    for (at, bytes) in [(19, "gap"), (13, "other"), (0, "x")] {
        let refused = store.append_here(&segment, at, &bytes.into(), Behind::Nothing).unwrap().unwrap_err();
        assert_eq!(refused.kind(), StoreErrorKind::Conflict, "{refused}");
    }
}

#[tokio::test]
async fn behind_what_was_appended_there_may_be_zeros_and_nothing_else() {
    let root = tempfile::tempdir().unwrap();
    let open = || FolderStore::new(root.path()).unwrap();
    let (store, segment) = (open(), key("a/segment"));
    let mut expected = Vec::new();
    for number in 0..2_000_u32 {
        // Each ends with zeros of its own.
        let record = Bytes::from(format!("{number}\0\0"));
        let at = expected.len() as u64;
        expected.extend_from_slice(&record);
        for _ in 0..=number % 2 {
            let len = store.append_here(&segment, at, &record, Behind::Zeros).unwrap().unwrap();
            assert_eq!(len, expected.len() as u64);
        }
    }
    let end = expected.len() as u64;
    for (what, at, bytes) in
        [("a gap", end + 1, "x"), ("other bytes", 0, "x"), ("one in between", end - 3, "8")]
    {
        let refused = store.append(&segment, at, bytes.into()).await.unwrap_err();
        assert_eq!(refused.kind(), StoreErrorKind::Conflict, "{what}: {refused}");
    }
    // Another process goes on with what it left, and so does an append that makes no room.
    assert_eq!(open().append(&segment, end, "last".into()).await.unwrap(), end + 4);
    expected.extend_from_slice(b"last");
    let read = store.read(&segment).await.unwrap().unwrap();
    let (there, behind) = read.split_at(expected.len());
    assert_eq!(there, expected);
    assert!(behind.iter().all(|byte| *byte == 0));
    assert!(read.len() < 2 * expected.len() + 4096, "{} bytes for {}", read.len(), expected.len());
    // And who kept it open notices.
    let refused = store.append_here(&segment, end, &"mine".into(), Behind::Zeros).unwrap().unwrap_err();
    assert_eq!(refused.kind(), StoreErrorKind::Conflict, "{refused}");
}

/// The file is kept open between appends: what others do to its name must be seen nevertheless.
#[tokio::test]
async fn a_segment_that_others_deleted_is_not_appended_to_out_of_sight() {
    let root = tempfile::tempdir().unwrap();
    let open = || FolderStore::new(root.path()).unwrap();
    let (store, segment) = (open(), key("a/segment"));
    assert_eq!(store.append(&segment, 0, "first".into()).await.unwrap(), 5);
    open().delete(&segment).await.unwrap();
    let error = store.append(&segment, 5, "second".into()).await.unwrap_err();
    assert_eq!(error.kind(), StoreErrorKind::Conflict, "{error}");
    store.delete(&segment).await.unwrap();
    assert_eq!(store.append(&segment, 0, "anew".into()).await.unwrap(), 4);
    assert_eq!(open().read(&segment).await.unwrap().unwrap(), "anew");
    // And a second writer is noticed by the one who keeps it open.
    open().append(&segment, 4, " other".into()).await.unwrap();
    assert_eq!(store.append(&segment, 4, " mine".into()).await.unwrap_err().kind(), StoreErrorKind::Conflict);
}

#[tokio::test]
async fn more_segments_than_are_kept_open_are_appended_to() {
    let root = tempfile::tempdir().unwrap();
    let store = FolderStore::new(root.path()).unwrap();
    for at in 0..2 {
        for number in 0..100 {
            assert_eq!(store.append(&key(&format!("s/{number}")), at, "x".into()).await.unwrap(), at + 1);
        }
    }
    assert_eq!(store.read(&key("s/99")).await.unwrap().unwrap(), "xx");
}

#[tokio::test]
async fn files_that_no_key_names_are_not_listed() {
    let root = tempfile::tempdir().unwrap();
    let store = FolderStore::new(root.path()).unwrap();
    store.create(&key("a/one"), "x".into()).await.unwrap();
    fs::write(root.path().join("a/.hidden"), "x").unwrap();
    fs::write(root.path().join("a/name with blanks"), "x").unwrap();
    assert_eq!(store.children(&key("a")).await.unwrap(), ["one"]);
}

/// Folders vanish with their last record while others are about to put one there.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn creating_where_others_delete_always_works() {
    let root = tempfile::tempdir().unwrap();
    for store in both(root.path()) {
        let mut running = Vec::new();
        for number in 0..8 {
            // Half of them in another process's view, which does not know what this one removed.
            let own = if number % 2 == 0 {
                store.clone()
            } else {
                FolderStore::new(root.path().join("unnamed")).unwrap()
            };
            running.push(tokio::spawn(async move {
                let record = key(&format!("x/y/z/{number}"));
                for _ in 0..60 {
                    assert_eq!(own.create(&record, "x".into()).await.unwrap(), Created::New);
                    assert_eq!(own.read(&record).await.unwrap().unwrap(), "x");
                    own.delete(&record).await.unwrap();
                }
            }));
        }
        for one in running {
            one.await.unwrap();
        }
        assert_eq!(store.children(&key("x")).await.unwrap(), [""; 0]);
    }
}

#[tokio::test]
async fn the_temporary_files_of_the_living_are_not_swept() {
    let root = tempfile::tempdir().unwrap();
    let open = || FolderStore::with_named_temporaries(root.path()).unwrap();
    let writing = open();
    let mut writer = writing.write_blob(&key("blob")).await.unwrap();
    writer.write_all(b"first ").unwrap();
    // What a killed process leaves: nobody holds a lock on it.
    fs::write(root.path().join(".tmp/4711-0"), "left behind").unwrap();
    open().create(&key("record"), "x".into()).await.unwrap();
    let left: Vec<_> =
        fs::read_dir(root.path().join(".tmp")).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    assert_eq!(left.len(), 1, "{left:?}");
    writer.write_all(b"second").unwrap();
    assert_eq!(writer.finish().unwrap(), 12);
    assert_eq!(open().read(&key("blob")).await.unwrap().unwrap(), "first second");
}

#[tokio::test]
async fn a_store_whose_folder_is_removed_begins_anew() {
    let root = tempfile::tempdir().unwrap();
    for store in both(root.path()) {
        store.create(&key("a/b"), "x".into()).await.unwrap();
        for name in ["unnamed", "named"] {
            let _ = fs::remove_dir_all(root.path().join(name));
        }
        assert_eq!(store.create(&key("a/b"), "y".into()).await.unwrap(), Created::New);
        assert_eq!(store.append(&key("a/s"), 0, "y".into()).await.unwrap(), 1);
    }
}
