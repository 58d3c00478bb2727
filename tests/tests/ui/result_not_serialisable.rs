use limitless_faas::handler;

struct Price(u32);

#[derive(Debug)]
struct Trouble;

#[handler]
fn price(id: u32) -> Price {
    Price(id)
}

#[handler]
fn fallible(id: u32) -> Result<u32, Trouble> {
    if id > 3 { Err(Trouble) } else { Ok(id) }
}

fn main() {
    let _ = price(1).0;
}
