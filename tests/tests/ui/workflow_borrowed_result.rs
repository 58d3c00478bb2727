use limitless_faas::{handler, workflow};

#[handler]
fn twice(n: u64) -> u64 {
    2 * n
}

#[workflow]
async fn wrong(text: String) -> &'static str {
    twice(1).await;
    "a borrow"
}

#[workflow]
async fn borrows(text: &str) -> u64 {
    twice(text.len() as u64).await
}

fn main() {}
