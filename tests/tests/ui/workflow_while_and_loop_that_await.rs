use limitless_faas::{handler, workflow};

#[handler]
fn twice(n: u64) -> u64 {
    2 * n
}

#[workflow]
async fn wrong(n: u64) -> u64 {
    let mut n = n;
    while twice(n).await < 100 {
        n += 1;
    }
    loop {
        n = twice(n).await;
        if n > 1000 {
            return n;
        }
    }
}

fn main() {}
