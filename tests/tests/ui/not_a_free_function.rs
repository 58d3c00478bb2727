use limitless_faas::handler;

struct Shop;

impl Shop {
    #[handler]
    fn price(&self, id: u32) -> u32 {
        id
    }
}

#[handler]
unsafe fn dangerous(n: u32) -> u32 {
    n
}

#[handler]
struct NotAFunction;

#[handler(timeout = 3)]
fn arguments(n: u32) -> u32 {
    n
}

fn main() {}
