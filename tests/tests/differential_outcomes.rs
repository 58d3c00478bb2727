//! How runs end, what is saved, and what is refused at run time.
#![allow(
    clippy::all,
    clippy::pedantic,
    clippy::unwrap_used,
    clippy::panic,
    reason = "handlers as users write them"
)]

use std::collections::HashMap;
use std::io::{self, Read, Write};
use std::rc::Rc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex};

use limitless_faas::checkpoint::{Outcome, Request, Session};
use limitless_faas::{Context, Handler, Migrate, State, handler};
use limitless_faas_tests::resume::{invocation, pause, session, shown, wait};
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

fn json(text: &str) -> Box<RawValue> {
    RawValue::from_string(text.to_owned()).unwrap()
}

fn run<H: Handler>(input: &str, from: Option<Vec<u8>>, suspend_at: u64) -> (Outcome, Vec<u8>) {
    let (outcome, state, _) = invocation(H::definition(), &json(input), from, suspend_at);
    (outcome, state)
}

/// The state of `H` at its `hook`th hook.
fn state_of<H: Handler>(input: &str, hook: u64) -> Vec<u8> {
    let (outcome, state) = run::<H>(input, None, hook);
    assert!(matches!(outcome, Outcome::Suspended(_)), "{outcome:?}");
    state
}

fn touch(of: u64) -> u64 {
    std::hint::black_box(of)
}

mod first {
    use super::{handler, touch};

    #[handler]
    pub(super) fn sums(n: u64) -> u64 {
        let mut sum = 0u64;
        #[checkpoint]
        for i in 0..n {
            sum += touch(i);
        }
        sum
    }
}

mod other_type {
    use super::{handler, touch};

    #[handler]
    pub(super) fn sums(n: u64) -> f64 {
        let mut sum = 0.0f64;
        #[checkpoint]
        for i in 0..n {
            sum += touch(i) as f64;
        }
        sum
    }
}

mod other_name {
    use super::{handler, touch};

    #[handler]
    pub(super) fn sums(n: u64) -> u64 {
        let mut total = 0u64;
        #[checkpoint]
        for i in 0..n {
            total += touch(i);
        }
        total
    }
}

mod one_more {
    use super::{handler, touch};

    #[handler]
    pub(super) fn sums(n: u64) -> u64 {
        let mut sum = 0u64;
        let times = n;
        #[checkpoint]
        for i in 0..n {
            sum += touch(i) * times;
        }
        sum
    }
}

mod other_loop {
    use super::{handler, touch};

    #[handler]
    pub(super) fn sums(n: u64) -> u64 {
        let mut sum = 0u64;
        #[checkpoint]
        for i in 1..n {
            sum += touch(i);
        }
        sum
    }
}

mod no_loop {
    use super::handler;

    #[handler]
    pub(super) fn sums(n: u64) -> u64 {
        let mut m = n;
        if n == 0 {
            #[checkpoint]
            while m > 0 {
                m -= 1;
            }
        }
        m
    }
}

fn incompatible<H: Handler>(state: Vec<u8>) -> String {
    match run::<H>(r#"{"n":5}"#, Some(state), 0).0 {
        Outcome::Incompatible(what) => what.to_string(),
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_changed_handler_says_what_changed() {
    let state = state_of::<first::sums>(r#"{"n":5}"#, 3);
    assert_eq!(shown(run::<first::sums>(r#"{"n":5}"#, Some(state.clone()), 0).0), "10");
    let changed = incompatible::<other_type::sums>(state.clone());
    assert!(changed.starts_with("`sum` was saved as `sum: u64`, but is now `sum: f64`"), "{changed}");
    assert_eq!(
        incompatible::<other_name::sums>(state.clone()),
        "`total` was saved as `sum: u64`, but is now `total: u64`"
    );
    let missing = incompatible::<one_more::sums>(state.clone());
    assert!(missing.starts_with("`times` was saved as `position of for i in 0..n: "), "{missing}");
    assert_eq!(
        incompatible::<other_loop::sums>(state.clone()),
        "`loop 1` was saved as `for i in 0..n`, but is now `for i in 1..n`"
    );
    assert_eq!(
        incompatible::<no_loop::sums>(state),
        "`loop 1` was saved as `for i in 0..n`, but is now `while m > 0`"
    );
}

#[derive(Clone, Copy, Serialize, Deserialize)]
struct Swapped {
    high: u32,
    low: u32,
}

mod swapped_before {
    use super::{Deserialize, Serialize, handler, touch};

    #[derive(Clone, Copy, Serialize, Deserialize)]
    pub(super) struct Swapped {
        low: u32,
        high: u32,
    }

    #[handler]
    pub(super) fn pair(n: u32) -> Swapped {
        let mut pair = Swapped { low: n, high: 0 };
        #[checkpoint]
        while pair.low > 0 {
            pair.low -= 1;
            pair.high += touch(2) as u32;
        }
        pair
    }
}

#[handler]
fn pair(n: u32) -> Swapped {
    let mut pair = Swapped { low: n, high: 0 };
    #[checkpoint]
    while pair.low > 0 {
        pair.low -= 1;
        pair.high += touch(2) as u32;
    }
    pair
}

#[test]
fn swapped_fields_of_one_type_are_noticed() {
    let changed = incompatible::<pair>(state_of::<swapped_before::pair>(r#"{"n":5}"#, 2));
    assert!(changed.starts_with("`pair` was saved as") && changed.contains("low"), "{changed}");
}

#[test]
fn damaged_states_are_refused() {
    let state = state_of::<first::sums>(r#"{"n":5}"#, 3);
    for cut in [0, 3, state.len() / 2, state.len() - 1] {
        let (outcome, _) = run::<first::sums>(r#"{"n":5}"#, Some(state[..cut].to_vec()), 0);
        assert!(matches!(outcome, Outcome::Damaged { .. }), "cut at {cut}: {outcome:?}");
    }
    let more = [state, vec![0]].concat();
    let (outcome, _) = run::<first::sums>(r#"{"n":5}"#, Some(more), 0);
    assert!(
        matches!(&outcome, Outcome::Damaged { message } if message.contains("bytes follow")),
        "{outcome:?}"
    );
}

struct Full;

impl Write for Full {
    fn write(&mut self, _: &[u8]) -> io::Result<usize> {
        Err(io::ErrorKind::StorageFull.into())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[test]
fn a_save_that_fails_says_where_and_why() {
    let sinks: [fn() -> io::Result<Box<dyn Write + Send>>; 2] =
        [|| Ok(Box::new(Full)), || Err(io::ErrorKind::StorageFull.into())];
    for sink in sinks {
        let session = Session::new(None, sink);
        session.request(Request::Suspend);
        match session.run::<first::sums>(&json(r#"{"n":5}"#)) {
            Outcome::SaveFailed { point, source } => {
                assert_eq!(source.kind(), io::ErrorKind::StorageFull);
                assert_eq!((point.number, point.label.as_str()), (1, "for i in 0..n"));
            }
            other => panic!("{other:?}"),
        }
    }
}

#[test]
fn bad_inputs_name_the_field() {
    #[handler]
    fn two(n: u64, name: Option<String>) -> String {
        format!("{n}{name:?}")
    }
    #[derive(Deserialize, Serialize)]
    struct Order {
        id: u32,
        note: Option<String>,
    }
    #[handler]
    fn one(order: Order) -> u32 {
        order.id
    }
    #[handler]
    fn none() -> u32 {
        7
    }
    let shown_two = |input| shown(run::<two>(input, None, 0).0);
    assert_eq!(shown_two(r#"{"n":1,"name":"x"}"#), r#""1Some(\"x\")""#);
    assert_eq!(shown_two(r#"{"n":1}"#), r#""1None""#);
    for (input, message) in [
        (r#"{"name":"x"}"#, "missing field `n` in the input; expected the fields `n`, `name`"),
        (r#"{"n":1,"m":2}"#, "unknown field `m` in the input; expected the fields `n`, `name`"),
        (r#"{"n":"x"}"#, "field `n` of the input: invalid type: string \"x\", expected u64"),
        ("[1]", "the input must be a JSON object with the fields `n`, `name`"),
    ] {
        match run::<two>(input, None, 0).0 {
            Outcome::BadInput { message: said } => assert!(said.starts_with(message), "{said}"),
            other => panic!("{other:?}"),
        }
    }
    assert_eq!(shown(run::<one>(r#"{"id":3}"#, None, 0).0), "3");
    match run::<one>(r#"{"note":"x"}"#, None, 0).0 {
        Outcome::BadInput { message } => {
            assert!(message.starts_with("the input (`order`): missing field `id`"), "{message}")
        }
        other => panic!("{other:?}"),
    }
    assert_eq!(
        (shown(run::<none>("{}", None, 0).0), shown(run::<none>("null", None, 0).0)),
        ("7".into(), "7".into())
    );
}

#[test]
fn panics_say_what_and_where() {
    #[handler]
    fn fails(n: u64) -> u64 {
        #[checkpoint]
        for i in 0..n {
            assert!(touch(i) < 3, "{i} is too much");
        }
        n
    }
    match run::<fails>(r#"{"n":5}"#, None, 0).0 {
        Outcome::Panicked { message } => {
            assert!(
                message.starts_with("3 is too much (at tests/tests/differential_outcomes.rs:"),
                "{message}"
            );
        }
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_report_does_not_suspend() {
    let (session, saved) = session(None);
    session.request(Request::Report);
    assert_eq!(shown(session.run::<first::sums>(&json(r#"{"n":5}"#))), "10");
    let reports = session.reports();
    assert_eq!((reports.count, reports.latest.is_some(), saved.bytes().len()), (1, true, 0));
}

#[test]
fn a_suspend_is_not_taken_back() {
    let (session, _) = session(None);
    session.request(Request::Suspend);
    session.request(Request::Report);
    assert!(matches!(session.run::<first::sums>(&json(r#"{"n":5}"#)), Outcome::Suspended(_)));
}

#[test]
fn the_point_names_the_loop() {
    match run::<first::sums>(r#"{"n":5}"#, None, 2).0 {
        Outcome::Suspended(point) => {
            assert_eq!((point.number, point.label.as_str()), (1, "for i in 0..n"));
            let source = include_str!("differential_outcomes.rs");
            assert_eq!(source.lines().nth(point.line as usize - 1).unwrap().trim(), "for i in 0..n {");
        }
        other => panic!("{other:?}"),
    }
}

static DROPPED: AtomicU32 = AtomicU32::new(0);

struct Dropped;

impl Drop for Dropped {
    fn drop(&mut self) {
        DROPPED.fetch_add(1, Ordering::Relaxed);
    }
}

#[handler]
async fn drops(n: u64) -> u64 {
    #[rebuild]
    let _dropped = Dropped;
    #[checkpoint]
    for _ in 0..n {
        pause().await;
    }
    n
}

#[test]
fn a_suspended_async_handler_is_dropped() {
    assert!(matches!(run::<drops>(r#"{"n":5}"#, None, 2).0, Outcome::Suspended(_)));
    assert_eq!(DROPPED.load(Ordering::Relaxed), 1);
}

#[test]
fn an_async_run_is_a_future_among_others() {
    let (session, saved) = session(None);
    session.request(Request::Suspend);
    let outcome = wait(async {
        pause().await;
        session.run_async::<drops>(&json(r#"{"n":5}"#)).await
    });
    assert!(matches!(outcome, Outcome::Suspended(_)), "{outcome:?}");
    assert!(!saved.bytes().is_empty());
}

#[test]
fn described() {
    /// Adds up.
    ///
    /// Slowly.
    #[handler]
    async fn adds(ctx: Context<Progress>, numbers: Vec<u32>, by: Option<u8>) -> Result<u64, String> {
        drop((ctx, by));
        Ok(numbers.len() as u64)
    }
    let definition = adds::definition();
    assert_eq!((definition.name, definition.doc, definition.is_async), ("adds", "Adds up.\n\nSlowly.", true));
    let parameters: Vec<_> = definition.parameters.iter().map(|of| (of.name, of.type_text)).collect();
    assert_eq!(parameters, [("numbers", "Vec<u32>"), ("by", "Option<u8>")]);
    assert_eq!(definition.output.type_text, "Result<u64, String>");
    assert_eq!((definition.output.schema)().unwrap()["type"], "integer");
    assert_eq!((definition.parameters[0].schema)()["type"], "array");
    assert!(!(definition.parameters[0].whole_input)());
    assert_ne!((definition.parameters[0].fingerprint)(), (definition.parameters[1].fingerprint)());
    let state = definition.state.unwrap();
    assert_eq!((state.name, state.version), ("progress", 2));
    let loops: Vec<_> =
        first::sums::definition().checkpoints.iter().map(|of| (of.number, of.label)).collect();
    assert_eq!(loops, [(1, "for i in 0..n")]);
    assert_eq!(adds::definition().checkpoints.len(), 0);
}

#[derive(State, Default, Serialize, Deserialize)]
#[state(name = "progress")]
struct ProgressV1 {
    done: u64,
}

#[derive(State, Default, Serialize, Deserialize)]
#[state(version = 2, from = ProgressV1)]
struct Progress {
    done: u64,
    sum: u64,
}

impl Migrate<ProgressV1> for Progress {
    fn migrate(old: ProgressV1) -> Self {
        Progress { done: old.done, sum: (0..old.done).sum() }
    }
}

#[derive(State, Default, Serialize, Deserialize)]
#[state(version = 4, from = Progress)]
struct ProgressV4 {
    finished: u64,
    total: u64,
}

impl Migrate<Progress> for ProgressV4 {
    fn migrate(old: Progress) -> Self {
        ProgressV4 { finished: old.done, total: old.sum }
    }
}

#[derive(State, Default, Serialize, Deserialize)]
struct Stranger {
    done: u64,
}

mod v1 {
    use super::{Context, ProgressV1, handler};

    #[handler]
    pub(super) fn counts(ctx: Context<ProgressV1>, n: u64) -> u64 {
        let mut at = ctx.state();
        while at.done < n {
            ctx.blocking_checkpoint(&at);
            at.done += 1;
        }
        at.done
    }
}

#[handler]
async fn counts(ctx: Context<Progress>, n: u64) -> (u64, u64) {
    let mut at = ctx.state();
    while at.done < n {
        ctx.checkpoint(&at).await;
        at.sum += at.done;
        at.done += 1;
        pause().await;
    }
    (at.done, at.sum)
}

#[handler]
fn counts_v4(ctx: Context<ProgressV4>, n: u64) -> (u64, u64) {
    let mut at = ctx.state();
    while at.finished < n {
        ctx.blocking_checkpoint(&at);
        at.total += at.finished;
        at.finished += 1;
    }
    (at.finished, at.total)
}

#[handler]
fn counts_else(ctx: Context<Stranger>, n: u64) -> u64 {
    n + ctx.state().done
}

#[test]
fn named_state_goes_on() {
    limitless_faas_tests::resume::differ::<counts>(r#"{"n":6}"#, "[6,15]", 10);
    limitless_faas_tests::resume::differ::<v1::counts>(r#"{"n":6}"#, "6", 10);
}

#[test]
fn older_states_are_migrated() {
    let first = state_of::<v1::counts>(r#"{"n":6}"#, 4);
    let second = state_of::<counts>(r#"{"n":6}"#, 3);
    assert_eq!(shown(run::<counts>(r#"{"n":6}"#, Some(first.clone()), 0).0), "[6,15]");
    assert_eq!(shown(run::<counts_v4>(r#"{"n":6}"#, Some(second), 0).0), "[6,15]");
    assert_eq!(shown(run::<counts_v4>(r#"{"n":6}"#, Some(first), 0).0), "[6,15]");
}

#[test]
fn states_that_nothing_migrates_are_incompatible() {
    let newer = state_of::<counts_v4>(r#"{"n":6}"#, 3);
    assert_eq!(
        incompatible::<counts>(newer.clone()),
        "`progress` was saved as `progress` version 4, but is now `progress` version 2"
    );
    assert_eq!(
        incompatible::<counts_else>(newer),
        "`Stranger` was saved as `progress` version 4, but is now `Stranger` version 1"
    );
    let of_a_loop = state_of::<first::sums>(r#"{"n":6}"#, 3);
    assert_eq!(
        incompatible::<counts>(of_a_loop),
        "`progress` was saved as the loop `for i in 0..n`, but is now state that the handler names"
    );
}

#[test]
fn a_context_in_a_unit_test_is_inert() {
    assert_eq!(wait(counts(Context::default(), 4)), (4, 6));
    assert_eq!(v1::counts(Context::default(), 4), 4);
}

/// A type of one's own through which serde can do `Rc`: its parameter shows it.
#[derive(Clone)]
struct Kept<T>(T);

impl Serialize for Kept<Rc<u64>> {
    fn serialize<S: serde::Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        to.serialize_u64(*self.0)
    }
}

impl<'de> Deserialize<'de> for Kept<Rc<u64>> {
    fn deserialize<D: serde::Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        u64::deserialize(from).map(|value| Kept(Rc::new(value)))
    }
}

#[test]
fn shared_values_are_refused_in_the_first_run() {
    #[handler]
    fn shares(n: u64) -> u64 {
        let shared = Kept(Rc::new(n));
        let mut sum = 0;
        #[checkpoint]
        for i in 0..n {
            sum += touch(i) + *shared.0;
        }
        sum
    }
    assert_eq!(shares(3), 12);
    match run::<shares>(r#"{"n":3}"#, None, 0).0 {
        Outcome::Panicked { message } => {
            assert!(message.contains("turn one shared value into several"), "{message}")
        }
        other => panic!("{other:?}"),
    }
}

#[test]
fn iterators_whose_order_is_hidden_are_refused_in_the_first_run() {
    fn keys(of: &HashMap<u32, u32>) -> impl Iterator<Item = u32> {
        of.keys().copied()
    }
    fn boxed(of: &HashMap<u32, u32>) -> Box<dyn Iterator<Item = &u32> + '_> {
        Box::new(of.values())
    }
    #[handler]
    fn hidden(map: HashMap<u32, u32>) -> u32 {
        let mut sum = 0;
        #[checkpoint]
        for key in keys(&map) {
            sum += touch(u64::from(key)) as u32;
        }
        sum
    }
    #[handler]
    fn dynamic(map: HashMap<u32, u32>) -> u32 {
        let mut sum = 0;
        #[checkpoint]
        for value in boxed(&map) {
            sum += touch(u64::from(*value)) as u32;
        }
        sum
    }
    // Called as an ordinary function it is never saved, so nothing is wrong.
    assert_eq!(hidden(HashMap::from([(1, 2), (3, 4)])), 4);
    for outcome in
        [run::<hidden>(r#"{"map":{"1":2}}"#, None, 0).0, run::<dynamic>(r#"{"map":{"1":2}}"#, None, 0).0]
    {
        match outcome {
            Outcome::Panicked { message } => {
                assert!(message.contains("another order after a resume"), "{message}")
            }
            other => panic!("{other:?}"),
        }
    }
}

#[test]
fn large_states_stream() {
    /// Counts, and holds no more than what it is given at once.
    #[derive(Clone, Default)]
    struct Measure(Arc<Mutex<(usize, usize)>>);
    impl Write for Measure {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            let mut seen = self.0.lock().unwrap();
            *seen = (seen.0 + bytes.len(), seen.1.max(bytes.len()));
            Ok(bytes.len())
        }
        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }
    #[handler]
    fn large(n: u64) -> u64 {
        let numbers: Vec<u64> = (0..n).collect();
        let mut sum = 0;
        #[checkpoint]
        for number in &numbers {
            sum += touch(*number);
        }
        sum
    }
    let measure = Measure::default();
    let sink = measure.clone();
    let session = Session::new(None, move || Ok(Box::new(sink) as Box<dyn Write + Send>));
    session.request(Request::Suspend);
    assert!(matches!(session.run::<large>(&json(r#"{"n":1000000}"#)), Outcome::Suspended(_)));
    let (written, at_once) = *measure.0.lock().unwrap();
    assert!(written > 8_000_000 && at_once <= 64 * 1024, "{written} bytes, {at_once} at once");
}

#[test]
fn nothing_before_the_loop_runs_again() {
    static RAN: AtomicU32 = AtomicU32::new(0);
    fn count(value: u64) -> u64 {
        RAN.fetch_add(1, Ordering::Relaxed);
        value
    }
    #[handler]
    fn counted(n: u64) -> u64 {
        let start = count(n);
        let mut sum = start;
        if count(n) == start {
            count(1);
            #[checkpoint]
            for i in 0..count(n) {
                let inner = count(i);
                #[checkpoint]
                for j in 0..2 {
                    sum += touch(inner + j);
                }
            }
        }
        sum
    }
    let input = json(r#"{"n":3}"#);
    let plain = counted(3).to_string();
    let ran = RAN.swap(0, Ordering::Relaxed);
    let pieces = std::iter::once(1).chain(std::iter::repeat(2));
    let (result, invocations) = limitless_faas_tests::resume::in_pieces::<counted>(&input, pieces);
    assert_eq!((result, RAN.load(Ordering::Relaxed)), (plain, ran), "in {invocations} invocations");
    assert!(invocations > 9);
}

/// A handler suspended by unwinding prints nothing through the panic hook.
#[test]
fn suspending_is_no_panic() {
    let seen = Arc::new(AtomicU32::new(0));
    let counted = seen.clone();
    let thread = std::thread::current().id();
    let before = std::panic::take_hook();
    std::panic::set_hook(Box::new(move |panic| {
        if std::thread::current().id() == thread {
            counted.fetch_add(1, Ordering::Relaxed);
        }
        before(panic);
    }));
    assert!(matches!(run::<first::sums>(r#"{"n":5}"#, None, 2).0, Outcome::Suspended(_)));
    assert_eq!(seen.load(Ordering::Relaxed), 0);
}

#[test]
fn readers_may_be_slow() {
    struct Slow(io::Cursor<Vec<u8>>);
    impl Read for Slow {
        fn read(&mut self, to: &mut [u8]) -> io::Result<usize> {
            let one = 1.min(to.len());
            self.0.read(&mut to[..one])
        }
    }
    let state = state_of::<first::sums>(r#"{"n":5}"#, 3);
    let session =
        Session::new(Some(Box::new(Slow(io::Cursor::new(state)))), || Err(io::ErrorKind::Other.into()));
    assert_eq!(shown(session.run::<first::sums>(&json(r#"{"n":5}"#))), "10");
}
