use limitless_faas::handler;

#[derive(Debug)]
struct Opaque(u64);

#[handler]
fn twice(n: u64) -> String {
    let shown = Opaque(n);
    #[checkpoint]
    for i in 0..n {
        #[checkpoint]
        for j in 0..i {
            assert!(j < n);
        }
    }
    #[checkpoint]
    for i in 0..n {
        assert!(i < n);
    }
    format!("{shown:?}")
}

fn main() {}
