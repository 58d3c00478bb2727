use limitless_faas::handler;

#[handler]
fn find(n: u32) -> u32 {
    let found;
    let mut i = 0;
    #[checkpoint]
    loop {
        i += 1;
        if i * i > n {
            found = i;
            break;
        }
    }
    found
}

fn main() {}
