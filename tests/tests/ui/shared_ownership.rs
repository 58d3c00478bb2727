use std::rc::Rc;

use limitless_faas::handler;

#[handler]
fn share(n: u32) -> u32 {
    let shared = Rc::new(n);
    let both = (Rc::clone(&shared), shared);
    let mut sum = 0;
    #[checkpoint]
    for i in 0..n {
        sum += i * *both.0;
    }
    sum + *both.1
}

fn main() {}
