use limitless_faas::{handler, workflow};

#[handler]
fn twice(n: u64) -> u64 {
    2 * n
}

#[workflow]
async fn longest(text: &str, other: String) -> &str {
    twice(other.len() as u64).await;
    text
}

fn main() {}
