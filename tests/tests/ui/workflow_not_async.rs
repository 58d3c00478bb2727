use limitless_faas::{handler, workflow};

#[handler]
fn twice(n: u64) -> u64 {
    2 * n
}

#[workflow]
fn wrong(n: u64) -> u64 {
    n
}

fn main() {}
