use limitless_faas::handler;

struct Order {
    id: u32,
}

#[handler]
fn price(order: Order) -> u32 {
    order.id
}

fn main() {}
