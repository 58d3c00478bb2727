use limitless_faas::{handler, workflow};

#[handler]
fn twice(n: u64) -> u64 {
    2 * n
}

#[workflow]
async fn wrong(n: u64) -> u64 {
    let later = tokio::spawn(async move { n });
    std::thread::spawn(move || n);
    twice(n).await
}

fn main() {}
