fn sum(n: u64) -> u64 {
    let mut sum = 0;
    #[checkpoint]
    for i in 0..n {
        sum += i;
    }
    sum
}

fn main() {}
