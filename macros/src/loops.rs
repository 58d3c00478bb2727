//! The checkpointed loops themselves.
//!
//! The hook stands at the top of the body, so `continue` needs no care. An iterator is never saved:
//! a range's operands are evaluated once and saved as the bounds of what is left; anything else is
//! evaluated again and skipped to its index, while references to the names that it uses prove in
//! the hook that they did not change.

use proc_macro2::{Ident, TokenStream};
use quote::{ToTokens, quote, quote_spanned};
use syn::spanned::Spanned;
use syn::{Attribute, Expr, ExprForLoop, ExprLoop, ExprRange, ExprWhile, Label, RangeLimits, Stmt};

use crate::bindings;
use crate::blocks::{Carried, Lowered, Lowering, PointDef};
use crate::hooks::{Held, Layer, Saved, hook, own, own_numbered, refuse_hidden};
use crate::liveness::{self, Uses};
use crate::{iterators, shapes, stride, text};

impl Lowering<'_> {
    /// Numbers a loop. Outer loops come before those inside.
    fn point(&mut self, keyword: &impl Spanned, head: TokenStream) -> (u32, String) {
        let number = u32::try_from(self.points.len() + 1).unwrap_or(u32::MAX);
        let label = text::of(head);
        self.points.push(PointDef { number, line: keyword.span().start().line, label: label.clone() });
        (number, label)
    }

    /// What a resumed run does at the loop it was suspended in: check that all is restored.
    fn arrive(number: u32) -> TokenStream {
        let (at, frame) = (own("at"), own("frame"));
        quote!(if #at == #number { #at = #frame.resumed(); })
    }

    fn hook(&mut self, number: u32, nested: bool) -> TokenStream {
        refuse_hidden(&self.path, self.errors);
        hook(number, nested, self.is_async, &self.path)
    }

    pub(crate) fn endless_loop(&mut self, of: &ExprLoop) -> TokenStream {
        let (number, _) = self.point(&of.loop_token, quote!(loop));
        let nested = shapes::count_in_block(&of.body) > 0;
        let hook = self.hook(number, nested);
        let body = self.block(Vec::new(), TokenStream::new(), &of.body);
        let (arrive, label, attributes) = (Self::arrive(number), &of.label, kept(&of.attrs));
        quote!({ #arrive #(#attributes)* #label loop { #hook #body } })
    }

    /// `while C {B}` is `loop { hook; if C {B} else { break } }`.
    pub(crate) fn while_loop(&mut self, of: &ExprWhile) -> TokenStream {
        let condition = &of.cond;
        let (number, _) = self.point(&of.while_token, quote!(while #condition));
        let nested = shapes::count_in_block(&of.body) > 0;
        let hook = self.hook(number, nested);
        let body = &of.body;
        let once: Expr = syn::parse_quote!(if #condition #body else { break });
        let turn = if nested {
            self.statements(Vec::new(), TokenStream::new(), &[Stmt::Expr(once, None)])
        } else {
            quote!(#once)
        };
        let (arrive, label, attributes) = (Self::arrive(number), &of.label, kept(&of.attrs));
        quote!({ #arrive #(#attributes)* #[allow(clippy::all, clippy::pedantic)] #label loop { #hook #turn } })
    }

    pub(crate) fn for_loop(&mut self, of: &ExprForLoop) -> Lowered {
        let (pattern, iterated) = (&of.pat, &of.expr);
        let (number, label) = self.point(&of.for_token, quote!(for #pattern in #iterated));
        let name = format!("position of {label}");
        match strip_parens(iterated) {
            Expr::Range(range) if range.start.is_some() => self.over_range(of, range, number, &name),
            _ => self.over_iterator(of, number, &name),
        }
    }

    fn over_range(&mut self, of: &ExprForLoop, range: &ExprRange, number: u32, name: &str) -> Lowered {
        let span = own_numbered("span", number);
        let (start, arrive, kind) = (own("frame"), Self::arrive(number), span_kind(range));
        let layer = Layer {
            saved: vec![Saved::Span { ident: span.clone(), name: name.to_owned() }],
            ..Layer::default()
        };
        let blocks = stride::plan(of, &self.locals);
        let turns = match blocks {
            Some(plan) if range.end.is_some() => {
                let hook = self.within(layer, |lowering| lowering.hook(number, false));
                stride::blocks(of, &plan, number, &span, range, &hook)
            }
            _ => self.turns(of, number, layer, &quote!(#span.rest()), &|item| quote!(#span.current = #item;)),
        };
        Lowered {
            before: quote_spanned!(range.span()=> let mut #span = ::limitless_faas::checkpoint::#kind(#range);),
            carried: vec![Carried { ident: span, mutable: true, restore: quote!(#start.position(#name)) }],
            code: quote!({ #arrive #turns }),
        }
    }

    fn over_iterator(&mut self, of: &ExprForLoop, number: u32, name: &str) -> Lowered {
        iterators::refuse(&of.expr, &self.path, &self.locals, self.errors);
        let (index, next, frame) =
            (own_numbered("index", number), own_numbered("next", number), own("frame"));
        let mut expression = (*of.expr).clone();
        let mut lowered =
            Lowered { before: TokenStream::new(), carried: Vec::new(), code: TokenStream::new() };
        let mut layer = Layer::default();
        if let Some(operands) = iterators::take_operands(&mut expression, number) {
            let operands_name = format!("bounds in {name}");
            let (ident, values) = (operands.ident, operands.values);
            lowered.before.extend(quote!(let #ident = (#(#values,)*);));
            let restore = quote!(#frame.position(#operands_name));
            lowered.carried.push(Carried { ident: ident.clone(), mutable: false, restore });
            layer.saved.push(Saved::Operands { ident, name: operands_name });
        }
        lowered.before.extend(quote!(let mut #index = 0u64;));
        lowered.carried.push(Carried {
            ident: index.clone(),
            mutable: true,
            restore: quote!(#frame.position(#name)),
        });
        layer.saved.push(Saved::Index { ident: index.clone(), name: name.to_owned() });
        let mut uses = liveness::of_expr(&expression);
        uses.retain(|name, _| self.is_local(name));
        iterators::refuse_changes(&uses, of, self.errors);
        let (held, borrows) = self.hold(&uses);
        layer.held.extend(held.map(|held| Held { span: of.expr.span(), ..held }));
        let iterator = own_numbered("iterator", number);
        let mut check = TokenStream::new();
        let turns = if let Some(plan) = stride::plan_iterator(of, &self.locals) {
            let hook = self.within(layer, |lowering| lowering.hook(number, false));
            let counted = stride::enumerated(&expression).cloned();
            let is_enumerated = counted.is_some();
            if let Some(counted) = counted {
                // A type's own method of that name may do something else.
                check = quote! {
                    #[allow(clippy::all, clippy::pedantic)]
                    if false {
                        ::limitless_faas::checkpoint::require_enumerate(#expression);
                        loop {}
                    }
                };
                expression = counted;
            }
            let indexed =
                stride::Indexed { iterator: &iterator, index: &index, is_enumerated, source: plan.source };
            stride::iterator_blocks(of, &plan, number, &indexed, &hook)
        } else {
            let step = quote!(#index = #next; #next += 1;);
            let turns = self.turns(of, number, layer, &iterator.to_token_stream(), &|_| step.clone());
            quote!(let mut #next = #index; #turns)
        };
        let (arrive, order) = (Self::arrive(number), iterators::order(&iterator, number, of));
        let span = of.expr.span();
        let started = quote_spanned!(span=> ::core::iter::IntoIterator::into_iter(#expression));
        lowered.code = quote!({
            #arrive
            #borrows
            #check
            #[allow(clippy::all, clippy::pedantic)]
            match ::limitless_faas::checkpoint::skip_to(#started, #index) {
                #[allow(unused_mut)]
                mut #iterator => {
                    #order
                    #turns
                }
            }
        });
        lowered
    }

    /// The `for` loop itself, over what is left.
    fn turns(
        &mut self,
        of: &ExprForLoop,
        number: u32,
        layer: Layer,
        rest: &TokenStream,
        step: &dyn Fn(&Ident) -> TokenStream,
    ) -> TokenStream {
        let item = own_numbered("item", number);
        let (pattern, nested) = (&of.pat, shapes::count_in_block(&of.body) > 0);
        let bound = bindings::of(pattern);
        // What is bound `mut` may change before an inner hook, so it is saved there like a `let`.
        let changes = nested && bound.iter().any(|binding| binding.mutable);
        let take = quote!(let #pattern = #item;);
        let mut layer = layer;
        if !changes {
            layer.unsaved.extend(bound.iter().map(|binding| binding.ident.clone()));
        }
        let outside = self.locals.len();
        let (hook, body) = self.within(layer, |lowering| {
            // The hook stands outside the pattern's scope.
            let hook = lowering.hook(number, nested);
            lowering.locals.extend(bound.iter().map(bindings::Binding::name));
            let (given, prefix) = if changes { (bound.clone(), take.clone()) } else { Default::default() };
            (hook, lowering.block(given, prefix, &of.body))
        });
        self.locals.truncate(outside);
        let take = (!changes).then_some(take);
        let (label, attributes, step) = (&of.label, kept(&of.attrs), step(&item));
        let for_token = of.for_token;
        let braces = of.body.brace_token.span.join();
        let body = quote_spanned!(braces=> { #step #hook #take #body });
        quote!(#(#attributes)* #label #for_token #item in #rest #body)
    }

    fn within<T>(&mut self, layer: Layer, lower: impl FnOnce(&mut Self) -> T) -> T {
        self.path.push(layer);
        let lowered = lower(self);
        self.path.pop();
        lowered
    }
}

/// The attributes of a loop that are not ours.
pub(crate) fn kept(attributes: &[Attribute]) -> Vec<&Attribute> {
    attributes.iter().filter(|attribute| !shapes::is(attribute, "checkpoint")).collect()
}

pub(crate) fn strip_parens(expression: &Expr) -> &Expr {
    match expression {
        Expr::Paren(of) => strip_parens(&of.expr),
        Expr::Group(of) => strip_parens(&of.expr),
        other => other,
    }
}

fn span_kind(range: &ExprRange) -> Ident {
    let name = match (&range.limits, &range.end) {
        (_, None) => "span_from",
        (RangeLimits::HalfOpen(_), _) => "span",
        (RangeLimits::Closed(_), _) => "span_inclusive",
    };
    Ident::new(name, range.span())
}

/// The name of a loop's label without its colon.
pub(crate) fn label_name(label: Option<&Label>) -> Option<String> {
    label.map(|label| label.name.ident.to_string())
}

/// The names that only a run from before the loop uses: a range's operands.
pub(crate) fn before_uses(of: &ExprForLoop) -> Uses {
    let mut expression = (*of.expr).clone();
    let operands = iterators::take_operands(&mut expression, 0);
    operands.iter().flat_map(|operands| &operands.values).flat_map(liveness::of_expr).collect()
}

/// Not a range's operands: they are evaluated once, and saved.
pub(crate) fn resume_uses(of: &ExprForLoop) -> Uses {
    let mut uses = liveness::of_body(&[&of.pat], &of.body);
    if !matches!(strip_parens(&of.expr), Expr::Range(range) if range.start.is_some()) {
        let mut expression = (*of.expr).clone();
        let _ = iterators::take_operands(&mut expression, 0);
        uses.extend(liveness::of_expr(&expression));
    }
    uses
}
