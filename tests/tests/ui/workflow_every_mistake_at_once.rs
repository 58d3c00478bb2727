use limitless_faas::{handler, workflow};

#[handler]
fn twice(n: u64) -> u64 {
    2 * n
}

#[workflow(slo = 3)]
async fn wrong(n: u64) -> u64 {
    while twice(n).await > 3 {}
    let block = async { twice(n).await };
    tokio::select! { a = twice(n) => a, b = twice(n) => b };
    println!("{}", twice(n).await);
    #[retry(often)]
    let last = twice(n).await;
    tokio::spawn(twice(last));
    last
}

fn main() {}
