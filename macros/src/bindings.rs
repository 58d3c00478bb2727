//! The names that patterns bind.

use proc_macro2::Ident;
use syn::visit::{self, Visit};
use syn::{Pat, PatIdent};

/// A name bound by a pattern.
#[derive(Clone)]
pub(crate) struct Binding {
    pub(crate) ident: Ident,
    pub(crate) mutable: bool,
}

impl Binding {
    pub(crate) fn name(&self) -> String {
        self.ident.to_string()
    }

    /// As it stands in a pattern.
    pub(crate) fn pattern(&self) -> proc_macro2::TokenStream {
        let ident = &self.ident;
        if self.mutable { quote::quote!(mut #ident) } else { quote::quote!(#ident) }
    }
}

/// Every name that the pattern binds, once each (alternatives bind the same names).
pub(crate) fn of(pattern: &Pat) -> Vec<Binding> {
    let mut found = Collect(Vec::new());
    found.visit_pat(pattern);
    found.0
}

/// Every name bound by the `let`s in a condition.
pub(crate) fn of_condition(condition: &syn::Expr) -> Vec<Binding> {
    let mut found = Conditions(Vec::new());
    found.visit_expr(condition);
    found.0
}

struct Collect(Vec<Binding>);

impl<'ast> Visit<'ast> for Collect {
    fn visit_pat_ident(&mut self, pattern: &'ast PatIdent) {
        let known = self.0.iter().any(|binding| binding.ident == pattern.ident);
        if !is_constant(pattern) && !known {
            let mutable = pattern.mutability.is_some() && pattern.by_ref.is_none();
            self.0.push(Binding { ident: pattern.ident.clone(), mutable });
        }
        visit::visit_pat_ident(self, pattern);
    }

    /// A guard's own names end with it.
    fn visit_expr(&mut self, _: &'ast syn::Expr) {}
}

/// A lone capitalised name is a constant or a variant, as the compiler's naming lints assume too.
fn is_constant(pattern: &PatIdent) -> bool {
    let capital = pattern.ident.to_string().starts_with(char::is_uppercase);
    capital && pattern.by_ref.is_none() && pattern.mutability.is_none() && pattern.subpat.is_none()
}

struct Conditions(Vec<Binding>);

impl<'ast> Visit<'ast> for Conditions {
    fn visit_expr_let(&mut self, expression: &'ast syn::ExprLet) {
        for binding in of(&expression.pat) {
            self.0.retain(|earlier| earlier.ident != binding.ident);
            self.0.push(binding);
        }
    }

    fn visit_expr_closure(&mut self, _: &'ast syn::ExprClosure) {}
    fn visit_block(&mut self, _: &'ast syn::Block) {}
}
