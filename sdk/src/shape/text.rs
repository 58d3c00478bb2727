//! A shape as short text, like Rust.

use std::fmt;

use super::{Field, Fields, Shape};

impl fmt::Display for Shape {
    /// The type as one would declare it, with the types within it by name.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Struct(name, fields) => write!(f, "struct {name}{fields}"),
            Self::Enum(name, variants) => {
                write!(f, "enum {name} {{ ")?;
                for (at, variant) in variants.iter().enumerate() {
                    write!(f, "{}{}{}", if at == 0 { "" } else { ", " }, variant.name, variant.fields)?;
                }
                f.write_str(" }")
            }
            other => f.write_str(&other.mention()),
        }
    }
}

impl fmt::Display for Fields {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unit => Ok(()),
            Self::Newtype(inner) => write!(f, "({})", inner.mention()),
            Self::Tuple(parts) => write!(f, "({})", join(parts, Shape::mention)),
            Self::Named(fields) => write!(f, " {{ {} }}", join(fields, Field::to_string)),
        }
    }
}

impl fmt::Display for Field {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.name, self.shape.mention())
    }
}

impl Shape {
    /// The type as one would use it: structs and enums by name.
    pub(super) fn mention(&self) -> String {
        match self {
            Self::Option(inner) => format!("Option<{}>", inner.mention()),
            Self::Sequence(inner) => format!("Vec<{}>", inner.mention()),
            Self::Map(key, value) => format!("Map<{}, {}>", key.mention(), value.mention()),
            Self::Array(inner, len) => format!("[{}; {len}]", inner.mention()),
            Self::Tuple(parts) => mention_tuple(parts),
            Self::Struct(name, _) | Self::Enum(name, _) | Self::Recursive(name) | Self::Opaque(name) => {
                name.clone()
            }
            primitive => primitive.primitive_name().to_owned(),
        }
    }

    fn primitive_name(&self) -> &'static str {
        match self {
            Self::Unit => "()",
            Self::Bool => "bool",
            Self::I8 => "i8",
            Self::I16 => "i16",
            Self::I32 => "i32",
            Self::I64 => "i64",
            Self::I128 => "i128",
            Self::U8 => "u8",
            Self::U16 => "u16",
            Self::U32 => "u32",
            Self::U64 => "u64",
            Self::U128 => "u128",
            Self::F32 => "f32",
            Self::F64 => "f64",
            Self::Char => "char",
            Self::String => "String",
            _ => "bytes",
        }
    }
}

fn mention_tuple(parts: &[Shape]) -> String {
    match parts {
        [only] => format!("({},)", only.mention()),
        _ => format!("({})", join(parts, Shape::mention)),
    }
}

fn join<T>(parts: &[T], text: impl Fn(&T) -> String) -> String {
    parts.iter().map(text).collect::<Vec<_>>().join(", ")
}
