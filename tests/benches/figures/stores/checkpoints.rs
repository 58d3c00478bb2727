//! A state of 100 MB on its way into a store and back, as the engine sends it: in pieces where the store is far away.

use std::io::Write;
use std::sync::Arc;
use std::time::Instant;

use limitless_faas_store::{BlobWriter, Key, Pieces, Store};
use tokio::task::block_in_place;

use super::{super::ms, median};

pub(super) const STATE_MB: usize = 100;
const STATE_BYTES: usize = STATE_MB * 1_000_000;
/// How many checkpoints follow the first.
const NEXT: usize = 3;
const ENTRIES: usize = 20;

/// What saving and reading took.
pub(super) struct Saves {
    /// The first checkpoint: all of it.
    pub(super) first_s: f64,
    /// Those after it, of which a hundredth changed.
    pub(super) next_ms: f64,
    /// The most bytes that one of these moved.
    pub(super) moved_mb: f64,
    /// Reading the last one back, with nothing at hand.
    pub(super) read_s: f64,
}

pub(super) async fn measure(store: Arc<dyn Store>) -> Saves {
    let mut state = noise();
    let pieces = Pieces::new(Arc::clone(&store), key("executions/1/packs"));
    let (mut base, mut first_s, mut next, mut moved) = (None, 0.0, Vec::new(), 0);
    for round in 0..=NEXT {
        let begun = Instant::now();
        let name = key(&format!("executions/1/checkpoints/{round}"));
        if store.is_remote() {
            let mut writer = pieces.write(&name, base.as_ref()).await.unwrap();
            let written = block_in_place(|| {
                writer.write_all(&state).unwrap();
                writer.finish().unwrap()
            });
            moved = if round == 0 { 0 } else { moved.max(written.moved_bytes) };
            base = Some(written.manifest);
        } else {
            let blob = store.write_blob(&name).await.unwrap();
            block_in_place(|| whole(blob, &state));
            moved = STATE_BYTES as u64;
        }
        if round == 0 {
            first_s = begun.elapsed().as_secs_f64();
        } else {
            next.push(ms(begun.elapsed()));
        }
        if round < NEXT {
            change(&mut state, round);
        }
    }
    let read_s = read(&store, &pieces, &state).await;
    Saves { first_s, next_ms: median(next), moved_mb: moved as f64 / 1e6, read_s }
}

fn whole(mut blob: Box<dyn BlobWriter>, state: &[u8]) {
    blob.write_all(state).unwrap();
    blob.finish().unwrap();
}

/// Reads the last checkpoint back, and checks that it is what was saved.
async fn read(store: &Arc<dyn Store>, pieces: &Pieces, state: &[u8]) -> f64 {
    let begun = Instant::now();
    let name = key(&format!("executions/1/checkpoints/{NEXT}"));
    let mut found = Vec::with_capacity(state.len());
    if store.is_remote() {
        let mut reader = pieces.open(&name).await.unwrap().unwrap();
        block_in_place(|| std::io::Read::read_to_end(&mut reader, &mut found).unwrap());
    } else {
        let mut reader = store.read_blob(&name).await.unwrap().unwrap();
        block_in_place(|| std::io::Read::read_to_end(&mut reader, &mut found).unwrap());
    }
    let read_s = begun.elapsed().as_secs_f64();
    assert!(found == state, "another state came back");
    read_s
}

/// How long an entry of a log takes until it is durable, the median, ms.
pub(super) async fn entry_ms(store: &Arc<dyn Store>) -> f64 {
    let mut took = Vec::new();
    for number in 0..=ENTRIES {
        let begun = Instant::now();
        store.create(&key(&format!("executions/1/log/{number}")), "an entry of a log".into()).await.unwrap();
        took.push(ms(begun.elapsed()));
    }
    // The first one connects.
    median(took.split_off(1))
}

fn key(name: &str) -> Key {
    Key::new(name).unwrap()
}

/// Bytes that no compressor shrinks.
fn noise() -> Vec<u8> {
    let mut x = 1_u64;
    let mut next = || {
        x ^= x << 13;
        x ^= x >> 7;
        x ^= x << 17;
        x
    };
    (0..STATE_BYTES / 8).flat_map(|_| next().to_le_bytes()).collect()
}

/// Another hundredth of the state each time.
fn change(state: &mut [u8], round: usize) {
    let at = (round + 1) * STATE_BYTES / 20;
    for byte in &mut state[at..at + STATE_BYTES / 100] {
        *byte = byte.wrapping_add(1);
    }
}
