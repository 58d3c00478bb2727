//! What a `for` loop iterates over, if it is not a plain range.

use proc_macro2::{Ident, TokenStream};
use quote::{quote, quote_spanned};
use syn::spanned::Spanned;
use syn::{Expr, ExprForLoop};

use crate::errors::Errors;
use crate::hooks::{Layer, own, own_numbered};
use crate::liveness::{Uses, assignment, root};
use crate::loops::strip_parens;
use crate::{liveness, text};

/// A range's operands, taken out of the chain of adapters on it.
pub(crate) struct Operands {
    pub(crate) ident: Ident,
    pub(crate) values: Vec<Expr>,
}

/// Replaces the operands of the range at the root of a chain by what was evaluated once.
pub(crate) fn take_operands(expression: &mut Expr, number: u32) -> Option<Operands> {
    match expression {
        Expr::MethodCall(call) => take_operands(&mut call.receiver, number),
        Expr::Paren(of) => take_operands(&mut of.expr, number),
        Expr::Group(of) => take_operands(&mut of.expr, number),
        Expr::Range(range) => {
            let ident = own_numbered("bounds", number);
            let mut values = Vec::new();
            for operand in [&mut range.start, &mut range.end].into_iter().flatten() {
                let index = syn::Index::from(values.len());
                let once: Expr = syn::parse_quote!(#ident.#index);
                values.push(std::mem::replace(&mut **operand, once));
            }
            (!values.is_empty()).then_some(Operands { ident, values })
        }
        _ => None,
    }
}

/// Checks, by its type, that the iterator comes in the same order again.
pub(crate) fn order(iterator: &Ident, number: u32, of: &ExprForLoop) -> TokenStream {
    let (frame, span) = (own("frame"), of.expr.span());
    let label = text::of({
        let (pattern, iterated) = (&of.pat, &of.expr);
        quote!(for #pattern in #iterated)
    });
    let seen = Ident::new(&format!("__ORDER{number}"), proc_macro2::Span::mixed_site());
    quote_spanned! {span=>
        {
            #[allow(unused_imports)]
            use ::limitless_faas::checkpoint::{AnyOrder as _, RandomOrder as _};
            ::limitless_faas::checkpoint::require_order((&&::limitless_faas::checkpoint::OrderProbe(&#iterator)).order());
        }
        static #seen: ::limitless_faas::checkpoint::Seen = ::limitless_faas::checkpoint::Seen::new();
        #seen.check_order(&#frame, &#iterator, #label);
    }
}

/// Refuses what can be seen to iterate over something that is gone or different after a resume.
pub(crate) fn refuse(expression: &Expr, path: &[Layer], locals: &[String], errors: &mut Errors) {
    let expression = strip_parens(expression);
    refuse_await(expression, errors);
    // A loop's pattern and a rebuilt binding are made again after a resume; only what is saved can be lost.
    let saved = |name: &Ident| locals.iter().any(|local| name == local) && !is_remade(name, path);
    match expression {
        Expr::Path(of) => {
            if let Some(name) = of.path.get_ident().filter(|name| saved(name)) {
                refuse_consumed(name, &format!("&{name}"), errors);
            }
        }
        Expr::Reference(of) if of.mutability.is_some() => {
            if let Some(name) = root(&of.expr) {
                refuse_mutable(expression, name, errors);
            }
        }
        Expr::MethodCall(_) => refuse_chain(expression, &saved, errors),
        _ => {}
    }
}

fn refuse_chain(expression: &Expr, saved: &dyn Fn(&Ident) -> bool, errors: &mut Errors) {
    let Expr::MethodCall(call) = expression else { return };
    let Some(name) = root(&call.receiver) else {
        return refuse_chain(strip_parens(&call.receiver), saved, errors);
    };
    let method = call.method.to_string();
    let field = text::of({
        let receiver = &call.receiver;
        quote!(#receiver)
    });
    match method.as_str() {
        "iter_mut" | "values_mut" | "chunks_mut" | "split_at_mut" | "drain" | "drain_all" | "extract_if" => {
            refuse_mutable(call, name, errors);
        }
        "into_iter" if saved(name) => refuse_consumed(name, &format!("&{field}"), errors),
        "into_keys" if saved(name) => refuse_consumed(name, &format!("{field}.keys()"), errors),
        "into_values" if saved(name) => refuse_consumed(name, &format!("{field}.values()"), errors),
        _ => refuse_chain(strip_parens(&call.receiver), saved, errors),
    }
}

fn is_remade(name: &Ident, path: &[Layer]) -> bool {
    path.iter().any(|layer| layer.unsaved.contains(name))
}

fn refuse_consumed(name: &Ident, help: &str, errors: &mut Errors) {
    errors.at(
        name,
        format!("this loop consumes `{name}`, so there is nothing left of it to save or to iterate over after a resume"),
        format!("iterate over `{help}`"),
    );
}

fn refuse_mutable(at: &(impl quote::ToTokens + Spanned), name: &Ident, errors: &mut Errors) {
    errors.at(
        at,
        format!("this loop changes `{name}` through its iterator, which is made again from the changed `{name}` after a resume"),
        format!("iterate over the indices: `for i in 0..{name}.len()`, and change `{name}[i]`"),
    );
}

/// Refuses a loop that changes what it iterates over; the borrow checker finds what this does not.
pub(crate) fn refuse_changes(uses: &Uses, of: &ExprForLoop, errors: &mut Errors) {
    let inside = liveness::of_body(&[&of.pat], &of.body);
    for name in uses.keys().filter(|name| inside.contains_key(*name)) {
        if let Some(change) = assignment(&of.body.stmts, name) {
            errors.at(
                change,
                format!("this changes `{name}`, from which the loop's iterator is made again after a resume"),
                format!("keep what the loop begins with: `let first_{name} = {name};` before it, and iterate with that"),
            );
        }
    }
}

fn refuse_await(expression: &Expr, errors: &mut Errors) {
    struct Awaits(Option<proc_macro2::Span>);
    impl<'ast> syn::visit::Visit<'ast> for Awaits {
        fn visit_expr_await(&mut self, of: &'ast syn::ExprAwait) {
            self.0.get_or_insert(of.await_token.span);
        }
        fn visit_expr_async(&mut self, _: &'ast syn::ExprAsync) {}
        fn visit_expr_closure(&mut self, _: &'ast syn::ExprClosure) {}
    }
    let mut found = Awaits(None);
    syn::visit::Visit::visit_expr(&mut found, expression);
    if let Some(span) = found.0 {
        errors.on(
            span,
            "this would be awaited once more after a resume: what a loop iterates over is evaluated again",
            "bind it before the loop: `let items = ….await;`, and iterate over `&items`",
        );
    }
}
