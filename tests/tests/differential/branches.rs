//! Loops in `if`, `match` and their relatives.

use limitless_faas::handler;
use serde::{Deserialize, Serialize};

#[handler]
fn either(n: u32, up: bool) -> Vec<u32> {
    let mut out = vec![n];
    if up {
        let step = 2;
        #[checkpoint]
        for i in 0..n {
            out.push(i * step);
        }
    } else {
        #[checkpoint]
        for i in (0..n).rev() {
            out.push(i);
        }
        out.push(1000);
    }
    out.push(7);
    out
}

#[test]
fn loops_in_both_branches() {
    same!(either(n = 5, up = true));
    same!(either(n = 5, up = false));
}

#[handler]
fn chain(n: u32) -> u32 {
    let mut sum = n;
    if n > 100 {
        sum = 1;
    } else if n > 10 {
        #[checkpoint]
        while sum % 7 != 0 {
            sum += 1;
        }
    } else if let Some(rest) = n.checked_sub(3) {
        #[checkpoint]
        for i in 0..rest {
            sum += i * rest;
            assert!(sum > 0);
        }
        sum += rest;
    } else {
        sum = 0;
    }
    sum
}

#[test]
fn else_if_chains() {
    same!(chain(n = 15));
    same!(chain(n = 9));
}

#[test]
fn branches_without_a_hook() {
    for n in [101, 2] {
        let input = serde_json::value::RawValue::from_string(format!("{{\"n\":{n}}}")).unwrap();
        assert_eq!(limitless_faas_tests::resume::whole::<chain>(&input), (chain(n).to_string(), 0));
    }
}

// The condition takes `items` away: only a run from before it evaluates it.
#[handler]
fn consumed_by_the_scrutinee(items: Option<Vec<u32>>) -> u32 {
    let mut sum = 0;
    let kept = items;
    if let Some(mut list) = kept {
        list.push(99);
        #[checkpoint]
        while let Some(item) = list.pop() {
            sum = sum * 3 + item;
        }
    }
    sum
}

#[test]
fn scrutinee_that_consumes() {
    same!(consumed_by_the_scrutinee(items = Some(vec![1, 2, 3])));
}

#[derive(Clone, Serialize, Deserialize)]
enum Plan {
    Count(u32),
    Spell { word: String, times: u32 },
    Both(u32, String),
    Stop,
}

#[handler]
fn matched(plan: Plan, extra: u32) -> Result<String, String> {
    let mut log = String::new();
    let length = match plan {
        Plan::Stop if extra == 0 => return Err("stopped".to_owned()),
        Plan::Stop => 1,
        Plan::Count(n) if n > 1000 => n as usize,
        Plan::Count(n) => {
            #[checkpoint]
            for i in 0..n {
                log += &format!("{i};");
            }
            log.len()
        }
        Plan::Spell { word, times } => {
            let mut spelled = 0;
            #[checkpoint]
            for letter in word.chars() {
                #[checkpoint]
                for _ in 0..times {
                    log.push(letter);
                    spelled += 1;
                }
            }
            spelled
        }
        Plan::Both(mut n, text) => {
            #[checkpoint]
            while n > 0 {
                n -= 1;
                log += &text;
            }
            text.len()
        }
    };
    Ok(format!("{log} {length} {extra}"))
}

#[test]
fn loops_in_the_arms_of_a_match() {
    same_result!(matched(plan = Plan::Count(4), extra = 1));
    same_result!(matched(plan = Plan::Spell { word: "abc".into(), times: 2 }, extra = 1));
    same_result!(matched(plan = Plan::Both(3, "xy".into()), extra = 1));
}

#[handler]
fn only_looped_arms(up: Option<u32>) -> u32 {
    match up {
        Some(n) => {
            let mut sum = 0;
            #[checkpoint]
            for i in 0..=n {
                sum += i;
                assert!(sum < 1000);
            }
            sum
        }
        None => {
            let mut i = 1;
            #[checkpoint]
            loop {
                i *= 2;
                if i > 100 {
                    break i;
                }
            }
        }
    }
}

#[test]
fn match_as_the_result() {
    same!(only_looped_arms(up = Some(6)));
    same!(only_looped_arms(up = None::<u32>));
}

#[handler]
fn if_value(n: u32) -> u32 {
    let start = if n % 2 == 0 {
        let mut i = n;
        #[checkpoint]
        while i % 5 != 0 {
            i += 1;
        }
        i
    } else {
        n
    };
    let mut total = start;
    #[checkpoint]
    for i in 0..n {
        total += i;
        assert!(total >= start);
    }
    total
}

#[test]
fn if_as_a_value() {
    same!(if_value(n = 6));
    same!(if_value(n = 7));
}

#[handler]
fn let_chain(pairs: Vec<(u32, Option<u32>)>) -> u32 {
    let mut sum = 0;
    #[checkpoint]
    for (a, b) in pairs.iter().copied() {
        if let Some(b) = b
            && a < b
            && let Some(gap) = b.checked_sub(a)
        {
            let mut i = a;
            #[checkpoint]
            while i < b {
                i += 1;
                sum += i * gap;
            }
        } else {
            sum += 1;
        }
    }
    sum
}

#[test]
fn let_chains() {
    same!(let_chain(pairs = vec![(1, Some(4)), (2, None), (5, Some(3)), (6, Some(8))]));
}

#[handler]
fn while_let_nested(groups: Vec<Vec<u32>>) -> Vec<u32> {
    let mut groups = groups;
    let mut out = vec![];
    #[checkpoint]
    while let Some(mut group) = groups.pop() {
        let size = group.len() as u32;
        #[checkpoint]
        while let Some(item) = group.pop()
            && item != 13
        {
            out.push(item * size);
        }
        out.push(0);
    }
    out
}

#[test]
fn while_let_around_while_let() {
    same!(while_let_nested(groups = vec![vec![1, 2], vec![], vec![3, 13, 4, 5]]));
}

#[handler]
fn branch_in_a_loop(n: u32) -> Vec<String> {
    let mut out = Vec::new();
    #[checkpoint]
    for i in 0..n {
        let text = match i % 3 {
            0 => String::from("zero"),
            1 => {
                let mut text = String::new();
                #[checkpoint]
                for j in 0..i {
                    if j == 5 {
                        break;
                    }
                    text += &j.to_string();
                }
                text
            }
            _ if i > 7 => break,
            _ => continue,
        };
        out.push(text);
    }
    out
}

#[test]
fn plain_arms_that_leave() {
    same!(branch_in_a_loop(n = 12));
}
