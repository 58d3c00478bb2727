//! Another name for a type, also where the type stands within itself.

use super::{Field, Fields, Shape, Variant};

pub(super) fn fields(of: Fields, old: &str, new: &str) -> Fields {
    match of {
        Fields::Unit => Fields::Unit,
        Fields::Newtype(inner) => Fields::Newtype(boxed(*inner, old, new)),
        Fields::Tuple(parts) => Fields::Tuple(parts.into_iter().map(|part| shape(part, old, new)).collect()),
        Fields::Named(fields) => {
            let renamed = |field: Field| Field { shape: shape(field.shape, old, new), ..field };
            Fields::Named(fields.into_iter().map(renamed).collect())
        }
    }
}

pub(super) fn variants(of: Vec<Variant>, old: &str, new: &str) -> Vec<Variant> {
    of.into_iter().map(|variant| Variant { fields: fields(variant.fields, old, new), ..variant }).collect()
}

/// Within another type of the same name, the name means that one.
fn shape(of: Shape, old: &str, new: &str) -> Shape {
    match of {
        Shape::Recursive(name) if name == old => Shape::Recursive(new.to_owned()),
        Shape::Option(inner) => Shape::Option(boxed(*inner, old, new)),
        Shape::Sequence(inner) => Shape::Sequence(boxed(*inner, old, new)),
        Shape::Array(inner, len) => Shape::Array(boxed(*inner, old, new), len),
        Shape::Map(key, value) => Shape::Map(boxed(*key, old, new), boxed(*value, old, new)),
        Shape::Tuple(parts) => Shape::Tuple(parts.into_iter().map(|part| shape(part, old, new)).collect()),
        Shape::Struct(name, within) if name != old => Shape::Struct(name, fields(within, old, new)),
        Shape::Enum(name, within) if name != old => Shape::Enum(name, variants(within, old, new)),
        other => other,
    }
}

fn boxed(of: Shape, old: &str, new: &str) -> Box<Shape> {
    Box::new(shape(of, old, new))
}
