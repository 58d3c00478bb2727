//! Counts the words of many texts: a state with a name, saved where the handler says so.
//!
//! ```sh
//! cargo faas run word-count --input '{"texts": ["file:/usr/share/common-licenses/GPL-3"]}'
//! cargo faas run word-count --input @texts.json --time-limit 2s
//! ```

use std::collections::BTreeMap;

use limitless_faas::{Context, Error, Result, State, handler};
use serde::{Deserialize, Serialize};

/// How far it came.
#[derive(State, Default, Serialize, Deserialize)]
struct Progress {
    done: usize,
    words: BTreeMap<String, u64>,
}

/// What is in the texts.
#[derive(Debug, PartialEq, Serialize)]
struct Counted {
    texts: usize,
    words: u64,
    different: usize,
    most_frequent: Vec<(String, u64)>,
}

/// How many words the texts have, and which are the most frequent ones. A text is an `http:` URL, or a `file:` path.
#[handler]
async fn word_count(ctx: Context<Progress>, texts: Vec<String>) -> Result<Counted> {
    let mut at = ctx.state();
    for text in texts.iter().skip(at.done) {
        for word in words(&fetch(text).await?) {
            *at.words.entry(word).or_default() += 1;
        }
        at.done += 1;
        // Near the time limit it stops here, and goes on with the next text in another invocation.
        ctx.checkpoint(&at).await;
    }
    Ok(counted(&at))
}

fn counted(at: &Progress) -> Counted {
    let mut most_frequent: Vec<(String, u64)> =
        at.words.iter().map(|(word, count)| (word.clone(), *count)).collect();
    most_frequent.sort_by_key(|(_, count)| std::cmp::Reverse(*count));
    most_frequent.truncate(10);
    Counted { texts: at.done, words: at.words.values().sum(), different: at.words.len(), most_frequent }
}

/// The words in lower case: runs of letters and apostrophes.
fn words(text: &str) -> impl Iterator<Item = String> {
    let is_part = |c: char| c.is_alphabetic() || c == '\'';
    text.split(move |c| !is_part(c)).filter(|word| !word.is_empty()).map(str::to_lowercase)
}

async fn fetch(text: &str) -> Result<String> {
    if let Some(path) = text.strip_prefix("file:") {
        let bytes = tokio::fs::read(path).await.map_err(|error| Error::msg(format!("{path}: {error}")))?;
        return Ok(String::from_utf8_lossy(&bytes).into_owned());
    }
    Ok(reqwest::get(text).await?.error_for_status()?.text().await?)
}

fn main() {
    limitless_faas::serve!(word_count);
}

#[cfg(test)]
mod tests {
    use super::*;

    fn count(texts: Vec<String>) -> Result<Counted> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(word_count(Context::default(), texts))
    }

    #[test]
    fn words_of_several_texts_are_counted_together() {
        let path = std::env::temp_dir().join(format!("limitless-faas-word-count-{}", std::process::id()));
        std::fs::write(&path, "The end is the\nEND, isn't it? Ünd 42 so weiter.").unwrap();
        let text = format!("file:{}", path.display());
        let counted = count(vec![text.clone(), text]);
        std::fs::remove_file(&path).unwrap();
        let counted = counted.unwrap();
        assert_eq!((counted.texts, counted.words, counted.different), (2, 20, 8));
        assert_eq!(counted.most_frequent[..2], [("end".to_owned(), 4), ("the".to_owned(), 4)]);
    }

    #[test]
    fn a_text_that_is_missing_is_named() {
        let error = count(vec!["file:/no/such/text".to_owned()]).unwrap_err();
        assert!(error.to_string().contains("/no/such/text"), "{error}");
        assert_eq!(count(Vec::new()).unwrap().words, 0);
    }
}
