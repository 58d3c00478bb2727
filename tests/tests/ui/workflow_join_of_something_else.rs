use limitless_faas::{handler, workflow};

#[handler]
fn twice(n: u64) -> u64 {
    2 * n
}

#[workflow]
async fn wrong(n: u64) -> u64 {
    let (a, b) = join!(twice(n), n + 1);
    a + b
}

fn main() {}
