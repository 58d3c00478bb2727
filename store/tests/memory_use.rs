//! A blob that is larger than all buffers together streams through little memory. Alone in its process, which is what is measured.

#![cfg(target_os = "linux")]
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::io::{Read, Write};

use limitless_faas_core::checkpoint::{Codec, Compression, Header, StateType};
use limitless_faas_core::{ExecutionId, Nonce};
use limitless_faas_store::{EnvelopeOptions, EnvelopeReader, EnvelopeWriter, FolderStore, Key, Store};

const STATE_BYTES: u64 = 1 << 30;
const PIECE_BYTES: usize = 1 << 20;
const LIMIT_BYTES: u64 = 24 << 20;

/// The most memory that this process ever used.
fn peak_bytes() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap();
    line.trim().trim_end_matches(" kB").trim().parse::<u64>().unwrap() * 1024
}

#[tokio::test]
async fn a_gigabyte_of_state_streams_through_little_memory() {
    let folder = tempfile::tempdir().unwrap();
    let store = FolderStore::new(folder.path()).unwrap();
    let key = Key::new("checkpoint").unwrap();
    let execution = ExecutionId::from_random([1; 16]);
    let header = Header {
        codec: Codec::BincodeLegacy,
        compression: Compression::None,
        handler: "large".to_owned(),
        fingerprint: String::new(),
        state: StateType::default(),
        execution: execution.clone(),
        epoch: 1,
        nonce: Nonce::from_random([2; 8]),
        sequence: 0,
    };
    let before = peak_bytes();
    let blob = store.write_blob(&key).await.unwrap();
    let mut writer = EnvelopeWriter::new(blob, header, EnvelopeOptions::default());
    let mut piece = vec![7; PIECE_BYTES];
    for number in 0..STATE_BYTES / PIECE_BYTES as u64 {
        piece[..8].copy_from_slice(&number.to_le_bytes());
        writer.write_all(&piece).unwrap();
    }
    let (blob, sealed) = writer.finish().unwrap();
    assert_eq!(blob.finish().unwrap(), sealed.envelope_len);

    let blob = store.read_blob(&key).await.unwrap().unwrap();
    let mut reader = EnvelopeReader::open(blob, &execution, 2 << 30).unwrap();
    let mut read = vec![0; PIECE_BYTES];
    for number in 0..STATE_BYTES / PIECE_BYTES as u64 {
        reader.read_exact(&mut read).unwrap();
        piece[..8].copy_from_slice(&number.to_le_bytes());
        assert!(read == piece, "megabyte {number}");
    }
    reader.finish().unwrap();
    let used = peak_bytes() - before;
    assert!(used < LIMIT_BYTES, "{} MB were used at once", used >> 20);
}
