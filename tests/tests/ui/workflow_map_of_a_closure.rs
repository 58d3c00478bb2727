use limitless_faas::{handler, workflow};

#[handler]
fn twice(n: u64) -> u64 {
    2 * n
}

#[workflow]
async fn wrong(numbers: Vec<u64>) -> Vec<u64> {
    map(numbers, |n| n + 1).await
}

fn main() {}
