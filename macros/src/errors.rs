//! Gathers every mistake of a function, so that one compile shows them all.

use proc_macro2::{Span, TokenStream};
use quote::{ToTokens, quote};

/// The mistakes found so far.
#[derive(Default)]
pub(crate) struct Errors {
    found: Vec<syn::Error>,
}

impl Errors {
    /// A mistake at these tokens: what is wrong and why, and how to help it.
    pub(crate) fn at(&mut self, tokens: impl ToTokens, what: impl AsRef<str>, help: impl AsRef<str>) {
        self.push(syn::Error::new_spanned(tokens, message(what.as_ref(), help.as_ref())));
    }

    /// A mistake at a place without tokens of its own.
    pub(crate) fn on(&mut self, span: Span, what: impl AsRef<str>, help: impl AsRef<str>) {
        self.push(syn::Error::new(span, message(what.as_ref(), help.as_ref())));
    }

    fn push(&mut self, error: syn::Error) {
        let known = |other: &syn::Error| {
            other.to_string() == error.to_string() && place(other.span()) == place(error.span())
        };
        if !self.found.iter().any(known) {
            self.found.push(error);
        }
    }

    /// Adds those of another part of the item.
    pub(crate) fn append(&mut self, others: Errors) {
        others.found.into_iter().for_each(|error| self.push(error));
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.found.is_empty()
    }

    /// One `compile_error!` for each.
    pub(crate) fn emit(&self) -> TokenStream {
        self.found.iter().map(syn::Error::to_compile_error).collect()
    }
}

fn place(span: Span) -> (usize, usize) {
    (span.start().line, span.start().column)
}

fn message(what: &str, help: &str) -> String {
    format!("{what}\nhelp: {help}")
}

/// The error of an attribute that stands outside any handler; the item stays as it is.
pub(crate) fn outside_handler(name: &str, item: &TokenStream) -> TokenStream {
    let mut errors = Errors::default();
    errors.on(
        Span::call_site(),
        format!(
            "`#[{name}]` outside a handler: only a function with `#[handler]` is cut into resumable pieces"
        ),
        "add `#[handler]` to the function, and put this attribute inside it",
    );
    let error = errors.emit();
    quote!(#error #item)
}
