use limitless_faas::handler;

#[handler]
fn many<T>(&self, text: &str, items: Vec<u32>) -> u32 {
    let view = &items;
    let _lock = text.len();
    let mut sum = 0;
    #[checkpoint]
    for item in items {
        sum += item;
    }
    for _ in 0..3 {
        #[checkpoint]
        loop {
            break;
        }
    }
    sum + view.len() as u32
}

// The function is still known, so that nothing else is reported.
fn main() {
    let _ = another(3);
}

#[handler]
fn another(n: u32) -> u32 {
    #[checkpoint]
    let n = n;
    n
}
