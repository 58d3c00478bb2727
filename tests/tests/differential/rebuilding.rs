//! `#[rebuild] let`.

use std::sync::atomic::{AtomicU32, Ordering};

use limitless_faas::handler;

#[handler]
fn borrowed_view(items: Vec<u32>) -> u32 {
    let doubled: Vec<u32> = items.iter().map(|x| x * 2).collect();
    #[rebuild]
    let view = &doubled[1..];
    let mut sum = 0;
    #[checkpoint]
    for (i, x) in view.iter().enumerate() {
        sum += x * view[view.len() - 1 - i];
    }
    #[checkpoint]
    for x in view {
        sum ^= x;
    }
    sum
}

#[test]
fn borrow_across_two_loops() {
    same!(borrowed_view(items = vec![3, 1, 4, 1, 5]));
}

#[handler]
fn lookups(words: Vec<String>, text: String) -> Vec<usize> {
    #[rebuild]
    let index: std::collections::HashMap<&str, usize> =
        words.iter().enumerate().map(|(i, word)| (word.as_str(), i)).collect();
    let mut found = vec![];
    #[checkpoint]
    for word in text.split(' ') {
        #[rebuild]
        let upper = word.to_uppercase();
        #[checkpoint]
        for key in [upper.as_str(), word] {
            found.extend(index.get(key));
        }
    }
    found
}

#[test]
fn rebuilt_in_an_inner_block() {
    let words = ["A", "b", "c", "B"].map(str::to_owned).to_vec();
    same!(lookups(words = words.clone(), text = "a b x c".to_owned()));
}

#[handler]
fn closure(by: u64, n: u64) -> u64 {
    #[rebuild]
    let grow = |x: u64| x * by + 1;
    let mut x = grow(n);
    #[checkpoint]
    for i in 0..n {
        x = grow(x ^ i) % 1_000_003;
    }
    x
}

#[test]
fn rebuilt_closure_used_before_the_loop() {
    same!(closure(by = 5, n = 9));
}

static BUILT: AtomicU32 = AtomicU32::new(0);

#[handler]
fn counted(n: u32) -> u32 {
    let mut sum = 0;
    #[rebuild]
    let table = {
        BUILT.fetch_add(1, Ordering::Relaxed);
        vec![1, 2, 3]
    };
    #[checkpoint]
    for i in 0..n {
        sum += table.get(i as usize % 3).copied().unwrap_or_else(|| unreachable!());
    }
    sum
}

#[test]
fn rebuilt_once_per_invocation() {
    let input = serde_json::value::RawValue::from_string(r#"{"n":4}"#.into()).unwrap();
    let (_, invocations) = limitless_faas_tests::resume::in_pieces::<counted>(&input, [1, 2, 2]);
    assert_eq!((invocations, BUILT.load(Ordering::Relaxed)), (4, 4));
}

struct Guard<'a>(&'a AtomicU32);

impl<'a> Guard<'a> {
    fn take(of: &'a AtomicU32) -> Guard<'a> {
        of.fetch_add(1, Ordering::Relaxed);
        Guard(of)
    }
}

impl Drop for Guard<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

static HELD: AtomicU32 = AtomicU32::new(0);

#[handler]
fn guarded(n: u32) -> u32 {
    #[rebuild]
    let _guard = Guard::take(&HELD);
    let mut most = 0;
    #[checkpoint]
    for _ in 0..n {
        most = most.max(HELD.load(Ordering::Relaxed));
    }
    most + HELD.load(Ordering::Relaxed)
}

#[test]
fn a_guard_is_held_in_every_invocation_and_released_by_each() {
    same!(guarded(n = 4));
    assert_eq!(HELD.load(Ordering::Relaxed), 0);
}
