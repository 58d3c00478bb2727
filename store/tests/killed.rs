//! `kill -9` at any moment leaves the folder readable: what was acknowledged is there, and everything that is there is whole.

#![allow(
    clippy::unwrap_used,
    clippy::print_stdout,
    reason = "a test fails by panicking; its child reports by printing"
)]

use std::collections::HashSet;
use std::io::{BufRead, BufReader, Read, Write};
use std::path::Path;
use std::process::{Child, ChildStdout, Command, Stdio};
use std::time::Duration;

use limitless_faas_store::{Created, FolderStore, Key, Store};

const FOLDER: &str = "LIMITLESS_TEST_FOLDER";
const NAMED: &str = "LIMITLESS_TEST_NAMED";
const KILLS: u64 = 40;
const BLOB_LEN: usize = 300_000;
const RECORD_LEN: usize = 3_000;

fn key(text: &str) -> Key {
    Key::new(text).unwrap()
}

fn open(folder: &Path, is_named: bool) -> FolderStore {
    if is_named {
        FolderStore::with_named_temporaries(folder).unwrap()
    } else {
        FolderStore::new(folder).unwrap()
    }
}

/// What belongs under a name, and under no other.
fn content(name: &str, len: usize) -> Vec<u8> {
    let mut bytes = vec![0; len];
    blake3::Hasher::new().update(name.as_bytes()).finalize_xof().fill(&mut bytes);
    bytes
}

/// Not a test by itself: the child that is killed. It prints what was acknowledged to it.
#[test]
fn child() {
    let Ok(folder) = std::env::var(FOLDER) else { return };
    let store = open(Path::new(&folder), std::env::var(NAMED).is_ok());
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    runtime.block_on(write_for_ever(&store));
}

async fn write_for_ever(store: &dyn Store) {
    let logs = store.children(&key("log")).await.unwrap().len();
    let segment = key(&format!("segments/{logs}"));
    let mut len = 0;
    for number in logs.. {
        let record = format!("log/{number:08}");
        let created = store.create(&key(&record), content(&record, RECORD_LEN).into()).await.unwrap();
        assert_eq!(created, Created::New);
        println!("acknowledged {record}");
        let alone = format!("executions/{number}/log/0");
        store.create(&key(&alone), content(&alone, RECORD_LEN).into()).await.unwrap();
        println!("acknowledged {alone}");
        len = store.append(&segment, len, content("segment", 100).into()).await.unwrap();
        println!("acknowledged {segment} {len}");
        let blob = format!("blobs/{number}");
        let mut writer = store.write_blob(&key(&blob)).await.unwrap();
        content(&blob, BLOB_LEN).chunks(10_000).for_each(|piece| writer.write_all(piece).unwrap());
        writer.finish().unwrap();
        println!("acknowledged {blob}");
    }
}

struct Killed(Child);

impl Killed {
    fn start(folder: &Path, is_named: bool) -> (Self, BufReader<ChildStdout>) {
        let mut command = Command::new(std::env::current_exe().unwrap());
        command.args(["--exact", "child", "--nocapture"]).env(FOLDER, folder).stdout(Stdio::piped());
        if is_named {
            command.env(NAMED, "1");
        }
        let mut child = command.spawn().unwrap();
        let output = BufReader::new(child.stdout.take().unwrap());
        (Self(child), output)
    }
}

impl Drop for Killed {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Kills a writing child after some acknowledgements and a little more; answers what was acknowledged.
fn kill_once(folder: &Path, is_named: bool, round: u64) -> HashSet<String> {
    let (child, output) = Killed::start(folder, is_named);
    let mut lines = output.lines();
    let dice = u64::from_le_bytes(*content(&format!("round {round}"), 8).first_chunk().unwrap());
    let mut acknowledged = HashSet::new();
    let note = |line: String, acknowledged: &mut HashSet<String>| {
        acknowledged.extend(line.split_once("acknowledged ").map(|(_, what)| what.to_owned()));
    };
    while acknowledged.len() < usize::try_from(dice % 9).unwrap() {
        note(lines.next().unwrap().unwrap(), &mut acknowledged);
    }
    // Somewhere within the next operations.
    std::thread::sleep(Duration::from_micros(dice / 9 % 2_000));
    drop(child);
    for line in lines {
        note(line.unwrap(), &mut acknowledged);
    }
    acknowledged
}

async fn check(store: &dyn Store, acknowledged: &HashSet<String>) {
    let mut there = HashSet::new();
    let records = store.children(&key("log")).await.unwrap();
    let numbers: Vec<String> = (0..records.len()).map(|number| format!("{number:08}")).collect();
    assert_eq!(records, numbers, "the log has no gap");
    for record in records.iter().map(|name| format!("log/{name}")) {
        assert!(
            *store.read(&key(&record)).await.unwrap().unwrap() == content(&record, RECORD_LEN),
            "{record}"
        );
        there.insert(record);
    }
    for name in store.children(&key("executions")).await.unwrap() {
        let record = format!("executions/{name}/log/0");
        if let Some(bytes) = store.read(&key(&record)).await.unwrap() {
            assert!(*bytes == content(&record, RECORD_LEN), "{record}");
            there.insert(record);
        }
    }
    for blob in store.children(&key("blobs")).await.unwrap().iter().map(|name| format!("blobs/{name}")) {
        let mut bytes = Vec::new();
        store.read_blob(&key(&blob)).await.unwrap().unwrap().read_to_end(&mut bytes).unwrap();
        assert!(bytes == content(&blob, BLOB_LEN), "{blob}");
        there.insert(blob);
    }
    for segment in
        store.children(&key("segments")).await.unwrap().iter().map(|name| format!("segments/{name}"))
    {
        let bytes = store.read(&key(&segment)).await.unwrap().unwrap();
        let record = content("segment", 100);
        assert!(bytes.chunks(100).all(|chunk| record.starts_with(chunk)), "{segment}");
        there.extend((1..=bytes.len() / 100).map(|records| format!("{segment} {}", records * 100)));
    }
    let lost: Vec<_> = acknowledged.difference(&there).collect();
    assert!(lost.is_empty(), "acknowledged, and not there: {lost:?}");
}

async fn survives(is_named: bool) {
    let folder = tempfile::tempdir().unwrap();
    let mut acknowledged = HashSet::new();
    for round in 0..KILLS {
        acknowledged.extend(kill_once(folder.path(), is_named, round));
        check(&open(folder.path(), is_named), &acknowledged).await;
    }
    assert!(acknowledged.len() > 100, "only {} acknowledgements", acknowledged.len());
    // The next writer removes what the killed ones left, and nothing else.
    open(folder.path(), is_named).create(&key("after/all"), "x".into()).await.unwrap();
    let left: Vec<_> = std::fs::read_dir(folder.path().join(".tmp")).into_iter().flatten().collect();
    assert!(left.is_empty(), "{left:?}");
    check(&open(folder.path(), is_named), &acknowledged).await;
}

#[tokio::test]
async fn a_folder_survives_kills() {
    survives(false).await;
}

#[tokio::test]
async fn a_folder_with_named_temporaries_survives_kills() {
    survives(true).await;
}
