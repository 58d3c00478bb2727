//! Folders in unusual places: a full disk, an overlay. Each runs in a mount namespace of its own.

#![allow(clippy::unwrap_used, clippy::print_stderr, reason = "a test fails by panicking, and skips aloud")]

use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;

use bytes::Bytes;
use limitless_faas_store::conformance::{Extent, check_all};
use limitless_faas_store::{BlobWriter, FolderStore, Key, Store, StoreError, StoreErrorKind};

const PLACE: &str = "LIMITLESS_TEST_PLACE";

/// Runs the named test of this file again, after `mount` made the place that it gets; skips aloud if that is not allowed.
fn run_in_namespace(test: &str, mount: &str) {
    let folder = tempfile::tempdir().unwrap();
    let mounted = format!("cd '{}' && {mount}", folder.path().display());
    let is_allowed = unshare(&mounted).output().is_ok_and(|output| output.status.success());
    if !is_allowed {
        eprintln!("skipped {test}: this machine does not let a test mount file systems");
        return;
    }
    let again = format!("{mounted} && exec \"$0\" --exact {test} --nocapture");
    let status = unshare(&again).env(PLACE, folder.path()).status().unwrap();
    assert!(status.success(), "{test} failed in its namespace");
}

/// A shell script as root of its own user and mount namespace, with this test's binary as `$0`.
fn unshare(script: &str) -> Command {
    let mut command = Command::new("unshare");
    command.args(["--user", "--map-root-user", "--mount", "sh", "-ec", script]);
    command.arg(std::env::current_exe().unwrap());
    command
}

fn place() -> Option<PathBuf> {
    std::env::var_os(PLACE).map(PathBuf::from)
}

fn key(text: &str) -> Key {
    Key::new(text).unwrap()
}

const SMALL_TMPFS: &str = "mkdir -p small && mount -t tmpfs -o size=2m tmpfs small";

#[tokio::test]
async fn a_full_disk_is_said_and_leaves_nothing() {
    let Some(place) = place() else {
        run_in_namespace("a_full_disk_is_said_and_leaves_nothing", SMALL_TMPFS);
        return;
    };
    for store in [
        FolderStore::new(place.join("small/a")).unwrap(),
        FolderStore::with_named_temporaries(place.join("small/b")).unwrap(),
    ] {
        store.create(&key("kept"), "kept".into()).await.unwrap();
        let error = store.create(&key("large"), vec![1; 3 << 20].into()).await.unwrap_err();
        assert_eq!(error.kind(), StoreErrorKind::Full, "{error}");
        assert!(!error.may_have_happened() && error.to_string().contains("large"), "{error}");
        assert_eq!(store.read(&key("large")).await.unwrap(), None);

        let mut writer = store.write_blob(&key("blob")).await.unwrap();
        let error = writer.write_all(&vec![1; 3 << 20]).unwrap_err();
        assert_eq!(error.kind(), std::io::ErrorKind::StorageFull);
        drop::<Box<dyn BlobWriter>>(writer);
        assert!(store.read_blob(&key("blob")).await.unwrap().is_none());

        // Nothing takes the space that the failed writes had.
        store.create(&key("fits"), vec![1; 1 << 20].into()).await.unwrap();
        assert_eq!(store.read(&key("kept")).await.unwrap().unwrap(), "kept");
        store.delete(&key("fits")).await.unwrap();
    }
}

/// Whoever measured a segment and sealed it must find what it measured for ever.
#[tokio::test]
async fn a_full_disk_takes_nothing_from_a_segment_and_a_repetition_completes_it() {
    let Some(place) = place() else {
        run_in_namespace(
            "a_full_disk_takes_nothing_from_a_segment_and_a_repetition_completes_it",
            SMALL_TMPFS,
        );
        return;
    };
    let store = FolderStore::new(place.join("small/store")).unwrap();
    let ballast = place.join("small/ballast");
    let (segment, record) = (key("segment"), Bytes::from(vec![2; 1 << 20]));
    let len = store.append(&segment, 0, "first".into()).await.unwrap();
    std::fs::write(&ballast, vec![1; 3 << 19]).unwrap();
    let mut sealed = 0;
    for _ in 0..2 {
        let error = store.append(&segment, len, record.clone()).await.unwrap_err();
        assert!(error.is_retryable() && error.may_have_happened(), "{error}");
        assert!(error.to_string().contains("No space left"), "{error}");
        let there = store.read(&segment).await.unwrap().unwrap();
        assert!(there.len() as u64 > len && there.len() >= sealed, "it was cut to {}", there.len());
        sealed = there.len();
    }
    std::fs::remove_file(&ballast).unwrap();
    let other = store.append(&segment, len, "other".into()).await.unwrap_err();
    assert_eq!(other.kind(), StoreErrorKind::Conflict, "{other}");
    store.append(&segment, len, record.clone()).await.unwrap();
    assert_eq!(store.read(&segment).await.unwrap().unwrap(), [b"first", &record[..]].concat());
}

const OVERLAY: &str = "mkdir -p base merged && mount -t tmpfs tmpfs base && mkdir base/upper base/work base/lower && \
    mount -t overlay overlay -o lowerdir=base/lower,upperdir=base/upper,workdir=base/work merged";

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn an_overlay_and_a_tmpfs_pass() {
    let Some(place) = place() else {
        run_in_namespace("an_overlay_and_a_tmpfs_pass", OVERLAY);
        return;
    };
    for root in ["merged/store", "base/store"] {
        for store in [
            FolderStore::new(place.join(root)).unwrap(),
            FolderStore::with_named_temporaries(place.join(root)).unwrap(),
        ] {
            let store: Arc<dyn Store> = Arc::new(store);
            check_all(&store, &key("suite"), Extent { names: 1_000, ..Extent::default() }).await.unwrap();
        }
    }
}

/// What a read-only or forbidden folder gives is nothing to try again.
#[tokio::test]
async fn a_folder_that_is_a_file_is_no_store() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("file"), "x").unwrap();
    let store = FolderStore::new(folder.path().join("file")).unwrap();
    let error: StoreError = store.create(&key("a"), "x".into()).await.unwrap_err();
    assert_eq!(error.kind(), StoreErrorKind::Terminal, "{error}");
    assert!(error.to_string().contains(Path::new("file").to_str().unwrap()), "{error}");
}
