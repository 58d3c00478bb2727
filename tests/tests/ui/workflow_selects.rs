use limitless_faas::{handler, workflow};

#[handler]
fn twice(n: u64) -> u64 {
    2 * n
}

#[workflow]
async fn wrong(n: u64) -> u64 {
    tokio::select! {
        first = twice(n) => first,
        second = twice(n + 1) => second,
    }
}

fn main() {}
