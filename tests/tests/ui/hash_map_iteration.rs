use std::collections::{HashMap, HashSet};

use limitless_faas::handler;

#[handler]
fn total(prices: HashMap<String, u32>, wanted: HashSet<String>) -> u32 {
    let mut total = 0;
    #[checkpoint]
    for (_, price) in &prices {
        total += price;
    }
    #[checkpoint]
    for (_, name) in wanted.iter().filter(|name| name.len() > 3).enumerate() {
        total += prices[name];
    }
    total
}

fn main() {}
