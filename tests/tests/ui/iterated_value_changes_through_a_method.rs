use limitless_faas::handler;

#[handler]
fn grow(items: Vec<u32>) -> Vec<u32> {
    let mut items = items;
    #[checkpoint]
    for i in (0..10).chain(items.len()..20) {
        items.push(i as u32);
    }
    items
}

#[handler]
fn grow_while_reading(items: Vec<u32>) -> Vec<u32> {
    let mut items = items;
    #[checkpoint]
    for item in &items {
        items.push(*item);
    }
    items
}

fn main() {}
