use limitless_faas::handler;

#[handler]
fn longest(words: Vec<String>) -> String {
    let first = &words[0];
    let mut longest = String::new();
    #[checkpoint]
    for word in &words {
        if word.len() > longest.len() {
            longest = word.clone();
        }
    }
    format!("{first} {longest}")
}

fn main() {}
