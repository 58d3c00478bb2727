//! What a visitor is given to read composite values from.

use serde::de::value::{BorrowedStrDeserializer, U32Deserializer};
use serde::de::{
    DeserializeSeed, EnumAccess, IntoDeserializer, MapAccess, SeqAccess, VariantAccess, Visitor,
};

use super::super::node::{Choice, Node, Parts};
use super::{Refusal, Trace};

type NamedNode = (&'static str, Node);

/// Elements with a place each.
pub(super) struct Elements<'a, I> {
    pub(super) nodes: I,
    pub(super) left: usize,
    pub(super) trace: &'a mut Trace,
    pub(super) variation: u32,
}

impl<'de, 'a, I: Iterator<Item = &'a mut Node>> SeqAccess<'de> for Elements<'_, I> {
    type Error = Refusal;

    fn next_element_seed<S: DeserializeSeed<'de>>(&mut self, seed: S) -> Result<Option<S::Value>, Refusal> {
        let Some(node) = self.nodes.next() else { return Ok(None) };
        self.left = self.left.saturating_sub(1);
        self.trace.make(seed, node, self.variation).map(Some)
    }

    fn size_hint(&self) -> Option<usize> {
        Some(self.left)
    }
}

/// Equal elements, or entries, which share one place.
pub(super) struct Entries<'a> {
    pub(super) key: &'a mut Node,
    pub(super) value: Option<&'a mut Node>,
    pub(super) left: usize,
    pub(super) trace: &'a mut Trace,
    pub(super) variation: u32,
}

impl Entries<'_> {
    fn next<'de, S: DeserializeSeed<'de>>(&mut self, seed: S) -> Result<Option<S::Value>, Refusal> {
        if self.left == 0 {
            return Ok(None);
        }
        self.left -= 1;
        self.trace.make(seed, self.key, self.variation).map(Some)
    }
}

impl<'de> SeqAccess<'de> for Entries<'_> {
    type Error = Refusal;

    fn next_element_seed<S: DeserializeSeed<'de>>(&mut self, seed: S) -> Result<Option<S::Value>, Refusal> {
        self.next(seed)
    }

    fn size_hint(&self) -> Option<usize> {
        Some(self.left)
    }
}

impl<'de> MapAccess<'de> for Entries<'_> {
    type Error = Refusal;

    fn next_key_seed<S: DeserializeSeed<'de>>(&mut self, seed: S) -> Result<Option<S::Value>, Refusal> {
        self.next(seed)
    }

    fn next_value_seed<S: DeserializeSeed<'de>>(&mut self, seed: S) -> Result<S::Value, Refusal> {
        match &mut self.value {
            Some(value) => self.trace.make(seed, value, self.variation),
            None => Err(Refusal::Refused),
        }
    }

    fn size_hint(&self) -> Option<usize> {
        Some(self.left)
    }
}

/// Fields by name, without those of which no value can be made.
pub(super) struct Fields<'a> {
    nodes: &'a mut [NamedNode],
    /// The number of the next field.
    next: &'a mut usize,
    /// The number of a field that is left out to see whether it has a default.
    left_out: Option<usize>,
    trace: &'a mut Trace,
    variation: u32,
}

impl<'de> MapAccess<'de> for Fields<'_> {
    type Error = Refusal;

    fn next_key_seed<S: DeserializeSeed<'de>>(&mut self, seed: S) -> Result<Option<S::Value>, Refusal> {
        while let Some((name, node)) = self.nodes.get(*self.next) {
            *self.next += 1;
            if !node.is_hopeless() && self.left_out != Some(*self.next - 1) {
                return seed.deserialize(BorrowedStrDeserializer::new(name)).map(Some);
            }
        }
        Ok(None)
    }

    fn next_value_seed<S: DeserializeSeed<'de>>(&mut self, seed: S) -> Result<S::Value, Refusal> {
        match self.next.checked_sub(1).and_then(|at| self.nodes.get_mut(at)) {
            Some((_, node)) => self.trace.make(seed, node, self.variation),
            None => Err(Refusal::Refused),
        }
    }
}

/// Reads a struct's fields: by name, or in their order if the type refused names.
pub(super) fn visit_named<'de, V: Visitor<'de>>(
    visitor: V,
    nodes: &mut Vec<NamedNode>,
    in_order: bool,
    trace: &mut Trace,
    variation: u32,
) -> Result<V::Value, Refusal> {
    if in_order {
        let left = nodes.len();
        return visitor.visit_seq(Elements {
            nodes: nodes.iter_mut().map(|(_, node)| node),
            left,
            trace,
            variation,
        });
    }
    let mut next = 0;
    let is_untried = |(_, node): &NamedNode| !node.dead && node.has_default.is_none();
    let left_out = if trace.defaults && trace.making == 0 { nodes.iter().position(is_untried) } else { None };
    let made = visitor.visit_map(Fields { nodes, next: &mut next, left_out, trace: &mut *trace, variation });
    if let Some((_, field)) = left_out.and_then(|at| nodes.get_mut(at)) {
        // Blamed is a place within, which is tried for itself.
        if !matches!(made, Err(Refusal::Blamed)) {
            field.has_default = Some(made.is_ok());
            trace.learned += 1;
        }
    }
    if matches!(made, Err(Refusal::Duplicate)) && (1..=nodes.len()).contains(&next) {
        // An alias of a field that was read already.
        nodes.remove(next - 1);
        trace.learned += 1;
    }
    made
}

/// The variant that this pass takes.
pub(super) struct Chosen<'a> {
    pub(super) choice: &'a mut Choice,
    pub(super) index: u32,
    /// Whether it is named by its index rather than by its name.
    pub(super) by_index: bool,
    pub(super) trace: &'a mut Trace,
    pub(super) variation: u32,
}

impl<'de> EnumAccess<'de> for Chosen<'_> {
    type Error = Refusal;
    type Variant = Self;

    fn variant_seed<S: DeserializeSeed<'de>>(self, seed: S) -> Result<(S::Value, Self), Refusal> {
        let value = if self.by_index {
            let index: U32Deserializer<Refusal> = self.index.into_deserializer();
            seed.deserialize(index)?
        } else {
            seed.deserialize(BorrowedStrDeserializer::new(self.choice.name))?
        };
        Ok((value, self))
    }
}

impl Chosen<'_> {
    /// Records what the variant consists of, reads that, and records how it went.
    fn read<T>(
        self,
        new: impl FnOnce(&mut Trace) -> Parts,
        read: impl FnOnce(&mut Parts, &mut Trace, u32) -> Result<T, Refusal>,
    ) -> Result<T, Refusal> {
        let Self { choice, trace, variation, .. } = self;
        if choice.parts.is_none() {
            trace.learned += 1;
        }
        let parts = choice.parts.get_or_insert_with(|| new(trace));
        let made = read(parts, trace, variation);
        let is_doomed = parts.is_doomed();
        if made.is_ok() && !choice.made {
            choice.made = true;
            trace.learned += 1;
        }
        if made.is_err() && is_doomed && !choice.dead {
            choice.dead = true;
            trace.learned += 1;
        }
        made
    }
}

impl<'de> VariantAccess<'de> for Chosen<'_> {
    type Error = Refusal;

    fn unit_variant(self) -> Result<(), Refusal> {
        self.read(|_| Parts::Unit, |_, _, _| Ok(()))
    }

    fn newtype_variant_seed<S: DeserializeSeed<'de>>(self, seed: S) -> Result<S::Value, Refusal> {
        self.read(
            |_| Parts::Newtype(Box::default()),
            |parts, trace, variation| match parts {
                Parts::Newtype(inner) => trace.make(seed, inner, variation),
                _ => Err(Refusal::Refused),
            },
        )
    }

    fn tuple_variant<V: Visitor<'de>>(self, len: usize, visitor: V) -> Result<V::Value, Refusal> {
        self.read(
            |trace| Parts::Tuple(trace.new_nodes(len)),
            |parts, trace, variation| match parts {
                Parts::Tuple(nodes) => {
                    visitor.visit_seq(Elements { nodes: nodes.iter_mut(), left: len, trace, variation })
                }
                _ => Err(Refusal::Refused),
            },
        )
    }

    fn struct_variant<V: Visitor<'de>>(
        self,
        fields: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Refusal> {
        let in_order = self.by_index;
        self.read(
            |trace| Parts::Named(fields.iter().copied().zip(trace.new_nodes(fields.len())).collect()),
            |parts, trace, variation| match parts {
                Parts::Named(nodes) => visit_named(visitor, nodes, in_order, trace, variation),
                _ => Err(Refusal::Refused),
            },
        )
    }
}
