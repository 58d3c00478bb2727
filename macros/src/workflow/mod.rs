//! `#[workflow]`: an async function whose awaited calls became nodes, and beside it its graph.

use proc_macro2::{Span, TokenStream};
use quote::{ToTokens, quote};
use syn::parse::Parser;
use syn::{Ident, ItemFn, LitInt, Token, parse_quote};

use crate::errors::Errors;
use crate::handler::{Handler, fallback};
use crate::{signature, text};

mod graph;
mod lower;
mod tokens;

use lower::Lowering;

/// Expands the attribute.
pub(crate) fn expand(arguments: TokenStream, item: &TokenStream) -> TokenStream {
    let function: ItemFn = match syn::parse2(item.clone()) {
        Ok(function) => function,
        Err(error) => {
            let error = error.to_compile_error();
            return quote!(#error #item);
        }
    };
    let mut errors = Errors::default();
    let slo_ms = slo(arguments, &mut errors);
    let fingerprint = text::fingerprint({
        let (signature, block) = (&function.sig, &function.block);
        quote!(#signature #block)
    });
    let mut of_signature = Errors::default();
    let parsed = signature::parse(&function, &mut of_signature);
    check(&function, &parsed, &mut of_signature);
    let can_be_called = of_signature.is_empty();
    errors.append(of_signature);
    let mut lowered = function.clone();
    let parameters = parsed.parameters.iter().map(|parameter| &parameter.binding.ident);
    let mut lowering = Lowering::new(&mut errors, parameters);
    lowering.block(&mut lowered.block);
    let graph = lowering.into_graph();
    if graph.is_empty() && errors.is_empty() {
        errors.at(
            &function.sig.ident,
            "a workflow without a node: nothing in it awaits a handler",
            "await a handler's call, or write `#[handler]` instead",
        );
    }
    if !can_be_called {
        return fallback(orchestrated(lowered), &errors);
    }
    let workflow = Some(graph.definition(slo_ms));
    let definition =
        Handler { function: &function, parsed: &parsed, points: &[], fingerprint, workflow }.definition();
    let lowered = orchestrated(lowered);
    if errors.is_empty() {
        return quote!(#lowered #definition);
    }
    // Whatever else calls this workflow is not to blame for its mistakes.
    let errors = errors.emit();
    quote! {
        #errors
        #[allow(unused, clippy::all, clippy::pedantic)]
        #lowered
        #definition
    }
}

/// The function with its orchestrator.
fn orchestrated(mut lowered: ItemFn) -> ItemFn {
    let flow = flow();
    // That it is none was told already.
    lowered.sig.asyncness.get_or_insert_default();
    lowered.block.stmts.insert(0, parse_quote!(let #flow = ::limitless_faas::workflow::enter();));
    lowered
}

/// The orchestrator's name in an expansion; no name of the user's can meet it.
fn flow() -> Ident {
    Ident::new("__flow", Span::mixed_site())
}

fn slo(arguments: TokenStream, errors: &mut Errors) -> Option<u64> {
    if arguments.is_empty() {
        return None;
    }
    let parser = |input: syn::parse::ParseStream<'_>| {
        let name: Ident = input.parse()?;
        input.parse::<Token![=]>()?;
        let value: LitInt = input.parse()?;
        input.parse::<Option<Token![,]>>()?;
        Ok((name, value))
    };
    let usage = "write `#[workflow]` or `#[workflow(slo_ms = 200)]`, a whole number of milliseconds";
    match parser.parse2(arguments.clone()) {
        Ok((name, value)) if name == "slo_ms" => match value.base10_parse::<u64>() {
            Ok(ms) if ms > 0 => return Some(ms),
            _ => errors.at(value, "a latency target is at least one millisecond", usage),
        },
        Ok((name, _)) => errors.at(&name, format!("`#[workflow]` has no argument `{name}`"), usage),
        Err(_) => errors.at(arguments, "`#[workflow]` can't read its arguments", usage),
    }
    None
}

fn check(function: &ItemFn, parsed: &signature::Parsed, errors: &mut Errors) {
    if function.sig.asyncness.is_none() {
        errors.at(
            function.sig.fn_token,
            "a workflow is an `async fn`: its `.await`s are its nodes",
            "write `async fn`",
        );
    }
    if parsed.context.is_some() {
        errors.at(
            function.sig.inputs.first().map(ToTokens::to_token_stream),
            "a workflow has no context: its state is what its nodes returned",
            "take the parameter away, and give a node a `Context` of its own where it needs one",
        );
    }
}
