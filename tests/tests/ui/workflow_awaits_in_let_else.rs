use limitless_faas::{handler, workflow};

#[handler]
fn twice(n: u64) -> u64 {
    2 * n
}

#[workflow]
async fn wrong(n: Option<u64>) -> u64 {
    let Some(n) = n else {
        return twice(1).await;
    };
    twice(n).await
}

fn main() {}
