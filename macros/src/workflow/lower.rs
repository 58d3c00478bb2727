//! Takes a workflow's body apart: awaited calls become nodes, the rest stays as it is.

use std::collections::BTreeMap;

use proc_macro2::TokenStream;
use quote::{ToTokens, quote, quote_spanned};
use syn::parse::Parser;
use syn::punctuated::Punctuated;
use syn::spanned::Spanned;
use syn::{
    Attribute, Block, Expr, ExprCall, ExprMacro, Ident, LitInt, Local, Path, Stmt, Token, parse_quote,
};

use super::flow;
use super::graph::{Graph, Nodes};
use super::tokens::{identifiers, is_join, waits};
use crate::errors::Errors;

const NODE: &str =
    "await a handler's call, `handler(input).await`, or put this into a handler and await that";

/// Walks the body in the order in which it runs.
pub(super) struct Lowering<'a> {
    errors: &'a mut Errors,
    graph: Graph,
    /// The nodes whose results are in a variable.
    known: BTreeMap<String, Nodes>,
    /// The nodes that have just ended.
    before: Nodes,
    /// The nodes that decide whether this place is reached.
    deciding: Nodes,
    retries: u32,
}

impl<'a> Lowering<'a> {
    pub(super) fn new<'p>(errors: &'a mut Errors, parameters: impl Iterator<Item = &'p Ident>) -> Self {
        let known = parameters.map(|name| (name.to_string(), Nodes::new())).collect();
        let (before, deciding) = (Nodes::new(), Nodes::new());
        Self { errors, graph: Graph::default(), known, before, deciding, retries: 0 }
    }

    pub(super) fn into_graph(self) -> Graph {
        self.graph
    }

    /// The nodes that the block's value comes from.
    pub(super) fn block(&mut self, block: &mut Block) -> Nodes {
        let mut value = Nodes::new();
        for statement in &mut block.stmts {
            value = self.statement(statement);
        }
        value
    }

    fn statement(&mut self, statement: &mut Stmt) -> Nodes {
        match statement {
            Stmt::Local(local) => self.local(local),
            Stmt::Expr(value, _) => {
                let from = self.expression(value);
                self.changes(value, &from);
                return from;
            }
            Stmt::Macro(call) if waits(&call.mac.to_token_stream()) => {
                let mac = call.mac.clone();
                let mut value = Expr::Macro(ExprMacro { attrs: Vec::new(), mac });
                let from = self.expression(&mut value);
                *statement = Stmt::Expr(value, Some(Token![;](statement.span())));
                return from;
            }
            Stmt::Macro(_) | Stmt::Item(_) => {}
        }
        Nodes::new()
    }

    fn local(&mut self, local: &mut Local) {
        self.retries = self.retry(&mut local.attrs);
        let mut from = Nodes::new();
        if let Some(init) = &mut local.init {
            from = self.expression(&mut init.expr);
            if let Some((_, otherwise)) = &mut init.diverge
                && waits(&otherwise.to_token_stream())
            {
                let help = "use `if` or `match` with a call in each arm";
                self.refuse(&*otherwise, "a node in the `else` of a `let`", help);
                self.expression(otherwise);
            }
        }
        self.retries = 0;
        self.bind(&local.pat, &from);
    }

    fn bind(&mut self, pattern: &syn::Pat, from: &Nodes) {
        for name in identifiers(pattern.to_token_stream()) {
            self.known.insert(name, from.clone());
        }
    }

    /// A statement may change what it names: `pages.push(page)`.
    fn changes(&mut self, value: &Expr, from: &Nodes) {
        if !matches!(value, Expr::Assign(_) | Expr::MethodCall(_) | Expr::Binary(_) | Expr::Call(_)) {
            return;
        }
        for name in identifiers(value.to_token_stream()) {
            if let Some(known) = self.known.get_mut(&name) {
                known.extend(from);
            }
        }
    }

    fn retry(&mut self, attributes: &mut Vec<Attribute>) -> u32 {
        let Some(at) = attributes.iter().position(|attribute| attribute.path().is_ident("retry")) else {
            return 0;
        };
        let attribute = attributes.remove(at);
        let times = attribute.parse_args::<LitInt>().and_then(|times| times.base10_parse());
        times.unwrap_or_else(|_| {
            let what = "`#[retry]` says how often a node is tried again";
            self.errors.at(&attribute, what, "write `#[retry(3)]`");
            0
        })
    }

    fn refuse(&mut self, at: impl ToTokens, what: &str, help: &str) {
        let why = format!("{what} can't be part of a workflow's graph, which is known before it runs");
        self.errors.at(at, why, help);
    }

    /// Lowers what waits in an expression, in the order of evaluation; the nodes that its value comes from.
    fn expression(&mut self, value: &mut Expr) -> Nodes {
        if self.refuse_spawning(value) {
            return Nodes::new();
        }
        if !waits(&value.to_token_stream()) {
            return self.named(value.to_token_stream());
        }
        match value {
            Expr::Await(of) => {
                let whole = of.to_token_stream();
                if let Expr::Macro(inner) = &*of.base
                    && is_join(&inner.mac)
                {
                    let help = "take the `.await` away: `try_join!(a(x), b(y))?` waits already";
                    self.errors.at(whole, "`join!` is awaited twice", help);
                    *value = (*of.base).clone();
                    return self.join(value);
                }
                return self.awaited(&mut of.base, whole);
            }
            Expr::Macro(of) if is_join(&of.mac) => return self.join(value),
            Expr::If(of) => return self.branch(of),
            Expr::Match(of) => return self.choice(of),
            Expr::Block(of) => return self.block(&mut of.block),
            Expr::ForLoop(_) | Expr::While(_) | Expr::Loop(_) => {
                let help =
                    "use `map(items, handler).await`, or put the loop into a handler with `#[checkpoint]`";
                self.refuse(&*value, "a loop that awaits", help);
                self.refused(value);
            }
            Expr::Closure(_) => {
                self.refuse(&*value, "a closure that awaits", NODE);
                self.refused(value);
            }
            Expr::Async(_) => {
                self.refuse(&*value, "an `async` block", NODE);
                self.refused(value);
            }
            Expr::Macro(of) if of.mac.path.segments.last().is_some_and(|last| last.ident == "select") => {
                let help = "await both with `join!`, or choose with `if`";
                self.refuse(&*value, "`select!`, whose winner is not known,", help);
                *value = never();
            }
            Expr::Macro(_) => {
                let help = "await before the macro, with a `let`, and use the result in it";
                self.refuse(&*value, "an `.await` inside a macro", help);
                *value = never();
            }
            _ => return self.parts(value),
        }
        Nodes::new()
    }

    /// What was refused is lowered all the same, so that rustc has nothing to add about a handler that is no future.
    fn refused(&mut self, value: &mut Expr) {
        match value {
            Expr::ForLoop(of) => {
                self.expression(&mut of.expr);
                self.block(&mut of.body);
            }
            Expr::While(of) => {
                self.expression(&mut of.cond);
                self.block(&mut of.body);
            }
            Expr::Loop(of) => drop(self.block(&mut of.body)),
            Expr::Closure(of) => drop(self.expression(&mut of.body)),
            Expr::Async(of) => drop(self.block(&mut of.block)),
            _ => {}
        }
    }

    fn parts(&mut self, value: &mut Expr) -> Nodes {
        let parts: Vec<&mut Expr> = match value {
            Expr::Try(of) => vec![&mut of.expr],
            Expr::Paren(of) => vec![&mut of.expr],
            Expr::Group(of) => vec![&mut of.expr],
            Expr::Reference(of) => vec![&mut of.expr],
            Expr::Unary(of) => vec![&mut of.expr],
            Expr::Field(of) => vec![&mut of.base],
            Expr::Cast(of) => vec![&mut of.expr],
            Expr::Return(of) => of.expr.iter_mut().map(|value| &mut **value).collect(),
            Expr::Let(of) => vec![&mut of.expr],
            Expr::Index(of) => vec![&mut of.expr, &mut of.index],
            Expr::Assign(of) => vec![&mut of.right],
            Expr::Binary(of) => vec![&mut of.left, &mut of.right],
            Expr::MethodCall(of) => std::iter::once(&mut *of.receiver).chain(&mut of.args).collect(),
            Expr::Call(of) => of.args.iter_mut().collect(),
            Expr::Tuple(of) => of.elems.iter_mut().collect(),
            Expr::Array(of) => of.elems.iter_mut().collect(),
            Expr::Struct(of) => of.fields.iter_mut().map(|field| &mut field.expr).collect(),
            _ => {
                self.refuse(
                    &*value,
                    "an `.await` here",
                    "await before, with a `let`, and use the result here",
                );
                *value = never();
                return Nodes::new();
            }
        };
        let mut from = Nodes::new();
        for part in parts {
            from.extend(self.expression(part));
        }
        from
    }

    fn refuse_spawning(&mut self, value: &mut Expr) -> bool {
        let is_spawning = matches!(&*value, Expr::Call(call) if handler(&call.func)
            .and_then(|path| path.segments.last())
            .is_some_and(|last| last.ident.to_string().starts_with("spawn")));
        if is_spawning {
            let help = "run nodes side by side with `join!` or `try_join!`";
            self.refuse(&*value, "what is spawned, and outlives its place,", help);
            *value = never();
        }
        is_spawning
    }

    /// The nodes that these tokens' variables come from.
    fn named(&self, tokens: TokenStream) -> Nodes {
        let names = identifiers(tokens);
        names.iter().filter_map(|name| self.known.get(name)).flatten().copied().collect()
    }

    fn awaited(&mut self, base: &mut Expr, whole: TokenStream) -> Nodes {
        let Expr::Call(call) = base else {
            self.refuse(whole, "an `.await` on something that is not a handler's call", NODE);
            return Nodes::new();
        };
        let Some((lowered, node)) = self.call(call) else {
            *base = never_ending();
            return Nodes::new();
        };
        *base = lowered;
        self.before = Nodes::from([node]);
        self.before.clone()
    }

    /// Lowers a call of a handler, or of `map` or `when`; it is not waited for yet.
    fn call(&mut self, call: &mut ExprCall) -> Option<(Expr, usize)> {
        let path = handler(&call.func).cloned();
        let Some(path) = path else {
            self.refuse(&call.func, "a call of something without a path", NODE);
            return None;
        };
        let mut from = self.deciding.clone();
        for argument in &mut call.args {
            from.extend(self.expression(argument));
        }
        let kind = path.get_ident().map(ToString::to_string).unwrap_or_default();
        let arguments: Vec<&Expr> = call.args.iter().collect();
        let at = match (kind.as_str(), arguments.len()) {
            ("map", 2) | ("when", 2..) => 1,
            _ => return Some(self.node(&path, false, &from, |node| node.plain(&arguments))),
        };
        let Some(of) = handler(arguments[at]).cloned() else {
            let help = format!("write `{kind}(…, handler, …).await` with the handler's name");
            self.errors.at(arguments[at], format!("`{kind}` takes a handler here"), help);
            return None;
        };
        let is_many = kind == "map";
        Some(self.node(&of, is_many, &from, |node| {
            if is_many { node.map(arguments[0]) } else { node.when(arguments[0], &arguments[2..]) }
        }))
    }

    fn node(
        &mut self,
        handler: &Path,
        is_many: bool,
        from: &Nodes,
        write: impl FnOnce(&Call<'_>) -> TokenStream,
    ) -> (Expr, usize) {
        let (node, name) = self.graph.add(handler, is_many, from, &self.before);
        let lowered = write(&Call { handler, name: &name, retries: self.retries });
        (Expr::Verbatim(lowered), node)
    }

    fn join(&mut self, value: &mut Expr) -> Nodes {
        let Expr::Macro(of) = &*value else { return Nodes::new() };
        let is_try = of.mac.path.segments.last().is_some_and(|last| last.ident == "try_join");
        let parser = Punctuated::<Expr, Token![,]>::parse_terminated;
        let Ok(parts) = parser.parse2(of.mac.tokens.clone()) else {
            self.errors.at(&of.mac, "`join!` takes handlers' calls", "write `try_join!(a(x), b(y))?`");
            *value = never();
            return Nodes::new();
        };
        let (before, mut ended, mut calls) = (self.before.clone(), Nodes::new(), Vec::new());
        for mut part in parts {
            self.before.clone_from(&before);
            if let Expr::Await(inner) = part {
                part = *inner.base;
            }
            let Expr::Call(call) = &mut part else {
                self.refuse(&part, "a branch of `join!` that is not a handler's call", NODE);
                calls.push(parse_quote!(::core::future::ready(#part)));
                continue;
            };
            let lowered = self.call(call);
            ended.extend(lowered.as_ref().map(|(_, node)| *node));
            calls.push(lowered.map_or_else(never_ending, |(lowered, _)| lowered));
        }
        self.before.clone_from(&ended);
        *value = Expr::Verbatim(joined(&calls, is_try));
        ended
    }

    fn branch(&mut self, of: &mut syn::ExprIf) -> Nodes {
        let condition = self.expression(&mut of.cond);
        if let Expr::Let(pattern) = &*of.cond {
            self.bind(&pattern.pat, &condition);
        }
        let (before, deciding) = (self.before.clone(), self.deciding.clone());
        self.deciding.extend(&condition);
        let mut from = self.block(&mut of.then_branch);
        let mut ended = std::mem::replace(&mut self.before, before);
        if let Some((_, otherwise)) = &mut of.else_branch {
            from.extend(self.expression(otherwise));
        }
        ended.append(&mut self.before);
        (self.before, self.deciding) = (ended, deciding);
        from.extend(condition);
        from
    }

    fn choice(&mut self, of: &mut syn::ExprMatch) -> Nodes {
        let chosen = self.expression(&mut of.expr);
        let (before, deciding) = (self.before.clone(), self.deciding.clone());
        let (mut from, mut ended) = (chosen.clone(), Nodes::new());
        self.deciding.extend(&chosen);
        for arm in &mut of.arms {
            self.before.clone_from(&before);
            self.bind(&arm.pat, &chosen);
            from.extend(self.expression(&mut arm.body));
            ended.append(&mut self.before);
        }
        (self.before, self.deciding) = (ended, deciding);
        from
    }
}

/// Stands for what was refused, with any type.
fn never() -> Expr {
    parse_quote!(::core::unreachable!())
}

/// Stands for a future that was refused.
fn never_ending() -> Expr {
    parse_quote!(async { ::core::unreachable!() })
}

/// The path of an expression that may name a handler.
fn handler(value: &Expr) -> Option<&Path> {
    match value {
        Expr::Path(of) if of.qself.is_none() => Some(&of.path),
        _ => None,
    }
}

/// A node about to be written.
struct Call<'a> {
    handler: &'a Path,
    name: &'a str,
    retries: u32,
}

impl Call<'_> {
    fn plain(&self, arguments: &[&Expr]) -> TokenStream {
        let arguments = tuple(arguments);
        self.method("node", &arguments)
    }

    fn map(&self, items: &Expr) -> TokenStream {
        let (flow, handler, name, retries) = (flow(), self.handler, self.name, self.retries);
        quote_spanned!(handler.span()=> #flow.map::<#handler, _, _>(#name, #retries, #items))
    }

    fn when(&self, condition: &Expr, arguments: &[&Expr]) -> TokenStream {
        let arguments = tuple(arguments);
        self.method("when", &quote!(#condition, #arguments))
    }

    fn method(&self, method: &str, arguments: &TokenStream) -> TokenStream {
        let (flow, handler, name, retries) = (flow(), self.handler, self.name, self.retries);
        let method = Ident::new(method, handler.span());
        quote_spanned!(handler.span()=> #flow.#method::<#handler>(#name, #retries, #arguments))
    }
}

fn tuple(arguments: &[&Expr]) -> TokenStream {
    let each = arguments
        .iter()
        .map(|argument| quote_spanned!(argument.span()=> ::limitless_faas::workflow::argument(#argument)));
    quote!((#(#each,)*))
}

/// `both(a, both(b, c))`, and the results as one tuple again.
fn joined(calls: &[Expr], is_try: bool) -> TokenStream {
    let Some((last, first)) = calls.split_last() else { return quote!(()) };
    let name = |index: usize| Ident::new(&format!("__result{index}"), proc_macro2::Span::mixed_site());
    let both = if is_try { quote!(try_both) } else { quote!(both) };
    let (mut future, mut pattern) = (quote!(#last), name(first.len()).into_token_stream());
    for (index, call) in first.iter().enumerate().rev() {
        let result = name(index);
        future = quote!(::limitless_faas::workflow::#both(#call, #future));
        pattern = quote!((#result, #pattern));
    }
    let results = (0..calls.len()).map(name);
    if is_try {
        return quote!(#future.await.map(|#pattern| (#(#results,)*)));
    }
    quote!({ let #pattern = #future.await; (#(#results,)*) })
}
