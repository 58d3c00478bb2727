//! A function that may take as long as it needs.
//!
//! ```console
//! $ cargo faas run collatz --input '{"below": 3000000}' --time-limit 2s
//! ```

use limitless_faas::handler;

/// The start below `below` with the longest Collatz sequence, and how long that is.
#[handler]
fn collatz(below: u64) -> (u64, u32) {
    let mut longest = (1, 1);
    // Near the time limit the loop stops here, and goes on at its next turn in another invocation.
    #[checkpoint]
    for start in 1..below {
        let length = length(start);
        if length > longest.1 {
            longest = (start, length);
        }
    }
    longest
}

fn length(start: u64) -> u32 {
    let (mut n, mut length) = (start, 1);
    while n != 1 {
        n = if n % 2 == 0 { n / 2 } else { 3 * n + 1 };
        length += 1;
    }
    length
}

fn main() {
    limitless_faas::serve!(collatz);
}

#[cfg(test)]
mod tests {
    use super::*;

    // A handler is an ordinary function.
    #[test]
    fn the_longest_below_a_hundred() {
        assert_eq!(collatz(100), (97, 119));
    }
}
