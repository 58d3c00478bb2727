//! x
use proc_macro::TokenStream;
/// x
#[proc_macro_attribute]
pub fn handler(_a: TokenStream, b: TokenStream) -> TokenStream {
    b
}
/// x
#[proc_macro_derive(State, attributes(state))]
pub fn state(_: TokenStream) -> TokenStream {
    TokenStream::new()
}
