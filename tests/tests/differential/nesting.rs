//! Loops in loops, in a row, and in blocks.

use limitless_faas::handler;

#[handler]
fn two_deep(n: u64) -> u64 {
    let mut sum = 0;
    #[checkpoint]
    for i in 0..n {
        let mut row = i * 2;
        #[checkpoint]
        while row > 0 {
            row -= 1;
            sum += row;
        }
        sum ^= i;
    }
    sum
}

#[test]
fn nested_two_deep() {
    same!(two_deep(n = 6));
}

#[handler]
fn three_deep(n: usize) -> Vec<Vec<u64>> {
    let a: Vec<Vec<u64>> = (0..n).map(|i| (0..n).map(|j| (i * j + 1) as u64).collect()).collect();
    let b: Vec<Vec<u64>> = (0..n).map(|i| (0..n).map(|j| (i + 2 * j) as u64).collect()).collect();
    let mut product = vec![vec![0; n]; n];
    #[checkpoint]
    for (i, row) in a.iter().enumerate() {
        #[checkpoint]
        for j in 0..n {
            let mut sum = 0;
            #[checkpoint]
            for (k, x) in row.iter().enumerate() {
                sum += x * b[k][j];
            }
            product[i][j] = sum;
        }
    }
    product
}

#[test]
fn matrix_three_deep_over_borrowed_rows() {
    same!(three_deep(n = 3));
}

#[handler]
fn siblings(n: u32) -> (u32, Vec<u32>, String) {
    let mut low = 0;
    #[checkpoint]
    for i in 0..n {
        low += i;
        assert!(low < 10_000);
    }
    let mut list = vec![low];
    #[checkpoint]
    while list.len() < 6 {
        list.push(low + list[list.len() - 1]);
    }
    let mut text = String::new();
    #[checkpoint]
    for item in list.iter().rev() {
        text += &format!("{item},");
    }
    (low, list, text)
}

#[test]
fn three_in_a_row() {
    same!(siblings(n = 5));
}

#[handler]
fn siblings_inside(n: u32) -> Vec<u32> {
    let mut seen = Vec::new();
    #[checkpoint]
    for i in 0..n {
        let base = i * 100;
        #[checkpoint]
        for j in 0..2 {
            seen.push(base + j);
        }
        let middle = seen.len() as u32;
        #[checkpoint]
        for j in (0..3).rev() {
            seen.push(base + middle * 10 + j);
        }
        seen.push(middle);
    }
    seen
}

#[test]
fn siblings_in_a_loop() {
    same!(siblings_inside(n = 3));
}

#[handler]
fn labels(n: u32) -> Vec<(u32, u32)> {
    let mut pairs = vec![];
    #[checkpoint]
    'rows: for i in 0..n {
        #[checkpoint]
        'columns: for j in 0..n {
            if j > i {
                continue 'rows;
            }
            if (i + j) % 3 == 2 {
                continue 'columns;
            }
            if i * j > 12 {
                break 'rows;
            }
            pairs.push((i, j));
            if j == 4 {
                break;
            }
        }
        pairs.push((i, 999));
    }
    pairs
}

#[test]
fn labelled_break_and_continue() {
    same!(labels(n = 7));
}

#[handler]
fn shadowing(x: u32) -> (u32, u32) {
    let x = x + 1;
    let y = x;
    let mut x = vec![x; 2];
    #[checkpoint]
    for i in 0..3 {
        let y = y + i;
        x.push(y);
    }
    let x: u32 = x.iter().sum();
    #[checkpoint]
    for _ in 0..2 {
        assert!(x > y);
    }
    (x, y)
}

#[test]
fn shadowed_names() {
    same!(shadowing(x = 4));
}

#[handler]
fn mutable_pattern(n: u32) -> Vec<u32> {
    let mut out = Vec::new();
    #[checkpoint]
    for mut i in 0..n {
        i *= 10;
        #[checkpoint]
        while i % 7 != 0 {
            i += 1;
            out.push(i);
        }
        out.push(i);
    }
    out
}

#[test]
fn mutable_loop_variables_are_saved() {
    same!(mutable_pattern(n = 5));
}

#[handler]
fn blocks(n: u32) -> u32 {
    let start = 3;
    let total = {
        let mut inner = start;
        #[checkpoint]
        for i in 0..n {
            inner += i;
            assert!(inner > 0);
        }
        inner * 2
    };
    let found = 'search: {
        let mut i = total;
        #[checkpoint]
        loop {
            i += 1;
            if i % 11 == 0 {
                break 'search i;
            }
            if i > 10_000 {
                break;
            }
        }
        0
    };
    total + found + start
}

#[test]
fn plain_and_labelled_blocks() {
    same!(blocks(n = 4));
}

#[handler]
fn unsafe_block(n: u8) -> Vec<u8> {
    let mut out = vec![0; 4];
    #[allow(unused_unsafe)]
    unsafe {
        #[checkpoint]
        for i in 0..n {
            out[usize::from(i % 4)] ^= i.count_ones() as u8 + 1;
            assert!(out.len() == 4);
        }
    }
    out
}

#[test]
fn unsafe_blocks() {
    same!(unsafe_block(n = 9));
}

#[handler]
fn items_inside(n: u32) -> u32 {
    const STEP: u32 = 3;
    fn grow(of: u32) -> u32 {
        of * STEP
    }
    let mut sum = 1;
    #[checkpoint]
    for i in 0..n {
        sum += grow(i) + TAIL;
    }
    const TAIL: u32 = 2;
    sum
}

#[test]
fn items_in_the_body() {
    same!(items_inside(n = 5));
}

#[handler]
fn calls_another(n: u64) -> u64 {
    let mut sum = 0;
    #[checkpoint]
    for i in 1..n {
        sum += two_deep(i % 4);
    }
    sum
}

#[test]
fn a_handler_that_calls_a_handler() {
    same!(calls_another(n = 9));
}

#[handler]
fn calls_first(n: u64) -> u64 {
    two_deep(n) + calls_another(n)
}

#[test]
fn hooks_below_the_outermost_handler_are_inert() {
    let input = serde_json::value::RawValue::from_string(r#"{"n":4}"#.into()).unwrap();
    let (result, hooks) = limitless_faas_tests::resume::whole::<calls_first>(&input);
    assert_eq!((result, hooks), (calls_first(4).to_string(), 0));
}
