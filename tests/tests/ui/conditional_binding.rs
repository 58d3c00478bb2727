use limitless_faas::handler;

#[handler]
fn sums(n: u32) -> u32 {
    #[cfg(unix)]
    let start = 1;
    #[cfg(not(unix))]
    let start = 2;
    let mut sum = start;
    #[checkpoint]
    for i in 0..n {
        sum += i * start;
    }
    sum
}

fn main() {}
