//! Which names a piece of code uses from outside itself.
//!
//! Every mention counts as a use: that may save a value too many, never one too few. Inside a
//! macro's input any identifier may be a use, and so may a name in braces in a string.

use std::collections::BTreeMap;

use proc_macro2::{Ident, Literal, Span, TokenStream, TokenTree};
use syn::visit::{self, Visit};
use syn::{Block, Expr, Local, Macro, Pat, Stmt};

use crate::bindings;

/// Names used, each with the place of its first use.
pub(crate) type Uses = BTreeMap<String, Span>;

/// The names that an expression uses.
pub(crate) fn of_expr(expression: &Expr) -> Uses {
    let mut free = Free::default();
    free.visit_expr(expression);
    free.uses
}

/// The names that statements use from before the first of them.
pub(crate) fn of_stmts(stmts: &[Stmt]) -> Uses {
    let mut free = Free::default();
    free.scoped(|free| free.stmts(stmts));
    free.uses
}

/// The names that a block uses which begins with these patterns bound.
pub(crate) fn of_body(patterns: &[&Pat], body: &Block) -> Uses {
    let mut free = Free::default();
    free.scoped(|free| {
        for pattern in patterns {
            free.bind(pattern);
        }
        free.visit_block(body);
    });
    free.uses
}

/// The names that the statements after a cut use, given what the cut's own `let` binds.
pub(crate) fn of_rest(bound: Option<&Pat>, stmts: &[Stmt]) -> Uses {
    let mut free = Free::default();
    free.scoped(|free| {
        if let Some(pattern) = bound {
            free.bind(pattern);
        }
        free.stmts(stmts);
    });
    free.uses
}

#[derive(Default)]
struct Free {
    scopes: Vec<Vec<String>>,
    uses: Uses,
}

impl Free {
    fn scoped(&mut self, visit: impl FnOnce(&mut Self)) {
        self.scopes.push(Vec::new());
        visit(self);
        self.scopes.pop();
    }

    fn stmts(&mut self, stmts: &[Stmt]) {
        for stmt in stmts {
            self.visit_stmt(stmt);
        }
    }

    fn bind(&mut self, pattern: &Pat) {
        if let Some(scope) = self.scopes.last_mut() {
            scope.extend(bindings::of(pattern).iter().map(bindings::Binding::name));
        }
    }

    fn mention(&mut self, name: String, span: Span) {
        if !self.scopes.iter().flatten().any(|bound| *bound == name) {
            self.uses.entry(name).or_insert(span);
        }
    }

    fn tokens(&mut self, tokens: TokenStream) {
        let mut after_dot = false;
        for token in tokens {
            match &token {
                TokenTree::Group(group) => self.tokens(group.stream()),
                // `.name` is a field or a method.
                TokenTree::Ident(ident) if !after_dot => self.mention(ident.to_string(), ident.span()),
                TokenTree::Literal(literal) => self.format_string(literal),
                _ => {}
            }
            after_dot = is_field_dot(&token, after_dot);
        }
    }

    /// Names captured by a format string: `{name}`, `{name:?}`, `{:width$}`.
    fn format_string(&mut self, literal: &Literal) {
        let text = literal.to_string();
        if !text.contains('{') {
            return;
        }
        let is_name = |c: char| c.is_alphanumeric() || c == '_';
        for piece in text.split(|c: char| !is_name(c)) {
            if piece.starts_with(|c: char| c.is_alphabetic() || c == '_') {
                self.mention(piece.to_owned(), literal.span());
            }
        }
    }
}

/// A lone dot; the second of two is a range's.
fn is_field_dot(token: &TokenTree, after_dot: bool) -> bool {
    matches!(token, TokenTree::Punct(punct) if punct.as_char() == '.') && !after_dot
}

impl<'ast> Visit<'ast> for Free {
    fn visit_block(&mut self, block: &'ast Block) {
        self.scoped(|free| visit::visit_block(free, block));
    }

    fn visit_local(&mut self, local: &'ast Local) {
        if let Some(init) = &local.init {
            self.visit_expr(&init.expr);
            if let Some((_, diverge)) = &init.diverge {
                self.visit_expr(diverge);
            }
        }
        self.bind(&local.pat);
    }

    fn visit_expr_let(&mut self, expression: &'ast syn::ExprLet) {
        self.visit_expr(&expression.expr);
        self.bind(&expression.pat);
    }

    fn visit_expr_if(&mut self, expression: &'ast syn::ExprIf) {
        self.scoped(|free| {
            free.visit_expr(&expression.cond);
            free.visit_block(&expression.then_branch);
        });
        if let Some((_, other)) = &expression.else_branch {
            self.visit_expr(other);
        }
    }

    fn visit_expr_while(&mut self, expression: &'ast syn::ExprWhile) {
        self.scoped(|free| {
            free.visit_expr(&expression.cond);
            free.visit_block(&expression.body);
        });
    }

    fn visit_expr_for_loop(&mut self, expression: &'ast syn::ExprForLoop) {
        self.visit_expr(&expression.expr);
        self.scoped(|free| {
            free.bind(&expression.pat);
            free.visit_block(&expression.body);
        });
    }

    fn visit_arm(&mut self, arm: &'ast syn::Arm) {
        self.scoped(|free| {
            free.bind_arm(&arm.pat);
            free.visit_expr(&arm.body);
        });
    }

    fn visit_expr_closure(&mut self, closure: &'ast syn::ExprClosure) {
        self.scoped(|free| {
            for input in &closure.inputs {
                free.bind(input);
            }
            free.visit_expr(&closure.body);
        });
    }

    fn visit_expr_path(&mut self, path: &'ast syn::ExprPath) {
        if let Some(ident) = path.path.get_ident() {
            self.mention(ident.to_string(), ident.span());
        }
        visit::visit_expr_path(self, path);
    }

    fn visit_macro(&mut self, of: &'ast Macro) {
        self.tokens(of.tokens.clone());
    }

    /// Items can't use locals, nor can types.
    fn visit_item(&mut self, _: &'ast syn::Item) {}
    fn visit_type(&mut self, _: &'ast syn::Type) {}
    fn visit_attribute(&mut self, _: &'ast syn::Attribute) {}

    /// Constants in patterns are no locals.
    fn visit_pat(&mut self, _: &'ast Pat) {}
}

impl Free {
    /// An arm's guard sees the arm's bindings, and may bind more.
    fn bind_arm(&mut self, pattern: &Pat) {
        match pattern {
            Pat::Guard(guarded) => {
                self.bind(&guarded.pat);
                self.visit_expr(&guarded.guard);
            }
            other => self.bind(other),
        }
    }
}

/// Where statements assign to this name or to a part of it, as `x = …`, `x += …` or `x.y[0] = …`.
pub(crate) fn assignment<'a>(stmts: &'a [Stmt], name: &str) -> Option<&'a Expr> {
    struct Find<'a, 'n>(&'n str, Option<&'a Expr>);
    impl<'a> Visit<'a> for Find<'a, '_> {
        fn visit_expr(&mut self, expression: &'a Expr) {
            let place = match expression {
                Expr::Assign(assign) => Some(&assign.left),
                Expr::Binary(binary) if is_compound(&binary.op) => Some(&binary.left),
                _ => None,
            };
            if place.and_then(|place| root(place)).is_some_and(|root| root == self.0) {
                self.1.get_or_insert(expression);
            }
            visit::visit_expr(self, expression);
        }
    }
    let mut found = Find(name, None);
    for stmt in stmts {
        found.visit_stmt(stmt);
    }
    found.1
}

fn is_compound(op: &syn::BinOp) -> bool {
    use syn::BinOp::{
        AddAssign, BitAndAssign, BitOrAssign, BitXorAssign, DivAssign, MulAssign, RemAssign, ShlAssign,
        ShrAssign, SubAssign,
    };
    matches!(
        op,
        AddAssign(_)
            | BitAndAssign(_)
            | BitOrAssign(_)
            | BitXorAssign(_)
            | DivAssign(_)
            | MulAssign(_)
            | RemAssign(_)
            | ShlAssign(_)
            | ShrAssign(_)
            | SubAssign(_)
    )
}

/// The local at the root of a place: `a` of `a.b[c]`.
pub(crate) fn root(place: &Expr) -> Option<&Ident> {
    match place {
        Expr::Path(of) => of.path.get_ident(),
        Expr::Field(of) => root(&of.base),
        Expr::Index(of) => root(&of.expr),
        Expr::Paren(of) => root(&of.expr),
        Expr::Group(of) => root(&of.expr),
        _ => None,
    }
}

/// Whether the statements assign to this name as a whole.
pub(crate) fn assigns(stmts: &[Stmt], name: &Ident) -> bool {
    struct Assigns<'a>(&'a Ident, bool);
    impl<'ast> Visit<'ast> for Assigns<'_> {
        fn visit_expr_assign(&mut self, assign: &'ast syn::ExprAssign) {
            if let Expr::Path(path) = &*assign.left {
                self.1 |= path.path.is_ident(self.0);
            }
            visit::visit_expr_assign(self, assign);
        }
        fn visit_macro(&mut self, of: &'ast Macro) {
            self.1 |= of.tokens.to_string().contains(&self.0.to_string());
        }
    }
    let mut found = Assigns(name, false);
    for stmt in stmts {
        found.visit_stmt(stmt);
    }
    found.1
}
