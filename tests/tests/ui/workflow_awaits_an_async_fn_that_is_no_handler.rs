use limitless_faas::{handler, workflow};

#[handler]
fn twice(n: u64) -> u64 {
    2 * n
}

async fn thrice(n: u64) -> u64 {
    3 * n
}

#[workflow]
async fn wrong(n: u64) -> u64 {
    let n = twice(n).await;
    thrice(n).await
}

fn main() {}
