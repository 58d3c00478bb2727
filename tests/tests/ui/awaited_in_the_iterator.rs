use limitless_faas::handler;

async fn list() -> Vec<u32> {
    vec![1]
}

#[handler]
async fn sums() -> u32 {
    let mut sum = 0;
    #[checkpoint]
    for item in list().await.iter() {
        sum += item;
    }
    sum
}

fn main() {}
