//! A workflow: an `async fn` that calls handlers, two of them side by side.
//!
//! ```console
//! $ cargo faas run summary --input '{"text": "It never runs in an order Rust would not."}'
//! ```

use std::collections::BTreeSet;

use limitless_faas::{Result, handler, workflow};

/// The words of a text, in lower case.
#[handler]
fn split_words(text: String) -> Vec<String> {
    text.split(|c: char| !c.is_alphanumeric()).filter(|word| !word.is_empty()).map(str::to_lowercase).collect()
}

/// How many different words there are.
#[handler]
fn count_words(words: Vec<String>) -> usize {
    let mut different = BTreeSet::new();
    // A node that takes long saves its state inside, as any handler does.
    #[checkpoint]
    for word in &words {
        different.insert(word.clone());
    }
    different.len()
}

/// The longest word, and the first of several.
#[handler]
fn longest_word(words: Vec<String>) -> String {
    words.into_iter().rev().max_by_key(String::len).unwrap_or_default()
}

/// How many different words a text has, and its longest one.
#[workflow(slo_ms = 200)]
async fn summary(text: String) -> Result<(usize, String)> {
    let words = split_words(text).await;
    // Each `.await` is a node; these two run side by side.
    let (different, longest) = join!(count_words(&words), longest_word(&words));
    Ok((different, longest))
}

fn main() {
    limitless_faas::serve!(summary, split_words, count_words, longest_word);
}

#[cfg(test)]
mod tests {
    use super::*;

    // A workflow is an ordinary async function.
    #[tokio::test]
    async fn two_words_and_the_longer_one() {
        let summary = summary("again and Again".to_owned()).await.unwrap();
        assert_eq!(summary, (2, "again".to_owned()));
    }
}
