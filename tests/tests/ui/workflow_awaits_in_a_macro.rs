use limitless_faas::{handler, workflow};

#[handler]
fn twice(n: u64) -> u64 {
    2 * n
}

#[workflow]
async fn wrong(n: u64) -> u64 {
    println!("{}", twice(n).await);
    twice(n).await
}

fn main() {}
