use limitless_faas::handler;

#[handler]
fn sums(n: u64) -> u64 {
    let mut i = 0;
    let sum = 1 + #[checkpoint] loop {
        i += 1;
        if i > n {
            break i;
        }
    };
    if {
        #[checkpoint]
        loop {
            i += 1;
            if i > n {
                break i;
            }
        }
    } > 3
    {
        return 0;
    }
    sum
}

fn main() {}
