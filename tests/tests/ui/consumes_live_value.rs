use std::collections::BTreeMap;

use limitless_faas::handler;

#[handler]
fn total(items: Vec<u32>, prices: BTreeMap<String, u32>) -> u32 {
    let mut total = 0;
    #[checkpoint]
    for item in items {
        total += item;
    }
    #[checkpoint]
    for price in prices.into_values() {
        total += price;
    }
    total
}

fn main() {}
