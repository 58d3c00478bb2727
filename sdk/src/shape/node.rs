//! What is known of a type while it is being traced.

use super::{Field, Fields, Shape, Variant};

/// How many made-up values a type may refuse.
pub(super) const ATTEMPTS: u32 = 20;

/// One place in a type.
#[derive(Debug, Default)]
pub(super) struct Node {
    pub(super) kind: Kind,
    /// How many values were refused here; the next one to try.
    pub(super) attempt: u32,
    /// For a field with a name: whether it may be left out, once that was tried.
    pub(super) has_default: Option<bool>,
    /// No value can be made here: its place is left out, and an enclosing type does without.
    pub(super) dead: bool,
}

/// What was found at a place.
#[derive(Debug, Default)]
pub(super) enum Kind {
    /// Nobody asked for a value yet.
    #[default]
    Unknown,
    Primitive(Shape),
    Option(Box<Node>),
    Sequence(Box<Node>),
    Map(Box<(Node, Node)>),
    Tuple(Vec<Node>),
    Struct(&'static str, Parts),
    Enum(&'static str, Vec<Choice>),
    /// Within itself. The node makes values there; its own shape is known already.
    Recursive(&'static str, Box<Node>),
    Opaque(String),
}

/// A variant.
#[derive(Debug)]
pub(super) struct Choice {
    pub(super) name: &'static str,
    pub(super) parts: Option<Parts>,
    /// A value of it was made.
    pub(super) made: bool,
    pub(super) dead: bool,
}

/// The fields of a struct or variant.
#[derive(Debug)]
pub(super) enum Parts {
    Unit,
    Newtype(Box<Node>),
    Tuple(Vec<Node>),
    Named(Vec<(&'static str, Node)>),
}

impl Node {
    /// Whether nothing more can be learned here; where `defaults` are of interest, of those neither.
    pub(super) fn is_settled(&self, defaults: bool) -> bool {
        let is_settled = |node: &Self| node.is_settled(defaults);
        self.dead
            || match &self.kind {
                Kind::Unknown => false,
                Kind::Primitive(_) | Kind::Recursive(..) | Kind::Opaque(_) => true,
                Kind::Option(inner) | Kind::Sequence(inner) => is_settled(inner),
                Kind::Map(entry) => is_settled(&entry.0) && is_settled(&entry.1),
                Kind::Tuple(parts) => parts.iter().all(is_settled),
                Kind::Struct(_, parts) => parts.is_settled(defaults),
                Kind::Enum(_, choices) => choices.iter().all(|choice| choice.is_settled(defaults)),
            }
    }

    /// Whether it is known that no value can be made, because one that is needed can't.
    pub(super) fn is_doomed(&self) -> bool {
        match &self.kind {
            Kind::Tuple(parts) => parts.iter().any(Self::is_hopeless),
            Kind::Struct(_, parts) => parts.is_doomed(),
            Kind::Enum(_, choices) => choices.iter().all(|choice| choice.dead),
            Kind::Recursive(_, maker) => maker.is_hopeless(),
            _ => false,
        }
    }

    /// Whether a named field can't be made; it may have a default.
    pub(super) fn lacks_a_part(&self) -> bool {
        matches!(&self.kind, Kind::Struct(_, Parts::Named(parts)) if parts.iter().any(|(_, part)| part.is_hopeless()))
    }

    pub(super) fn is_hopeless(&self) -> bool {
        self.dead || self.is_doomed()
    }

    /// Whether a container should rather be empty than hold this.
    pub(super) fn is_avoided(&self) -> bool {
        self.is_hopeless() || matches!(self.kind, Kind::Recursive(..))
    }

    pub(super) fn into_shape(self) -> Shape {
        match self.kind {
            Kind::Unknown => Shape::Opaque("unknown".to_owned()),
            Kind::Primitive(shape) => shape,
            Kind::Option(inner) => Shape::Option(Box::new(inner.into_shape())),
            Kind::Sequence(inner) => Shape::Sequence(Box::new(inner.into_shape())),
            Kind::Map(entry) => Shape::Map(Box::new(entry.0.into_shape()), Box::new(entry.1.into_shape())),
            Kind::Tuple(parts) => tuple(parts.into_iter().map(Self::into_shape).collect()),
            Kind::Struct(name, parts) => Shape::Struct(name.to_owned(), parts.into_fields()),
            Kind::Enum(name, choices) => {
                Shape::Enum(name.to_owned(), choices.into_iter().map(Choice::into_variant).collect())
            }
            Kind::Recursive(name, _) => Shape::Recursive(name.to_owned()),
            Kind::Opaque(name) => Shape::Opaque(name),
        }
    }
}

/// A tuple of equal elements is the same as an array, to serde and here.
fn tuple(parts: Vec<Shape>) -> Shape {
    match &parts[..] {
        [first, rest @ ..] if !rest.is_empty() && rest.iter().all(|part| part == first) => {
            Shape::Array(Box::new(first.clone()), parts.len())
        }
        _ => Shape::Tuple(parts),
    }
}

impl Choice {
    pub(super) fn new(name: &'static str) -> Self {
        Self { name, parts: None, made: false, dead: false }
    }

    pub(super) fn is_settled(&self, defaults: bool) -> bool {
        self.dead || self.made && self.parts.as_ref().is_some_and(|parts| parts.is_settled(defaults))
    }

    fn into_variant(self) -> Variant {
        let unknown = || Fields::Newtype(Box::new(Shape::Opaque("unknown".to_owned())));
        let fields = self.parts.map_or_else(unknown, Parts::into_fields);
        Variant { name: self.name.to_owned(), fields }
    }
}

impl Parts {
    pub(super) fn is_settled(&self, defaults: bool) -> bool {
        match self {
            Self::Unit => true,
            Self::Newtype(inner) => inner.is_settled(defaults),
            Self::Tuple(parts) => parts.iter().all(|part| part.is_settled(defaults)),
            Self::Named(parts) => parts.iter().all(|(_, part)| {
                part.is_settled(defaults) && (!defaults || part.dead || part.has_default.is_some())
            }),
        }
    }

    /// A dead named field may have a default, so that is only known once everything else is.
    pub(super) fn is_doomed(&self) -> bool {
        match self {
            Self::Unit => false,
            Self::Newtype(inner) => inner.is_hopeless(),
            Self::Tuple(parts) => parts.iter().any(Node::is_hopeless),
            Self::Named(parts) => self.is_settled(false) && parts.iter().any(|(_, part)| part.is_hopeless()),
        }
    }

    fn into_fields(self) -> Fields {
        match self {
            Self::Unit => Fields::Unit,
            Self::Newtype(inner) => Fields::Newtype(Box::new(inner.into_shape())),
            Self::Tuple(parts) => Fields::Tuple(parts.into_iter().map(Node::into_shape).collect()),
            Self::Named(parts) => {
                let field = |(name, part): (&str, Node)| Field {
                    name: name.to_owned(),
                    has_default: part.has_default == Some(true),
                    shape: part.into_shape(),
                };
                Fields::Named(parts.into_iter().map(field).collect())
            }
        }
    }
}
