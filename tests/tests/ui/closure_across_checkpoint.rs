use limitless_faas::handler;

#[handler]
fn count(n: u32) -> u32 {
    let mut total = 0;
    let mut add = |x: u32| total += x;
    #[checkpoint]
    for i in 0..n {
        add(i);
    }
    total
}

fn main() {}
