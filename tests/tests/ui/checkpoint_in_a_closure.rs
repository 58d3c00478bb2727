use limitless_faas::handler;

#[handler]
fn sums(n: u64) -> u64 {
    let sum = |n: u64| {
        let mut sum = 0;
        #[checkpoint]
        for i in 0..n {
            sum += i;
        }
        sum
    };
    sum(n)
}

#[handler]
async fn later(n: u64) -> u64 {
    let sum = async {
        let mut sum = 0;
        #[checkpoint]
        while sum < n {
            sum += 1;
        }
        sum
    };
    sum.await
}

#[handler]
fn inner(n: u64) -> u64 {
    fn sum(n: u64) -> u64 {
        let mut sum = 0;
        #[checkpoint]
        for i in 0..n {
            sum += i;
        }
        sum
    }
    sum(n)
}

fn main() {}
