use limitless_faas::handler;

fn first(words: &[String]) -> &str {
    &words[0]
}

#[handler]
fn count(words: Vec<String>) -> usize {
    let first = first(&words);
    let mut sum = 0;
    #[checkpoint]
    for word in &words {
        sum += usize::from(word == first);
    }
    sum
}

fn main() {}
