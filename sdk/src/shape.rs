//! The shape of a type as serde sees it: names, order and kinds of its fields and variants.
//!
//! A checkpoint is read back by code that may have changed since. Formats without field names can't notice that two fields
//! were swapped or a variant was inserted; they return wrong data without a word. So a checkpoint carries its type's [`Shape`], found by
//! running the type's own `Deserialize` against made-up values.

mod difference;
mod node;
mod rename;
mod schema;
mod text;
mod trace;

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

/// The shape of a type.
///
/// ```
/// # use limitless_faas::shape;
/// #[derive(serde::Deserialize)]
/// struct Progress { done: u64, words: Vec<String> }
///
/// let shape = shape::of::<Progress>();
/// assert_eq!(shape.to_string(), "struct Progress { done: u64, words: Vec<String> }");
/// ```
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
#[expect(missing_docs, reason = "the primitives speak for themselves")]
pub enum Shape {
    Unit,
    Bool,
    I8,
    I16,
    I32,
    I64,
    I128,
    U8,
    U16,
    U32,
    U64,
    U128,
    F32,
    F64,
    Char,
    String,
    Bytes,
    /// A value or none.
    Option(Box<Shape>),
    /// Any number of equal elements: a vector, a set.
    Sequence(Box<Shape>),
    /// Any number of keys with values.
    Map(Box<Shape>, Box<Shape>),
    /// A fixed number of elements of different types.
    Tuple(Vec<Shape>),
    /// A fixed number of two or more equal elements; also of a tuple.
    Array(Box<Shape>, usize),
    /// A struct with its name.
    Struct(String, Fields),
    /// An enum with its name.
    Enum(String, Vec<Variant>),
    /// The struct or enum of this name that this stands within.
    Recursive(String),
    /// A type that can't be traced: only its name is known.
    Opaque(String),
}

/// What a struct or variant consists of.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Fields {
    /// Nothing.
    Unit,
    /// One field without a name, which serde may leave out: `Id(u64)`.
    Newtype(Box<Shape>),
    /// Fields without names.
    Tuple(Vec<Shape>),
    /// Fields with names, in their order.
    Named(Vec<Field>),
}

/// A field with a name.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(from = "(String, Shape)", into = "(String, Shape)")]
pub struct Field {
    /// Its name.
    pub name: String,
    /// Its type.
    pub shape: Shape,
    /// Whether a value may lack it. Only [`of_readable`] finds out, and neither the JSON form nor the fingerprint has it: in a compact
    /// format nothing is left out.
    pub has_default: bool,
}

/// A variant of an enum.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(from = "(String, Fields)", into = "(String, Fields)")]
pub struct Variant {
    /// Its name.
    pub name: String,
    /// What it holds.
    pub fields: Fields,
}

/// The shape of `T` in a compact format, such as a checkpoint's.
///
/// What can't be traced is [`Shape::Opaque`] at its place: types that take whatever comes (`serde_json::Value`, untagged enums), or
/// that refuse every value tried. It never panics, and ends for every type.
pub fn of<T: DeserializeOwned>() -> Shape {
    trace::trace::<T>(false)
}

/// The shape of `T` in a format that people read, such as JSON: there an address or a time is a text, and fields with a default
/// may be left out.
pub fn of_readable<T: DeserializeOwned>() -> Shape {
    trace::trace::<T>(true)
}

impl Shape {
    /// A number that changes with names, order and kinds of fields and variants, and with nothing else: it is the same for
    /// every compiler and machine.
    pub fn fingerprint(&self) -> u64 {
        let mut hash = Fnv(0xcbf2_9ce4_8422_2325);
        // Writing into a hash does not fail, and neither does serialising names and numbers.
        let _ = serde_json::to_writer(&mut hash, self);
        hash.0
    }

    /// The same shape under another name: what an older version of a type is called has no bearing on its bytes.
    #[must_use]
    pub fn named(self, name: &str) -> Self {
        match self {
            Self::Struct(old, fields) => Self::Struct(name.to_owned(), rename::fields(fields, &old, name)),
            Self::Enum(old, variants) => Self::Enum(name.to_owned(), rename::variants(variants, &old, name)),
            other => other,
        }
    }

    /// The shape as compact JSON, as a checkpoint carries it.
    pub fn to_json(&self) -> String {
        serde_json::to_string(self).unwrap_or_default()
    }

    /// Reads what [`Shape::to_json`] wrote.
    ///
    /// # Errors
    /// The text is no shape, or one of a later version.
    pub fn from_json(text: &str) -> Result<Self, serde_json::Error> {
        serde_json::from_str(text)
    }
}

/// FNV-1a: a fingerprint guards against mistakes, not against attackers.
struct Fnv(u64);

impl std::io::Write for Fnv {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        for byte in bytes {
            self.0 = (self.0 ^ u64::from(*byte)).wrapping_mul(0x0000_0100_0000_01b3);
        }
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

impl From<(String, Shape)> for Field {
    fn from((name, shape): (String, Shape)) -> Self {
        Self { name, shape, has_default: false }
    }
}

impl From<Field> for (String, Shape) {
    fn from(field: Field) -> Self {
        (field.name, field.shape)
    }
}

impl From<(String, Fields)> for Variant {
    fn from((name, fields): (String, Fields)) -> Self {
        Self { name, fields }
    }
}

impl From<Variant> for (String, Fields) {
    fn from(variant: Variant) -> Self {
        (variant.name, variant.fields)
    }
}

#[cfg(test)]
mod tests;
