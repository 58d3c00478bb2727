use limitless_faas::handler;

#[handler]
fn sums(n: u64) -> u64 {
    let mut sum = 0;
    for i in 0..n {
        #[checkpoint]
        for j in 0..i {
            sum += j;
        }
    }
    while sum < 10 {
        if n > 3 {
            #[checkpoint]
            loop {
                break;
            }
        }
    }
    sum
}

fn main() {}
