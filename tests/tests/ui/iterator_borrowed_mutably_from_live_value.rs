use limitless_faas::handler;

#[handler]
fn double(items: Vec<u32>) -> Vec<u32> {
    let mut items = items;
    #[checkpoint]
    for item in items.iter_mut() {
        *item *= 2;
    }
    #[checkpoint]
    for item in &mut items {
        *item *= 2;
    }
    #[checkpoint]
    for item in items.drain(..) {
        drop(item);
    }
    items
}

fn main() {}
