use limitless_faas::{handler, workflow};

#[handler]
fn twice(n: u64) -> u64 {
    2 * n
}

#[workflow]
async fn wrong(ctx: limitless_faas::Context, n: u64) -> u64 {
    twice(n).await
}

fn main() {}
