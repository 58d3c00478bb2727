//! A store that fails on purpose, reproducibly.

use std::collections::HashMap;
use std::fmt;
use std::io::{self, Write};
use std::str::FromStr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use bytes::Bytes;

use crate::{BlobReader, BlobWriter, BoxFuture, Created, Key, Store, StoreError, StoreErrorKind};

/// Which faults a [`Faulty`] store has; from text such as `seed=7,fail=0.1,lost-ack=0.1,slow=20ms,rate=20MB,full-after=64MB`.
///
/// Whether an operation fails depends on the seed, the operation, its key and how often this process tried it, and on
/// nothing else: the same program meets the same faults in every run, whatever its threads do, and a repetition can succeed.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
#[non_exhaustive]
pub struct Faults {
    /// Chooses which operations fail.
    pub seed: u64,
    /// The share of operations that fail without having done anything, and of blobs that break off while they are written.
    pub fail: f64,
    /// The share of writes that are done and then reported as failed.
    pub lost_ack: f64,
    /// What every operation takes in addition.
    pub slow: Duration,
    /// How many bytes of blobs it takes in a second.
    pub rate_bytes_per_s: Option<u64>,
    /// The number of bytes after which the store is full.
    pub full_after_bytes: Option<u64>,
    /// It counts as a store over a network, so that what is done for these is done for a folder too: `far=true`.
    pub is_far: bool,
}

impl FromStr for Faults {
    type Err = StoreError;

    fn from_str(text: &str) -> Result<Self, StoreError> {
        let mut faults = Self::default();
        for part in text.split(',').map(str::trim) {
            let understood = part.split_once('=').and_then(|(name, value)| faults.set(name, value));
            if understood.is_none() {
                let message = format!(
                    "store fault {part:?} is not understood; there are seed=7, fail=0.1, lost-ack=0.1, slow=20ms, rate=20MB, full-after=64MB and far=true"
                );
                return Err(StoreError::new(StoreErrorKind::Invalid, message));
            }
        }
        Ok(faults)
    }
}

impl Faults {
    fn set(&mut self, name: &str, value: &str) -> Option<()> {
        match name {
            "seed" => self.seed = value.parse().ok()?,
            "fail" => self.fail = share(value)?,
            "lost-ack" => self.lost_ack = share(value)?,
            "slow" => self.slow = Duration::from_millis(value.strip_suffix("ms")?.parse().ok()?),
            "rate" => self.rate_bytes_per_s = Some(size_bytes(value).filter(|rate| *rate > 0)?),
            "full-after" => self.full_after_bytes = Some(size_bytes(value)?),
            "far" => self.is_far = value.parse().ok()?,
            _ => return None,
        }
        Some(())
    }
}

fn share(value: &str) -> Option<f64> {
    value.parse().ok().filter(|share| (0.0..=1.0).contains(share))
}

fn size_bytes(value: &str) -> Option<u64> {
    let units = [("GB", 1 << 30), ("MB", 1 << 20), ("KB", 1 << 10), ("kB", 1 << 10), ("", 1)];
    let (number, unit) =
        units.iter().find_map(|(suffix, unit)| Some((value.strip_suffix(suffix)?, *unit)))?;
    number.parse::<u64>().ok()?.checked_mul(unit)
}

impl fmt::Display for Faults {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "seed={}", self.seed)?;
        if self.fail > 0.0 {
            write!(f, ",fail={}", self.fail)?;
        }
        if self.lost_ack > 0.0 {
            write!(f, ",lost-ack={}", self.lost_ack)?;
        }
        if !self.slow.is_zero() {
            write!(f, ",slow={}ms", self.slow.as_millis())?;
        }
        if let Some(bytes) = self.rate_bytes_per_s {
            write!(f, ",rate={bytes}")?;
        }
        if let Some(bytes) = self.full_after_bytes {
            write!(f, ",full-after={bytes}")?;
        }
        if self.is_far { f.write_str(",far=true") } else { Ok(()) }
    }
}

/// A store around another one that fails as [`Faults`] says. For tests of what stands on it.
///
/// A failure before the commit and a lost acknowledgement look the same to the caller, as they do over a network.
#[derive(Debug, Clone)]
pub struct Faulty {
    store: Arc<dyn Store>,
    dice: Arc<Dice>,
}

#[derive(Debug)]
struct Dice {
    faults: Faults,
    attempts: Mutex<HashMap<(&'static str, Key), u64>>,
    written_bytes: AtomicU64,
}

/// A blob that breaks off does so within its first 4 MB; a shorter one is spared where the break would come after its end.
const MOST_BYTES_TO_A_BREAK: f64 = 4e6;

/// What befalls one operation.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Fate {
    Succeeds,
    Fails,
    LosesAck,
}

impl Faulty {
    /// Wraps `store`.
    pub fn new(store: Arc<dyn Store>, faults: Faults) -> Self {
        let dice = Dice { faults, attempts: Mutex::default(), written_bytes: AtomicU64::new(0) };
        Self { store, dice: Arc::new(dice) }
    }

    /// Runs one operation to the fate the dice give it.
    fn run<'a, T: Send + 'a>(
        &'a self,
        action: &'static str,
        key: &Key,
        operation: impl FnOnce() -> BoxFuture<'a, Result<T, StoreError>> + Send + 'a,
    ) -> BoxFuture<'a, Result<T, StoreError>> {
        let fate = self.dice.roll(action, key);
        let error = temporary(action, key);
        Box::pin(async move {
            self.dice.delay().await;
            if fate == Fate::Fails {
                return Err(error);
            }
            let done = operation().await;
            if fate == Fate::LosesAck { done.and(Err(error)) } else { done }
        })
    }

    /// As [`Faulty::run`], for a write of `len` bytes.
    fn write<'a, T: Send + 'a>(
        &'a self,
        action: &'static str,
        key: &Key,
        len: usize,
        operation: impl FnOnce() -> BoxFuture<'a, Result<T, StoreError>> + Send + 'a,
    ) -> BoxFuture<'a, Result<T, StoreError>> {
        if self.dice.take_space(len as u64) {
            self.run(action, key, operation)
        } else {
            Box::pin(std::future::ready(Err(full(key))))
        }
    }
}

fn temporary(action: &str, key: &Key) -> StoreError {
    StoreError::unknown_outcome(format!("failed to {action} {key}: an injected fault"))
}

fn full(key: &Key) -> StoreError {
    StoreError::new(
        StoreErrorKind::Full,
        format!("failed to write {key}: the store is full (an injected fault)"),
    )
}

impl Dice {
    fn roll(&self, action: &'static str, key: &Key) -> Fate {
        let mut attempts = self.attempts.lock().unwrap_or_else(PoisonError::into_inner);
        let attempt = attempts.entry((action, key.clone())).or_insert(0);
        *attempt += 1;
        let text = format!("{}/{action}/{key}/{attempt}", self.faults.seed);
        let loses = matches!(action, "create" | "finish" | "append" | "delete");
        match uniform(&text) {
            dice if dice < self.faults.fail => Fate::Fails,
            dice if loses && dice < self.faults.fail + self.faults.lost_ack => Fate::LosesAck,
            _ => Fate::Succeeds,
        }
    }

    fn take_space(&self, len: u64) -> bool {
        let Some(limit) = self.faults.full_after_bytes else { return true };
        let take = |written: u64| written.checked_add(len).filter(|written| *written <= limit);
        self.written_bytes.fetch_update(Ordering::Relaxed, Ordering::Relaxed, take).is_ok()
    }

    /// After how many bytes a blob's connection breaks, where it does: somewhere in its first megabytes.
    fn breaks_after_bytes(&self, key: &Key) -> Option<u64> {
        let breaks = self.roll("write", key) == Fate::Fails;
        let text = format!("{}/break/{key}", self.faults.seed);
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "a share of a few megabytes"
        )]
        breaks.then(|| (uniform(&text) * MOST_BYTES_TO_A_BREAK) as u64)
    }

    async fn delay(&self) {
        let slow = self.faults.slow;
        if slow.is_zero() {
            return;
        }
        match tokio::runtime::Handle::try_current() {
            // Not the runtime's own timer: it may have been built without one.
            Ok(runtime) => drop(runtime.spawn_blocking(move || std::thread::sleep(slow)).await),
            Err(_) => std::thread::sleep(slow),
        }
    }
}

/// A number in 0..1 that follows from `text` alone, on every machine and in every version.
fn uniform(text: &str) -> f64 {
    let fnv = |hash: u64, byte: u8| (hash ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3);
    let mut hash = text.bytes().fold(0xcbf2_9ce4_8422_2325, fnv);
    // FNV alone leaves similar texts with similar high bits.
    for multiplier in [0xff51_afd7_ed55_8ccd, 0xc4ce_b9fe_1a85_ec53] {
        hash = (hash ^ (hash >> 33)).wrapping_mul(multiplier);
    }
    hash ^= hash >> 33;
    f64::from((hash >> 32) as u32) / f64::from(u32::MAX).next_up()
}

impl Store for Faulty {
    fn create(&self, key: &Key, bytes: Bytes) -> BoxFuture<'_, Result<Created, StoreError>> {
        let of = key.clone();
        self.write("create", key, bytes.len(), move || self.store.create(&of, bytes))
    }

    fn read(&self, key: &Key) -> BoxFuture<'_, Result<Option<Bytes>, StoreError>> {
        let of = key.clone();
        self.run("read", key, move || self.store.read(&of))
    }

    fn read_record(&self, key: &Key) -> BoxFuture<'_, Result<Option<Bytes>, StoreError>> {
        let of = key.clone();
        self.run("read", key, move || self.store.read_record(&of))
    }

    fn write_blob(&self, key: &Key) -> BoxFuture<'_, Result<Box<dyn BlobWriter>, StoreError>> {
        let of = key.clone();
        let begin = move || -> BoxFuture<'_, Result<Box<dyn BlobWriter>, StoreError>> {
            Box::pin(async move {
                let writer = self.store.write_blob(&of).await?;
                let breaks_after = self.dice.breaks_after_bytes(&of);
                let faulty = FaultyWriter { writer, key: of, breaks_after, dice: Arc::clone(&self.dice) };
                Ok(Box::new(faulty) as Box<dyn BlobWriter>)
            })
        };
        self.run("begin the blob", key, begin)
    }

    fn read_blob(&self, key: &Key) -> BoxFuture<'_, Result<Option<Box<dyn BlobReader>>, StoreError>> {
        let of = key.clone();
        self.run("open", key, move || self.store.read_blob(&of))
    }

    fn append(&self, key: &Key, at: u64, bytes: Bytes) -> BoxFuture<'_, Result<u64, StoreError>> {
        let of = key.clone();
        self.write("append", key, bytes.len(), move || self.store.append(&of, at, bytes))
    }

    fn settle(&self, key: &Key) -> BoxFuture<'_, Result<(), StoreError>> {
        let of = key.clone();
        self.run("settle", key, move || self.store.settle(&of))
    }

    fn children(&self, folder: &Key) -> BoxFuture<'_, Result<Vec<String>, StoreError>> {
        let of = folder.clone();
        self.run("list", folder, move || self.store.children(&of))
    }

    fn delete(&self, key: &Key) -> BoxFuture<'_, Result<(), StoreError>> {
        let of = key.clone();
        self.run("delete", key, move || self.store.delete(&of))
    }

    fn describe(&self) -> String {
        format!("{} with faults {}", self.store.describe(), self.dice.faults)
    }

    fn is_remote(&self) -> bool {
        self.dice.faults.is_far || self.store.is_remote()
    }
}

struct FaultyWriter {
    writer: Box<dyn BlobWriter>,
    key: Key,
    /// How many bytes are still taken.
    breaks_after: Option<u64>,
    dice: Arc<Dice>,
}

impl Write for FaultyWriter {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if !self.dice.take_space(bytes.len() as u64) {
            return Err(full(&self.key).into());
        }
        if let Some(left) = &mut self.breaks_after {
            *left = left.checked_sub(bytes.len() as u64).ok_or_else(|| temporary("write", &self.key))?;
        }
        if let Some(rate) = self.dice.faults.rate_bytes_per_s {
            // The line is busy with these bytes for so long; nothing is waited for that an event could tell.
            std::thread::sleep(Duration::from_micros(bytes.len() as u64 * 1_000_000 / rate));
        }
        self.writer.write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.writer.flush()
    }
}

impl BlobWriter for FaultyWriter {
    fn finish(self: Box<Self>) -> Result<u64, StoreError> {
        let fate = self.dice.roll("finish", &self.key);
        std::thread::sleep(self.dice.faults.slow);
        if fate == Fate::Fails {
            return Err(temporary("finish", &self.key));
        }
        let done = self.writer.finish();
        if fate == Fate::LosesAck { done.and(Err(temporary("finish", &self.key))) } else { done }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_and_faults_say_the_same() {
        let text = "seed=7,fail=0.1,lost-ack=0.25,slow=20ms,rate=4096,full-after=1024";
        assert_eq!(text.parse::<Faults>().unwrap().to_string(), text);
        assert_eq!("full-after=2MB".parse::<Faults>().unwrap().full_after_bytes, Some(2 << 20));
        for wrong in [
            "",
            "fail",
            "fail=1.5",
            "fail=x",
            "slow=20",
            "speed=1",
            "full-after=1TB",
            "fail=-0.1",
            "fail=NaN",
        ] {
            assert!(wrong.parse::<Faults>().is_err(), "{wrong}");
        }
    }

    #[test]
    fn dice_are_fair_and_follow_from_the_seed() {
        let roll = |seed| {
            let faults = Faults { seed, fail: 0.2, lost_ack: 0.1, ..Faults::default() };
            let dice = Dice { faults, attempts: Mutex::default(), written_bytes: AtomicU64::new(0) };
            let key = Key::new("a/b").unwrap();
            (0..10_000).map(|_| dice.roll("create", &key)).collect::<Vec<_>>()
        };
        assert_eq!(roll(7), roll(7));
        assert_ne!(roll(7), roll(8));
        let count = |fate| roll(7).iter().filter(|is| **is == fate).count();
        assert!((1_800..2_200).contains(&count(Fate::Fails)), "{}", count(Fate::Fails));
        assert!((850..1_150).contains(&count(Fate::LosesAck)), "{}", count(Fate::LosesAck));
    }

    fn faulty(spec: &str) -> (crate::MemoryStore, Faulty) {
        let inner = crate::MemoryStore::new();
        (inner.clone(), Faulty::new(Arc::new(inner), spec.parse().unwrap()))
    }

    #[tokio::test]
    async fn a_failure_does_nothing_and_a_lost_acknowledgement_does_it() {
        let key = Key::new("a/b").unwrap();
        for (spec, is_there) in [("fail=1", false), ("lost-ack=1", true)] {
            let (inner, store) = faulty(spec);
            let error = store.create(&key, "x".into()).await.unwrap_err();
            // The caller can't tell them apart.
            assert!(error.is_retryable() && error.may_have_happened(), "{error}");
            assert_eq!(inner.read(&key).await.unwrap().is_some(), is_there, "{spec}");
        }
        let (inner, store) = faulty("lost-ack=1");
        let mut writer = store.write_blob(&key).await.unwrap();
        writer.write_all(b"blob").unwrap();
        assert!(writer.finish().unwrap_err().may_have_happened());
        assert_eq!(inner.read(&key).await.unwrap().unwrap(), "blob");
    }

    #[tokio::test]
    async fn a_blob_can_break_off_while_it_is_written() {
        let (inner, store) = faulty("seed=3,fail=0.5");
        let (mut broken, mut whole) = (0, 0);
        for number in 0..60 {
            let key = Key::new(&format!("a/{number}")).unwrap();
            let Ok(mut writer) = store.write_blob(&key).await else { continue };
            let part = vec![7; 64 << 10];
            let written = (0..80).try_for_each(|_| writer.write_all(&part));
            match written {
                Ok(()) => whole += 1,
                Err(error) => {
                    let error = error.get_ref().unwrap().downcast_ref::<StoreError>().unwrap();
                    assert!(error.is_retryable(), "{error}");
                    broken += 1;
                }
            }
            drop(writer);
            assert!(inner.read(&key).await.unwrap().is_none());
        }
        assert!(broken > 5 && whole > 5, "{broken} broke off, {whole} did not");
    }

    #[tokio::test]
    async fn a_repetition_can_succeed() {
        let (_, store) = faulty("seed=3,fail=0.5");
        for number in 0..50 {
            let key = Key::new(&format!("a/{number}")).unwrap();
            let mut attempts = 1;
            while store.create(&key, "x".into()).await.is_err() {
                attempts += 1;
                assert!(attempts < 40);
            }
        }
    }

    #[tokio::test]
    async fn a_full_store_says_so_and_still_reads() {
        let (_, store) = faulty("full-after=10");
        let key = |name: &str| Key::new(name).unwrap();
        store.create(&key("a"), "12345678".into()).await.unwrap();
        let error = store.create(&key("b"), "12345".into()).await.unwrap_err();
        assert_eq!((error.kind(), error.may_have_happened()), (StoreErrorKind::Full, false));
        let mut writer = store.write_blob(&key("c")).await.unwrap();
        assert_eq!(writer.write_all(b"123").unwrap_err().kind(), io::ErrorKind::StorageFull);
        assert_eq!(store.append(&key("d"), 0, "123".into()).await.unwrap_err().kind(), StoreErrorKind::Full);
        assert_eq!(store.read(&key("a")).await.unwrap().unwrap(), "12345678");
    }

    #[tokio::test]
    async fn a_slow_store_is_slow() {
        let (_, store) = faulty("slow=20ms");
        let started = std::time::Instant::now();
        store.read(&Key::new("a").unwrap()).await.unwrap();
        assert!(started.elapsed() >= Duration::from_millis(20));
    }
}
