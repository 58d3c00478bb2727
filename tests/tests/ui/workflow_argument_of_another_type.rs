use limitless_faas::{handler, workflow};

#[handler]
fn twice(n: u64) -> u64 {
    2 * n
}

#[workflow]
async fn wrong(text: String) -> u64 {
    twice(text).await
}

fn main() {}
