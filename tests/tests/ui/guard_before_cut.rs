use std::sync::Mutex;

use limitless_faas::handler;

static LOCK: Mutex<u32> = Mutex::new(0);

#[handler]
fn locked(n: u32) -> u32 {
    let _guard = LOCK.lock();
    let mut sum = 0;
    #[checkpoint]
    for i in 0..n {
        sum += i;
    }
    sum
}

fn main() {}
