//! The prime factors of a number, by trial division: FaaSdom's CPU test.
//!
//! ```sh
//! cargo faas run factors --input '{"n": 6000000000000000023}' --time-limit 2s
//! ```

use limitless_faas::handler;

/// The prime factors of `n`, smallest first.
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

fn main() {
    limitless_faas::serve!(factors);
}

#[cfg(test)]
mod tests {
    use super::factors;

    #[test]
    fn the_handler_is_an_ordinary_function() {
        assert_eq!(factors(360), [2, 2, 2, 3, 3, 5]);
        assert_eq!(factors(97), [97]);
        assert!(factors(1).is_empty());
    }
}
