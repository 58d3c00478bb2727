//! Runs a handler whole, and suspended at hooks of choice.
#![allow(
    clippy::unwrap_used,
    clippy::missing_panics_doc,
    clippy::similar_names,
    reason = "in tests what is wrong panics"
)]

use std::io::{self, Read, Write};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};

use limitless_faas::Handler;
use limitless_faas::checkpoint::{Outcome, Request, Session, Sink, Target};
use limitless_faas::handler::HandlerDef;
use serde_json::value::RawValue;

/// A handler that needs this many hooks is taken to run for ever.
const MOST_HOOKS: u64 = 100_000;

/// A handler that needs this many invocations makes no progress.
const MOST_INVOCATIONS: u64 = 10_000;

/// Where a run's state goes.
#[derive(Clone, Default)]
pub struct Saved(Arc<Mutex<Vec<u8>>>);

impl Saved {
    /// What was saved.
    pub fn bytes(&self) -> Vec<u8> {
        self.0.lock().unwrap().clone()
    }
}

impl Write for Saved {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap().write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Target for Saved {
    fn seal(self: Box<Self>) -> io::Result<()> {
        Ok(())
    }
}

/// Breaks off the first attempt to save, so that every state is written twice: what it is made of must still be there.
struct Twice {
    saved: Saved,
    has_broken_off: bool,
}

impl Sink for Twice {
    fn open(&mut self) -> io::Result<Box<dyn Target>> {
        if self.has_broken_off { Ok(Box::new(self.saved.clone())) } else { Ok(Box::new(BreaksOff)) }
    }

    fn wants_again(&mut self, failed: &io::Error) -> bool {
        let is_ours = failed.kind() == io::ErrorKind::BrokenPipe;
        is_ours && !std::mem::replace(&mut self.has_broken_off, true)
    }
}

struct BreaksOff;

impl Write for BreaksOff {
    fn write(&mut self, _: &[u8]) -> io::Result<usize> {
        Err(io::ErrorKind::BrokenPipe.into())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Target for BreaksOff {
    fn seal(self: Box<Self>) -> io::Result<()> {
        Ok(())
    }
}

/// A session that goes on from `from` and saves into the returned buffer, at the second attempt.
pub fn session(from: Option<Vec<u8>>) -> (Session, Saved) {
    let saved = Saved::default();
    let sink = Twice { saved: saved.clone(), has_broken_off: false };
    let from = from.map(|bytes| Box::new(io::Cursor::new(bytes)) as Box<dyn Read + Send>);
    (Session::with_sink(from, sink), saved)
}

/// Runs one invocation that is suspended at its `suspend_at`th hook, counted from 1; 0 lets it run to its end.
pub fn invocation(
    handler: &'static HandlerDef,
    input: &RawValue,
    from: Option<Vec<u8>>,
    suspend_at: u64,
) -> (Outcome, Vec<u8>, u64) {
    let (session, saved) = session(from);
    let hooks = Arc::new(AtomicU64::new(0));
    let counted = hooks.clone();
    let asking: Arc<Mutex<Option<Session>>> = Arc::default();
    let asked = asking.clone();
    // Every hook is asked to report, and the one before the last is told to ask for more.
    let session = session.with_on_hook(move || {
        let passed = counted.fetch_add(1, Ordering::Relaxed) + 1;
        if let Some(session) = &*asked.lock().unwrap() {
            let suspend = passed + 1 == suspend_at || passed > MOST_HOOKS;
            session.request(if suspend { Request::Suspend } else { Request::Report });
        }
    });
    session.request(if suspend_at == 1 { Request::Suspend } else { Request::Report });
    *asking.lock().unwrap() = Some(session.clone());
    let outcome = session.run_definition(handler, input);
    // The session holds a callback that holds the session.
    asking.lock().unwrap().take();
    (outcome, saved.bytes(), hooks.load(Ordering::Relaxed))
}

/// The whole run's outcome as text, and how many hooks it passed.
pub fn whole<H: Handler>(input: &RawValue) -> (String, u64) {
    let (outcome, _, hooks) = invocation(H::definition(), input, None, 0);
    (shown(outcome), hooks)
}

/// Runs to the end, where invocation `i` is suspended at its `plan[i]`th hook, and the last not at all.
pub fn in_pieces<H: Handler>(input: &RawValue, plan: impl IntoIterator<Item = u64>) -> (String, u64) {
    pieces(H::definition(), input, &mut plan.into_iter())
}

fn pieces(
    handler: &'static HandlerDef,
    input: &RawValue,
    plan: &mut dyn Iterator<Item = u64>,
) -> (String, u64) {
    let mut from = None;
    let mut invocations = 0;
    loop {
        invocations += 1;
        assert!(invocations < MOST_INVOCATIONS, "{}({}) makes no progress", handler.name, input.get());
        let (outcome, state, _) = invocation(handler, input, from.take(), plan.next().unwrap_or(0));
        match outcome {
            Outcome::Suspended(_) => from = Some(state),
            other => return (shown(other), invocations),
        }
    }
}

/// An outcome as text, to compare.
pub fn shown(outcome: Outcome) -> String {
    match outcome {
        Outcome::Returned(Ok(json)) => json.get().to_owned(),
        Outcome::Returned(Err(error)) => format!("error: {error}"),
        Outcome::Panicked { message } => {
            format!("panic: {}", message.split(" (at ").next().unwrap_or_default())
        }
        other => format!("{other:?}"),
    }
}

/// A result as text, to compare.
pub fn text(value: &impl serde::Serialize) -> String {
    serde_json::to_string(value).unwrap()
}

/// A plain call's result, or its panic.
pub fn plain(call: impl FnOnce() -> String) -> String {
    std::panic::catch_unwind(std::panic::AssertUnwindSafe(call)).unwrap_or_else(|panic| {
        let message = panic.downcast_ref::<String>().cloned();
        format!("panic: {}", message.unwrap_or_else(|| panic.downcast_ref::<&str>().unwrap().to_string()))
    })
}

/// Waits for a future that needs no reactor.
pub fn wait<T>(future: impl Future<Output = T>) -> T {
    struct Unpark(std::thread::Thread);
    impl std::task::Wake for Unpark {
        fn wake(self: Arc<Self>) {
            self.0.unpark();
        }
    }
    let waker = Arc::new(Unpark(std::thread::current())).into();
    let mut future = std::pin::pin!(future);
    loop {
        if let std::task::Poll::Ready(value) =
            future.as_mut().poll(&mut std::task::Context::from_waker(&waker))
        {
            return value;
        }
        std::thread::park();
    }
}

/// Is pending once, as a future that waits for something.
pub async fn pause() {
    let mut waited = false;
    std::future::poll_fn(|waker| {
        if std::mem::replace(&mut waited, true) {
            return std::task::Poll::Ready(());
        }
        waker.waker().wake_by_ref();
        std::task::Poll::Pending
    })
    .await;
}

/// A generator of test plans: splitmix64.
pub struct Random(pub u64);

impl Random {
    /// The next number.
    pub fn number(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    /// A number below `bound`.
    pub fn below(&mut self, bound: u64) -> u64 {
        self.number() % bound.max(1)
    }
}

/// Proves that wherever the handler is suspended its result is the plain one.
///
/// At every hook once; at every hook in one execution; and at `random` random sets of hooks.
pub fn differ<H: Handler>(input: &str, plain: &str, random: u64) {
    let hooks = differ_definition(H::definition(), input, plain, random);
    assert!(hooks > 0, "{}({input}) passes no hook", H::definition().name);
}

/// The same for a handler known at run time. Returns how many hooks there are, which may be none.
pub fn differ_definition(handler: &'static HandlerDef, input: &str, plain: &str, random: u64) -> u64 {
    let name = handler.name;
    let input = RawValue::from_string(input.to_owned()).unwrap();
    let (outcome, _, hooks) = invocation(handler, &input, None, 0);
    assert_eq!(shown(outcome), plain, "{name}({input}) in a session");
    for hook in 1..=hooks.min(400) {
        let (result, invocations) = pieces(handler, &input, &mut std::iter::once(hook));
        assert_eq!(result, plain, "{name}({input}) suspended at hook {hook} of {hooks}");
        assert_eq!(invocations, 2, "{name}({input}) was not suspended at hook {hook}");
    }
    // The first hook that a resumed run passes is the one it was suspended at; the second is progress.
    if hooks < 2_000 {
        let mut plan = std::iter::once(1).chain(std::iter::repeat(2));
        let (result, invocations) = pieces(handler, &input, &mut plan);
        assert_eq!(result, plain, "{name}({input}) suspended at every hook");
        assert!(invocations >= hooks, "{name}({input}) suspended {invocations} times at {hooks} hooks");
    }
    let mut dice = Random(hooks ^ 0x5eed);
    for round in 0..random {
        let most = 1 + dice.below(hooks);
        let plan: Vec<u64> = (0..64).map(|_| 1 + dice.below(most + 1)).collect();
        let (result, _) = pieces(handler, &input, &mut plan.iter().copied());
        assert_eq!(result, plain, "{name}({input}) suspended by plan {round}: {plan:?}");
    }
    hooks
}
