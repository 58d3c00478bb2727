//! A workflow with programs in Python as nodes: one for each text, and one that puts together what they found.
//!
//! ```sh
//! cargo faas run common --input '{"texts": ["to be or not to be", "to do"], "most": 2}'
//! ```
//!
//! The scripts are part of the binary; Python has to be where it runs.

use std::cmp::Reverse;
use std::collections::BTreeMap;

use limitless_faas::{Result, handler, program, workflow};

/// How often each word occurs in a text.
#[program("python3", "-c", include_str!("words.py"))]
fn words(text: String) -> Result<BTreeMap<String, u64>>;

/// The counts of several texts added up.
#[program("python3", "-c", include_str!("add.py"))]
fn add(counts: Vec<BTreeMap<String, u64>>) -> Result<BTreeMap<String, u64>>;

/// The words that occur most often, those first.
#[handler]
fn first(counts: BTreeMap<String, u64>, most: usize) -> Vec<String> {
    let mut words: Vec<(String, u64)> = counts.into_iter().collect();
    words.sort_by_key(|(_, count)| Reverse(*count));
    words.into_iter().map(|(word, _)| word).take(most).collect()
}

/// The words that occur most often in all of these texts.
#[workflow]
async fn common(texts: Vec<String>, most: usize) -> Result<Vec<String>> {
    let counts = map(texts, words).await?;
    let counts = add(counts).await?;
    Ok(first(counts, most).await)
}

fn main() {
    limitless_faas::serve!(common, words, add, first);
}
