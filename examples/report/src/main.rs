//! A workflow: reads a text, looks at it twice side by side, and puts the answers together.
//!
//! ```sh
//! cargo faas run report --input '{"path": "/usr/share/common-licenses/GPL-3"}'
//! ```

use std::collections::BTreeMap;

use limitless_faas::{Error, Result, handler, workflow};
use serde::{Deserialize, Serialize};

/// What is in a text.
#[derive(Debug, PartialEq, Serialize, Deserialize)]
struct Report {
    words: u64,
    language: String,
}

/// What the file says.
#[handler]
fn read(path: String) -> Result<String> {
    std::fs::read_to_string(&path).map_err(|error| Error::msg(format!("{path}: {error}")))
}

/// How many words a text has.
#[handler]
fn count(text: String) -> u64 {
    let mut words = 0;
    #[checkpoint]
    for _ in text.split_whitespace() {
        words += 1;
    }
    words
}

/// The language whose small words are the most frequent ones.
#[handler]
fn detect(text: String) -> String {
    let small = [("English", "the"), ("German", "und"), ("French", "les")];
    let mut found = BTreeMap::new();
    for word in text.split_whitespace() {
        *found.entry(word.to_lowercase()).or_insert(0_u64) += 1;
    }
    let frequency = |word: &str| found.get(word).copied().unwrap_or(0);
    let language = small.into_iter().max_by_key(|(_, word)| frequency(word));
    language.map_or_else(String::new, |(language, _)| language.to_owned())
}

/// One report of both.
#[handler]
fn merge(words: u64, language: String) -> Report {
    Report { words, language }
}

/// How long a text is, and in which language.
#[workflow(slo_ms = 200)]
async fn report(path: String) -> Result<Report> {
    let text = read(&path).await?;
    let (words, language) = join!(count(&text), detect(&text));
    Ok(merge(words, language).await)
}

fn main() {
    limitless_faas::serve!(report, read, count, detect, merge);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_workflow_is_an_ordinary_function() {
        let path = std::env::temp_dir().join(format!("limitless-faas-report-{}", std::process::id()));
        std::fs::write(&path, "Der Hund und die Katze und das Haus").unwrap();
        let report = report(path.display().to_string()).await;
        std::fs::remove_file(&path).unwrap();
        assert_eq!(report.unwrap(), Report { words: 8, language: "German".to_owned() });
    }

    #[tokio::test]
    async fn a_node_that_fails_is_named() {
        let error = report("/no/such/text".to_owned()).await.unwrap_err();
        assert!(error.to_string().starts_with("node `read` failed: /no/such/text"), "{error}");
    }
}
