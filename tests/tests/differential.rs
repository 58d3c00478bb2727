//! Wherever a handler is suspended, its result is that of the plain function.
#![allow(clippy::all, clippy::pedantic, clippy::unwrap_used, reason = "handlers as users write them")]

/// Calls the plain function, and compares it with every way of suspending it.
macro_rules! same {
    ($handler:ident($($name:ident = $value:expr),*)) => {{
        let plain = limitless_faas_tests::resume::plain(|| limitless_faas_tests::resume::text(&$handler($($value),*)));
        let input = serde_json::json!({ $(stringify!($name): $value),* }).to_string();
        limitless_faas_tests::resume::differ::<$handler>(&input, &plain, 20);
    }};
}

/// The same for handlers that return a `Result`.
macro_rules! same_result {
    ($handler:ident($($name:ident = $value:expr),*)) => {{
        let plain = match $handler($($value),*) {
            Ok(value) => limitless_faas_tests::resume::text(&value),
            Err(error) => format!("error: {error}"),
        };
        let input = serde_json::json!({ $(stringify!($name): $value),* }).to_string();
        limitless_faas_tests::resume::differ::<$handler>(&input, &plain, 20);
    }};
}

/// The same for handlers that are async.
macro_rules! same_async {
    ($handler:ident($($name:ident = $value:expr),*)) => {{
        let plain = limitless_faas_tests::resume::text(&limitless_faas_tests::resume::wait($handler($($value),*)));
        let input = serde_json::json!({ $(stringify!($name): $value),* }).to_string();
        limitless_faas_tests::resume::differ::<$handler>(&input, &plain, 20);
    }};
}

#[path = "differential/asynchronous.rs"]
mod asynchronous;
#[path = "differential/branches.rs"]
mod branches;
#[path = "differential/collections.rs"]
mod collections;
#[path = "differential/exits.rs"]
mod exits;
#[path = "differential/iterators.rs"]
mod iterators;
#[path = "differential/nesting.rs"]
mod nesting;
#[path = "differential/numeric.rs"]
mod numeric;
#[path = "differential/rebuilding.rs"]
mod rebuilding;
#[path = "differential/strings.rs"]
mod strings;
