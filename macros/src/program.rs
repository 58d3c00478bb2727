//! `#[program]`: a handler that is a program, from the signature of its function and the command that starts it.

use proc_macro2::{Span, TokenStream};
use quote::{ToTokens, quote};
use syn::parse::Parser;
use syn::punctuated::Punctuated;
use syn::{Expr, ForeignItemFn, ItemFn, Token, Type, parse_quote};

use crate::errors::Errors;
use crate::handler::{Handler, fallback};
use crate::{signature, text};

const USAGE: &str = "write `#[program(\"command\", \"argument\")] fn name(field: Type) -> Result<Type>;`";

/// Expands the attribute.
pub(crate) fn expand(arguments: TokenStream, item: &TokenStream) -> TokenStream {
    let declared: ForeignItemFn = match syn::parse2(item.clone()) {
        Ok(declared) => declared,
        Err(error) => return not_declared(item, &error),
    };
    let mut errors = Errors::default();
    let command = command(arguments, &mut errors);
    let ForeignItemFn { attrs, vis, mut sig, .. } = declared;
    let fingerprint = text::fingerprint(quote!(#sig #(#command),*));
    if let Some(word) = sig.asyncness.replace(Token![async](Span::call_site())) {
        errors.at(word, "a program's function is waited for in any case", "take `async` away");
    }
    let mut function: ItemFn = parse_quote!(#(#attrs)* #vis #sig { ::core::unreachable!() });
    let parsed = signature::parse(&function, &mut errors);
    check(&function, &parsed, &mut errors);
    if !errors.is_empty() {
        return fallback(function, &errors);
    }
    let (name, fields) = (&function.sig.ident, parsed.parameters.iter().map(|of| &of.binding.ident));
    let body = quote! {{
        ::limitless_faas::workflow::program(
            <#name as ::limitless_faas::handler::Handler>::definition(),
            &[#(::core::convert::AsRef::<str>::as_ref(&#command)),*],
            (#(#fields,)*),
        )
        .await
    }};
    *function.block = parse_quote!(#body);
    let definition =
        Handler { function: &function, parsed: &parsed, points: &[], fingerprint, workflow: None }
            .definition();
    quote!(#function #definition)
}

fn not_declared(item: &TokenStream, error: &syn::Error) -> TokenStream {
    let mut errors = Errors::default();
    if let Ok(function) = syn::parse2::<ItemFn>(item.clone()) {
        errors.at(&function.block, "the body of a program's function is the program", USAGE);
        return fallback(function, &errors);
    }
    let error = error.to_compile_error();
    quote!(#error #item)
}

/// The command and its arguments, each an expression of a text.
fn command(arguments: TokenStream, errors: &mut Errors) -> Vec<Expr> {
    let parser = Punctuated::<Expr, Token![,]>::parse_terminated;
    match parser.parse2(arguments.clone()) {
        Ok(command) if !command.is_empty() => return command.into_iter().collect(),
        Ok(_) => {
            let what = "`#[program]` without a command: nothing says what to start";
            errors.on(Span::call_site(), what, USAGE);
        }
        Err(_) => errors.at(arguments, "`#[program]` can't read its arguments", USAGE),
    }
    Vec::new()
}

fn check(function: &ItemFn, parsed: &signature::Parsed, errors: &mut Errors) {
    if parsed.context.is_some() {
        errors.at(
            function.sig.inputs.first().map(ToTokens::to_token_stream),
            "a program has no context: what it gets is JSON",
            "take the parameter away, or write a `#[handler]` that starts the program itself",
        );
    }
    let is_result = matches!(&parsed.output, Type::Path(path)
        if path.path.segments.last().is_some_and(|last| last.ident == "Result"));
    if !is_result {
        let output = match &function.sig.output {
            syn::ReturnType::Default => function.sig.ident.to_token_stream(),
            syn::ReturnType::Type(_, of) => of.to_token_stream(),
        };
        errors.at(
            output,
            "a program may fail, and its function's type has no place for that",
            "return `Result<T>`",
        );
    }
}
