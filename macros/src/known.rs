//! What a block has bound so far, and what of it may cross a cut.

use proc_macro2::{Ident, TokenStream};
use syn::{Expr, Local, Pat, Stmt};

use crate::bindings::{self, Binding};
use crate::errors::Errors;
use crate::hooks::Held;
use crate::liveness::{self, Uses};
use crate::shapes;

/// A binding that a cut has to carry if it is used later.
struct Candidate {
    binding: Binding,
    /// What to say if it is live at a cut.
    unfit: Option<Unfit>,
}

#[derive(Clone, Copy)]
enum Unfit {
    Borrow,
    Closure,
    NoValue,
    Conditional,
}

/// A `#[rebuild] let`.
pub(crate) struct Rebuild {
    pub(crate) local: Local,
    pub(crate) bindings: Vec<Binding>,
    pub(crate) inputs: Uses,
    /// References to its inputs since it was last evaluated.
    pub(crate) held: Option<Held>,
    shadowed: Option<Ident>,
}

impl Rebuild {
    pub(crate) fn new(local: &Local) -> Rebuild {
        let mut local = local.clone();
        local.attrs.retain(|attribute| !shapes::is(attribute, "rebuild"));
        let inputs = local.init.as_ref().map(|init| liveness::of_expr(&init.expr)).unwrap_or_default();
        Rebuild { bindings: bindings::of(&local.pat), local, inputs, held: None, shadowed: None }
    }

    pub(crate) fn names(&self) -> impl Iterator<Item = String> {
        self.bindings.iter().map(Binding::name)
    }

    /// Refuses statements that change what it is made from; the borrow checker finds what this does not.
    pub(crate) fn refuse_changes(&self, until: &[Stmt], locals: &[String], errors: &mut Errors) {
        for name in self.inputs.keys().filter(|name| locals.contains(name)) {
            if let Some(change) = liveness::assignment(until, name) {
                errors.at(
                    change,
                    format!(
                        "this changes `{name}`, from which a `#[rebuild] let` is made again after a resume"
                    ),
                    format!(
                        "make it from a copy that does not change: `let fixed_{name} = {name};` before it"
                    ),
                );
            }
        }
    }

    /// `#[rebuild] let items = &items` can't be evaluated again: the first `items` has no name any more.
    pub(crate) fn refuse_own_name(&self, known: &Known, errors: &mut Errors) {
        for binding in self.bindings.iter().filter(|binding| self.inputs.contains_key(&binding.name())) {
            if known.names(&binding.name()) {
                errors.at(
                    &binding.ident,
                    format!(
                        "this hides the `{}` that it is made from, which is needed again after a resume",
                        binding.ident
                    ),
                    "give one of the two another name",
                );
            }
        }
    }
}

/// The bindings of a block so far.
pub(crate) struct Known {
    candidates: Vec<Candidate>,
    rebuilds: Vec<Rebuild>,
}

impl Known {
    pub(crate) fn new(given: Vec<Binding>) -> Known {
        let candidates = given.into_iter().map(|binding| Candidate { binding, unfit: None }).collect();
        Known { candidates, rebuilds: Vec::new() }
    }

    pub(crate) fn names(&self, name: &str) -> bool {
        self.candidates.iter().any(|candidate| candidate.binding.name() == name)
    }

    /// The rebuilt bindings that are still wanted.
    pub(crate) fn rebuilds(&mut self) -> impl Iterator<Item = &mut Rebuild> {
        self.rebuilds.iter_mut()
    }

    /// A `let` before a cut; `until` ends with the statement that is cut.
    pub(crate) fn add(&mut self, local: &Local, until: &[Stmt], errors: &mut Errors) {
        refuse_guard(local, errors);
        let unfit = unfit(local, until);
        for binding in bindings::of(&local.pat) {
            self.insert(binding, unfit);
        }
    }

    /// A `let` whose value comes out of the statement that was cut.
    pub(crate) fn add_after(&mut self, local: &Local) {
        for binding in bindings::of(&local.pat) {
            self.insert(binding, None);
        }
    }

    fn insert(&mut self, binding: Binding, unfit: Option<Unfit>) {
        self.forget(&binding.ident);
        self.candidates.push(Candidate { binding, unfit });
    }

    /// A new binding of this name hides the one before it.
    fn forget(&mut self, ident: &Ident) {
        let name = ident.to_string();
        self.candidates.retain(|candidate| candidate.binding.name() != name);
        self.rebuilds.retain(|rebuild| !rebuild.names().any(|rebuilt| rebuilt == name));
        for rebuild in self.rebuilds.iter_mut().filter(|rebuild| rebuild.inputs.contains_key(&name)) {
            rebuild.shadowed = Some(ident.clone());
        }
    }

    pub(crate) fn add_rebuild(&mut self, rebuild: Rebuild) {
        for binding in &rebuild.bindings {
            self.forget(&binding.ident);
        }
        self.rebuilds.push(rebuild);
    }

    /// Ends the segment before a cut: keeps the rebuilt bindings that are used from there on, adds
    /// their inputs to the uses, and proves that these did not change in the segment.
    pub(crate) fn end_segment(&mut self, uses: &mut Uses, errors: &mut Errors) -> TokenStream {
        let mut kept = Vec::new();
        while let Some(rebuild) = self.rebuilds.pop() {
            let guard = rebuild.names().all(|name| name.starts_with('_'));
            if guard || rebuild.names().any(|name| uses.contains_key(&name)) {
                uses.extend(rebuild.inputs.clone());
                refuse_shadowed(&rebuild, errors);
                kept.push(rebuild);
            }
        }
        kept.reverse();
        self.rebuilds = kept;
        self.rebuilds.iter().filter_map(|rebuild| rebuild.held.as_ref()).map(Held::touch).collect()
    }

    /// The bindings to save at a cut; the others end there.
    pub(crate) fn live(&mut self, uses: &Uses, errors: &mut Errors) -> Vec<Binding> {
        self.candidates.retain(|candidate| uses.contains_key(&candidate.binding.name()));
        for candidate in &mut self.candidates {
            if let Some(unfit) = candidate.unfit.take() {
                refuse_unfit(&candidate.binding, unfit, errors);
            }
        }
        self.candidates.iter().map(|candidate| candidate.binding.clone()).collect()
    }
}

fn refuse_guard(local: &Local, errors: &mut Errors) {
    let pattern = match &local.pat {
        Pat::Type(typed) => &typed.pat,
        other => other,
    };
    let Pat::Ident(of) = pattern else { return };
    if of.ident.to_string().starts_with('_') {
        errors.at(
            &of.ident,
            format!(
                "`{}` would be dropped before the checkpointed loop: what is not used after it does not cross it",
                of.ident
            ),
            "write `#[rebuild] let` if it has to live on, a guard or a temporary folder; otherwise put it into a block that ends before the loop",
        );
    }
}

fn refuse_shadowed(rebuild: &Rebuild, errors: &mut Errors) {
    if let Some(by) = &rebuild.shadowed {
        errors.at(
            by,
            format!("this hides a `{by}` from which a `#[rebuild] let` is made, which is needed again after a resume"),
            "give one of the two another name",
        );
    }
}

/// What can be seen of a binding that the compiler would explain worse.
fn unfit(local: &Local, until: &[Stmt]) -> Option<Unfit> {
    if shapes::has(&local.attrs, "cfg") {
        return Some(Unfit::Conditional);
    }
    let Some(init) = &local.init else {
        let between = until.split_last().map_or(until, |(_, between)| between);
        let assigned = |binding: &Binding| liveness::assigns(between, &binding.ident);
        return (!bindings::of(&local.pat).iter().all(assigned)).then_some(Unfit::NoValue);
    };
    if matches!(&local.pat, Pat::Type(typed) if holds_reference(&typed.ty)) {
        return Some(Unfit::Borrow);
    }
    match strip_parens(&init.expr) {
        Expr::Reference(_) => Some(Unfit::Borrow),
        Expr::Closure(_) => Some(Unfit::Closure),
        Expr::MethodCall(call) if call.args.is_empty() => {
            let borrows = [
                "as_str", "as_slice", "as_bytes", "as_ref", "as_mut", "iter", "chars", "lines", "keys",
                "values",
            ];
            borrows.iter().any(|name| call.method == name).then_some(Unfit::Borrow)
        }
        _ => None,
    }
}

fn holds_reference(of: &syn::Type) -> bool {
    struct References(bool);
    impl<'ast> syn::visit::Visit<'ast> for References {
        fn visit_type_reference(&mut self, _: &'ast syn::TypeReference) {
            self.0 = true;
        }
        fn visit_type_fn_ptr(&mut self, _: &'ast syn::TypeFnPtr) {}
    }
    let mut found = References(false);
    syn::visit::Visit::visit_type(&mut found, of);
    found.0
}

fn strip_parens(expression: &Expr) -> &Expr {
    match expression {
        Expr::Paren(of) => strip_parens(&of.expr),
        Expr::Group(of) => strip_parens(&of.expr),
        other => other,
    }
}

fn refuse_unfit(binding: &Binding, unfit: Unfit, errors: &mut Errors) {
    let name = &binding.ident;
    let (what, help) = match unfit {
        Unfit::Borrow => (
            format!(
                "`{name}` borrows, and is used after a checkpointed loop begins: a checkpoint can't save a borrow"
            ),
            format!("write `#[rebuild] let {name} = …` to borrow again after a resume, or own the value"),
        ),
        Unfit::Closure => (
            format!(
                "the closure `{name}` is used after a checkpointed loop begins: a checkpoint can't save a closure, nor what it captures"
            ),
            String::from("make it a function with parameters, or define it inside the loop"),
        ),
        Unfit::NoValue => (
            format!("`{name}` may have no value at the checkpointed loop, so there is nothing to save"),
            format!("give it one: `let mut {name} = …;`, or declare it after the loop"),
        ),
        Unfit::Conditional => (
            format!(
                "`{name}` is bound under a `#[cfg]`, so the checkpointed loop can't know whether to save it"
            ),
            String::from("put the `#[cfg]` inside the value, or on the whole handler"),
        ),
    };
    errors.at(name, what, help);
}
