use limitless_faas::checkpoint;

#[checkpoint]
fn not_a_handler(n: u64) -> u64 {
    n
}

fn main() {}
