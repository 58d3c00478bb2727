use limitless_faas::handler;

#[handler]
fn sums(n: u64) -> u64 {
    #[checkpoint]
    let mut sum = 0;
    #[checkpoint]
    if n > 3 {
        sum += 1;
    }
    #[checkpoint(every = 10)]
    for i in 0..n {
        sum += i;
    }
    #[rebuild]
    for i in 0..n {
        sum += i;
    }
    sum
}

fn main() {}
