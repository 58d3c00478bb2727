use limitless_faas::handler;

#[handler]
fn moved(items: Vec<u32>) -> usize {
    let mut count = 0;
    #[checkpoint]
    for i in 0..3 {
        drop(items);
        count += i;
    }
    count
}

fn main() {}
