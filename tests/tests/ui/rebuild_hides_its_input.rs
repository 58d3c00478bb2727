use limitless_faas::handler;

#[handler]
fn sums(items: Vec<u32>) -> u32 {
    #[rebuild]
    let items = &items;
    let mut sum = 0;
    #[checkpoint]
    for item in items {
        sum += item;
    }
    sum
}

#[handler]
fn later(items: Vec<u32>) -> usize {
    #[rebuild]
    let view = &items[1..];
    let items = view.len();
    let mut sum = items;
    #[checkpoint]
    for item in view {
        sum += *item as usize;
    }
    sum
}

fn main() {}
