use limitless_faas::handler;

#[handler]
fn doubled(items: Vec<u32>) -> Vec<u32> {
    let mut step = 1;
    let mut out = Vec::new();
    #[checkpoint]
    for item in items.iter().skip(step) {
        out.push(*item);
        step += 1;
    }
    out
}

fn main() {}
