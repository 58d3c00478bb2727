//! Early ends, and loops with values.

use limitless_faas::handler;

#[handler]
fn find(items: Vec<i32>, wanted: i32) -> Option<usize> {
    #[checkpoint]
    for (i, item) in items.iter().enumerate() {
        if *item == wanted {
            return Some(i);
        }
    }
    None
}

#[test]
fn return_from_the_loop() {
    same!(find(items = vec![4, 8, 15, 16, 23, 42], wanted = 16));
    same!(find(items = vec![4, 8, 15], wanted = 5));
}

#[handler]
fn let_loop(n: u32) -> (u32, u32) {
    let mut i = n;
    let first = #[checkpoint]
    loop {
        i += 1;
        if i % 13 == 0 {
            break i;
        }
    };
    #[checkpoint]
    let second = loop {
        i += 1;
        if i % 17 == 0 {
            break i;
        }
    };
    (first, second)
}

#[test]
fn let_with_a_loop() {
    same!(let_loop(n = 4));
}

#[handler]
fn assigned(n: u32) -> u32 {
    let mut result = 1;
    let mut i = 0;
    #[checkpoint]
    result = loop {
        i += result;
        if i > n {
            break i * 2;
        }
    };
    result + i
}

#[test]
fn assignment_from_a_loop() {
    same!(assigned(n = 9));
}

#[handler]
fn labelled_values(n: u32) -> (u32, u32) {
    let mut count = 0;
    #[checkpoint]
    let found = 'outer: loop {
        let mut inner = 0;
        #[checkpoint]
        loop {
            inner += 1;
            count += 1;
            if count > n {
                break 'outer inner;
            }
            if inner > 3 {
                break;
            }
        }
    };
    (found, count)
}

#[test]
fn break_with_a_value_to_an_outer_label() {
    same!(labelled_values(n = 14));
}

#[derive(Debug)]
enum Trouble {
    Negative(i64),
    Empty,
}

impl std::fmt::Display for Trouble {
    fn fmt(&self, to: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Trouble::Negative(n) => write!(to, "{n} is negative"),
            Trouble::Empty => to.write_str("nothing given"),
        }
    }
}

fn checked(n: i64) -> Result<i64, Trouble> {
    if n < 0 { Err(Trouble::Negative(n)) } else { Ok(n) }
}

#[handler]
fn roots(numbers: Vec<i64>) -> Result<Vec<i64>, Trouble> {
    let mut roots = vec![];
    if numbers.is_empty() {
        Err(Trouble::Empty)?;
    }
    #[checkpoint]
    for number in numbers.iter().copied() {
        let number = checked(number)?;
        let mut root = 0;
        #[checkpoint]
        while (root + 1) * (root + 1) <= number {
            root += 1;
            checked(root)?;
        }
        roots.push(root);
    }
    Ok(roots)
}

#[test]
fn errors_of_the_application() {
    same_result!(roots(numbers = vec![1, 17, 5]));
    same_result!(roots(numbers = vec![1, 17, -5, 9]));
}

#[handler]
fn let_else_inside(words: Vec<String>) -> Vec<u32> {
    let mut numbers = Vec::new();
    #[checkpoint]
    for word in &words {
        let Ok(number) = word.parse::<u32>() else { continue };
        let Some(half) = (if number % 2 == 0 { Some(number / 2) } else { None }) else { break };
        numbers.push(half);
    }
    numbers
}

#[test]
fn let_else_in_the_loop() {
    same!(let_else_inside(words = ["8", "x", "4", "", "7", "2"].map(str::to_owned).to_vec()));
}

#[handler]
fn unit(n: u32) {
    #[checkpoint]
    for i in 0..n {
        assert!(i < n);
    }
}

#[test]
fn nothing_returned() {
    same!(unit(n = 5));
}

#[handler]
fn panics(n: u32) -> u32 {
    let limits = [9, 7, 5];
    let mut sum = 0;
    #[checkpoint]
    for i in 0..n {
        sum += limits[i as usize];
    }
    sum
}

#[test]
fn panic_in_a_later_invocation() {
    same!(panics(n = 5));
    same!(panics(n = 3));
}
