use limitless_faas::handler;

#[handler]
fn count(text: String) -> usize {
    let words: Vec<&str> = text.split(' ').collect();
    let mut sum = 0;
    #[checkpoint]
    for i in 0..words.len() {
        sum += words[i].len();
    }
    sum
}

fn main() {}
