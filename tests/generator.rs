//! Writes random handlers: every kind of loop, nested, in a row, in branches, left early and shadowed.
//!
//! They end, and they are of the shapes that `#[handler]` accepts. What they compute is of no use but
//! to be compared: everything leaves a mark in `trace`.

#![allow(
    clippy::pedantic,
    clippy::comparison_to_empty,
    reason = "the code that it writes is what is to be read"
)]

use std::fmt::Write as _;

/// The program numbers `0..count` from this seed, as Rust.
pub(crate) fn write(seed: u64, count: u64) -> String {
    let mut source = String::new();
    let mut list = String::new();
    for number in 0..count {
        let mut random = Random(seed.wrapping_mul(0x1_0000_0001).wrapping_add(number));
        random.next();
        let is_async = random.chance(4);
        let mut program = Program {
            random,
            is_async,
            source: String::new(),
            scopes: vec![vec![]],
            exits: vec![],
            names: 0,
            depth: 0,
            budget: 26,
            may_hook: true,
        };
        program.handler(number);
        source += &program.source;
        let keyword = if is_async { "async " } else { "" };
        let _ = writeln!(list, "    program!({keyword}p{number}),");
    }
    format!("{source}pub(super) fn programs() -> Vec<Program> {{\n    vec![\n{list}    ]\n}}\n")
}

struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    fn below(&mut self, bound: usize) -> usize {
        (self.next() % bound.max(1) as u64) as usize
    }

    /// True once in so many times.
    fn chance(&mut self, one_in: usize) -> bool {
        self.below(one_in) == 0
    }
}

#[derive(Clone, Copy, PartialEq)]
enum Kind {
    /// A number.
    Number,
    /// A vector that changes.
    Vector,
    /// A vector that never changes.
    Frozen,
    Text,
    Optional,
    /// `&[u64]` made by `#[rebuild]`.
    View,
}

#[derive(Clone)]
struct Variable {
    name: String,
    kind: Kind,
    mutable: bool,
    /// Something is made from it again after a resume: it can't be hidden.
    pinned: bool,
}

/// A label that can be left.
#[derive(Clone)]
struct Exit {
    label: String,
    is_loop: bool,
    /// `break` needs a number.
    value: bool,
}

struct Program {
    random: Random,
    is_async: bool,
    source: String,
    scopes: Vec<Vec<Variable>>,
    exits: Vec<Exit>,
    names: u32,
    depth: usize,
    budget: i32,
    may_hook: bool,
}

impl Program {
    fn handler(&mut self, number: u64) {
        let keyword = if self.is_async { "async fn" } else { "fn" };
        self.line(&format!(
            "#[handler]\npub {keyword} p{number}(mut n: u64, items: Vec<u64>) -> (u64, Vec<u64>) {{"
        ));
        self.declare("n", Kind::Number, true);
        self.declare("items", Kind::Frozen, false);
        self.line("let mut trace: Vec<u64> = Vec::new();");
        self.scopes[0][1].pinned = true;
        for _ in 0..2 + self.random.below(3) {
            self.binding();
        }
        self.hooked_loop();
        for _ in 0..1 + self.random.below(4) {
            self.statement();
        }
        let sum = self.number();
        self.line(&format!("({sum}, trace)\n}}"));
    }

    fn line(&mut self, text: &str) {
        self.source.push_str(text);
        self.source.push('\n');
    }

    fn fresh(&mut self, prefix: &str) -> String {
        self.names += 1;
        format!("{prefix}{}", self.names)
    }

    fn declare(&mut self, name: &str, kind: Kind, mutable: bool) {
        let variable = Variable { name: name.to_owned(), kind, mutable, pinned: false };
        if let Some(scope) = self.scopes.last_mut() {
            scope.retain(|other| other.name != name);
            scope.push(variable);
        }
    }

    fn pick(&mut self, wanted: impl Fn(&Variable) -> bool) -> Option<Variable> {
        let found: Vec<Variable> =
            self.scopes.iter().flatten().filter(|variable| wanted(variable)).cloned().collect();
        if found.is_empty() { None } else { Some(found[self.random.below(found.len())].clone()) }
    }

    fn number(&mut self) -> String {
        match self.random.below(10) {
            0 | 1 => self.random.below(12).to_string(),
            2..=5 => self.pick(|v| v.kind == Kind::Number).map_or("3".into(), |v| v.name),
            6 => {
                let (a, b) = (self.atom(), self.atom());
                let operation = ["wrapping_add", "wrapping_mul", "wrapping_sub", "max"][self.random.below(4)];
                format!("u64::{}({a}, {b})", if operation == "max" { "max" } else { operation })
            }
            7 => match self.pick(|v| matches!(v.kind, Kind::Vector | Kind::Frozen | Kind::View | Kind::Text))
            {
                Some(v) => format!("({}.len() as u64)", v.name),
                None => "5".into(),
            },
            8 => match self.pick(|v| matches!(v.kind, Kind::Frozen | Kind::View | Kind::Vector)) {
                Some(v) => {
                    let index = self.atom();
                    format!("{}.get(({index} % 5) as usize).copied().unwrap_or(9)", v.name)
                }
                None => "8".into(),
            },
            _ => match self.pick(|v| v.kind == Kind::Optional) {
                Some(v) => format!("{}.unwrap_or(4)", v.name),
                None => "trace.len() as u64".into(),
            },
        }
    }

    fn atom(&mut self) -> String {
        if self.random.chance(3) {
            return format!("{}u64", self.random.below(12));
        }
        self.pick(|v| v.kind == Kind::Number).map_or("3u64".into(), |v| v.name)
    }

    fn condition(&mut self) -> String {
        let (a, b) = (self.number(), 2 + self.random.below(3));
        let rest = self.random.below(b);
        format!("({a}) % {b} == {rest}")
    }

    fn mark(&mut self) {
        let value = self.number();
        self.line(&format!("trace.push({value});"));
    }

    /// A `let`.
    fn binding(&mut self) {
        let mutable = !self.random.chance(3);
        let word = if mutable { "mut " } else { "" };
        match self.random.below(9) {
            0..=2 => {
                // Now and then a name of this block is bound anew.
                let hidden = self.scopes.last().cloned().unwrap_or_default();
                let hidden: Vec<_> = hidden
                    .into_iter()
                    .filter(|v| v.kind == Kind::Number && !v.pinned && v.name != "n")
                    .collect();
                let value = self.number();
                let again = !hidden.is_empty() && self.random.chance(3);
                let name = if again {
                    hidden[self.random.below(hidden.len())].name.clone()
                } else {
                    self.fresh("x")
                };
                self.line(&format!("let {word}{name}: u64 = {value};"));
                self.declare(&name, Kind::Number, mutable);
            }
            3 => {
                let (name, value) = (self.fresh("v"), self.number());
                self.line(&format!("let mut {name} = vec![{value}, 2];"));
                self.declare(&name, Kind::Vector, true);
            }
            4 => {
                let (name, value) = (self.fresh("f"), self.number());
                self.line(&format!("let {name}: Vec<u64> = (0..{value} % 4).map(|x| x * 3 + 1).collect();"));
                self.declare(&name, Kind::Frozen, false);
            }
            5 => {
                let (name, value) = (self.fresh("t"), self.number());
                self.line(&format!("let mut {name} = format!(\"{{}}-\", {value});"));
                self.declare(&name, Kind::Text, true);
            }
            6 => {
                let (name, value, condition) = (self.fresh("o"), self.number(), self.condition());
                self.line(&format!("let {word}{name} = if {condition} {{ Some({value}) }} else {{ None }};"));
                self.declare(&name, Kind::Optional, mutable);
            }
            7 => {
                let (a, b, x, y) = (self.fresh("a"), self.fresh("b"), self.number(), self.number());
                self.line(&format!("let ({word}{a}, [{b}, ..]) = ({x}, [{y}, 1, 2]);"));
                self.declare(&a, Kind::Number, mutable);
                self.declare(&b, Kind::Number, false);
            }
            _ => {
                let (name, f, value, argument) =
                    (self.fresh("c"), self.fresh("g"), self.atom(), self.number());
                self.line(&format!(
                    "let {name} = {{ let {f} = |x: u64| x.wrapping_add({value}); {f}({argument}) }};"
                ));
                self.declare(&name, Kind::Number, false);
            }
        }
    }

    /// `#[rebuild] let`, followed by a loop so that it has a meaning.
    fn rebuild(&mut self) {
        let Some(of) = self.pick(|v| v.kind == Kind::Frozen) else { return self.hooked_loop() };
        let name = self.fresh("w");
        self.line(&format!("#[rebuild]\nlet {name}: &[u64] = &{}[..];", of.name));
        for variable in self.scopes.iter_mut().flatten().filter(|v| v.name == of.name) {
            variable.pinned = true;
        }
        self.declare(&name, Kind::View, false);
        if self.random.chance(2) {
            self.mark();
        }
        self.hooked_loop();
    }

    fn statement(&mut self) {
        self.budget -= 1;
        if self.budget < 0 {
            return self.mark();
        }
        let deep = self.depth >= 4;
        match self.random.below(if deep { 9 } else { 18 }) {
            0 | 1 => self.binding(),
            2 | 3 => self.assignment(),
            4 | 5 => self.mark(),
            6 => self.leave(),
            7 => self.vector_change(),
            8 if self.is_async => self.line("pause().await;"),
            8 => self.mark(),
            9 | 10 => self.branch(),
            11 => self.choice(),
            12 if self.may_hook => self.rebuild(),
            12 => self.plain_loop(),
            13 => self.plain_loop(),
            14 => self.value(),
            _ if self.may_hook => self.hooked_loop(),
            _ => self.mark(),
        }
    }

    fn assignment(&mut self) {
        let Some(v) = self.pick(|v| v.kind == Kind::Number && v.mutable && !v.pinned) else {
            return self.mark();
        };
        let value = self.number();
        let line = match self.random.below(3) {
            0 => format!("{0} = u64::wrapping_add({0}, {value});", v.name),
            1 => format!("{0} = {0} % 1000 ^ {value};", v.name),
            _ => format!("{} = {value};", v.name),
        };
        self.line(&line);
    }

    fn vector_change(&mut self) {
        let Some(v) =
            self.pick(|v| v.mutable && matches!(v.kind, Kind::Vector | Kind::Text | Kind::Optional))
        else {
            return self.mark();
        };
        let value = self.number();
        let line = match v.kind {
            Kind::Vector if self.random.chance(3) => format!("trace.extend({}.pop());", v.name),
            Kind::Vector => format!("if {0}.len() < 6 {{ {0}.push({value}); }}", v.name),
            Kind::Text => format!("if {0}.len() < 40 {{ {0}.push_str(&({value}).to_string()); }}", v.name),
            _ => format!("{0} = {0}.map(|x| x / 2).or(Some({value}));", v.name),
        };
        self.line(&line);
    }

    fn leave(&mut self) {
        let condition = self.condition();
        let value = self.number();
        if self.random.chance(6) {
            return self.line(&format!("if {condition} {{ return ({value}, trace); }}"));
        }
        if self.exits.is_empty() {
            return self.mark();
        }
        let exit = self.exits[self.random.below(self.exits.len())].clone();
        let label = &exit.label;
        // Through a labelled block only a labelled `continue` may go.
        let innermost = self.exits.last().is_some_and(|last| last.label == *label);
        let line = match (exit.is_loop, exit.value) {
            (true, _) if self.random.chance(2) && innermost => format!("if {condition} {{ continue; }}"),
            (true, _) if self.random.chance(3) => format!("if {condition} {{ continue {label}; }}"),
            (true, false) if innermost => format!("if {condition} {{ trace.push({value}); break; }}"),
            (_, true) => format!("if {condition} {{ break {label} {value}; }}"),
            (_, false) => format!("if {condition} {{ break {label}; }}"),
        };
        self.line(&line);
    }

    fn block(&mut self, exit: Option<Exit>, bound: &[(&str, Kind, bool)]) {
        self.depth += 1;
        self.scopes.push(vec![]);
        for (name, kind, mutable) in bound {
            self.declare(name, *kind, *mutable);
        }
        let exits = self.exits.len();
        self.exits.extend(exit);
        self.mark();
        for _ in 0..1 + self.random.below(4) {
            self.statement();
        }
        self.exits.truncate(exits);
        self.scopes.pop();
        self.depth -= 1;
    }

    fn branch(&mut self) {
        let condition = self.condition();
        match self.random.below(4) {
            0 => {
                let (name, word) = (self.fresh("s"), ["", "mut "][self.random.below(2)]);
                let from = match self.pick(|v| v.kind == Kind::Vector) {
                    Some(v) => format!("{}.pop()", v.name),
                    None => format!("items.first().copied().filter(|x| x % 2 == 0 || {condition})"),
                };
                self.line(&format!("if let Some({word}{name}) = {from} {{"));
                self.block(None, &[(&name, Kind::Number, word != "")]);
            }
            1 => {
                let (name, value) = (self.fresh("s"), self.number());
                self.line(&format!(
                    "if {condition} && let Some({name}) = u64::checked_sub({value}, 2) && {name} != 1 {{"
                ));
                self.block(None, &[(&name, Kind::Number, false)]);
            }
            _ => {
                self.line(&format!("if {condition} {{"));
                self.block(None, &[]);
            }
        }
        match self.random.below(3) {
            0 => self.line("}"),
            1 => {
                self.line("} else {");
                self.block(None, &[]);
                self.line("}");
            }
            _ => {
                let other = self.condition();
                self.line(&format!("}} else if {other} {{"));
                self.block(None, &[]);
                self.line("} else {");
                self.block(None, &[]);
                self.line("}");
            }
        }
    }

    fn choice(&mut self) {
        let value = self.number();
        let name = self.fresh("m");
        self.line(&format!("match ({value} % 4, items.len()) {{"));
        self.line("(0, _) => {");
        self.block(None, &[]);
        self.line("}");
        let guard = self.condition();
        self.line(&format!("({name}, _) if {guard} => {{"));
        self.block(None, &[(&name, Kind::Number, false)]);
        self.line("}");
        if self.random.chance(2) {
            self.line("(1, 0) => trace.push(1),");
        }
        let rest = self.fresh("m");
        self.line(&format!("(_, {rest}) => {{ let {rest} = {rest} as u64;"));
        self.block(None, &[(&rest, Kind::Number, false)]);
        self.line("}\n}");
    }

    /// A number that a block, a branch or a loop gives.
    fn value(&mut self) {
        let (name, label) = (self.fresh("y"), format!("'b{}", self.names));
        match self.random.below(3) {
            0 => {
                self.line(&format!("let {name}: u64 = {label}: {{"));
                self.block(Some(Exit { label, is_loop: false, value: true }), &[]);
            }
            1 => {
                let condition = self.condition();
                self.line(&format!("let {name}: u64 = if {condition} {{"));
                self.block(None, &[]);
                let value = self.number();
                self.line(&format!("{value}\n}} else {{"));
            }
            _ => {
                self.line(&format!("let {name}: u64 = {{"));
                self.block(None, &[]);
            }
        }
        let value = self.number();
        self.line(&format!("{value}\n}};"));
        self.declare(&name, Kind::Number, false);
    }

    /// A loop without a hook, and so without one in it.
    fn plain_loop(&mut self) {
        let (hooked, name, end) = (self.may_hook, self.fresh("i"), self.atom());
        self.may_hook = false;
        let label = format!("'p{}", self.names);
        self.line(&format!("{label}: for {name} in 0..{end} % 3 {{"));
        self.block(Some(Exit { label, is_loop: true, value: false }), &[(&name, Kind::Number, false)]);
        self.line("}");
        self.may_hook = hooked;
    }

    fn hooked_loop(&mut self) {
        if !self.may_hook || self.depth >= 4 {
            return self.mark();
        }
        let label = self.fresh("'l");
        let exit = Exit { label: label.clone(), is_loop: true, value: false };
        let head = if self.random.chance(3) { String::new() } else { format!("{label}: ") };
        let exit = if head.is_empty() { None } else { Some(exit) };
        match self.random.below(12) {
            0 => self.strip_mined(),
            1 | 2 => self.over_range(&head, exit),
            3 | 4 => self.over_vector(&head, exit),
            5 | 6 => self.while_counting(&head, exit),
            7 => self.while_popping(&head, exit),
            8 => self.over_chain(&head, exit),
            _ => self.endless(&label),
        }
    }

    fn hooked(&mut self, head: &str, exit: Option<Exit>, bound: &[(&str, Kind, bool)]) {
        self.line(&format!("#[checkpoint]\n{head} {{"));
        self.block(exit, bound);
        self.line("}");
    }

    fn over_range(&mut self, label: &str, exit: Option<Exit>) {
        let (name, from, to) = (self.fresh("i"), self.random.below(3), self.number());
        let dots = ["..", "..="][self.random.below(2)];
        let word = if self.random.chance(3) { "mut " } else { "" };
        let head = format!("{label}for {word}{name} in {from}{dots}({to}) % 5");
        self.hooked(&head, exit, &[(&name, Kind::Number, word != "")]);
    }

    fn over_vector(&mut self, label: &str, exit: Option<Exit>) {
        let (index, item) = (self.fresh("i"), self.fresh("e"));
        let of =
            self.pick(|v| matches!(v.kind, Kind::Frozen | Kind::View)).map_or("items".into(), |v| v.name);
        let (head, names): (String, Vec<&str>) = match self.random.below(4) {
            0 => (format!("{label}for &{item} in {of}.iter().rev()"), vec![&item]),
            1 => (format!("{label}for ({index}, &{item}) in (5u64..).zip({of}.iter())"), vec![&index, &item]),
            2 => (format!("{label}for {item} in {of}.iter().copied().filter(|x| x % 3 != 1)"), vec![&item]),
            _ => (format!("{label}for {item} in {of}.iter().map(|x| x ^ 1)"), vec![&item]),
        };
        let bound: Vec<(&str, Kind, bool)> = names.iter().map(|name| (*name, Kind::Number, false)).collect();
        self.hooked(&head, exit, &bound);
    }

    fn over_chain(&mut self, label: &str, exit: Option<Exit>) {
        let (name, end) = (self.fresh("i"), self.number());
        let chain = [".rev()", ".step_by(2)", ".map(|x| x * x)", ".filter(|x| x % 2 == 0)", ".skip(1)"]
            [self.random.below(5)];
        self.hooked(
            &format!("{label}for {name} in (1..({end}) % 6){chain}"),
            exit,
            &[(&name, Kind::Number, false)],
        );
    }

    fn while_counting(&mut self, label: &str, exit: Option<Exit>) {
        let (name, end) = (self.fresh("k"), 1 + self.random.below(3));
        self.line(&format!("let mut {name} = 0u64;"));
        self.declare(&name, Kind::Number, false);
        self.line(&format!("#[checkpoint]\n{label}while {name} < {end} {{\n{name} += 1;"));
        self.block(exit, &[]);
        self.line("}");
    }

    fn while_popping(&mut self, label: &str, exit: Option<Exit>) {
        let (name, from, value) = (self.fresh("e"), self.fresh("q"), self.number());
        self.line(&format!("let mut {from} = vec![{value}, 1, 2];"));
        self.hooked(
            &format!("{label}while let Some({name}) = {from}.pop()"),
            exit,
            &[(&name, Kind::Number, false)],
        );
        if self.random.chance(2) {
            self.declare(&from, Kind::Vector, true);
        }
    }

    fn endless(&mut self, label: &str) {
        let (count, end, result) = (self.fresh("k"), self.random.below(4), self.fresh("r"));
        self.line(&format!("let mut {count} = 0u64;"));
        self.declare(&count, Kind::Number, false);
        let target = self.pick(|v| v.kind == Kind::Number && v.mutable && !v.pinned);
        let kind = self.random.below(3);
        let value = if kind == 0 { String::new() } else { self.number() };
        let start = match (kind, &target) {
            (0, _) => "#[checkpoint]\n".to_owned(),
            (1, Some(target)) => format!("#[checkpoint]\n{} = ", target.name),
            _ => format!("let {result}: u64 = #[checkpoint]\n"),
        };
        self.line(&format!(
            "{start}{label}: loop {{\n{count} += 1;\nif {count} > {end} {{ break {value}; }}"
        ));
        self.block(Some(Exit { label: label.to_owned(), is_loop: true, value: kind != 0 }), &[]);
        self.line(if kind == 0 { "}" } else { "};" });
        if start.contains(&result) {
            self.declare(&result, Kind::Number, false);
        }
    }

    /// Long and without calls: runs in blocks.
    fn strip_mined(&mut self) {
        let Some(v) = self.pick(|v| v.kind == Kind::Number && v.mutable && !v.pinned) else {
            return self.mark();
        };
        let (name, end, value) = (self.fresh("i"), 900 + self.random.below(1500), self.atom());
        let left = ["break", "continue"][self.random.below(2)];
        let modulus = 400 + self.random.below(1200);
        let source = match self.random.below(6) {
            0 | 1 => format!("0..{end}"),
            2 => format!("0..={end}"),
            of => {
                let long = self.fresh("z");
                self.line(&format!("let {long}: Vec<u64> = (0..{end}).collect();"));
                match of {
                    3 => format!("{long}.iter().copied()"),
                    4 => format!("{long}.iter().copied().rev().skip(3)"),
                    _ => format!("{long}[1..].iter().take(1300).cloned()"),
                }
            }
        };
        self.line(&format!(
            "#[checkpoint]\nfor {name} in {source} {{\nif {name} % {modulus} == {modulus} - 1 {{ {left}; }}\n\
             {0} = ({0} % 1_000_003 * 31 + {name}) ^ {value};\n}}\ntrace.push({0});",
            v.name
        ));
    }
}
