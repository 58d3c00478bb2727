//! The deserializer that records what it is asked for, and answers with made-up values.

use std::any::type_name;

use serde::de::{Deserializer, Visitor};

use super::super::Shape;
use super::super::node::{ATTEMPTS, Choice, Kind, Node, Parts};
use super::access::{Chosen, Elements, Entries, visit_named};
use super::{DEPTH, Refusal, Trace, short, values};

/// What stands for the key of a map that is really a struct with flattened fields.
const IDENTIFIER: &str = "identifier";
/// From this attempt on an option is none.
const NONE_FROM: u32 = ATTEMPTS - 4;

/// The deserializer at one place.
pub(super) struct Tracer<'a> {
    pub(super) node: &'a mut Node,
    pub(super) trace: &'a mut Trace,
    /// How many values were refused by the types around this place.
    pub(super) variation: u32,
}

impl Tracer<'_> {
    /// Which value to try here.
    fn level(&self) -> u32 {
        self.variation + self.node.attempt
    }

    /// Records what this place is, and goes on there. If it is known as something else, it is several things by turns: then
    /// it is opaque, and the value is made beside it.
    fn at<T>(
        self,
        is_same: impl FnOnce(&Kind) -> bool,
        new: impl FnOnce(&mut Trace) -> Kind,
        go_on: impl FnOnce(Tracer<'_>) -> Result<T, Refusal>,
    ) -> Result<T, Refusal> {
        let Self { node, trace, variation } = self;
        if matches!(node.kind, Kind::Unknown) {
            node.kind = new(trace);
            trace.learned += 1;
        } else if !is_same(&node.kind) {
            if !matches!(node.kind, Kind::Opaque(_)) {
                node.kind = Kind::Opaque(short(type_name::<T>()));
                trace.learned += 1;
            }
            let mut beside = Node { kind: new(trace), attempt: node.attempt, ..Node::default() };
            return go_on(Tracer { node: &mut beside, trace, variation });
        }
        go_on(Tracer { node, trace, variation })
    }

    fn primitive<T>(
        self,
        shape: &Shape,
        visit: impl FnOnce(u32) -> Result<T, Refusal>,
    ) -> Result<T, Refusal> {
        let is_same = |kind: &Kind| matches!(kind, Kind::Primitive(known) if known == shape);
        self.at(
            is_same,
            |_| Kind::Primitive(shape.clone()),
            |this| {
                let level = this.level();
                visit(level).map_err(|refusal| {
                    if refusal == Refusal::Refused {
                        this.trace.refuse(this.node, type_name::<T>());
                    }
                    Refusal::Blamed
                })
            },
        )
    }

    /// A type whose values say themselves what they are.
    fn opaque<T>(self, name: &str, visit: impl FnOnce(u32) -> Result<T, Refusal>) -> Result<T, Refusal> {
        let name = short(name);
        self.at(|_| true, |_| Kind::Opaque(name), |this| visit(this.level()))
    }

    /// Goes into a type with a name; if that type is already around this place, it is only made here.
    fn enter<T>(
        self,
        key: &'static str,
        name: &'static str,
        go_on: impl FnOnce(Tracer<'_>) -> Result<T, Refusal>,
    ) -> Result<T, Refusal> {
        let Self { node, trace, variation } = self;
        if trace.depth >= DEPTH {
            trace.give_up(node, name);
            return Err(Refusal::Blamed);
        }
        trace.depth += 1;
        let made = if trace.making == 0 && trace.within.contains(&key) {
            if matches!(node.kind, Kind::Unknown) {
                node.kind = Kind::Recursive(name, Box::default());
                trace.learned += 1;
            }
            let variation = variation + node.attempt;
            let Kind::Recursive(_, maker) = &mut node.kind else { return Err(Refusal::Blamed) };
            trace.making += 1;
            let made = go_on(Tracer { node: maker, trace, variation });
            trace.making -= 1;
            made
        } else {
            trace.within.push(key);
            let made = go_on(Tracer { node, trace, variation });
            trace.within.pop();
            made
        };
        trace.depth -= 1;
        made
    }

    /// How many elements a sequence or map gets.
    fn count(&self, is_avoided: bool) -> usize {
        let by_default_none = is_avoided || self.trace.making > 0;
        let count = values::count(self.node.attempt);
        // Empty first, where that is better; but the type may refuse it.
        if by_default_none && self.node.attempt < 2 { self.node.attempt as usize } else { count }
    }

    fn enumeration<'de, V: Visitor<'de>>(self, key: &'static str, visitor: V) -> Result<V::Value, Refusal> {
        let (variation, by_index) = (self.level(), self.node.attempt % 4 == 1);
        let Self { node, trace, .. } = self;
        let Kind::Enum(_, choices) = &mut node.kind else { return Err(Refusal::Blamed) };
        let chosen = if trace.making > 0 { trace.bases.get(key).copied() } else { choose(choices, trace) };
        let Some((at, choice)) = chosen.and_then(|at| Some((at, choices.get_mut(at)?))) else {
            return Err(Refusal::Blamed);
        };
        let index = u32::try_from(at).unwrap_or(u32::MAX);
        let made = visitor.visit_enum(Chosen { choice, index, by_index, trace: &mut *trace, variation });
        if made.is_ok() && !trace.bases.contains_key(key) {
            trace.bases.insert(key, at);
            trace.learned += 1;
        }
        made
    }
}

/// A variant of which something is to be learned; if there is none, one that can be made.
fn choose(choices: &[Choice], trace: &Trace) -> Option<usize> {
    let that = |is: fn(&Choice) -> bool| -> Vec<usize> {
        choices.iter().enumerate().filter(|(_, choice)| is(choice)).map(|(at, _)| at).collect()
    };
    let is_open: fn(&Choice) -> bool =
        if trace.defaults { |choice| !choice.is_settled(true) } else { |choice| !choice.is_settled(false) };
    let open = that(is_open);
    let candidates = if open.is_empty() { that(|choice| choice.made && !choice.dead) } else { open };
    candidates.get(trace.pick(candidates.len())).copied()
}

macro_rules! primitives {
    ($($method:ident $shape:ident $visitor:ident $visit:ident $value:expr;)*) => {$(
        fn $method<V: Visitor<'de>>(self, $visitor: V) -> Result<V::Value, Refusal> {
            self.primitive(&Shape::$shape, |level| $visitor.$visit($value(level)))
        }
    )*};
}

impl<'de> Deserializer<'de> for Tracer<'_> {
    type Error = Refusal;

    fn is_human_readable(&self) -> bool {
        self.trace.readable
    }

    primitives! {
        deserialize_bool Bool visitor visit_bool |level| level % 2 == 1;
        deserialize_i8 I8 visitor visit_i8 |level| values::integer(level).cast_signed();
        deserialize_i16 I16 visitor visit_i16 |level| values::integer(level).into();
        deserialize_i32 I32 visitor visit_i32 |level| values::integer(level).into();
        deserialize_i64 I64 visitor visit_i64 |level| values::integer(level).into();
        deserialize_i128 I128 visitor visit_i128 |level| values::integer(level).into();
        deserialize_u8 U8 visitor visit_u8 values::integer;
        deserialize_u16 U16 visitor visit_u16 |level| values::integer(level).into();
        deserialize_u32 U32 visitor visit_u32 |level| values::integer(level).into();
        deserialize_u64 U64 visitor visit_u64 |level| values::integer(level).into();
        deserialize_u128 U128 visitor visit_u128 |level| values::integer(level).into();
        deserialize_f32 F32 visitor visit_f32 values::float;
        deserialize_f64 F64 visitor visit_f64 |level| values::float(level).into();
        deserialize_char Char visitor visit_char values::character;
        deserialize_str String visitor visit_borrowed_str values::text;
        deserialize_string String visitor visit_borrowed_str values::text;
        deserialize_bytes Bytes visitor visit_borrowed_bytes |level| values::text(level).as_bytes();
        deserialize_byte_buf Bytes visitor visit_borrowed_bytes |level| values::text(level).as_bytes();
    }

    fn deserialize_unit<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Refusal> {
        self.primitive(&Shape::Unit, |_| visitor.visit_unit())
    }

    fn deserialize_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Refusal> {
        self.opaque(type_name::<V::Value>(), |level| match level % 7 {
            0 => visitor.visit_unit(),
            1 => visitor.visit_borrowed_str("a"),
            2 => visitor.visit_u64(1),
            3 => visitor.visit_bool(false),
            4 => visitor.visit_f64(1.0),
            _ => Err(Refusal::Refused),
        })
    }

    fn deserialize_ignored_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Refusal> {
        self.opaque("ignored", |_| visitor.visit_unit())
    }

    fn deserialize_identifier<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Refusal> {
        self.opaque(IDENTIFIER, |level| visitor.visit_borrowed_str(values::text(level)))
    }

    fn deserialize_option<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Refusal> {
        let is_same = |kind: &Kind| matches!(kind, Kind::Option(_));
        self.at(
            is_same,
            |_| Kind::Option(Box::default()),
            |this| {
                let (variation, attempt) = (this.level(), this.node.attempt);
                let Kind::Option(inner) = &mut this.node.kind else { return Err(Refusal::Blamed) };
                if inner.is_avoided() || this.trace.making > 0 || attempt >= NONE_FROM {
                    return visitor.visit_none();
                }
                visitor.visit_some(Tracer { node: inner, trace: this.trace, variation })
            },
        )
    }

    fn deserialize_unit_struct<V: Visitor<'de>>(
        self,
        name: &'static str,
        visitor: V,
    ) -> Result<V::Value, Refusal> {
        let is_same = |kind: &Kind| matches!(kind, Kind::Struct(_, Parts::Unit));
        self.at(is_same, |_| Kind::Struct(name, Parts::Unit), |_| visitor.visit_unit())
    }

    fn deserialize_newtype_struct<V: Visitor<'de>>(
        self,
        name: &'static str,
        visitor: V,
    ) -> Result<V::Value, Refusal> {
        let is_same = |kind: &Kind| matches!(kind, Kind::Struct(_, Parts::Newtype(_)));
        let new = |_: &mut Trace| Kind::Struct(name, Parts::Newtype(Box::default()));
        self.enter(type_name::<V>(), name, |this| {
            this.at(is_same, new, |this| {
                let variation = this.level();
                let Kind::Struct(_, Parts::Newtype(inner)) = &mut this.node.kind else {
                    return Err(Refusal::Blamed);
                };
                visitor.visit_newtype_struct(Tracer { node: inner, trace: this.trace, variation })
            })
        })
    }

    fn deserialize_seq<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Refusal> {
        let is_same = |kind: &Kind| matches!(kind, Kind::Sequence(_));
        self.at(
            is_same,
            |_| Kind::Sequence(Box::default()),
            |this| {
                let is_avoided = matches!(&this.node.kind, Kind::Sequence(inner) if inner.is_avoided());
                let (variation, left) = (this.level(), this.count(is_avoided));
                let Kind::Sequence(inner) = &mut this.node.kind else { return Err(Refusal::Blamed) };
                visitor.visit_seq(Entries { key: inner, value: None, left, trace: this.trace, variation })
            },
        )
    }

    fn deserialize_map<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Refusal> {
        let is_same = |kind: &Kind| matches!(kind, Kind::Map(_));
        self.at(is_same, |_| Kind::Map(Box::default()), |this| {
            let is_avoided =
                matches!(&this.node.kind, Kind::Map(entry) if entry.0.is_avoided() || entry.1.is_avoided());
            let (variation, left) = (this.level(), this.count(is_avoided));
            let Kind::Map(entry) = &mut this.node.kind else { return Err(Refusal::Blamed) };
            let (key, value) = &mut **entry;
            let made = visitor.visit_map(Entries { key, value: Some(value), left, trace: &mut *this.trace, variation });
            if matches!(&key.kind, Kind::Opaque(name) if name == IDENTIFIER) {
                // A struct with flattened fields reads a map, and does not tell which fields.
                this.node.kind = Kind::Opaque(short(type_name::<V::Value>()));
                this.node.dead = made.is_err();
                this.trace.learned += 1;
            }
            made
        })
    }

    fn deserialize_tuple<V: Visitor<'de>>(self, len: usize, visitor: V) -> Result<V::Value, Refusal> {
        let is_same = |kind: &Kind| matches!(kind, Kind::Tuple(parts) if parts.len() == len);
        self.at(
            is_same,
            |trace| Kind::Tuple(trace.new_nodes(len)),
            |this| {
                let variation = this.level();
                let Kind::Tuple(parts) = &mut this.node.kind else { return Err(Refusal::Blamed) };
                visitor.visit_seq(Elements {
                    nodes: parts.iter_mut(),
                    left: len,
                    trace: this.trace,
                    variation,
                })
            },
        )
    }

    fn deserialize_tuple_struct<V: Visitor<'de>>(
        self,
        name: &'static str,
        len: usize,
        visitor: V,
    ) -> Result<V::Value, Refusal> {
        let is_same = |kind: &Kind| matches!(kind, Kind::Struct(_, Parts::Tuple(_)));
        let new = |trace: &mut Trace| Kind::Struct(name, Parts::Tuple(trace.new_nodes(len)));
        self.enter(type_name::<V>(), name, |this| {
            this.at(is_same, new, |this| {
                let variation = this.level();
                let Kind::Struct(_, Parts::Tuple(parts)) = &mut this.node.kind else {
                    return Err(Refusal::Blamed);
                };
                visitor.visit_seq(Elements {
                    nodes: parts.iter_mut(),
                    left: len,
                    trace: this.trace,
                    variation,
                })
            })
        })
    }

    fn deserialize_struct<V: Visitor<'de>>(
        self,
        name: &'static str,
        fields: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Refusal> {
        let is_same = |kind: &Kind| matches!(kind, Kind::Struct(_, Parts::Named(_)));
        let new = |trace: &mut Trace| {
            Kind::Struct(
                name,
                Parts::Named(fields.iter().copied().zip(trace.new_nodes(fields.len())).collect()),
            )
        };
        self.enter(type_name::<V>(), name, |this| {
            this.at(is_same, new, |this| {
                let (variation, in_order) = (this.level(), this.node.attempt % 4 == 1);
                let Kind::Struct(_, Parts::Named(nodes)) = &mut this.node.kind else {
                    return Err(Refusal::Blamed);
                };
                visit_named(visitor, nodes, in_order, this.trace, variation)
            })
        })
    }

    fn deserialize_enum<V: Visitor<'de>>(
        self,
        name: &'static str,
        variants: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Refusal> {
        let is_same = |kind: &Kind| matches!(kind, Kind::Enum(..));
        let new = |_: &mut Trace| Kind::Enum(name, variants.iter().copied().map(Choice::new).collect());
        let key = type_name::<V>();
        self.enter(key, name, |this| this.at(is_same, new, |this| this.enumeration(key, visitor)))
    }
}
