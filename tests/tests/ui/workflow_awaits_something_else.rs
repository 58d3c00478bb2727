use limitless_faas::{handler, workflow};

#[handler]
fn twice(n: u64) -> u64 {
    2 * n
}

#[workflow]
async fn wait(n: u64) -> u64 {
    std::future::ready(n).into_future().await
}

fn main() {}
