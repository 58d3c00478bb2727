//! Text.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use limitless_faas::handler;

#[handler]
fn count_words(text: String) -> BTreeMap<String, usize> {
    let mut counts = BTreeMap::new();
    #[checkpoint]
    for word in text.split_whitespace() {
        *counts.entry(word.to_lowercase()).or_insert(0) += 1;
    }
    counts
}

#[test]
fn references_to_the_input_in_the_loop() {
    same!(count_words(text = "the cat and The dog and the bird".to_owned()));
}

#[handler]
fn reversed(text: String) -> String {
    let mut reversed = String::new();
    #[checkpoint]
    for letter in text.chars().rev() {
        reversed.push(letter);
    }
    reversed
}

#[test]
fn characters_backwards() {
    same!(reversed(text = "Größenwahn über alles".to_owned()));
}

#[handler]
fn numbered(lines: Vec<String>) -> String {
    let separator = ": ";
    let mut text = String::new();
    #[checkpoint]
    for (number, line) in lines.iter().enumerate() {
        writeln!(text, "{number:>3}{separator}{line}").unwrap();
    }
    text
}

#[test]
fn names_in_format_strings_and_literal_texts() {
    same!(numbered(lines = vec!["one".to_owned(), "two".to_owned(), "three".to_owned()]));
}

#[handler]
fn run_lengths(text: String) -> Vec<(char, u32)> {
    let mut runs: Vec<(char, u32)> = Vec::new();
    let mut letters: Vec<char> = text.chars().rev().collect();
    #[checkpoint]
    while let Some(letter) = letters.pop() {
        match runs.last_mut() {
            Some((last, count)) if *last == letter => *count += 1,
            _ => runs.push((letter, 1)),
        }
    }
    runs
}

#[test]
fn while_let() {
    same!(run_lengths(text = "aaabbcddddd".to_owned()));
}

#[handler]
fn caesar(text: String, by: u8) -> String {
    let shift = |letter: u8| (letter - b'a' + by) % 26 + b'a';
    let first = text.bytes().next().map(shift);
    let mut coded = String::with_capacity(text.len());
    #[checkpoint]
    for letter in text.bytes() {
        let shift = |letter: u8| (letter - b'a' + by) % 26 + b'a';
        coded.push(char::from(shift(letter)));
    }
    assert_eq!(coded.bytes().next(), first);
    coded
}

#[test]
fn closures_that_end_before_the_loop() {
    same!(caesar(text = "hello".to_owned(), by = 3));
}

#[handler]
fn longest_common_prefix(words: Vec<String>) -> String {
    let Some(first) = words.first().cloned() else { return String::new() };
    let mut length = first.len();
    #[checkpoint]
    for word in &words[1..] {
        let same = first.bytes().zip(word.bytes()).take_while(|(a, b)| a == b).count();
        length = length.min(same);
    }
    first[..length].to_owned()
}

#[test]
fn let_else_and_slices() {
    same!(longest_common_prefix(words = ["interview", "internet", "interval"].map(str::to_owned).to_vec()));
}

#[handler]
fn parse_all(fields: Vec<String>) -> Result<i64, std::num::ParseIntError> {
    let mut sum = 0;
    #[checkpoint]
    for field in &fields {
        sum += field.trim().parse::<i64>()?;
    }
    Ok(sum)
}

#[test]
fn question_mark() {
    same_result!(parse_all(fields = vec!["1".to_owned(), " 22".to_owned(), "-3".to_owned()]));
    same_result!(parse_all(fields = vec!["1".to_owned(), "x".to_owned(), "-3".to_owned()]));
}

#[handler]
fn raw(r#type: String) -> String {
    let mut r#match = String::new();
    #[checkpoint]
    for letter in r#type.chars() {
        r#match.insert(0, letter);
    }
    r#match
}

#[test]
fn raw_identifiers() {
    let plain = serde_json::to_string(&raw("abc".to_owned())).unwrap();
    limitless_faas_tests::resume::differ::<raw>(r#"{"type":"abc"}"#, &plain, 5);
}
