use std::sync::Mutex;

use limitless_faas::handler;

static LOCK: Mutex<u32> = Mutex::new(0);

#[handler]
fn locked(n: u32) -> u32 {
    let mut guard = LOCK.lock().unwrap();
    #[checkpoint]
    for i in 0..n {
        *guard += i;
    }
    *guard
}

fn main() {}
