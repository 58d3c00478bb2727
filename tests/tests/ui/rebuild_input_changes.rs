use limitless_faas::handler;

#[handler]
fn sums(n: u32) -> u32 {
    let mut limit = n;
    #[rebuild]
    let table: Vec<u32> = (0..limit).collect();
    let mut sum = 0;
    #[checkpoint]
    for i in 0..n {
        sum += table[i as usize];
        limit += 1;
    }
    sum + limit
}

#[handler]
fn before_the_loop(n: u32) -> u32 {
    let mut limit = n;
    #[rebuild]
    let table: Vec<u32> = (0..limit).collect();
    limit += 1;
    let mut sum = limit;
    #[checkpoint]
    for i in 0..n {
        sum += table[i as usize];
    }
    sum
}

fn main() {}
