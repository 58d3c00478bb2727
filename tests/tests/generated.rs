//! Random handlers, suspended everywhere: the same results as the plain functions.
//!
//! `LIMITLESS_PROGRAMS=2000 LIMITLESS_SEED=7 cargo test --test generated` runs more of them.

#![allow(unused, clippy::all, clippy::pedantic, reason = "written by a machine")]

use limitless_faas::Handler;
use limitless_faas::handler::HandlerDef;
use limitless_faas_tests::resume::{differ_definition, text, wait};

struct Program {
    definition: &'static HandlerDef,
    plain: fn(u64, Vec<u64>) -> String,
}

macro_rules! program {
    ($name:ident) => {
        Program {
            definition: <handlers::$name as Handler>::definition(),
            plain: |n, items| text(&handlers::$name(n, items)),
        }
    };
    (async $name:ident) => {
        Program {
            definition: <handlers::$name as Handler>::definition(),
            plain: |n, items| text(&wait(handlers::$name(n, items))),
        }
    };
}

mod handlers {
    use limitless_faas::handler;
    use limitless_faas_tests::resume::pause;

    use super::*;

    include!(concat!(env!("OUT_DIR"), "/generated.rs"));
}

#[test]
fn programs() {
    let inputs: [(u64, &[u64]); 3] = [(3, &[4, 1, 6]), (8, &[]), (11, &[2, 2, 7, 5])];
    let (mut hooked, mut hooks) = (0, 0);
    for program in handlers::programs() {
        let mut most = 0;
        for (n, items) in inputs {
            let plain = (program.plain)(n, items.to_vec());
            let input = serde_json::json!({ "n": n, "items": items }).to_string();
            most = most.max(differ_definition(program.definition, &input, &plain, 4));
        }
        hooked += u64::from(most > 0);
        hooks += most;
    }
    println!("{hooked} programs, {hooks} hooks at most");
    assert!(hooked * 10 >= handlers::programs().len() as u64 * 8, "too few programs pass a hook: {hooked}");
}
