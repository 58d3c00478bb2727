use limitless_faas::handler;

#[handler]
fn count(n: u32) -> u32 {
    let mut total = 0;
    let mut last = 0;
    #[checkpoint]
    for i in (0..n).map(|i| {
        total += i;
        i
    }) {
        last = i;
    }
    total + last
}

fn main() {}
