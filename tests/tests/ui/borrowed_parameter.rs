use limitless_faas::handler;

#[handler]
fn length(text: &str, items: &[u32]) -> usize {
    text.len() + items.len()
}

fn main() {}
