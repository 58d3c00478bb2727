//! Handlers that do what the tests of the command line need.

use std::time::Duration;

use limitless_faas::{Error, Result, handler};

/// The sum of the numbers below `n`, with a pause after each.
#[handler]
fn slow(n: u64, pause_ms: u64) -> u64 {
    let mut sum = 0;
    #[checkpoint]
    for i in 0..n {
        std::thread::sleep(Duration::from_millis(pause_ms));
        sum += i;
    }
    sum
}

/// `n` less the number of turns.
#[handler]
fn wide(n: u128, turns: u64) -> u128 {
    let mut n = n;
    #[checkpoint]
    for _ in 0..turns {
        std::thread::sleep(Duration::from_millis(50));
        n -= 1;
    }
    n
}

/// Prints a line and returns it.
#[handler]
fn says(line: String) -> String {
    println!("{line}");
    line
}

/// Returns an error.
#[handler]
fn fails() -> Result<u64> {
    Err(Error::msg("no luck today"))
}

/// Panics.
#[handler]
fn panics() -> u64 {
    panic!("at the disco")
}

/// Takes its time and has no checkpoint.
#[handler]
fn stuck(ms: u64) -> u64 {
    std::thread::sleep(Duration::from_millis(ms));
    ms
}

fn main() {
    limitless_faas::serve!(slow, wide, says, fails, panics, stuck);
}
