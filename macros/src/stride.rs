//! Strip-mining: a loop without calls gets one hook per block of turns.
//!
//! A hook in every iteration keeps such a loop from being vectorised. Its body is straight-line
//! arithmetic, so a block of them takes microseconds; where an operator may be a big-integer type's
//! the sdk chooses blocks of one.

use proc_macro2::{Ident, Span, TokenStream};
use quote::quote;
use syn::visit::{self, Visit};
use syn::visit_mut::{self, VisitMut};
use syn::{Expr, ExprForLoop, ExprRange, Lifetime, RangeLimits};

use crate::hooks::own_numbered;
use crate::liveness;
use crate::loops::{kept, label_name, strip_parens};

/// A loop that may run in blocks.
pub(crate) struct Plan {
    /// The locals it uses, whose types decide how long a block may be.
    locals: Vec<Ident>,
    pub(crate) source: Source,
}

/// What tells how many turns are left.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Source {
    /// The loop itself, or an iterator that knows its length.
    Plain,
    /// A range with adapters. Whether its type knows its length may depend on an integer type that is still open; but what the
    /// standard library's ranges tell of their size is exact.
    Range,
}

/// Whether the body is straight-line arithmetic.
pub(crate) fn plan(of: &ExprForLoop, locals: &[String]) -> Option<Plan> {
    plan_with(of, &liveness::of_body(&[&of.pat], &of.body), locals)
}

/// Whether the iterator's own work is too.
pub(crate) fn plan_iterator(of: &ExprForLoop, locals: &[String]) -> Option<Plan> {
    let mut uses = liveness::of_body(&[&of.pat], &of.body);
    uses.extend(liveness::of_expr(&of.expr));
    let counted = enumerated(&of.expr).unwrap_or(&of.expr);
    let source = match () {
        () if is_plain_source(counted) => Source::Plain,
        () if is_range_source(counted) => Source::Range,
        () => return None,
    };
    Some(Plan { source, ..plan_with(of, &uses, locals)? })
}

/// What `….enumerate()` counts. The loop counts itself then: within blocks the adapter's own counter keeps it from being
/// vectorised.
pub(crate) fn enumerated(iterated: &Expr) -> Option<&Expr> {
    match strip_parens(iterated) {
        Expr::MethodCall(call) if call.method == "enumerate" && call.args.is_empty() => Some(&call.receiver),
        _ => None,
    }
}

fn plan_with(of: &ExprForLoop, uses: &liveness::Uses, locals: &[String]) -> Option<Plan> {
    let mut plain = Plain(true);
    plain.visit_block(&of.body);
    let locals = uses.iter().filter(|(name, _)| locals.contains(name));
    let locals = locals.filter_map(|(name, _)| syn::parse_str::<Ident>(name).ok()).collect();
    plain.0.then_some(Plan { locals, source: Source::Plain })
}

/// The loop in blocks. The hook stands between them.
pub(crate) fn blocks(
    of: &ExprForLoop,
    plan: &Plan,
    number: u32,
    span: &Ident,
    range: &ExprRange,
    hook: &TokenStream,
) -> TokenStream {
    let (item, block, stride) =
        (own_numbered("item", number), own_numbered("block", number), own_numbered("stride", number));
    let outer = Lifetime::new(&format!("'__blocks{number}"), Span::mixed_site());
    let mut body = of.body.clone();
    Leave { outer: &outer, label: label_name(of.label.as_ref()) }.visit_block_mut(&mut body);
    let (pattern, label, attributes, stmts) = (&of.pat, &of.label, kept(&of.attrs), &body.stmts);
    let (locals, closed) = (&plan.locals, matches!(range.limits, RangeLimits::Closed(_)));
    let end = if closed { quote!(*#block.end()) } else { quote!(#block.end) };
    quote! {
        let #stride = ::limitless_faas::checkpoint::stride(&[
            #(::limitless_faas::checkpoint::plain_cost(&#locals)),*
        ]);
        #[allow(unused_labels)]
        #outer: while let ::core::option::Option::Some(#block) = #span.block(#stride) {
            #hook
            #(#attributes)* #label for #item in #block.clone() { let #pattern = #item; #(#stmts)* }
            if #span.advance(#end) { break #outer; }
        }
    }
}

/// An iterator, and where in it the loop stands.
pub(crate) struct Indexed<'a> {
    pub(crate) iterator: &'a Ident,
    pub(crate) index: &'a Ident,
    /// Whether the loop's items carry their number.
    pub(crate) is_enumerated: bool,
    pub(crate) source: Source,
}

/// The same for an iterator that knows how much it has left; any other gets blocks of one.
pub(crate) fn iterator_blocks(
    of: &ExprForLoop,
    plan: &Plan,
    number: u32,
    Indexed { iterator, index, is_enumerated, source }: &Indexed<'_>,
    hook: &TokenStream,
) -> TokenStream {
    let (item, block, stride) =
        (own_numbered("item", number), own_numbered("block", number), own_numbered("stride", number));
    let outer = Lifetime::new(&format!("'__blocks{number}"), Span::mixed_site());
    let mut body = of.body.clone();
    Leave { outer: &outer, label: label_name(of.label.as_ref()) }.visit_block_mut(&mut body);
    let (pattern, label, attributes, stmts) = (&of.pat, &of.label, kept(&of.attrs), &body.stmts);
    let (locals, ended, known) = (&plan.locals, own_numbered("ended", number), own_numbered("known", number));
    let count = own_numbered("count", number);
    let (start, numbered) = if *is_enumerated {
        (
            quote!(let mut #count = ::limitless_faas::checkpoint::count_from(#index);),
            quote!(let #item = (#count, #item); #count += 1;),
        )
    } else {
        Default::default()
    };
    let at_hand = match source {
        Source::Range => quote!(::limitless_faas::checkpoint::range_at_hand(&#iterator, #stride)),
        Source::Plain => quote!({
            #[allow(unused_imports)]
            use ::limitless_faas::checkpoint::{ViaLength as _, ViaOne as _};
            (&&::limitless_faas::checkpoint::LengthProbe(&#iterator)).at_hand(#stride)
        }),
    };
    quote! {
        let #stride = ::limitless_faas::checkpoint::stride(&[
            #(::limitless_faas::checkpoint::plain_cost(&#locals)),*
        ]);
        #[allow(unused_labels)]
        #outer: loop {
            #hook
            let (#block, #known) = #at_hand;
            if #block == 0 { break #outer; }
            // Where the length is known the flag is dead code; alive it would keep the loop from being vectorised.
            let mut #ended = false;
            #start
            #(#attributes)* #label for _ in 0..#block {
                let ::core::option::Option::Some(#item) = ::core::iter::Iterator::next(&mut #iterator) else {
                    if !#known { #ended = true; }
                    break;
                };
                #numbered
                let #pattern = #item;
                #(#stmts)*
            }
            if #ended { break #outer; }
            #index += #block as u64;
        }
    }
}

/// Whether what is iterated over is a range with adapters that do next to nothing.
fn is_range_source(source: &Expr) -> bool {
    match strip_parens(source) {
        Expr::Range(range) => range.start.is_some(),
        Expr::MethodCall(call) => {
            let known = ["rev", "skip", "take", "step_by"].iter().any(|name| call.method == name);
            known && is_range_source(&call.receiver) && call.args.iter().all(is_plain_source)
        }
        _ => false,
    }
}

/// Whether what is iterated over is a slice, or adapters on slices that do next to nothing.
fn is_plain_source(source: &Expr) -> bool {
    const ADAPTERS: &[&str] = &[
        "iter",
        "copied",
        "cloned",
        "zip",
        "rev",
        "skip",
        "take",
        "chunks",
        "chunks_exact",
        "windows",
        "as_slice",
    ];
    match source {
        Expr::Paren(of) => is_plain_source(&of.expr),
        Expr::Group(of) => is_plain_source(&of.expr),
        Expr::Reference(of) => of.mutability.is_none() && is_plain_source(&of.expr),
        Expr::Field(of) => is_plain_source(&of.base),
        Expr::Index(of) => is_plain_source(&of.expr),
        Expr::Path(of) => of.path.get_ident().is_some(),
        Expr::Lit(_) => true,
        Expr::MethodCall(call) => {
            let known = ADAPTERS.iter().any(|name| call.method == name);
            known && is_plain_source(&call.receiver) && call.args.iter().all(is_plain_source)
        }
        _ => false,
    }
}

/// `break` leaves the blocks too; `continue` goes on within its block.
struct Leave<'a> {
    outer: &'a Lifetime,
    label: Option<String>,
}

impl VisitMut for Leave<'_> {
    fn visit_expr_break_mut(&mut self, of: &mut syn::ExprBreak) {
        let own = match &of.label {
            None => true,
            Some(label) => Some(label.ident.to_string()) == self.label,
        };
        if own {
            of.label = Some(self.outer.clone());
        }
        visit_mut::visit_expr_break_mut(self, of);
    }
}

/// Methods that compile to a few instructions on numbers, slices and options.
const METHODS: &[&str] = &[
    "abs",
    "abs_diff",
    "acos",
    "as_ref",
    "ceil",
    "checked_add",
    "checked_div",
    "checked_mul",
    "checked_rem",
    "checked_sub",
    "clamp",
    "clone",
    "cmp",
    "copied",
    "count_ones",
    "count_zeros",
    "div_euclid",
    "eq",
    "floor",
    "fract",
    "ge",
    "get",
    "gt",
    "is_empty",
    "is_none",
    "is_ok",
    "is_some",
    "le",
    "leading_zeros",
    "len",
    "lt",
    "max",
    "min",
    "mul_add",
    "ne",
    "overflowing_add",
    "overflowing_mul",
    "overflowing_sub",
    "recip",
    "rem_euclid",
    "rotate_left",
    "rotate_right",
    "round",
    "saturating_add",
    "saturating_mul",
    "saturating_sub",
    "signum",
    "sqrt",
    "swap_bytes",
    "to_bits",
    "trailing_zeros",
    "trunc",
    "unsigned_abs",
    "unwrap_or",
    "unwrap_or_default",
    "wrapping_add",
    "wrapping_div",
    "wrapping_mul",
    "wrapping_neg",
    "wrapping_rem",
    "wrapping_shl",
    "wrapping_shr",
    "wrapping_sub",
];

struct Plain(bool);

impl<'ast> Visit<'ast> for Plain {
    fn visit_expr(&mut self, expression: &'ast Expr) {
        self.0 &= match expression {
            Expr::MethodCall(call) => METHODS.iter().any(|name| call.method == name),
            Expr::Array(_)
            | Expr::Assign(_)
            | Expr::Binary(_)
            | Expr::Block(_)
            | Expr::Break(_)
            | Expr::Cast(_)
            | Expr::Continue(_)
            | Expr::Field(_)
            | Expr::Group(_)
            | Expr::If(_)
            | Expr::Index(_)
            | Expr::Let(_)
            | Expr::Lit(_)
            | Expr::Match(_)
            | Expr::Paren(_)
            | Expr::Path(_)
            | Expr::Range(_)
            | Expr::Reference(_)
            | Expr::Return(_)
            | Expr::Tuple(_)
            | Expr::Unary(_) => true,
            Expr::Call(call) => is_variant(&call.func),
            _ => false,
        };
        visit::visit_expr(self, expression);
    }

    fn visit_macro(&mut self, _: &'ast syn::Macro) {
        self.0 = false;
    }

    fn visit_item(&mut self, _: &'ast syn::Item) {
        self.0 = false;
    }
}

/// `Some(x)` and the like.
fn is_variant(function: &Expr) -> bool {
    matches!(function, Expr::Path(path) if ["Some", "Ok", "Err"].iter().any(|name| path.path.is_ident(name)))
}
