use limitless_faas::handler;

#[handler]
fn add((a, b): (u32, u32), _: u32) -> u32 {
    a + b
}

fn main() {}
