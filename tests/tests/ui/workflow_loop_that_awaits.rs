use limitless_faas::{handler, workflow};

#[handler]
fn twice(n: u64) -> u64 {
    2 * n
}

#[workflow]
async fn sum(numbers: Vec<u64>) -> u64 {
    let mut sum = 0;
    for n in numbers {
        sum += twice(n).await;
    }
    sum
}

fn main() {}
