//! What `for` can iterate over.

use std::collections::{BTreeMap, BTreeSet};

use limitless_faas::handler;

#[handler]
fn adapters(n: u64, by: usize) -> Vec<u64> {
    let mut out = Vec::new();
    #[checkpoint]
    for i in (0..n).rev().step_by(by) {
        out.push(i);
    }
    #[checkpoint]
    for (i, x) in (1..=n).filter(|x| x % 2 == 1).map(|x| x * x).enumerate().skip(1) {
        out.push(x + i as u64);
    }
    out
}

#[test]
fn chains_on_a_range() {
    same!(adapters(n = 20, by = 3));
}

/// Longer than a block, so that a loop in blocks is suspended between them, with every way out of it.
#[handler]
fn numbered(n: u64, stop: usize) -> (u64, usize, usize) {
    let data: Vec<u64> = (0..n).map(|x| x ^ (x >> 3)).collect();
    let (mut sum, mut last, mut skipped) = (0u64, 0, 0);
    #[checkpoint]
    for (i, x) in data.iter().enumerate() {
        if i == stop {
            break;
        }
        last = i;
        if x % 3 == 0 {
            skipped += 1;
            continue;
        }
        sum = sum.wrapping_mul(31).wrapping_add(x ^ (i as u64));
    }
    #[checkpoint]
    for (i, (x, y)) in data.iter().zip(data.iter().rev()).enumerate() {
        sum = sum.wrapping_mul(31).wrapping_add((x ^ y).wrapping_mul(i as u64));
    }
    (sum, last, skipped)
}

#[test]
fn numbered_elements_keep_their_numbers() {
    same!(numbered(n = 0, stop = 9));
    same!(numbered(n = 20, stop = 7));
    same!(numbered(n = 9000, stop = 8500));
}

/// Ranges with adapters in blocks, of integers whose type the body decides, and every way out of the loop.
#[handler]
fn downwards(n: u64, by: usize, stop: u64) -> (u64, u64, i64) {
    let (mut sum, mut last, mut below) = (0u64, 0, 0i64);
    #[checkpoint]
    for i in (0..n).rev() {
        if i == stop {
            break;
        }
        last = i;
        if i % 3 == 0 {
            continue;
        }
        sum = sum.wrapping_mul(31).wrapping_add(i);
    }
    #[checkpoint]
    for (k, i) in (1..=n).step_by(by).enumerate() {
        sum = sum.wrapping_mul(31).wrapping_add(i ^ k as u64);
    }
    #[checkpoint]
    for i in (-9..9).rev().skip(2) {
        below = below * 3 + i;
    }
    (sum, last, below)
}

#[test]
fn ranges_with_adapters_in_blocks() {
    same!(downwards(n = 9000, by = 2, stop = 100));
    same!(downwards(n = 8192, by = 1, stop = 5000));
    same!(downwards(n = 0, by = 1, stop = 0));
}

#[handler]
fn changing_operand(n: u32) -> Vec<u32> {
    let mut n = n;
    let mut out = vec![];
    #[checkpoint]
    for i in (0..n).rev() {
        n /= 2;
        out.push(i + n);
    }
    out
}

#[test]
fn operands_of_a_chain_are_evaluated_once() {
    same!(changing_operand(n = 9));
}

#[handler]
fn slices(items: Vec<u16>) -> Vec<u32> {
    let mut out = vec![];
    #[checkpoint]
    for window in items.windows(2) {
        out.push(u32::from(window[0]) * u32::from(window[1]));
    }
    #[checkpoint]
    for chunk in items.chunks(3) {
        #[checkpoint]
        for item in chunk {
            out.push(u32::from(*item));
        }
        out.push(0);
    }
    out
}

#[test]
fn windows_and_chunks() {
    same!(slices(items = vec![1, 2, 3, 4, 5, 6, 7]));
}

#[handler]
fn maps(map: BTreeMap<String, u32>, set: BTreeSet<u32>) -> (String, u32) {
    let mut text = String::new();
    let mut sum = 0;
    #[checkpoint]
    for (key, value) in &map {
        text += key;
        sum += value;
    }
    #[checkpoint]
    for x in set.range(2..) {
        sum = sum * 2 + x;
    }
    #[checkpoint]
    for (a, b) in map.values().zip(set.iter()) {
        sum += a ^ b;
    }
    (text, sum)
}

#[test]
fn ordered_maps_and_sets() {
    let map = BTreeMap::from([("a".to_owned(), 4), ("b".to_owned(), 2), ("c".to_owned(), 9)]);
    same!(maps(map = map.clone(), set = BTreeSet::from([1, 2, 5])));
}

const TABLE: [u32; 4] = [3, 1, 4, 1];

#[handler]
fn constants(n: u32) -> u32 {
    let mut out = n;
    #[checkpoint]
    for x in TABLE {
        out = out * 5 + x;
    }
    #[checkpoint]
    for x in [n, n + 1, 7] {
        out ^= x;
    }
    #[checkpoint]
    for x in "a-b-c".split('-') {
        out += x.len() as u32;
    }
    out
}

#[test]
fn arrays_and_constants() {
    same!(constants(n = 2));
}

#[handler]
fn fields(pair: (Vec<u32>, Vec<u32>)) -> u32 {
    let mut pair = pair;
    let mut sum = 0;
    #[checkpoint]
    for x in &pair.0 {
        sum += x;
    }
    pair.1.push(sum);
    #[checkpoint]
    for i in 0..pair.1.len() {
        pair.1[i] += sum;
        sum = pair.1[i];
    }
    sum
}

#[test]
fn fields_of_a_live_value() {
    same!(fields(pair = (vec![1, 2, 3], vec![4, 5])));
}

#[handler]
fn temporaries(text: String) -> Vec<String> {
    let mut out = vec![];
    #[checkpoint]
    for word in text.to_uppercase().split(' ').filter(|word| !word.is_empty()) {
        out.push(word.to_owned());
    }
    out
}

#[test]
fn temporaries_in_the_iterator() {
    same!(temporaries(text = "a bc  def g".to_owned()));
}

fn even(n: u32) -> impl Iterator<Item = u32> {
    (0..n).filter(|x| x % 2 == 0)
}

#[handler]
fn own_iterator(n: u32) -> u32 {
    let mut sum = 0;
    #[checkpoint]
    for x in even(n) {
        #[checkpoint]
        for y in even(x) {
            sum = sum * 3 % 1009 + x + y;
        }
    }
    sum
}

#[test]
fn impl_iterator() {
    same!(own_iterator(n = 9));
}

#[handler]
fn ignored(n: usize) -> u32 {
    let mut count = 0;
    #[checkpoint]
    for _ in std::iter::repeat_n((), n) {
        count += 1;
    }
    #[checkpoint]
    for _ in 0..n {
        count *= 2;
    }
    count
}

#[test]
fn patterns_that_bind_nothing() {
    same!(ignored(n = 6));
}

#[handler]
fn copied_range(n: u32) -> u32 {
    let range = 1..n;
    let mut sum = 0;
    #[checkpoint]
    for x in range.clone() {
        sum += x;
        assert!(range.contains(&x));
    }
    sum
}

#[test]
fn a_range_in_a_variable() {
    same!(copied_range(n = 8));
}

#[handler]
fn long_slices(items: Vec<u32>) -> Vec<u32> {
    let mut sums = [0u32; 3];
    #[checkpoint]
    for item in &items {
        sums[0] = sums[0].wrapping_mul(31).wrapping_add(*item);
    }
    #[checkpoint]
    'zipped: for (a, b) in items.iter().zip(items[1..].iter()).rev() {
        if *a == 7 {
            continue 'zipped;
        }
        if *b == 13 {
            break;
        }
        sums[1] ^= a.wrapping_mul(*b);
    }
    #[checkpoint]
    for pair in items.chunks_exact(2) {
        sums[2] = sums[2].wrapping_add(pair[0] ^ pair[1]);
        if sums[2] == 1 {
            return vec![];
        }
    }
    sums.to_vec()
}

#[test]
fn slices_in_blocks() {
    for length in [0, 1, 1_023, 1_024, 1_025, 2_048, 3_000] {
        let items: Vec<u32> = (0..length).map(|i| i * 7 % 1_000 + 20).collect();
        if length == 0 {
            // Nothing to slice off: the plain function panics, and so must each run.
            continue;
        }
        same!(long_slices(items = items.clone()));
    }
}

#[handler]
fn unknown_length(text: String, items: Vec<u32>) -> u32 {
    let mut sum = 0u32;
    #[checkpoint]
    for item in items.iter().skip(1).take(5) {
        sum += *item;
    }
    #[checkpoint]
    for letter in "abc".chars().zip(text.chars()) {
        sum += letter.1 as u32;
    }
    #[checkpoint]
    for letter in text.bytes().rev() {
        if letter == b'x' {
            continue;
        }
        sum ^= letter as u32;
    }
    sum
}

#[test]
fn iterators_that_do_not_know_their_length() {
    same!(unknown_length(text = "héxllo".to_owned(), items = vec![1, 2, 3, 4, 5, 6, 7]));
}
