//! `if` and `match` around a checkpointed loop.
//!
//! What they decide on is evaluated only by a run that comes from before them; a resumed run knows
//! the branch from the number of the loop. What a pattern bound travels in an `Option`: a resumed
//! run has none, and restores what the branch still uses.

use proc_macro2::TokenStream;
use quote::quote;
use syn::{Arm, Expr, ExprIf, ExprMatch, Pat, Stmt};

use crate::bindings::{self, Binding};
use crate::blocks::{Carried, Lowered, Lowering};
use crate::hooks::{own, own_numbered};
use crate::liveness::{self, Uses};
use crate::shapes;

impl Lowering<'_> {
    pub(crate) fn if_else(&mut self, of: &ExprIf) -> Lowered {
        let number = self.fresh();
        let (chosen, bound, frame) =
            (own_numbered("chosen", number), own_numbered("bound", number), own("frame"));
        let (attributes, condition) = (&of.attrs, &of.cond);
        let resumes = self.resumes_in_next(shapes::count_in_block(&of.then_branch));
        let names = bindings::of_condition(condition);
        let binds = has_let(condition);
        let prefix = if binds { unpack(&names, &quote!(#frame.chosen(#bound))) } else { TokenStream::new() };
        let then = self.block(names.clone(), prefix, &of.then_branch);
        let other = of.else_branch.as_ref().map(|(token, other)| {
            let other = self.otherwise(other);
            quote!(#token { #other })
        });
        let (before, restore, test) = if binds {
            let packed = pack(&names);
            (
                quote!(let #chosen = if #condition { ::core::option::Option::Some(#packed) } else { ::core::option::Option::None };),
                quote!(if #resumes { ::core::option::Option::Some(::core::option::Option::None) } else { ::core::option::Option::None }),
                quote!(let ::core::option::Option::Some(#bound) = #chosen),
            )
        } else {
            (quote!(let #chosen = #condition;), resumes, quote!(#chosen))
        };
        Lowered {
            before: quote!(#[allow(unused_mut)] #before),
            carried: vec![Carried { ident: chosen, mutable: false, restore }],
            code: quote!(#(#attributes)* if #test { #then } #other),
        }
    }

    fn otherwise(&mut self, other: &Expr) -> TokenStream {
        match other {
            Expr::Block(of) => self.block(Vec::new(), TokenStream::new(), &of.block),
            other if shapes::count_in_expr(other) > 0 => {
                self.statements(Vec::new(), TokenStream::new(), &[Stmt::Expr(other.clone(), None)])
            }
            other => quote!(#other),
        }
    }

    pub(crate) fn matching(&mut self, of: &ExprMatch) -> Lowered {
        let number = self.fresh();
        let (chosen, bound, frame) =
            (own_numbered("chosen", number), own_numbered("bound", number), own("frame"));
        let looped: Vec<&Arm> = of.arms.iter().filter(|arm| shapes::count_in_expr(&arm.body) > 0).collect();
        let nest = Nest { arms: looped.len(), done: looped.len() < of.arms.len() };
        let mut restore = TokenStream::new();
        let mut code = nest.done.then(|| {
            let pattern = done(&quote!(#bound));
            quote!(#pattern => #bound,)
        });
        for (index, arm) in looped.iter().enumerate() {
            let resumes = self.resumes_in_next(shapes::count_in_expr(&arm.body));
            let none = nest.arm(index, &quote!(::core::option::Option::None));
            let last = index + 1 == looped.len();
            restore.extend(if last { quote!({ #none }) } else { quote!(if #resumes { #none } else) });
            let names = bindings::of(&arm.pat);
            let prefix = unpack(&names, &quote!(#frame.chosen(#bound)));
            let body = self.arm_body(names, prefix, &arm.body);
            let pattern = nest.arm(index, &quote!(#bound));
            code.get_or_insert_default().extend(quote!(#pattern => { #body }));
        }
        let (scrutinee, arms, attributes) = (&of.expr, choosing_arms(of, nest), &of.attrs);
        Lowered {
            before: quote!(#[allow(unused_mut, unreachable_code)] let #chosen = match #scrutinee { #arms };),
            carried: vec![Carried { ident: chosen.clone(), mutable: false, restore }],
            code: quote!(#(#attributes)* match #chosen { #code }),
        }
    }

    fn arm_body(&mut self, names: Vec<Binding>, prefix: TokenStream, body: &Expr) -> TokenStream {
        match body {
            Expr::Block(of) if of.label.is_none() && of.attrs.is_empty() => {
                self.block(names, prefix, &of.block)
            }
            other => self.statements(names, prefix, &[Stmt::Expr(other.clone(), None)]),
        }
    }
}

/// The arms as written, each yielding which one it is; those without a loop run at once.
fn choosing_arms(of: &ExprMatch, nest: Nest) -> TokenStream {
    let mut index = 0;
    let arms = of.arms.iter().map(|arm| {
        let (attributes, pattern, body) = (&arm.attrs, &arm.pat, &arm.body);
        let value = if shapes::count_in_expr(body) > 0 {
            index += 1;
            nest.arm(index - 1, &pack(&bindings::of(pattern)))
        } else {
            done(&quote!(#body))
        };
        quote!(#(#attributes)* #pattern => #value,)
    });
    arms.collect()
}

/// Nested `Choice`s: one level for the arms that are done, one for each arm with a loop but the last.
#[derive(Clone, Copy)]
struct Nest {
    arms: usize,
    done: bool,
}

impl Nest {
    fn arm(self, index: usize, value: &TokenStream) -> TokenStream {
        let last = index + 1 == self.arms;
        let inner = if last { value.clone() } else { done(value) };
        let depth = index + usize::from(self.done);
        (0..depth).fold(inner, |inner, _| quote!(::limitless_faas::checkpoint::Choice::Arm(#inner)))
    }
}

fn done(value: &TokenStream) -> TokenStream {
    quote!(::limitless_faas::checkpoint::Choice::Done(#value))
}

fn pack(names: &[Binding]) -> TokenStream {
    let idents = names.iter().map(|binding| &binding.ident);
    quote!(::core::option::Option::Some((#(#idents,)*)))
}

fn unpack(names: &[Binding], from: &TokenStream) -> TokenStream {
    let patterns = names.iter().map(Binding::pattern);
    quote!(#[allow(unused_mut, unused_variables)] let (#(#patterns,)*) = #from;)
}

fn has_let(condition: &Expr) -> bool {
    match condition {
        Expr::Let(_) => true,
        Expr::Binary(of) => has_let(&of.left) || has_let(&of.right),
        Expr::Paren(of) => has_let(&of.expr),
        Expr::Group(of) => has_let(&of.expr),
        _ => false,
    }
}

/// Not the condition: a resumed run does not evaluate it.
pub(crate) fn resume_uses_of_if(of: &ExprIf) -> Uses {
    let bound: Vec<String> = bindings::of_condition(&of.cond).iter().map(Binding::name).collect();
    let mut uses = liveness::of_body(&[], &of.then_branch);
    uses.retain(|name, _| !bound.contains(name));
    uses.extend(of.else_branch.iter().flat_map(|(_, other)| liveness::of_expr(other)));
    uses
}

/// Only the arms with loops: the others are done before the cut.
pub(crate) fn resume_uses_of_match(of: &ExprMatch) -> Uses {
    let looped = of.arms.iter().filter(|arm| shapes::count_in_expr(&arm.body) > 0);
    looped
        .flat_map(|arm| {
            let pattern: &Pat = &arm.pat;
            let bound: Vec<String> = bindings::of(pattern).iter().map(Binding::name).collect();
            let mut uses = liveness::of_expr(&arm.body);
            uses.retain(|name, _| !bound.contains(name));
            uses
        })
        .collect()
}
