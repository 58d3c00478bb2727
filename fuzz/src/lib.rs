//! Feeds parsers with broken bytes: a corpus that stands in the repository, and what a seeded mutator makes of it.
//!
//! A parser's test calls [`Fuzz::run`] with a closure that parses, asserts what must hold of whatever was accepted, and
//! answers in a word what became of the input. Nothing may panic. An input with which something new became joins the corpus
//! for the rest of the run, so that mutations of it are tried too.
//!
//! The same seed tries the same inputs. `LIMITLESS_FUZZ_RUNS=1000000` tries more of them, `LIMITLESS_FUZZ_SEED=7` others. An
//! input that breaks something is written to a file, which belongs into the corpus once its cause is mended.

mod mutate;

use std::collections::BTreeSet;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::path::{Path, PathBuf};
use std::{env, fs};

use mutate::Mutator;

/// So many inputs are tried beyond the corpus where nobody asks for more.
const RUNS: u64 = 3_000;
/// No input grows beyond this.
const LONGEST_BYTES: usize = 16 << 10;
/// So many inputs are kept for what became of them.
const MOST_KEPT: usize = 1_000;

/// One parser's corpus, and how long it is fed.
#[derive(Debug)]
pub struct Fuzz {
    corpus: PathBuf,
    runs: u64,
    seed: u64,
}

impl Fuzz {
    /// A run over the files in the folder `corpus`, with as many mutations and the seed that the environment asks for.
    pub fn new(corpus: impl AsRef<Path>) -> Self {
        let said = |name| env::var(name).ok().and_then(|text| text.parse().ok());
        Self {
            corpus: corpus.as_ref().to_owned(),
            runs: said("LIMITLESS_FUZZ_RUNS").unwrap_or(RUNS),
            seed: said("LIMITLESS_FUZZ_SEED").unwrap_or(1),
        }
    }

    /// The same, for a parser that takes so many times as long as others: it gets as many times fewer inputs.
    #[must_use]
    pub fn slow(self, times: u64) -> Self {
        Self { runs: self.runs / times, ..self }
    }

    /// Feeds `parse` with the corpus as it is, and then with mutations of it. `parse` answers what became of an input.
    ///
    /// # Panics
    /// Where `parse` does, after the input was written to a file; where the corpus is empty or can't be read.
    pub fn run(&self, parse: impl Fn(&[u8]) -> String) {
        let mut inputs = self.inputs();
        let mut seen = BTreeSet::new();
        for (name, input) in &inputs {
            seen.insert(self.tried(&parse, input, name));
        }
        let mut mutator = Mutator::new(self.seed);
        for run in 0..self.runs {
            let input = mutator.mutated(&inputs);
            let name = format!("run {run} of seed {}", self.seed);
            let became = self.tried(&parse, &input, &name);
            if inputs.len() < MOST_KEPT && seen.insert(became) {
                inputs.push((name, input));
            }
        }
    }

    #[expect(clippy::panic, reason = "a test fails by panicking")]
    fn inputs(&self) -> Vec<(String, Vec<u8>)> {
        let read = || {
            let mut inputs = Vec::new();
            for entry in fs::read_dir(&self.corpus)? {
                let entry = entry?;
                inputs.push((entry.file_name().to_string_lossy().into_owned(), fs::read(entry.path())?));
            }
            inputs.sort();
            std::io::Result::Ok(inputs)
        };
        match read() {
            Ok(inputs) if !inputs.is_empty() => inputs,
            found => panic!("no corpus in {}: {found:?}", self.corpus.display()),
        }
    }

    #[expect(clippy::print_stderr, reason = "a test that fails says on what")]
    fn tried(&self, parse: &impl Fn(&[u8]) -> String, input: &[u8], name: &str) -> String {
        match catch_unwind(AssertUnwindSafe(|| parse(input))) {
            Ok(became) => class(&became),
            Err(panic) => {
                let parser = self.corpus.file_name().unwrap_or_default().to_string_lossy();
                let file = env::temp_dir().join(format!("fuzz-{parser}-{}", std::process::id()));
                let written = fs::write(&file, input).map_or_else(
                    |error| format!("it can't be written to {}: {error}", file.display()),
                    |()| format!("it stands in {}; put it into {}", file.display(), self.corpus.display()),
                );
                eprintln!(
                    "fuzzing {parser}: {name} broke it. The input has {} bytes; {written}",
                    input.len()
                );
                resume_unwind(panic)
            }
        }
    }
}

/// What became of an input, without the numbers and quoted parts in which no two inputs agree.
fn class(became: &str) -> String {
    let mut is_quoted = false;
    let kept = became.chars().filter(|c| {
        is_quoted ^= matches!(c, '`' | '"');
        !is_quoted && !c.is_ascii_digit()
    });
    kept.take(60).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::cell::RefCell;

    fn corpus() -> tempfile::TempDir {
        let folder = tempfile::tempdir().unwrap();
        fs::write(folder.path().join("a"), r#"{"length": 12, "text": "abc"}"#).unwrap();
        fs::write(folder.path().join("b"), [0, 1, 2, 255, 254]).unwrap();
        folder
    }

    fn tried(seed: u64) -> Vec<Vec<u8>> {
        let (folder, all) = (corpus(), RefCell::new(Vec::new()));
        let fuzz = Fuzz { corpus: folder.path().to_owned(), runs: 500, seed };
        fuzz.run(|bytes| {
            all.borrow_mut().push(bytes.to_vec());
            format!("{} bytes", bytes.len())
        });
        all.into_inner()
    }

    #[test]
    fn a_seed_tries_the_same_inputs_each_time_and_another_seed_others() {
        assert_eq!(tried(1), tried(1));
        assert_ne!(tried(1), tried(2));
        let all = tried(1);
        assert_eq!(all.len(), 502);
        let distinct: BTreeSet<_> = all.iter().collect();
        assert!(distinct.len() > 350, "{}", distinct.len());
        assert!(all.iter().all(|input| input.len() <= LONGEST_BYTES));
    }

    #[test]
    fn a_parser_that_trusts_a_length_is_found_out() {
        let folder = tempfile::tempdir().unwrap();
        fs::write(folder.path().join("a"), [3, b'a', b'b', b'c']).unwrap();
        let fuzz = Fuzz { corpus: folder.path().to_owned(), runs: 500, seed: 1 };
        let trusting = |bytes: &[u8]| {
            let Some((len, rest)) = bytes.split_first() else { return "empty".to_owned() };
            format!("{:?}", &rest[..usize::from(*len)])
        };
        let broke = catch_unwind(AssertUnwindSafe(|| fuzz.run(trusting)));
        assert!(broke.is_err(), "500 mutations of a length were not enough");
    }

    #[test]
    fn what_differs_in_numbers_and_names_alone_is_not_new() {
        assert_eq!(class("line 3: unknown field `abc`"), class("line 17: unknown field `x`"));
        assert_ne!(class("unknown field `abc`"), class("missing field `abc`"));
    }
}
