use limitless_faas::handler;

#[handler]
fn sums(items: Vec<u32>) -> u32 {
    #[rebuild]
    let view = &items;
    view.iter().sum()
}

fn main() {}
