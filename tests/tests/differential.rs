//! Wherever a handler is suspended, its result is that of the plain function.

use limitless_faas::handler;

/// Calls the plain function, and compares it with every way of suspending it.
macro_rules! same {
    ($handler:ident($($name:ident = $value:expr),*)) => {{
        let plain = serde_json::to_string(&$handler($($value),*)).unwrap();
        let input = serde_json::json!({ $(stringify!($name): $value),* }).to_string();
        limitless_faas_tests::resume::differ::<$handler>(&input, &plain, 20);
    }};
}

#[handler]
fn factors(n: u64) -> Vec<u64> {
    let mut rest = n;
    let mut found = Vec::new();
    #[checkpoint]
    for d in 2..=n.isqrt() {
        while rest % d == 0 {
            found.push(d);
            rest /= d;
        }
    }
    if rest > 1 {
        found.push(rest);
    }
    found
}

#[test]
fn prime_factors() {
    same!(factors(n = 360));
    same!(factors(n = 9_409));
}

#[handler]
fn nested(n: u64) -> u64 {
    let mut sum = 0;
    #[checkpoint]
    for i in 0..n {
        let mut row = i * 2;
        #[checkpoint]
        while row > 0 {
            row -= 1;
            sum += row;
        }
        sum ^= i;
    }
    sum
}

#[test]
fn nested_loops() {
    same!(nested(n = 6));
}
