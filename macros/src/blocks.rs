//! Cuts blocks at their checkpointed loops.
//!
//! Each cut is one `if`: run what stands before the loop and yield its live bindings, or restore
//! them. The run branch comes first, so that types are known. Cuts nest to the left: the run branch
//! of a later cut holds the earlier one. Loops are numbered depth first, so "a resume goes through
//! here" is a range of numbers.

use proc_macro2::{Ident, TokenStream};
use quote::{ToTokens, quote, quote_spanned};
use syn::{Block, Expr, Local, Stmt};

use crate::bindings::{self, Binding};
use crate::errors::Errors;
use crate::hooks::{Held, Layer, Saved, own, own_at, own_numbered};
use crate::known::{Known, Rebuild};
use crate::liveness::{self, Uses};
use crate::shapes;

/// A checkpointed loop, for the handler's description.
pub(crate) struct PointDef {
    pub(crate) number: u32,
    pub(crate) line: usize,
    pub(crate) label: String,
}

/// Lowers one handler's body.
pub(crate) struct Lowering<'a> {
    pub(crate) errors: &'a mut Errors,
    pub(crate) is_async: bool,
    pub(crate) points: Vec<PointDef>,
    pub(crate) path: Vec<Layer>,
    /// Names of locals that may be visible; others are constants and functions.
    pub(crate) locals: Vec<String>,
    numbers: u32,
    probes: Vec<Ident>,
}

/// An expression that holds a loop, in the parts that a cut puts in different places.
pub(crate) struct Lowered {
    /// Evaluated only in a run that comes from before the cut.
    pub(crate) before: TokenStream,
    /// What that defines, and how a resumed run gets it instead.
    pub(crate) carried: Vec<Carried>,
    /// The expression itself.
    pub(crate) code: TokenStream,
}

pub(crate) struct Carried {
    pub(crate) ident: Ident,
    pub(crate) mutable: bool,
    pub(crate) restore: TokenStream,
}

impl<'a> Lowering<'a> {
    pub(crate) fn new(errors: &'a mut Errors, is_async: bool) -> Lowering<'a> {
        Lowering {
            errors,
            is_async,
            points: Vec::new(),
            path: Vec::new(),
            locals: Vec::new(),
            numbers: 0,
            probes: Vec::new(),
        }
    }

    /// A number for identifiers of our own.
    pub(crate) fn fresh(&mut self) -> u32 {
        self.numbers += 1;
        self.numbers
    }

    fn next_loop(&self) -> u32 {
        u32::try_from(self.points.len()).unwrap_or(u32::MAX).saturating_add(1)
    }

    /// Whether a resume goes through the next `count` loops.
    pub(crate) fn resumes_in_next(&self, count: u32) -> TokenStream {
        let (at, first) = (own("at"), self.next_loop());
        let last = first + count.saturating_sub(1);
        match count {
            0 => quote!(false),
            1 => quote!(#at == #first),
            _ => quote!((#first..=#last).contains(&#at)),
        }
    }

    pub(crate) fn is_local(&self, name: &str) -> bool {
        self.locals.iter().any(|local| local == name)
    }

    /// A block's statements; `given` are bound before them, by `prefix` if that is not empty.
    pub(crate) fn statements(
        &mut self,
        given: Vec<Binding>,
        prefix: TokenStream,
        stmts: &[Stmt],
    ) -> TokenStream {
        let outside = self.locals.len();
        self.locals.extend(given.iter().map(Binding::name));
        let (items, stmts): (Vec<Stmt>, Vec<Stmt>) =
            stmts.iter().cloned().partition(|stmt| matches!(stmt, Stmt::Item(_)));
        let mut known = Known::new(given);
        let mut segment = prefix;
        let mut start = 0;
        for at in (0..stmts.len()).filter(|at| shapes::count_in_stmt(&stmts[*at]) > 0) {
            for index in start..at {
                segment.extend(self.plain(&stmts[index], &stmts[index + 1..=at], &mut known));
            }
            segment = self.cut(&segment, &stmts[at], &stmts[at + 1..], &mut known);
            start = at + 1;
        }
        self.locals.truncate(outside);
        let rest = &stmts[start..];
        quote!(#(#items)* #segment #(#rest)*)
    }

    /// A block with or without loops, without its braces.
    pub(crate) fn block(&mut self, given: Vec<Binding>, prefix: TokenStream, block: &Block) -> TokenStream {
        if shapes::count_in_block(block) == 0 {
            let stmts = &block.stmts;
            return quote!(#prefix #(#stmts)*);
        }
        self.statements(given, prefix, &block.stmts)
    }

    /// A statement without loops before a cut. `until` ends with the statement that is cut.
    fn plain(&mut self, stmt: &Stmt, until: &[Stmt], known: &mut Known) -> TokenStream {
        let Stmt::Local(local) = stmt else { return stmt.to_token_stream() };
        self.locals.extend(bindings::of(&local.pat).iter().map(Binding::name));
        if shapes::has(&local.attrs, "rebuild") || is_text_constant(local) {
            return self.rebuild(local, until, known);
        }
        known.add(local, until, self.errors);
        local.to_token_stream()
    }

    fn rebuild(&mut self, local: &Local, until: &[Stmt], known: &mut Known) -> TokenStream {
        let rebuild = Rebuild::new(local);
        rebuild.refuse_own_name(known, self.errors);
        rebuild.refuse_changes(until, &self.locals, self.errors);
        let Some((cut, between)) = until.split_last() else { return TokenStream::new() };
        let mut used = liveness::of_stmts(between);
        used.extend(before_uses(cut));
        let here = rebuild.names().any(|name| used.contains_key(&name));
        let mut code = if here { rebuild.local.to_token_stream() } else { TokenStream::new() };
        let mut rebuild = rebuild;
        if !between.is_empty() {
            let (held, borrows) = self.hold(&rebuild.inputs);
            rebuild.held = held;
            code.extend(borrows);
        }
        known.add_rebuild(rebuild);
        code
    }

    /// References to those of the names that are locals.
    pub(crate) fn hold(&mut self, inputs: &Uses) -> (Option<Held>, TokenStream) {
        let idents: Vec<Ident> = inputs
            .iter()
            .filter(|(name, _)| self.is_local(name))
            .filter_map(|(name, span)| {
                let mut ident = syn::parse_str::<Ident>(name).ok()?;
                ident.set_span(*span);
                Some(ident)
            })
            .collect();
        let Some(first) = idents.first() else { return (None, TokenStream::new()) };
        let names = idents.iter().map(ToString::to_string).collect();
        let held = Held { ident: own_numbered("held", self.fresh()), span: first.span(), names };
        let ident = &held.ident;
        // The borrow checker shall point at the user's name.
        let references = idents.iter().map(|name| quote_spanned!(name.span()=> &#name));
        let borrows = quote!(let #ident = (#(#references,)*););
        (Some(held), borrows)
    }

    /// Cuts at a statement that holds a loop.
    fn cut(&mut self, segment: &TokenStream, stmt: &Stmt, after: &[Stmt], known: &mut Known) -> TokenStream {
        let mut uses = resume_uses(stmt);
        uses.extend(liveness::of_rest(local_of(stmt).map(|local| &local.pat), after));
        let number = self.fresh();
        let ended = known.end_segment(&mut uses, self.errors);
        let live = known.live(&uses, self.errors);
        let (rebuilt, layer) = self.layer(number, &live, known);
        let resumes = self.resumes_in_next(shapes::count_in_stmt(stmt));
        self.path.push(layer);
        let Lowered { before, carried, code } = self.stmt(stmt);
        self.path.pop();
        if let Some(local) = local_of(stmt) {
            known.add_after(local);
            self.locals.extend(bindings::of(&local.pat).iter().map(Binding::name));
        }
        let bound = bind(&live, &carried, &resumes, &quote!(#segment #ended #before));
        let encoders = encoders(number, &live);
        let probed = self.probe(number, &live);
        quote!(#bound #encoders #probed #rebuilt #code)
    }

    /// What a hook inside the cut's statement saves of this block, and the code that rebuilds the rest.
    fn layer(&mut self, number: u32, live: &[Binding], known: &mut Known) -> (TokenStream, Layer) {
        let mut layer = Layer::default();
        for binding in live {
            let encoder = encoder(number, binding);
            layer.saved.push(Saved::Binding { binding: binding.clone(), encoder });
        }
        let mut code = TokenStream::new();
        for rebuild in known.rebuilds() {
            let (held, borrows) = self.hold(&rebuild.inputs);
            // The references come first: what the binding's value borrows mutably shall not compile.
            let local = &rebuild.local;
            code.extend(quote!(#borrows #local));
            layer.held.extend(held.clone());
            layer.unsaved.extend(rebuild.bindings.iter().map(|binding| binding.ident.clone()));
            rebuild.held = held;
        }
        (code, layer)
    }

    /// Gives the types of the live bindings to the questions at the handler's end.
    fn probe(&mut self, number: u32, live: &[Binding]) -> TokenStream {
        let mut code = TokenStream::new();
        for binding in live {
            let encoder = encoder(number, binding);
            let probe = own_at(&format!("probe{}", self.fresh()), binding.ident.span());
            code.extend(quote!(#probe.is_of(&#encoder);));
            self.probes.push(probe);
        }
        code
    }

    /// The whole body of a handler that returns `output`.
    ///
    /// Whether a live binding is a borrow is asked at the very end, when all types are known: a method is chosen as
    /// soon as it is met, and would be chosen wrongly for a type that is still open.
    pub(crate) fn body(&mut self, given: Vec<Binding>, block: &Block, output: &syn::Type) -> TokenStream {
        let body = self.block(given, TokenStream::new(), block);
        if self.probes.is_empty() {
            return body;
        }
        let (probes, value) = (&self.probes, own("value"));
        let questions = probes.iter().map(|probe| {
            quote_spanned!(probe.span()=> ::limitless_faas::checkpoint::require_owned((&&#probe).kind());)
        });
        quote! {
            #(let #probes = ::limitless_faas::checkpoint::BorrowProbe::new();)*
            #[allow(clippy::let_unit_value)]
            let #value: #output = { #body };
            #[allow(unreachable_code)]
            {
                #[allow(unused_imports)]
                use ::limitless_faas::checkpoint::{ViaBorrow as _, ViaOwned as _};
                #(#questions)*
            }
            #[allow(unreachable_code, clippy::needless_return)]
            return #value;
        }
    }

    /// The statement that is cut.
    fn stmt(&mut self, stmt: &Stmt) -> Lowered {
        match stmt {
            Stmt::Expr(Expr::Assign(assign), semi) => {
                let mut lowered = self.carrier(&assign.right);
                let (left, code) = (&assign.left, &lowered.code);
                lowered.code = quote!(#left = #code #semi);
                lowered
            }
            Stmt::Expr(expression, semi) => {
                let mut lowered = self.carrier(expression);
                semi.to_tokens(&mut lowered.code);
                lowered
            }
            Stmt::Local(Local { attrs, pat, init: Some(init), .. }) => {
                let mut lowered = self.carrier(&init.expr);
                let code = &lowered.code;
                let diverge = init.diverge.as_ref().map(|(token, block)| quote!(#token #block));
                lowered.code = quote!(#(#attrs)* let #pat = #code #diverge;);
                lowered
            }
            other => {
                Lowered { before: TokenStream::new(), carried: Vec::new(), code: other.to_token_stream() }
            }
        }
    }

    /// An expression that holds a loop, in a place that `shapes` allows.
    fn carrier(&mut self, expression: &Expr) -> Lowered {
        let mut lowered =
            Lowered { before: TokenStream::new(), carried: Vec::new(), code: TokenStream::new() };
        match expression {
            Expr::If(of) => return self.if_else(of),
            Expr::Match(of) => return self.matching(of),
            Expr::ForLoop(of) => return self.for_loop(of),
            Expr::While(of) => lowered.code = self.while_loop(of),
            Expr::Loop(of) => lowered.code = self.endless_loop(of),
            Expr::Block(of) => {
                let (attributes, label) = (&of.attrs, &of.label);
                let block = self.block(Vec::new(), TokenStream::new(), &of.block);
                lowered.code = quote!(#(#attributes)* #label { #block });
            }
            Expr::Unsafe(of) => {
                let attributes = &of.attrs;
                let block = self.block(Vec::new(), TokenStream::new(), &of.block);
                lowered.code = quote!(#(#attributes)* unsafe { #block });
            }
            other => lowered.code = other.to_token_stream(),
        }
        lowered
    }
}

/// A literal text costs nothing to evaluate again, and can't be saved as a `&str`.
fn is_text_constant(local: &Local) -> bool {
    use syn::Lit::{ByteStr, CStr, Str};
    let immutable = bindings::of(&local.pat).iter().all(|binding| !binding.mutable);
    let init = local.init.as_ref().map(|init| &*init.expr);
    let text = matches!(init, Some(Expr::Lit(of)) if matches!(of.lit, Str(_) | ByteStr(_) | CStr(_)));
    immutable && text
}

fn local_of(stmt: &Stmt) -> Option<&Local> {
    match stmt {
        Stmt::Local(local) => Some(local),
        _ => None,
    }
}

fn encoder(number: u32, binding: &Binding) -> Ident {
    own(&format!("keep{number}_{}", binding.name().trim_start_matches("r#")))
}

/// `let (live…, carried…) = if it runs { segment } else { restore };`
fn bind(live: &[Binding], carried: &[Carried], resumes: &TokenStream, segment: &TokenStream) -> TokenStream {
    if live.is_empty() && carried.is_empty() {
        return quote!(if !(#resumes) { #segment });
    }
    let patterns = live.iter().map(Binding::pattern).chain(carried.iter().map(|carried| {
        let (ident, mutable) = (&carried.ident, carried.mutable.then(|| quote!(mut)));
        quote!(#mutable #ident)
    }));
    let idents =
        live.iter().map(|binding| &binding.ident).chain(carried.iter().map(|carried| &carried.ident));
    let restores = live
        .iter()
        .map(|binding| {
            let (name, frame) = (binding.name(), own_at("frame", binding.ident.span()));
            quote_spanned!(binding.ident.span()=> #frame.restore(#name))
        })
        .chain(carried.iter().map(|carried| carried.restore.clone()));
    quote! {
        #[allow(unused_mut, unreachable_code, clippy::all, clippy::pedantic)]
        let (#(#patterns,)*) = if !(#resumes) { #segment (#(#idents,)*) } else { (#(#restores,)*) };
    }
}

/// One encoder per live binding, and one look at their types.
fn encoders(number: u32, live: &[Binding]) -> TokenStream {
    if live.is_empty() {
        return TokenStream::new();
    }
    let frame = own("frame");
    let seen = syn::Ident::new(&format!("__SEEN{number}"), proc_macro2::Span::mixed_site());
    let idents: Vec<Ident> = live.iter().map(|binding| encoder(number, binding)).collect();
    let keeps = live.iter().zip(&idents).map(|(binding, encoder)| {
        let (ident, name) = (&binding.ident, binding.name());
        quote_spanned!(ident.span()=> let #encoder = ::limitless_faas::checkpoint::keep(#name, &#ident);)
    });
    quote! {
        #(#keeps)*
        static #seen: ::limitless_faas::checkpoint::Seen = ::limitless_faas::checkpoint::Seen::new();
        #seen.check(&#frame, &[#(#idents.type_of()),*]);
    }
}

/// The names that a resumed run still uses of a statement with a loop.
fn resume_uses(stmt: &Stmt) -> Uses {
    match stmt {
        Stmt::Expr(Expr::Assign(assign), _) => {
            let mut uses = resume_uses_of(&assign.right);
            uses.extend(liveness::of_expr(&assign.left));
            uses
        }
        Stmt::Expr(expression, _) => resume_uses_of(expression),
        Stmt::Local(Local { init: Some(init), .. }) => {
            let mut uses = resume_uses_of(&init.expr);
            uses.extend(init.diverge.iter().flat_map(|(_, diverge)| liveness::of_expr(diverge)));
            uses
        }
        _ => Uses::new(),
    }
}

fn resume_uses_of(expression: &Expr) -> Uses {
    match expression {
        Expr::ForLoop(of) => crate::loops::resume_uses(of),
        Expr::If(of) => crate::branches::resume_uses_of_if(of),
        Expr::Match(of) => crate::branches::resume_uses_of_match(of),
        other => liveness::of_expr(other),
    }
}

/// The names that only a run from before the cut uses.
fn before_uses(stmt: &Stmt) -> Uses {
    let expression = match stmt {
        Stmt::Expr(Expr::Assign(assign), _) => &assign.right,
        Stmt::Local(Local { init: Some(init), .. }) => &init.expr,
        Stmt::Expr(expression, _) => expression,
        _ => return Uses::new(),
    };
    match expression {
        Expr::ForLoop(of) => crate::loops::before_uses(of),
        Expr::If(of) => liveness::of_expr(&of.cond),
        Expr::Match(of) => {
            liveness::of_expr(expression).into_iter().chain(liveness::of_expr(&of.expr)).collect()
        }
        _ => Uses::new(),
    }
}
