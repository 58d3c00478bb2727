//! A state of 80 MB on its way into memory and into a folder, and one of 1 MB as often as there is a checkpoint.

use std::fs::File;
use std::hint::black_box;
use std::io::{self, Write};
use std::sync::{Arc, Mutex};
use std::time::Instant;

use limitless_faas::checkpoint::{Outcome, Request, Session};
use limitless_faas::handler;
use limitless_faas_core::checkpoint::{Codec, Compression, Header, StateType};
use limitless_faas_core::{ExecutionId, Nonce};
use limitless_faas_store::{
    BlobWriter, EnvelopeOptions, EnvelopeWriter, FolderStore, Key, MemoryStore, Store,
};
use serde_json::value::RawValue;

use super::{Figure, median};

const WORDS: u64 = 10_000_000;
const BYTES: f64 = 80e6;
/// A megabyte.
const SMALL_WORDS: u64 = 1 << 17;
const ROUNDS: u32 = 7;

/// Holds 80 MB when its hook is met.
#[handler]
fn holds(words: u64) -> u64 {
    let data: Vec<u64> = (0..words).map(|i| i.wrapping_mul(0x9E37_79B9_7F4A_7C15)).collect();
    let mut turns = 0;
    #[checkpoint]
    for _ in 0..2 {
        turns += 1;
    }
    data[0] + turns
}

type Envelope = EnvelopeWriter<Box<dyn BlobWriter>>;

/// Where the hook writes: an envelope that the measurement finishes.
struct Target(Arc<Mutex<Option<Envelope>>>);

impl Write for Target {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap().as_mut().unwrap().write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

fn header() -> Header {
    Header {
        codec: Codec::BincodeLegacy,
        compression: Compression::None,
        handler: "holds".into(),
        fingerprint: String::new(),
        state: StateType::default(),
        execution: ExecutionId::from_random([1; 16]),
        epoch: 1,
        nonce: Nonce::from_random([1; 8]),
        sequence: 0,
    }
}

/// From the hook to durable, in seconds.
async fn save(store: &dyn Store, words: u64, round: u32) -> f64 {
    let key = Key::new(&format!("executions/x/checkpoints/{round}")).unwrap();
    let blob = store.write_blob(&key).await.unwrap();
    let envelope = EnvelopeWriter::new(blob, header(), EnvelopeOptions::default());
    let shared = Arc::new(Mutex::new(Some(envelope)));
    let begun = Arc::new(Mutex::new(None));
    let (target, begin) = (Target(shared.clone()), begun.clone());
    let session = Session::new(None, move || {
        *begin.lock().unwrap() = Some(Instant::now());
        Ok(Box::new(target))
    });
    session.request(Request::Suspend);
    let input = RawValue::from_string(format!(r#"{{"words":{words}}}"#)).unwrap();
    let outcome = session.run::<holds>(&input);
    assert!(matches!(outcome, Outcome::Suspended(_)), "{outcome:?}");
    let (blob, sealed) = shared.lock().unwrap().take().unwrap().finish().unwrap();
    assert!(sealed.state_len > words * 8);
    blob.finish().unwrap();
    let elapsed = begun.lock().unwrap().unwrap().elapsed().as_secs_f64();
    store.delete(&key).await.unwrap();
    elapsed
}

/// How long encoding so many words takes where the bytes go nowhere: what a function can't be spared, in seconds.
pub(super) fn serialising_s(words: u64) -> f64 {
    let mut took = Vec::new();
    for _ in 0..ROUNDS {
        let begun = Arc::new(Mutex::new(None));
        let begin = begun.clone();
        let session = Session::new(None, move || {
            *begin.lock().unwrap() = Some(Instant::now());
            Ok(Box::new(io::sink()))
        });
        session.request(Request::Suspend);
        let input = RawValue::from_string(format!(r#"{{"words":{words}}}"#)).unwrap();
        let outcome = session.run::<holds>(&input);
        let elapsed = begun.lock().unwrap().unwrap().elapsed();
        assert!(matches!(outcome, Outcome::Suspended(_)), "{outcome:?}");
        took.push(elapsed.as_secs_f64());
    }
    median(took)
}

/// A checkpoint of 1 MB into a folder, and a plain write and sync of as much: milliseconds.
pub(super) async fn small_ms() -> (f64, f64) {
    let folder = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
    let store = FolderStore::new(folder.path().join("store")).unwrap();
    let (mut plain, mut ours) = (Vec::new(), Vec::new());
    // An execution's folders are made once, and go with the last that stands in them.
    let begun = Key::new("executions/x/checkpoints/begun").unwrap();
    store.create(&begun, "begun".into()).await.unwrap();
    let bytes = vec![7_u8; 1 << 20];
    for round in 0..64 {
        let started = Instant::now();
        let path = folder.path().join("plain");
        let mut file = File::create(&path).unwrap();
        file.write_all(&bytes).unwrap();
        file.sync_all().unwrap();
        plain.push(started.elapsed().as_secs_f64() * 1e3);
        std::fs::remove_file(&path).unwrap();
        ours.push(save(&store, SMALL_WORDS, 1000 + round).await * 1e3);
    }
    (median(ours), median(plain))
}

async fn small() -> Figure {
    let (ours, plain) = small_ms().await;
    let measured = format!("{ours:.1} ms; writing and syncing plainly {plain:.1} ms");
    Figure::new("1 MB of state into a folder, p50", "≤ 2 ms", measured, ours <= 2.0)
}

pub(super) async fn figures() -> Vec<Figure> {
    let folder = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
    let store = FolderStore::new(folder.path().join("store")).unwrap();
    let memory = MemoryStore::new();
    let plain = vec![7_u8; 80_000_000];
    let (mut into_memory, mut copied) = (Vec::new(), Vec::new());
    let (mut ratios, mut rates) = (Vec::new(), Vec::new());
    for round in 0..ROUNDS {
        // What the machine takes for memory that nobody had before.
        let started = Instant::now();
        black_box(plain.clone());
        copied.push(BYTES / started.elapsed().as_secs_f64());
        into_memory.push(BYTES / save(&memory, WORDS, round).await);
        let started = Instant::now();
        let path = folder.path().join("plain");
        let mut file = File::create(&path).unwrap();
        file.write_all(&plain).unwrap();
        file.sync_all().unwrap();
        let plainly = started.elapsed().as_secs_f64();
        std::fs::remove_file(&path).unwrap();
        let ours = save(&store, WORDS, round).await;
        ratios.push(plainly / ours);
        rates.push(BYTES / ours);
    }
    let small = small().await;
    let (memory, copied) = (median(into_memory) / 1e9, median(copied) / 1e9);
    let (ratio, rate) = (median(ratios), median(rates) / 1e9);
    let into_memory = format!("{memory:.2} GB/s; copying as much plainly {copied:.2} GB/s");
    vec![
        Figure::new("80 MB of state into memory", "≥ 1 GB/s", into_memory, memory >= 1.0),
        Figure::new(
            "80 MB of state into a folder, of what writing and syncing plainly reaches",
            "≥ 0.5 ×",
            format!("{ratio:.2} × ({rate:.2} GB/s)"),
            ratio >= 0.5,
        ),
        small,
    ]
}
