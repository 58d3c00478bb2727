//! Steps before and behind a checkpoint, and records that share an append: in a store that stops, tears, and forgets to answer.

use std::sync::atomic::AtomicUsize;
use std::thread::ThreadId;

use limitless_faas_core::ExecutionId;
use limitless_faas_store::{BlobReader, BlobWriter, BoxFuture, Created, MemoryStore, Store, StoreError};
use tokio::sync::Semaphore;

use super::*;
use crate::engine::now_us;

/// What becomes of an append.
#[derive(Clone, Copy, Debug)]
enum Fate {
    Acknowledged,
    /// So many bytes are stored, and nobody is answered: the process dies.
    CutAt(usize),
    /// So many bytes are stored, and the writer hears that it may not know: it tries again.
    TornAt(usize),
}

/// A store in memory whose appends wait until they are let through.
#[derive(Clone, Debug)]
struct Gated {
    inner: MemoryStore,
    /// How many appends may end.
    gate: Arc<Semaphore>,
    arrived: Arc<AtomicUsize>,
    fates: Arc<Mutex<Vec<Fate>>>,
    /// The threads that appended themselves, where they may.
    here: Option<Arc<Mutex<Vec<ThreadId>>>>,
    /// What was done with segments but appending, in order.
    seen: Arc<Mutex<Vec<&'static str>>>,
}

impl Gated {
    fn new(fates: &[Fate]) -> Self {
        let fates = Arc::new(Mutex::new(fates.iter().rev().copied().collect()));
        Self {
            inner: MemoryStore::new(),
            gate: Arc::new(Semaphore::new(0)),
            arrived: Arc::default(),
            fates,
            here: None,
            seen: Arc::default(),
        }
    }

    /// A folder rather than a server: whoever appends does so on its own thread.
    fn near() -> Self {
        Self { here: Some(Arc::default()), ..Self::new(&[]) }
    }

    fn appends(&self) -> usize {
        self.arrived.load(Ordering::Relaxed)
    }

    async fn append_as_fated(&self, key: &Key, at: u64, bytes: Bytes) -> Result<u64, StoreError> {
        self.arrived.fetch_add(1, Ordering::Relaxed);
        self.gate.acquire().await.unwrap().forget();
        let fate = lock(&self.fates).pop().unwrap_or(Fate::Acknowledged);
        match fate {
            Fate::Acknowledged => self.inner.append(key, at, bytes).await,
            Fate::CutAt(stored) => {
                self.inner.append(key, at, bytes.slice(..stored)).await?;
                std::future::pending().await
            }
            Fate::TornAt(stored) => {
                self.inner.append(key, at, bytes.slice(..stored)).await?;
                Err(StoreError::unknown_outcome("torn on purpose"))
            }
        }
    }
}

impl Store for Gated {
    fn create(&self, key: &Key, bytes: Bytes) -> BoxFuture<'_, Result<Created, StoreError>> {
        self.inner.create(key, bytes)
    }

    fn read(&self, key: &Key) -> BoxFuture<'_, Result<Option<Bytes>, StoreError>> {
        self.inner.read(key)
    }

    fn write_blob(&self, key: &Key) -> BoxFuture<'_, Result<Box<dyn BlobWriter>, StoreError>> {
        self.inner.write_blob(key)
    }

    fn read_blob(&self, key: &Key) -> BoxFuture<'_, Result<Option<Box<dyn BlobReader>>, StoreError>> {
        lock(&self.seen).push("read");
        self.inner.read_blob(key)
    }

    fn append(&self, key: &Key, at: u64, bytes: Bytes) -> BoxFuture<'_, Result<u64, StoreError>> {
        let key = key.clone();
        Box::pin(async move { self.append_as_fated(&key, at, bytes).await })
    }

    fn append_here(&self, key: &Key, at: u64, bytes: &Bytes, _: Behind) -> Option<Result<u64, StoreError>> {
        let here = self.here.as_ref()?;
        lock(here).push(std::thread::current().id());
        let mut appending = self.inner.append(key, at, bytes.clone());
        match appending.as_mut().poll(&mut Context::from_waker(Waker::noop())) {
            Poll::Ready(appended) => Some(appended),
            Poll::Pending => None,
        }
    }

    fn settle(&self, _: &Key) -> BoxFuture<'_, Result<(), StoreError>> {
        lock(&self.seen).push("settled");
        Box::pin(async { Ok(()) })
    }

    fn children(&self, folder: &Key) -> BoxFuture<'_, Result<Vec<String>, StoreError>> {
        self.inner.children(folder)
    }

    fn delete(&self, key: &Key) -> BoxFuture<'_, Result<(), StoreError>> {
        self.inner.delete(key)
    }

    fn describe(&self) -> String {
        "gated:".to_owned()
    }
}

fn run<T>(test: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap().block_on(test)
}

/// An hour from now.
fn later_ms() -> u64 {
    now_us() / 1000 + 3_600_000
}

/// The steps of a delivery that owns epoch 1, or will.
fn steps(store: &Gated, nonce: u8) -> Arc<Steps> {
    let execution = ExecutionId::from_random([1; 16]);
    let known = Known { epoch: 1, ..Known::default() };
    Arc::new(Steps {
        world: Arc::new(crate::engine::world::Real::default()),
        wraps: Wraps {
            placement: None,
            tells_nodes: false,
            nodes_at_once: 1,
            stay: Duration::MAX,
            node: None,
            outgoing: Outgoing::default(),
            beside: Successor::Unavailable("a test".to_owned()),
        },
        log: Some(Log::new(Arc::new(store.clone()), execution.clone())),
        #[cfg(feature = "programs")]
        execution,
        deadline_ms: later_ms(),
        nonce: Nonce::from_random([nonce; 8]),
        limit_ms: 1000,
        wait_until_ms: later_ms(),
        to: mpsc::unbounded_channel().0,
        vars: Vars::default(),
        process: Handle::current(),
        is_async: true,
        runs_from_the_top: false,
        is_closed: AtomicBool::new(false),
        is_called_off: AtomicBool::new(false),
        known: Mutex::new(known),
        queue: Queue::default(),
        is_quick: AtomicBool::new(true),
        crew: Crew::new(Handle::current()),
        allowed: watch::Sender::new(Some(later_ms())),
    })
}

type Recording = tokio::task::JoinHandle<Result<(), Failure>>;

/// Begins to record these, and comes back when each is at hand.
async fn begin(steps: &Arc<Steps>, keys: &[&str]) -> Vec<Recording> {
    let mut recordings = Vec::new();
    for key in keys {
        let (steps, key) = (steps.clone(), (*key).to_owned());
        recordings.push(tokio::spawn(async move { steps.record(&key, key.clone().into_bytes()).await }));
        tokio::task::yield_now().await;
    }
    recordings
}

async fn until(is_so: impl Fn() -> bool) {
    while !is_so() {
        tokio::task::yield_now().await;
    }
}

/// One append is under way, and these wait for the next one.
async fn behind_another(store: &Gated, steps: &Arc<Steps>, keys: &[&str]) -> (Recording, Vec<Recording>) {
    let first = begin(steps, &["first"]).await.remove(0);
    until(|| store.appends() == 1).await;
    (first, begin(steps, keys).await)
}

async fn outcomes(recordings: Vec<Recording>) -> Vec<Result<(), Failure>> {
    let mut outcomes = Vec::new();
    for recording in recordings {
        outcomes.push(recording.await.unwrap());
    }
    outcomes
}

/// What a successor that seals the segment now finds: keys, in order.
async fn found_by_a_successor(store: &Gated, sealed: Option<u64>) -> Vec<String> {
    let successor = steps(store, 2);
    let mut segment = Segment { epoch: 1, nonce: Nonce::from_random([1; 8]), length: None };
    segment.length = match sealed {
        None => Some(successor.measure(&segment).await.unwrap()),
        sealed => sealed,
    };
    let records = successor.read_segments(&[segment]).await.unwrap();
    records.into_iter().map(|placed| placed.key).collect()
}

#[test]
fn results_at_hand_share_an_append() {
    run(async {
        let store = Gated::new(&[]);
        let steps = steps(&store, 1);
        let keys: Vec<String> = (0..31).map(|i| format!("step-{i}")).collect();
        let keys: Vec<&str> = keys.iter().map(String::as_str).collect();
        let (first, others) = behind_another(&store, &steps, &keys).await;
        assert!(others.iter().all(|recording| !recording.is_finished()), "acknowledged before its append");
        store.gate.add_permits(2);
        first.await.unwrap().unwrap();
        assert!(outcomes(others).await.iter().all(Result::is_ok));
        assert_eq!(store.appends(), 2);
        let found = found_by_a_successor(&store, Some(steps.length())).await;
        assert_eq!(found[1..], keys);
        assert_eq!(found[0], "first");
    });
}

/// A lost owner may have written what it did not live to sync. Whoever counts that makes it durable, after it was read: what is
/// appended later does not count.
#[test]
fn a_successor_settles_what_it_seals() {
    run(async {
        let store = Gated::new(&[]);
        let owner = steps(&store, 1);
        store.gate.add_permits(1);
        owner.record("first", vec![7]).await.unwrap();
        assert_eq!(found_by_a_successor(&store, None).await, ["first"]);
        assert_eq!(lock(&store.seen)[..2], ["read", "settled"]);
        // Nobody appended to this one.
        let segment = Segment { epoch: 2, nonce: Nonce::from_random([3; 8]), length: None };
        assert_eq!(owner.measure(&segment).await.unwrap(), 0);
    });
}

/// Works on a handler's thread, which has a runtime of its own, while this one drives the process's.
async fn on_a_handlers_thread<T: Send + 'static>(
    work: impl FnOnce(tokio::runtime::Runtime) -> T + Send + 'static,
) -> (ThreadId, T) {
    let (done, worked) = oneshot::channel();
    std::thread::spawn(|| {
        let own = tokio::runtime::Builder::new_current_thread().build().unwrap();
        done.send((std::thread::current().id(), work(own))).ok()
    });
    worked.await.unwrap()
}

#[test]
fn where_the_store_is_near_a_handlers_thread_appends_itself_and_steps_side_by_side_share_that() {
    run(async {
        let store = Gated::near();
        let steps = steps(&store, 1);
        let recording = steps.clone();
        let (handler, ()) = on_a_handlers_thread(move |own| {
            let record = async |key| recording.record(key, Vec::new()).await.unwrap();
            own.block_on(async {
                tokio::join!(record("a"), record("b"), record("c"));
                record("d").await;
            });
            recording.process.block_on(recording.record_alone("e", Vec::new())).unwrap();
        })
        .await;
        assert_eq!(*lock(store.here.as_ref().unwrap()), [handler; 3]);
        assert_eq!(store.appends(), 0, "on another thread");
        let found = found_by_a_successor(&store, Some(steps.length())).await;
        assert_eq!(found, ["a", "b", "c", "d", "e"]);
    });
}

#[test]
fn no_thread_that_others_wait_for_appends_itself_nor_one_whose_last_append_was_slow() {
    run(async {
        let store = Gated::near();
        store.gate.add_permits(2);
        let steps = steps(&store, 1);
        let recording = steps.clone();
        let here = store.here.clone().unwrap();
        let by_itself = on_a_handlers_thread(move |own| {
            let mut by_itself = Vec::new();
            own.block_on(recording.record_aside("node", Vec::new())).unwrap();
            by_itself.push(lock(&here).len());
            recording.is_quick.store(false, Ordering::Relaxed);
            own.block_on(recording.record("slow", Vec::new())).unwrap();
            by_itself.push(lock(&here).len());
            recording.is_quick.store(true, Ordering::Relaxed);
            own.block_on(recording.record("quick", Vec::new())).unwrap();
            by_itself.push(lock(&here).len());
            by_itself
        });
        assert_eq!(by_itself.await.1, [0, 0, 1]);
        assert_eq!(store.appends(), 2);
        assert_eq!(found_by_a_successor(&store, Some(steps.length())).await, ["node", "slow", "quick"]);
    });
}

#[test]
fn a_crash_anywhere_in_a_shared_append_loses_nothing_acknowledged() {
    run(async {
        let keys = ["a", "b", "c"];
        let (mut cut, mut most) = (0, 0);
        loop {
            let store = Gated::new(&[Fate::Acknowledged, Fate::CutAt(cut)]);
            let steps = steps(&store, 1);
            let (first, others) = behind_another(&store, &steps, &keys).await;
            store.gate.add_permits(2);
            first.await.unwrap().unwrap();
            until(|| store.gate.available_permits() == 0 && lock(&store.fates).is_empty()).await;
            assert!(others.iter().all(|recording| !recording.is_finished()));
            let found = found_by_a_successor(&store, None).await;
            assert_eq!(found[0], "first", "cut at {cut}");
            // The others were not acknowledged: as many are there as are whole, and from the front.
            assert_eq!(found[1..], keys[..found.len() - 1], "cut at {cut}");
            assert!(found.len() > most || found.len() == most.max(1), "fewer than at a shorter cut");
            most = found.len();
            for recording in others {
                recording.abort();
            }
            if most == 4 {
                break;
            }
            cut += 1;
        }
        assert!(cut > 60, "three records in {cut} bytes");
    });
}

#[test]
fn a_torn_shared_append_is_completed_and_acknowledged_once() {
    run(async {
        for torn in [0, 1, 30, 60] {
            let store = Gated::new(&[Fate::Acknowledged, Fate::TornAt(torn)]);
            let steps = steps(&store, 1);
            let (first, others) = behind_another(&store, &steps, &["a", "b", "c"]).await;
            store.gate.add_permits(3);
            first.await.unwrap().unwrap();
            assert!(outcomes(others).await.iter().all(Result::is_ok));
            assert_eq!(store.appends(), 3);
            assert_eq!(found_by_a_successor(&store, None).await, ["first", "a", "b", "c"]);
        }
    });
}

#[test]
fn a_fenced_owner_acknowledges_no_append_and_its_successor_never_sees_one() {
    run(async {
        let store = Gated::new(&[]);
        let owner = steps(&store, 1);
        let (first, others) = behind_another(&store, &owner, &["late", "too"]).await;
        // The owner was frozen before the next append: it reaches the store, but only when the lease is over.
        owner.allow(now_us() / 1000);
        store.gate.add_permits(2);
        first.await.unwrap().unwrap();
        let told = outcomes(others).await;
        let sealed = owner.length();
        assert_eq!(
            found_by_a_successor(&store, None).await,
            ["first", "late", "too"],
            "it reached the store"
        );
        assert_eq!(found_by_a_successor(&store, Some(sealed)).await, ["first"]);
        for told in told {
            assert_eq!(told.unwrap_err().code, Code::StoreAway);
        }
    });
}

#[test]
fn no_effect_begins_once_the_lease_is_over() {
    run(async {
        let owner = steps(&Gated::new(&[]), 1);
        owner.ready().await.unwrap();
        // It was frozen, and its clock ran on.
        owner.allow(now_us() / 1000);
        assert_eq!(owner.ready().await.unwrap_err().code, Code::StoreAway);
        assert_eq!(
            owner.take_fatal().unwrap().code,
            Code::StoreAway,
            "whatever the handler makes of the error"
        );
    });
}

#[test]
fn a_step_that_was_dropped_or_is_too_large_does_not_take_the_others_along() {
    run(async {
        let store = Gated::new(&[]);
        let steps = steps(&store, 1);
        let (first, mut others) = behind_another(&store, &steps, &["a", "dropped", "b"]).await;
        others.remove(1).abort();
        let large = vec![0; limitless_faas_core::segment::VALUE_LIMIT_BYTES + 1];
        let large = tokio::spawn({
            let steps = steps.clone();
            async move { steps.record("large", large).await }
        });
        tokio::task::yield_now().await;
        store.gate.add_permits(3);
        first.await.unwrap().unwrap();
        assert!(outcomes(others).await.iter().all(Result::is_ok));
        assert_eq!(large.await.unwrap().unwrap_err().code, Code::SaveFailed);
        assert_eq!(found_by_a_successor(&store, None).await, ["first", "a", "b"]);
    });
}

fn known() -> Known {
    let placed = |epoch, end, key: &str| Placed { epoch, end, key: key.to_owned(), value: vec![] };
    Known {
        records: vec![placed(1, 10, "a"), placed(1, 20, "b"), placed(2, 10, "c"), placed(2, 20, "d")],
        ..Known::default()
    }
}

fn keys(known: &Known) -> (Vec<&str>, Vec<&str>) {
    (known.used.iter().map(String::as_str).collect(), known.replay.keys().map(String::as_str).collect())
}

#[test]
fn steps_before_the_checkpoint_are_behind_and_those_after_it_are_met_again() {
    let mut known = known();
    known.go_back_to(Some(&Saved { epoch: 2, steps: 10, ..Saved::default() }));
    assert_eq!(keys(&known), (vec!["a", "b", "c"], vec!["d"]));
    known.go_back_to(Some(&Saved { epoch: 1, steps: 10, ..Saved::default() }));
    assert_eq!(keys(&known), (vec!["a"], vec!["b", "c", "d"]));
    known.go_back_to(None);
    assert_eq!(keys(&known), (vec![], vec!["a", "b", "c", "d"]));
    // An owner that went back to the beginning had come to `a` again and not yet to `b` when it saved.
    let ahead = vec!["b".to_owned()];
    known.go_back_to(Some(&Saved { epoch: 2, steps: 0, ahead, ..Saved::default() }));
    assert_eq!(keys(&known), (vec!["a"], vec!["b", "c", "d"]));
}
