//! Finds a type's shape by deserialising it from made-up values.
//!
//! One pass makes one value of the type and records on the way what is asked for. Passes are repeated, each making other choices,
//! until every variant was seen and every refused value was replaced by one that is taken, or nothing new is learned.

use std::any::type_name;
use std::collections::HashMap;
use std::marker::PhantomData;
use std::panic::{AssertUnwindSafe, catch_unwind};

use serde::de::{self, DeserializeOwned, DeserializeSeed};

use super::Shape;
use super::node::{ATTEMPTS, Kind, Node};

mod access;
mod tracer;
mod values;

use tracer::Tracer;

/// Passes in a row that may learn nothing: a variant that needs another one first waits for its turn.
const IDLE_PASSES: u32 = 300;
/// Places visited in all passes together.
const VISITS: u32 = 300_000;
/// Places in a type.
const NODES: usize = 8_000;
/// Types within types.
pub(super) const DEPTH: usize = 48;

/// The shape of `T`; `readable` says whether the format is one for people.
pub(super) fn trace<T: DeserializeOwned>(readable: bool) -> Shape {
    let mut trace = Trace { readable, ..Trace::default() };
    let mut root = Node::default();
    trace.run::<T>(&mut root);
    if readable {
        trace.defaults = true;
        trace.run::<T>(&mut root);
    }
    root.into_shape()
}

/// What is known across places and passes.
#[derive(Debug, Default)]
struct Trace {
    readable: bool,
    /// Whether fields are left out to see which have a default; everything else is known then.
    defaults: bool,
    /// The named types that the current place is within.
    within: Vec<&'static str>,
    /// How often the current place is in a value that is only made, not recorded: see [`Kind::Recursive`].
    making: u32,
    /// A variant that can be made, of each enum.
    bases: HashMap<&'static str, usize>,
    depth: usize,
    nodes: usize,
    visits: u32,
    passes: u64,
    learned: u64,
}

/// Why a value was not made.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
enum Refusal {
    /// The type refuses the value, and no place was blamed for it yet.
    #[error("refused")]
    Refused,
    /// A field without a default was left out, because no value of its type can be made.
    #[error("incomplete")]
    Missing,
    /// The field is another name of one that was there.
    #[error("duplicate")]
    Duplicate,
    /// A place within was blamed: another pass will try something else there.
    #[error("blamed")]
    Blamed,
}

impl de::Error for Refusal {
    fn custom<T: std::fmt::Display>(_message: T) -> Self {
        Self::Refused
    }

    fn missing_field(_field: &'static str) -> Self {
        Self::Missing
    }

    fn duplicate_field(_field: &'static str) -> Self {
        Self::Duplicate
    }
}

impl Trace {
    /// Makes passes until nothing more is learned.
    fn run<T: DeserializeOwned>(&mut self, root: &mut Node) {
        let mut idle = 0;
        while !root.is_settled(self.defaults) && idle < IDLE_PASSES && self.visits < VISITS {
            let learned = self.learned;
            // Only what was recorded counts, not the value.
            let _ = self.make(PhantomData::<T>, root, 0);
            idle = if self.learned == learned { idle + 1 } else { 0 };
            self.passes += 1;
        }
    }

    /// Makes a value at `node`; on failure, learns from it who is to blame.
    fn make<'de, S: DeserializeSeed<'de>>(
        &mut self,
        seed: S,
        node: &mut Node,
        variation: u32,
    ) -> Result<S::Value, Refusal> {
        self.visits += 1;
        if node.dead || self.visits > VISITS {
            return Err(Refusal::Blamed);
        }
        let is_new = matches!(node.kind, Kind::Unknown);
        if self.depth >= DEPTH || is_new && self.nodes >= NODES {
            self.give_up(node, type_name::<S::Value>());
            return Err(Refusal::Blamed);
        }
        let within = self.within.len();
        let (depth, making) = (self.depth, self.making);
        self.depth += 1;
        let tracer = Tracer { node: &mut *node, trace: &mut *self, variation };
        // Somebody's `Deserialize` may not be prepared for such values.
        let made = catch_unwind(AssertUnwindSafe(|| seed.deserialize(tracer)));
        self.within.truncate(within);
        (self.depth, self.making) = (depth, making);
        match made {
            Ok(Ok(value)) => return Ok(value),
            Ok(Err(Refusal::Refused)) => self.refuse(node, type_name::<S::Value>()),
            Ok(Err(_)) => {}
            Err(_panic) => self.give_up(node, type_name::<S::Value>()),
        }
        // Where nothing is recorded, nothing is learned from going on without a part.
        let is_doomed = node.is_doomed() || self.making > 0 && node.lacks_a_part();
        if !node.dead && is_doomed {
            node.dead = true;
            self.learned += 1;
        }
        Err(Refusal::Blamed)
    }

    /// Another value is tried at `node` next time.
    fn refuse(&mut self, node: &mut Node, type_name: &str) {
        node.attempt += 1;
        self.learned += 1;
        if node.attempt < ATTEMPTS {
            return;
        }
        node.dead = true;
        if matches!(node.kind, Kind::Unknown) {
            node.kind = Kind::Opaque(short(type_name));
        }
    }

    fn give_up(&mut self, node: &mut Node, type_name: &str) {
        node.kind = Kind::Opaque(short(type_name));
        node.dead = true;
        self.learned += 1;
    }

    /// Which of `count` possibilities this pass takes: all in turn, and not in step with other places.
    fn pick(&self, count: usize) -> usize {
        let mixed = (self.passes ^ (self.depth as u64) << 32).wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 33;
        usize::try_from(mixed).unwrap_or_default() % count.max(1)
    }

    fn new_nodes(&mut self, count: usize) -> Vec<Node> {
        self.nodes += count;
        std::iter::repeat_with(Node::default).take(count).collect()
    }
}

/// A type's name without the paths of modules, which move, and without lifetimes.
fn short(type_name: &str) -> String {
    let mut short = String::new();
    let mut word = String::new();
    for character in type_name.chars() {
        match character {
            ':' => word.clear(),
            c if c.is_alphanumeric() || c == '_' => word.push(c),
            c => {
                short.push_str(&std::mem::take(&mut word));
                short.push(c);
            }
        }
    }
    short + &word
}
