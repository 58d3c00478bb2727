//! What the hook costs a loop.

use std::hint::black_box;
use std::time::Instant;

use limitless_faas::checkpoint::Session;
use limitless_faas::{Handler, handler};
use serde_json::json;
use serde_json::value::RawValue;

use super::{Figure, median};

const ROUNDS: usize = 41;

/// Each turn needs the one before.
#[handler]
fn dependent(n: u64, seed: u64) -> u64 {
    let mut x = seed;
    #[checkpoint]
    for i in 0..n {
        x = turn(x, i);
    }
    x
}

/// A shift between two products keeps the compiler from doing several turns at once.
#[inline]
fn turn(x: u64, i: u64) -> u64 {
    (x ^ (x >> 29)).wrapping_mul(6_364_136_223_846_793_005).wrapping_add(i)
}

fn dependent_plain(n: u64, seed: u64) -> u64 {
    let mut x = seed;
    for i in 0..n {
        x = turn(x, i);
    }
    x
}

/// Each turn stands alone, so that the compiler takes several at once.
#[handler]
fn vectorisable(n: u32, seed: u32) -> u32 {
    let mut sum = 0_u32;
    #[checkpoint]
    for i in 0..n {
        sum = sum.wrapping_add((i ^ seed) & 0x00ff_00ff);
    }
    sum
}

fn vectorisable_plain(n: u32, seed: u32) -> u32 {
    let mut sum = 0_u32;
    for i in 0..n {
        sum = sum.wrapping_add((i ^ seed) & 0x00ff_00ff);
    }
    sum
}

/// The same over slices and their numbers.
#[handler]
fn numbered(data: Vec<u32>, rounds: u32) -> u32 {
    let mut sum = 0_u32;
    #[checkpoint]
    for _ in 0..rounds {
        sum = sum.rotate_left(1);
        #[checkpoint]
        for (i, x) in data.iter().enumerate() {
            sum = sum.wrapping_add(x ^ (i as u32));
        }
    }
    sum
}

fn numbered_plain(data: &[u32], rounds: u32) -> u32 {
    let mut sum = 0_u32;
    for _ in 0..rounds {
        sum = sum.rotate_left(1);
        for (i, x) in data.iter().enumerate() {
            sum = sum.wrapping_add(x ^ (i as u32));
        }
    }
    sum
}

/// Two slices side by side.
#[handler]
fn zipped(data: Vec<u32>, rounds: u32) -> u32 {
    let mut sum = 0_u32;
    #[checkpoint]
    for _ in 0..rounds {
        sum = sum.rotate_left(1);
        #[checkpoint]
        for (x, y) in data.iter().zip(data.iter().rev()) {
            sum = sum.wrapping_add(x ^ y);
        }
    }
    sum
}

fn zipped_plain(data: &[u32], rounds: u32) -> u32 {
    let mut sum = 0_u32;
    for _ in 0..rounds {
        sum = sum.rotate_left(1);
        for (x, y) in data.iter().zip(data.iter().rev()) {
            sum = sum.wrapping_add(x ^ y);
        }
    }
    sum
}

/// Downwards.
#[handler]
fn reversed(n: u32, seed: u32) -> u32 {
    let mut sum = 0_u32;
    #[checkpoint]
    for i in (0..n).rev() {
        sum = sum.wrapping_add((i ^ seed) & 0x00ff_00ff);
    }
    sum
}

fn reversed_plain(n: u32, seed: u32) -> u32 {
    let mut sum = 0_u32;
    for i in (0..n).rev() {
        sum = sum.wrapping_add((i ^ seed) & 0x00ff_00ff);
    }
    sum
}

/// Every third number.
#[handler]
fn stepped(n: u32, seed: u32) -> u32 {
    let mut sum = 0_u32;
    #[checkpoint]
    for i in (0..n).step_by(3) {
        sum = sum.wrapping_add((i ^ seed) & 0x00ff_00ff);
    }
    sum
}

fn stepped_plain(n: u32, seed: u32) -> u32 {
    let mut sum = 0_u32;
    for i in (0..n).step_by(3) {
        sum = sum.wrapping_add((i ^ seed) & 0x00ff_00ff);
    }
    sum
}

/// Runs a handler as the runtime does, with a hook that may be asked at any time.
fn hooked<H: Handler>(input: &str) -> f64 {
    let input = RawValue::from_string(input.to_owned()).unwrap();
    let session = Session::new(None, || Err(std::io::Error::other("nothing is saved here")));
    let started = Instant::now();
    black_box(session.run::<H>(black_box(&input)));
    started.elapsed().as_secs_f64()
}

fn timed<T>(run: impl FnOnce() -> T) -> f64 {
    let started = Instant::now();
    black_box(run());
    started.elapsed().as_secs_f64()
}

/// The median over pairs, measured in turns.
fn ratio(mut with: impl FnMut() -> f64, mut without: impl FnMut() -> f64) -> f64 {
    let pairs = (0..ROUNDS).map(|round| {
        // Whoever goes first changes, so that neither gets the warmer machine.
        if round % 2 == 0 {
            let with = with();
            with / without()
        } else {
            let without = without();
            with() / without
        }
    });
    median(pairs.collect())
}

pub(super) fn figures() -> Vec<Figure> {
    let n = black_box(50_000_000_u64);
    let loop_ratio = ratio(
        || hooked::<dependent>(&format!(r#"{{"n":{n},"seed":7}}"#)),
        || timed(|| dependent_plain(black_box(n), black_box(7))),
    );
    let n = black_box(200_000_000_u32);
    let vector_ratio = ratio(
        || hooked::<vectorisable>(&format!(r#"{{"n":{n},"seed":7}}"#)),
        || timed(|| vectorisable_plain(black_box(n), black_box(7))),
    );
    let data: Vec<u32> = (0..200_000).map(|i: u32| i.wrapping_mul(2_654_435_761)).collect();
    let input = json!({ "data": data, "rounds": 200 }).to_string();
    // Reading the input is no part of the loop.
    let nothing = json!({ "data": data, "rounds": 0 }).to_string();
    let read = || hooked::<numbered>(&nothing);
    let numbered_ratio = ratio(
        || hooked::<numbered>(&input) - read(),
        || timed(|| numbered_plain(black_box(&data), black_box(200))),
    );
    let zipped_ratio = ratio(
        || hooked::<zipped>(&input) - read(),
        || timed(|| zipped_plain(black_box(&data), black_box(200))),
    );
    let narrow = format!(r#"{{"n":{n},"seed":7}}"#);
    let shape = |hooked: &dyn Fn() -> f64, plain: fn(u32, u32) -> u32| {
        ratio(hooked, || timed(|| plain(black_box(n), black_box(7))))
    };
    let reversed_ratio = shape(&|| hooked::<reversed>(&narrow), reversed_plain);
    let stepped_ratio = shape(&|| hooked::<stepped>(&narrow), stepped_plain);
    let percent = |ratio: f64| format!("{:+.2} %", (ratio - 1.0) * 100.0);
    vec![
        Figure::new("hook in a tight dependent loop", "≤ 1 %", percent(loop_ratio), loop_ratio <= 1.01),
        Figure::new("hook in a vectorisable loop", "≤ 5 %", percent(vector_ratio), vector_ratio <= 1.05),
        Figure::new(
            "the same over `.iter().enumerate()`",
            "≤ 5 %",
            percent(numbered_ratio),
            numbered_ratio <= 1.05,
        ),
        Figure::new("the same over `.zip(…rev())`", "≤ 5 %", percent(zipped_ratio), zipped_ratio <= 1.05),
        Figure::new("the same over `(0..n).rev()`", "≤ 5 %", percent(reversed_ratio), reversed_ratio <= 1.05),
        Figure::new(
            "the same over `(0..n).step_by(3)`",
            "≤ 5 %",
            percent(stepped_ratio),
            stepped_ratio <= 1.05,
        ),
    ]
}
