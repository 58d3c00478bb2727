use limitless_faas::handler;

#[handler]
fn hidden(n: u32) -> u32 {
    let mut x = n;
    #[checkpoint]
    for i in 0..n {
        x += i;
        let x = i * 2;
        #[checkpoint]
        for j in 0..x {
            assert!(j < x);
        }
    }
    x
}

#[handler]
fn hidden_by_the_loop(n: u32) -> u32 {
    let i = n;
    let mut sum = 0;
    #[checkpoint]
    for i in 0..n {
        #[checkpoint]
        for j in 0..i {
            sum += j;
        }
    }
    sum + i
}

fn main() {}
