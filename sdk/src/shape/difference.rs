//! The first difference between two shapes, as a sentence.

use super::{Field, Fields, Shape, Variant};

/// What a comparison found.
enum Found {
    /// The types at this place differ; whoever knows the place says so.
    Here,
    /// Said already.
    Said(String),
}

impl Shape {
    /// What changed from `old` to this shape, as a sentence such as "field `done` of `Progress` was u64, is f64"; `None` if nothing
    /// did. The first difference in the order of declaration is named.
    pub fn difference(&self, old: &Self) -> Option<String> {
        compare(old, self).map(|found| said_at("the type", old, self, found))
    }
}

fn said_at(place: &str, old: &Shape, new: &Shape, found: Found) -> String {
    match found {
        Found::Said(sentence) => sentence,
        Found::Here => format!("{place} was {}, is {}", old.mention(), new.mention()),
    }
}

fn compare(old: &Shape, new: &Shape) -> Option<Found> {
    match (old, new) {
        (Shape::Option(old), Shape::Option(new)) | (Shape::Sequence(old), Shape::Sequence(new)) => {
            compare(old, new)
        }
        (Shape::Map(old_key, old), Shape::Map(new_key, new)) => {
            compare(old_key, new_key).or_else(|| compare(old, new))
        }
        (Shape::Array(old, old_len), Shape::Array(new, new_len)) if old_len == new_len => compare(old, new),
        (Shape::Tuple(old), Shape::Tuple(new)) if old.len() == new.len() => {
            old.iter().zip(new).find_map(|(old, new)| compare(old, new))
        }
        (Shape::Struct(old_name, old), Shape::Struct(new_name, new)) if old_name == new_name => {
            compare_fields(&format!("`{new_name}`"), old, new).map(Found::Said)
        }
        (Shape::Enum(old_name, old), Shape::Enum(new_name, new)) if old_name == new_name => {
            compare_variants(new_name, old, new).map(Found::Said)
        }
        _ => (old != new).then_some(Found::Here),
    }
}

fn compare_fields(owner: &str, old: &Fields, new: &Fields) -> Option<String> {
    match (old, new) {
        (Fields::Unit, Fields::Unit) => None,
        (Fields::Newtype(old), Fields::Newtype(new)) => {
            compare_at(&format!("the content of {owner}"), old, new)
        }
        (Fields::Tuple(old), Fields::Tuple(new)) if old.len() == new.len() => {
            let number = |(at, (old, new))| compare_at(&format!("field {at} of {owner}"), old, new);
            old.iter().zip(new).enumerate().find_map(number)
        }
        (Fields::Tuple(old), Fields::Tuple(new)) => {
            Some(format!("{owner} had {} fields, has {}", old.len(), new.len()))
        }
        (Fields::Named(old), Fields::Named(new)) => compare_named(owner, old, new),
        _ => Some(format!("{owner} had {}, has {}", describe(old), describe(new))),
    }
}

fn describe(fields: &Fields) -> String {
    match fields {
        Fields::Unit => "no fields".to_owned(),
        Fields::Newtype(_) => "one field without a name".to_owned(),
        Fields::Tuple(parts) => format!("{} fields without names", parts.len()),
        Fields::Named(_) => "fields with names".to_owned(),
    }
}

fn compare_at(place: &str, old: &Shape, new: &Shape) -> Option<String> {
    compare(old, new).map(|found| said_at(place, old, new, found))
}

fn compare_named(owner: &str, old: &[Field], new: &[Field]) -> Option<String> {
    let names = |fields: &[Field]| fields.iter().map(|field| field.name.clone()).collect::<Vec<_>>();
    compare_names("field", owner, &names(old), &names(new)).or_else(|| {
        let at = |field: &Field| format!("field `{}` of {owner}", field.name);
        old.iter().zip(new).find_map(|(old, new)| compare_at(&at(new), &old.shape, &new.shape))
    })
}

fn compare_variants(owner: &str, old: &[Variant], new: &[Variant]) -> Option<String> {
    let names =
        |variants: &[Variant]| variants.iter().map(|variant| variant.name.clone()).collect::<Vec<_>>();
    compare_names("variant", &format!("`{owner}`"), &names(old), &names(new)).or_else(|| {
        let at = |variant: &Variant| format!("`{owner}::{}`", variant.name);
        old.iter().zip(new).find_map(|(old, new)| compare_fields(&at(new), &old.fields, &new.fields))
    })
}

/// Compares the names of fields or variants, and their order.
fn compare_names(what: &str, owner: &str, old: &[String], new: &[String]) -> Option<String> {
    if old == new {
        return None;
    }
    let gone: Vec<_> = old.iter().filter(|name| !new.contains(name)).collect();
    let added: Vec<_> = new.iter().filter(|name| !old.contains(name)).collect();
    let renamed = |from: &String, to: &String| {
        let place = |names: &[String], name: &String| names.iter().position(|other| other == name);
        old.len() == new.len() && place(old, from) == place(new, to)
    };
    Some(match (&gone[..], &added[..]) {
        ([], []) => {
            format!("the {what}s of {owner} were in the order {}, are in the order {}", list(old), list(new))
        }
        ([from], [to]) if renamed(from, to) => format!("{what} `{from}` of {owner} is now called `{to}`"),
        ([], [first, ..]) => format!("{what} `{first}` of {owner} is new"),
        ([first, ..], _) => format!("{what} `{first}` of {owner} is gone"),
    })
}

fn list(names: &[String]) -> String {
    names.iter().map(|name| format!("`{name}`")).collect::<Vec<_>>().join(", ")
}
