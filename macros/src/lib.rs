//! The procedural macros of `limitless-faas`; use them through that crate.
//!
//! `#[handler]` makes a function a handler, `#[checkpoint]` inside it cuts the function at a loop,
//! `#[rebuild]` has a binding evaluated again after a resume, `#[derive(State)]` names and versions
//! what a handler saves itself.

use proc_macro::TokenStream;

mod bindings;
mod blocks;
mod branches;
mod errors;
mod handler;
mod hooks;
mod iterators;
mod known;
mod liveness;
mod loops;
mod shapes;
mod signature;
mod state;
mod stride;
mod text;

#[cfg(test)]
mod expansion_tests;

/// Makes a function a handler; see the `limitless-faas` crate.
#[proc_macro_attribute]
pub fn handler(arguments: TokenStream, item: TokenStream) -> TokenStream {
    handler::expand(arguments.into(), &item.into()).into()
}

/// Has a place only inside a function with `#[handler]`, which takes it away. Anywhere else it is this error.
#[proc_macro_attribute]
pub fn checkpoint(_: TokenStream, item: TokenStream) -> TokenStream {
    errors::outside_handler("checkpoint", &item.into()).into()
}

/// Has a place only inside a function with `#[handler]`, which takes it away. Anywhere else it is this error.
#[proc_macro_attribute]
pub fn rebuild(_: TokenStream, item: TokenStream) -> TokenStream {
    errors::outside_handler("rebuild", &item.into()).into()
}

/// Implements `State`; see the `limitless-faas` crate.
#[proc_macro_derive(State, attributes(state))]
pub fn state(item: TokenStream) -> TokenStream {
    state::expand(item.into()).into()
}
