//! Prints what the folder store and the envelope cost on this machine, beside what plain writes cost in the same run.
//!
//! `cargo bench -p limitless-faas-store [-- FOLDER]`; without a folder in the current one.

#![allow(clippy::unwrap_used, clippy::print_stdout, reason = "a benchmark speaks and may fail")]

use std::fs::File;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use limitless_faas_core::checkpoint::{Codec, Compression, Header, StateType};
use limitless_faas_core::{ExecutionId, Nonce};
use limitless_faas_store::{
    EnvelopeOptions, EnvelopeReader, EnvelopeWriter, FolderStore, Key, MemoryStore, Store,
};

const LARGE_BYTES: u32 = 80_000_000;

fn main() {
    let folder = std::env::args().skip(1).find(|argument| !argument.starts_with("--"));
    let folder = tempfile::tempdir_in(folder.map_or_else(|| PathBuf::from("."), PathBuf::from)).unwrap();
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    println!("{:<60} {:>10} {:>10}", "", "p50", "p90");
    runtime.block_on(small(folder.path()));
    runtime.block_on(large(folder.path()));
}

async fn small(folder: &Path) {
    let record = vec![7_u8; 1024];
    let mut plain = Vec::new();
    for n in 0..300 {
        let started = Instant::now();
        let mut file = File::create_new(folder.join(format!("plain-{n}"))).unwrap();
        file.write_all(&record).unwrap();
        file.sync_all().unwrap();
        File::open(folder).unwrap().sync_all().unwrap();
        plain.push(started.elapsed());
    }
    report("1 KB: plain file, synced, folder synced", plain);
    let unnamed = FolderStore::new(folder.join("unnamed")).unwrap();
    small_in("folder", &unnamed).await;
    let named = FolderStore::with_named_temporaries(folder.join("named")).unwrap();
    small_in("folder, named temporary files", &named).await;
    small_in("memory", &MemoryStore::new()).await;
}

async fn small_in(name: &str, store: &dyn Store) {
    let record = vec![7_u8; 1024];
    let mut times: [Vec<Duration>; 6] = Default::default();
    for n in 0..300 {
        let key = |text: &str| Key::new(&format!("executions/{text}")).unwrap();
        let mut measured = Vec::new();
        let mut lap = Instant::now();
        let mut next = |measured: &mut Vec<Duration>| {
            measured.push(lap.elapsed());
            lap = Instant::now();
        };
        store.create(&key(&format!("new-{n}/log/0")), record.clone().into()).await.unwrap();
        next(&mut measured);
        store.create(&key(&format!("old/log/{n}")), record.clone().into()).await.unwrap();
        next(&mut measured);
        store.create(&key(&format!("old/log/{n}")), record.clone().into()).await.unwrap();
        next(&mut measured);
        store.append(&key("old/segment"), n * 1024, record.clone().into()).await.unwrap();
        next(&mut measured);
        store.read(&key(&format!("old/log/{n}"))).await.unwrap().unwrap();
        next(&mut measured);
        store.read(&key("old/log/absent")).await.unwrap();
        next(&mut measured);
        times.iter_mut().zip(measured).for_each(|(times, measured)| times.push(measured));
    }
    let names =
        ["create, new execution", "create", "create, exists", "append", "read, just written", "read, absent"];
    for (what, times) in names.into_iter().zip(times) {
        report(&format!("1 KB, {name}: {what}"), times);
    }
}

async fn large(folder: &Path) {
    let state: Vec<u64> = (0..u64::from(LARGE_BYTES) / 8)
        .map(|n| n.wrapping_mul(0x9e37_79b9_7f4a_7c15).rotate_left(29))
        .collect();
    let bytes: Vec<u8> = state.iter().flat_map(|number| number.to_le_bytes()).collect();
    let store = FolderStore::new(folder.join("large")).unwrap();
    let (mut plain, mut blob, mut checkpoint, mut memory, mut resume) =
        (vec![], vec![], vec![], vec![], vec![]);
    let mut hash = vec![];
    for round in 0..9 {
        let started = Instant::now();
        let mut hasher = blake3::Hasher::new();
        bytes.chunks(256 << 10).for_each(|block| {
            hasher.update(block);
        });
        std::hint::black_box(hasher.finalize());
        hash.push(started.elapsed());
        plain.push(write_plainly(&folder.join("plain"), &bytes));
        settle(folder);
        let key = Key::new(&format!("blob-{round}")).unwrap();
        blob.push(write_blob(&store, &key, &bytes).await);
        store.delete(&key).await.unwrap();
        settle(folder);
        let key = Key::new(&format!("checkpoint-{round}")).unwrap();
        checkpoint.push(write_checkpoint(&store, &key, &state).await);
        resume.push(read_checkpoint(&store, &key, &state).await);
        store.delete(&key).await.unwrap();
        settle(folder);
        memory.push(write_checkpoint(&MemoryStore::new(), &key, &state).await);
    }
    report_large("blake3 alone, in blocks of 256 KiB", hash);
    report_large("plain file, synced", plain);
    report_large("blob into the folder", blob);
    report_large("Vec<u64> encoded and sealed into the folder", checkpoint);
    report_large("Vec<u64> encoded and sealed into memory", memory);
    report_large("verified, read and decoded from the folder", resume);
}

/// Lets the file system finish what was deleted, so that the next one does not pay for it.
fn settle(folder: &Path) {
    File::open(folder).unwrap().sync_all().unwrap();
}

fn write_plainly(path: &Path, bytes: &[u8]) -> Duration {
    let started = Instant::now();
    let mut file = File::create(path).unwrap();
    file.write_all(bytes).unwrap();
    file.sync_all().unwrap();
    let took = started.elapsed();
    std::fs::remove_file(path).unwrap();
    took
}

async fn write_blob(store: &dyn Store, key: &Key, bytes: &[u8]) -> Duration {
    let started = Instant::now();
    let mut writer = store.write_blob(key).await.unwrap();
    writer.write_all(bytes).unwrap();
    writer.finish().unwrap();
    started.elapsed()
}

async fn write_checkpoint(store: &dyn Store, key: &Key, state: &[u64]) -> Duration {
    let started = Instant::now();
    let blob = store.write_blob(key).await.unwrap();
    let mut writer = EnvelopeWriter::new(blob, header(), EnvelopeOptions::default());
    bincode::serde::encode_into_std_write(state, &mut writer, bincode::config::legacy()).unwrap();
    let (blob, _) = writer.finish().unwrap();
    blob.finish().unwrap();
    started.elapsed()
}

async fn read_checkpoint(store: &dyn Store, key: &Key, state: &[u64]) -> Duration {
    let started = Instant::now();
    let blob = store.read_blob(key).await.unwrap().unwrap();
    let mut reader = EnvelopeReader::open(blob, &header().execution, 1 << 30).unwrap();
    let decoded: Vec<u64> =
        bincode::serde::decode_from_std_read(&mut reader, bincode::config::legacy()).unwrap();
    reader.finish().unwrap();
    let took = started.elapsed();
    assert!(decoded == state);
    took
}

fn header() -> Header {
    Header {
        codec: Codec::BincodeLegacy,
        compression: Compression::None,
        handler: "bench".to_owned(),
        fingerprint: String::new(),
        state: StateType::default(),
        execution: ExecutionId::from_random([1; 16]),
        epoch: 1,
        nonce: Nonce::from_random([2; 8]),
        sequence: 0,
    }
}

fn at(sorted: &[Duration], percent: usize) -> Duration {
    sorted[(sorted.len() - 1) * percent / 100]
}

fn report(name: &str, mut times: Vec<Duration>) {
    times.sort_unstable();
    let us = |percent| at(&times, percent).as_secs_f64() * 1e6;
    println!("{name:<60} {:>7.0} µs {:>7.0} µs", us(50), us(90));
}

fn report_large(name: &str, mut times: Vec<Duration>) {
    times.sort_unstable();
    let ms = |percent| at(&times, percent).as_secs_f64() * 1e3;
    let gb_per_s = f64::from(LARGE_BYTES) / 1e6 / ms(50);
    println!("80 MB: {name:<53} {:>7.1} ms {:>7.1} ms {gb_per_s:>6.2} GB/s", ms(50), ms(90));
}
