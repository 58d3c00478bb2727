//! Numbers.

use limitless_faas::handler;

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

// The range's end depends on what the loop changes: it is evaluated once.
#[handler]
fn shrinking_bound(n: u64) -> Vec<u64> {
    let mut rest = n;
    let mut found = vec![];
    #[checkpoint]
    for d in 2..=rest.isqrt() {
        while rest % d == 0 {
            found.push(d);
            rest /= d;
        }
    }
    found.push(rest);
    found
}

#[test]
fn bound_is_evaluated_once() {
    same!(shrinking_bound(n = 1_260));
}

#[handler]
fn sum(n: u32) -> u32 {
    let mut sum = 0;
    #[checkpoint]
    for i in 0..n {
        sum += i * i;
    }
    sum
}

#[test]
fn strip_mined_sum() {
    same!(sum(n = 30_000 / 16));
    same!(sum(n = 1_024));
    same!(sum(n = 5_000 % 2_049));
    same!(sum(n = 0 + 1));
}

#[handler]
fn to_the_last(from: u8) -> Vec<u32> {
    let mut counts = vec![0u32; 256];
    #[checkpoint]
    for byte in from..=u8::MAX {
        counts[byte as usize] += 1;
    }
    counts
}

#[test]
fn inclusive_range_to_the_type_s_maximum() {
    same!(to_the_last(from = 0));
    same!(to_the_last(from = 255));
}

#[handler]
fn leave_blocks(n: u64, limit: u64) -> (u64, u64) {
    let mut sum = 0;
    let mut skipped = 0;
    #[checkpoint]
    'outer: for i in 0..n {
        if i % 3 == 0 {
            skipped += 1;
            continue;
        }
        if i % 5 == 0 {
            continue 'outer;
        }
        sum += i;
        if sum > limit {
            break 'outer;
        }
        if sum == limit {
            break;
        }
    }
    (sum, skipped)
}

#[test]
fn break_and_continue_in_a_strip_mined_loop() {
    same!(leave_blocks(n = 6_000, limit = 5_000_000));
    same!(leave_blocks(n = 3_000, limit = 1));
    same!(leave_blocks(n = 3_000, limit = 5));
}

#[handler]
fn inclusive_blocks(n: i64) -> i64 {
    let mut sum = 0i64;
    #[checkpoint]
    for i in -n..=n {
        sum = sum.wrapping_mul(31).wrapping_add(i);
    }
    sum
}

#[test]
fn inclusive_strip_mined() {
    same!(inclusive_blocks(n = 1_500));
    same!(inclusive_blocks(n = 512));
    same!(inclusive_blocks(n = 511));
}

#[handler]
fn collatz(n: u64) -> u32 {
    let mut n = n;
    let mut steps = 0;
    #[checkpoint]
    while n != 1 {
        n = if n % 2 == 0 { n / 2 } else { 3 * n + 1 };
        steps += 1;
    }
    steps
}

#[test]
fn shadowed_parameter() {
    same!(collatz(n = 27));
}

#[handler]
fn greatest_common_divisor(mut a: u64, mut b: u64) -> u64 {
    #[checkpoint]
    while b != 0 {
        (a, b) = (b, a % b);
    }
    a
}

#[test]
fn mutable_parameters() {
    same!(greatest_common_divisor(a = 832_040, b = 514_229));
}

#[handler]
fn pi(terms: u32) -> f64 {
    let mut sum = 0.0;
    #[checkpoint]
    for k in 0..terms {
        let sign = if k % 2 == 0 { 1.0 } else { -1.0 };
        sum += sign / f64::from(2 * k + 1);
    }
    sum * 4.0
}

#[test]
fn floats_are_bit_for_bit() {
    same!(pi(terms = 200));
}

#[handler]
fn newton(of: f64) -> f64 {
    let mut guess = of / 2.0;
    #[checkpoint]
    loop {
        let next = (guess + of / guess) / 2.0;
        if (next - guess).abs() < 1e-12 {
            break next;
        }
        guess = next;
    }
}

#[test]
fn loop_with_a_value_as_the_last_expression() {
    same!(newton(of = 2.0));
}

#[handler]
fn primes(n: usize) -> Vec<usize> {
    let mut composite = vec![false; n + 1];
    let mut primes = Vec::new();
    #[checkpoint]
    for i in 2..=n {
        if composite[i] {
            continue;
        }
        primes.push(i);
        let mut multiple = i * i;
        while multiple <= n {
            composite[multiple] = true;
            multiple += i;
        }
    }
    primes
}

#[test]
fn sieve() {
    same!(primes(n = 120));
}

#[handler]
fn letters(to: char) -> String {
    let mut text = String::new();
    #[checkpoint]
    for letter in 'a'..=to {
        text.push(letter);
    }
    text
}

#[test]
fn range_of_characters() {
    same!(letters(to = 'k'));
}

#[handler]
fn first_square_above(n: u64) -> u64 {
    let mut found = 0;
    #[checkpoint]
    for i in 1.. {
        if i * i > n {
            found = i;
            break;
        }
    }
    found
}

#[test]
fn open_range() {
    same!(first_square_above(n = 1_000));
}

#[handler]
fn overflowing(n: u8) -> u8 {
    let mut product = 1u8;
    #[checkpoint]
    for i in 1..=n {
        product *= i;
    }
    product
}

#[test]
fn a_panic_is_the_same_panic() {
    same!(overflowing(n = 7));
}
