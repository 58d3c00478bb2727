//! Finds `#[checkpoint]` and `#[rebuild]` where they can't stand, and says why.
//!
//! What can be cut is a loop that is a statement, the right side of `let` or `=`, or the last
//! expression, of a block that itself can be cut: the handler's body, a branch of an `if` or
//! `match`, a plain or labelled block, the body of another checkpointed loop.

use quote::ToTokens;
use syn::visit::{self, Visit};
use syn::visit_mut::{self, VisitMut};
use syn::{Attribute, Block, Expr, Local, Pat, Stmt};

use crate::errors::Errors;

pub(crate) fn is(attribute: &Attribute, name: &str) -> bool {
    attribute.path().segments.last().is_some_and(|segment| segment.ident == name)
}

pub(crate) fn has(attributes: &[Attribute], name: &str) -> bool {
    attributes.iter().any(|attribute| is(attribute, name))
}

/// The attributes of a loop; `None` for any other expression.
pub(crate) fn loop_attributes(expression: &Expr) -> Option<&Vec<Attribute>> {
    match expression {
        Expr::ForLoop(of) => Some(&of.attrs),
        Expr::While(of) => Some(&of.attrs),
        Expr::Loop(of) => Some(&of.attrs),
        _ => None,
    }
}

pub(crate) fn is_checkpointed(expression: &Expr) -> bool {
    loop_attributes(expression).is_some_and(|attributes| has(attributes, "checkpoint"))
}

/// How many checkpointed loops there are in this, at any depth.
pub(crate) fn count_in_expr(expression: &Expr) -> u32 {
    let mut count = Count(0);
    count.visit_expr(expression);
    count.0
}

/// How many checkpointed loops there are in this, at any depth.
pub(crate) fn count_in_stmt(stmt: &Stmt) -> u32 {
    let mut count = Count(0);
    count.visit_stmt(stmt);
    count.0
}

/// How many checkpointed loops there are in this, at any depth.
pub(crate) fn count_in_block(block: &Block) -> u32 {
    block.stmts.iter().map(count_in_stmt).sum()
}

struct Count(u32);

impl<'ast> Visit<'ast> for Count {
    fn visit_expr(&mut self, expression: &'ast Expr) {
        self.0 += u32::from(is_checkpointed(expression));
        visit::visit_expr(self, expression);
    }

    fn visit_item(&mut self, _: &'ast syn::Item) {}
}

/// Moves the attribute from `#[checkpoint] let x = loop {…}` and `#[checkpoint] x = loop {…}` to the loop.
pub(crate) fn settle(block: &mut Block) {
    struct Settle;
    impl VisitMut for Settle {
        fn visit_local_mut(&mut self, local: &mut Local) {
            if let Some(init) = &mut local.init {
                hand_over(&mut local.attrs, &mut init.expr);
            }
            visit_mut::visit_local_mut(self, local);
        }

        fn visit_expr_assign_mut(&mut self, assign: &mut syn::ExprAssign) {
            hand_over(&mut assign.attrs, &mut assign.right);
            if let Expr::Path(path) = &mut *assign.left {
                hand_over(&mut path.attrs, &mut assign.right);
            }
            visit_mut::visit_expr_assign_mut(self, assign);
        }

        fn visit_item_mut(&mut self, _: &mut syn::Item) {}
    }
    Settle.visit_block_mut(block);
}

fn hand_over(from: &mut Vec<Attribute>, to: &mut Expr) {
    let attributes = match to {
        Expr::ForLoop(of) => &mut of.attrs,
        Expr::While(of) => &mut of.attrs,
        Expr::Loop(of) => &mut of.attrs,
        _ => return,
    };
    let (moved, kept) = std::mem::take(from).into_iter().partition(|attribute| is(attribute, "checkpoint"));
    *from = kept;
    attributes.extend::<Vec<Attribute>>(moved);
}

/// Takes our attributes away, for the fallback that keeps editors working.
pub(crate) fn strip(block: &mut Block) {
    struct Strip;
    impl VisitMut for Strip {
        fn visit_attributes_mut(&mut self, attributes: &mut Vec<Attribute>) {
            attributes.retain(|attribute| !is(attribute, "checkpoint") && !is(attribute, "rebuild"));
        }
    }
    Strip.visit_block_mut(block);
}

/// Reports every attribute of ours that stands where it can't.
pub(crate) fn check(body: &Block, errors: &mut Errors) {
    Check { errors }.block(body);
}

struct Check<'a> {
    errors: &'a mut Errors,
}

impl Check<'_> {
    fn block(&mut self, block: &Block) {
        for stmt in &block.stmts {
            self.stmt(stmt);
        }
        let last_cut = block.stmts.iter().rposition(|stmt| count_in_stmt(stmt) > 0);
        for stmt in &block.stmts[last_cut.unwrap_or(0)..] {
            if let Stmt::Local(local) = stmt {
                refuse_rebuild_without_loop(local, self.errors);
            }
        }
    }

    fn stmt(&mut self, stmt: &Stmt) {
        match stmt {
            Stmt::Local(local) => self.local(local),
            Stmt::Expr(Expr::Assign(assign), _) => {
                self.stray(&assign.left, Where::Expression);
                self.carrier(&assign.right);
            }
            Stmt::Expr(expression, _) => self.carrier(expression),
            Stmt::Item(item) => Strays { errors: self.errors, place: Where::Item }.visit_item(item),
            Stmt::Macro(of) => {
                Strays { errors: self.errors, place: Where::Expression }.visit_stmt_macro(of);
                self.attributes(&of.attrs);
            }
        }
    }

    fn local(&mut self, local: &Local) {
        for attribute in local.attrs.iter().filter(|attribute| is(attribute, "checkpoint")) {
            self.not_a_loop(attribute);
        }
        let Some(init) = &local.init else {
            if has(&local.attrs, "rebuild") {
                self.errors.at(local, "`#[rebuild]` has nothing to evaluate again", "give the `let` a value");
            }
            return;
        };
        if let Some((_, diverge)) = &init.diverge {
            self.stray(diverge, Where::Expression);
        }
        if has(&local.attrs, "rebuild") {
            self.stray(&init.expr, Where::Rebuild);
        } else {
            self.carrier(&init.expr);
        }
    }

    /// An expression in a place where what it holds can be cut.
    fn carrier(&mut self, expression: &Expr) {
        match expression {
            Expr::If(of) => {
                self.attributes(&of.attrs);
                self.stray(&of.cond, Where::Condition);
                self.block(&of.then_branch);
                if let Some((_, other)) = &of.else_branch {
                    self.carrier(other);
                }
            }
            Expr::Match(of) => {
                self.attributes(&of.attrs);
                self.stray(&of.expr, Where::Condition);
                for arm in &of.arms {
                    if let Pat::Guard(guarded) = &arm.pat {
                        self.stray(&guarded.guard, Where::Condition);
                    }
                    self.carrier(&arm.body);
                }
            }
            Expr::Block(of) => {
                self.attributes(&of.attrs);
                self.block(&of.block);
            }
            Expr::Unsafe(of) => {
                self.attributes(&of.attrs);
                self.block(&of.block);
            }
            _ if is_checkpointed(expression) => self.checkpointed(expression),
            other => self.stray(other, Where::Expression),
        }
    }

    fn checkpointed(&mut self, expression: &Expr) {
        for attribute in loop_attributes(expression).into_iter().flatten() {
            if is(attribute, "checkpoint") && attribute.meta.require_path_only().is_err() {
                self.errors.at(attribute, "`#[checkpoint]` takes no arguments", "write `#[checkpoint]`");
            } else if is(attribute, "rebuild") {
                self.not_a_let(attribute);
            }
        }
        match expression {
            Expr::ForLoop(of) => {
                self.stray(&of.expr, Where::Condition);
                self.block(&of.body);
            }
            Expr::While(of) => {
                self.stray(&of.cond, Where::Condition);
                self.block(&of.body);
            }
            Expr::Loop(of) => self.block(&of.body),
            _ => {}
        }
    }

    fn stray(&mut self, expression: &Expr, place: Where) {
        Strays { errors: self.errors, place }.visit_expr(expression);
    }

    fn attributes(&mut self, attributes: &[Attribute]) {
        for attribute in attributes {
            if is(attribute, "checkpoint") {
                self.not_a_loop(attribute);
            } else if is(attribute, "rebuild") {
                self.not_a_let(attribute);
            }
        }
    }

    fn not_a_loop(&mut self, attribute: &Attribute) {
        not_a_loop(self.errors, attribute);
    }

    fn not_a_let(&mut self, attribute: &Attribute) {
        not_a_let(self.errors, attribute);
    }
}

fn not_a_loop(errors: &mut Errors, attribute: &Attribute) {
    errors.at(
        attribute,
        "`#[checkpoint]` goes on a loop: its iterations are the places to go on from",
        "put it on a `for`, `while` or `loop`",
    );
}

fn not_a_let(errors: &mut Errors, attribute: &Attribute) {
    errors.at(
        attribute,
        "`#[rebuild]` goes on a `let`: it has the binding evaluated again after a resume",
        "write `#[rebuild] let name = …;` as a statement before the loop",
    );
}

fn refuse_rebuild_without_loop(local: &Local, errors: &mut Errors) {
    for attribute in local.attrs.iter().filter(|attribute| is(attribute, "rebuild")) {
        errors.at(
            attribute,
            "`#[rebuild]` has no checkpointed loop after it in this block, so nothing is evaluated again",
            "take it away",
        );
    }
}

#[derive(Clone, Copy)]
enum Where {
    Expression,
    Condition,
    PlainLoop,
    Closure,
    AsyncBlock,
    TryBlock,
    Item,
    Rebuild,
}

impl Where {
    fn why(self) -> (&'static str, &'static str) {
        match self {
            Where::Expression => (
                "this loop stands inside an expression, which can't be left and entered again in the middle",
                "make the loop a statement of its own, or the right side of a `let`",
            ),
            Where::Condition => (
                "this loop stands inside a condition or in what is matched or iterated over, which is not evaluated again after a resume",
                "bind the loop's value with a `let` before it",
            ),
            Where::PlainLoop => (
                "this loop stands inside a loop without `#[checkpoint]`, whose position would be lost",
                "put `#[checkpoint]` on the outer loop as well",
            ),
            Where::Closure => (
                "this loop stands inside a closure, whose captured variables can't be saved",
                "move the loop out of the closure, into the handler's body",
            ),
            Where::AsyncBlock => (
                "this loop stands inside an `async` block, which runs on its own and can't be entered again in the middle",
                "move the loop out of the block, into the handler's body",
            ),
            Where::TryBlock => (
                "this loop stands inside a `try` or `const` block, which can't be entered again in the middle",
                "move the loop out of the block, into the handler's body",
            ),
            Where::Item => (
                "this loop stands in an item of its own inside the handler, which is not cut into resumable pieces",
                "move the loop into the handler's body, or make the function a handler",
            ),
            Where::Rebuild => (
                "this loop stands in a `#[rebuild] let`, which starts from the beginning after a resume",
                "take `#[rebuild]` away, so that the loop's value is saved",
            ),
        }
    }
}

struct Strays<'a> {
    errors: &'a mut Errors,
    place: Where,
}

impl Strays<'_> {
    fn inside(&mut self, place: Where, visit: impl FnOnce(&mut Self)) {
        let before = std::mem::replace(&mut self.place, place);
        visit(self);
        self.place = before;
    }

    fn report(&mut self, attribute: &Attribute, keyword: &dyn ToTokens) {
        let (why, help) = self.place.why();
        if is(attribute, "checkpoint") {
            self.errors.at(keyword.to_token_stream(), format!("can't checkpoint here: {why}"), help);
        } else if is(attribute, "rebuild") {
            not_a_let(self.errors, attribute);
        }
    }

    fn loop_at(&mut self, attributes: &[Attribute], keyword: &dyn ToTokens) -> bool {
        for attribute in attributes {
            self.report(attribute, keyword);
        }
        has(attributes, "checkpoint")
    }
}

impl<'ast> Visit<'ast> for Strays<'_> {
    fn visit_expr_for_loop(&mut self, of: &'ast syn::ExprForLoop) {
        let place = if self.loop_at(&of.attrs, &of.for_token) {
            self.place
        } else {
            Where::PlainLoop.unless(self.place)
        };
        self.visit_expr(&of.expr);
        self.inside(place, |strays| strays.visit_block(&of.body));
    }

    fn visit_expr_while(&mut self, of: &'ast syn::ExprWhile) {
        let place = if self.loop_at(&of.attrs, &of.while_token) {
            self.place
        } else {
            Where::PlainLoop.unless(self.place)
        };
        self.visit_expr(&of.cond);
        self.inside(place, |strays| strays.visit_block(&of.body));
    }

    fn visit_expr_loop(&mut self, of: &'ast syn::ExprLoop) {
        let place = if self.loop_at(&of.attrs, &of.loop_token) {
            self.place
        } else {
            Where::PlainLoop.unless(self.place)
        };
        self.inside(place, |strays| strays.visit_block(&of.body));
    }

    fn visit_expr_closure(&mut self, of: &'ast syn::ExprClosure) {
        self.inside(Where::Closure, |strays| visit::visit_expr_closure(strays, of));
    }

    fn visit_expr_async(&mut self, of: &'ast syn::ExprAsync) {
        self.inside(Where::AsyncBlock, |strays| visit::visit_expr_async(strays, of));
    }

    fn visit_expr_try_block(&mut self, of: &'ast syn::ExprTryBlock) {
        self.inside(Where::TryBlock, |strays| visit::visit_expr_try_block(strays, of));
    }

    fn visit_expr_const(&mut self, of: &'ast syn::ExprConst) {
        self.inside(Where::TryBlock, |strays| visit::visit_expr_const(strays, of));
    }

    fn visit_local(&mut self, local: &'ast Local) {
        refuse_rebuild_without_loop(local, self.errors);
        if let Some(init) = &local.init {
            visit::visit_local_init(self, init);
        }
    }

    fn visit_item(&mut self, item: &'ast syn::Item) {
        // A handler inside a handler looks after itself.
        let handler = matches!(item, syn::Item::Fn(of) if has(&of.attrs, "handler"));
        if !handler {
            self.inside(Where::Item, |strays| visit::visit_item(strays, item));
        }
    }

    fn visit_attribute(&mut self, attribute: &'ast Attribute) {
        if is(attribute, "rebuild") {
            not_a_let(self.errors, attribute);
        }
    }

    fn visit_expr(&mut self, expression: &'ast Expr) {
        let attributes = attributes_of(expression);
        for attribute in attributes.iter().filter(|attribute| is(attribute, "checkpoint")) {
            not_a_loop(self.errors, attribute);
        }
        visit::visit_expr(self, expression);
    }
}

impl Where {
    /// A closure or block of its own is the better reason.
    fn unless(self, outer: Where) -> Where {
        match outer {
            Where::Closure | Where::AsyncBlock | Where::TryBlock | Where::Item | Where::Rebuild => outer,
            _ => self,
        }
    }
}

/// The attributes of those expressions that a person might take for a loop.
fn attributes_of(expression: &Expr) -> &[Attribute] {
    match expression {
        Expr::Call(of) => &of.attrs,
        Expr::MethodCall(of) => &of.attrs,
        Expr::Closure(of) => &of.attrs,
        Expr::Block(of) => &of.attrs,
        Expr::If(of) => &of.attrs,
        Expr::Match(of) => &of.attrs,
        Expr::Path(of) => &of.attrs,
        Expr::Async(of) => &of.attrs,
        Expr::Await(of) => &of.attrs,
        Expr::Macro(of) => &of.attrs,
        _ => &[],
    }
}
