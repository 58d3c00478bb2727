use limitless_faas::{handler, workflow};

#[handler]
fn twice(n: u64) -> u64 {
    2 * n
}

#[workflow]
async fn wrong(n: u64) -> u64 {
    let mut n = n;
    for _ in 0..3 {
        n = twice(n).await;
    }
    n
}

#[workflow]
async fn right(n: u64) -> u64 {
    wrong(n).await
}

fn main() {}
