//! The product of two n×n matrices of integers: FaaSdom's matrix test.
//!
//! The two factors are made from a seed, so a resumed invocation makes them again (`#[rebuild]`) rather than carry them
//! along: a checkpoint holds the rows of the product that are done.
//!
//! ```sh
//! cargo faas run matrix --input '{"n": 800}' --time-limit 2s
//! ```

use limitless_faas::handler;

/// The sum of all entries of the product, and of those on its diagonal, for two random n×n matrices.
#[handler]
fn matrix(n: usize, seed: Option<u64>) -> Vec<i64> {
    let seed = seed.unwrap_or(1);
    #[rebuild]
    let left = random(n, seed);
    #[rebuild]
    let right = transposed(n, &random(n, seed.wrapping_add(1)));
    let mut product: Vec<i64> = Vec::new();
    #[checkpoint]
    for row in 0..n {
        for column in 0..n {
            product.push(dot(&left[row * n..][..n], &right[column * n..][..n]));
        }
    }
    let trace = product.iter().step_by(n + 1).sum();
    vec![product.iter().sum(), trace]
}

/// Entries from -50 to 49, row by row, by a linear congruential generator (Knuth's MMIX).
fn random(n: usize, seed: u64) -> Vec<i64> {
    let mut state = seed;
    let mut next = || {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        i64::from((state >> 33) as u32 % 100) - 50
    };
    (0..n * n).map(|_| next()).collect()
}

fn transposed(n: usize, matrix: &[i64]) -> Vec<i64> {
    (0..n * n).map(|at| matrix[at % n * n + at / n]).collect()
}

fn dot(row: &[i64], column: &[i64]) -> i64 {
    row.iter().zip(column).map(|(a, b)| a * b).sum()
}

fn main() {
    limitless_faas::serve!(matrix);
}

#[cfg(test)]
mod tests {
    use super::*;

    /// By the definition, entry by entry.
    fn expected(n: usize, seed: u64) -> Vec<i64> {
        let (left, right) = (random(n, seed), random(n, seed.wrapping_add(1)));
        let entry = |row: usize, column: usize| {
            (0..n).map(|k| left[row * n + k] * right[k * n + column]).sum::<i64>()
        };
        let all = (0..n).map(|row| (0..n).map(|column| entry(row, column)).sum::<i64>()).sum();
        vec![all, (0..n).map(|at| entry(at, at)).sum()]
    }

    #[test]
    fn the_product_is_that_of_the_definition() {
        for n in [0, 1, 2, 7, 30] {
            assert_eq!(matrix(n, None), expected(n, 1), "{n}");
        }
        assert_eq!(matrix(5, Some(9)), expected(5, 9));
    }
}
