//! A shape as JSON Schema.

use std::collections::BTreeSet;

use serde_json::{Map, Value, json};

use super::{Field, Fields, Shape, Variant};

impl Shape {
    /// JSON Schema (draft 2020-12) of the values that serde reads from JSON for this shape.
    ///
    /// Take a shape from [`of_readable`](super::of_readable) for it: others do not know which fields have defaults.
    pub fn json_schema(&self) -> Value {
        let mut recursive = BTreeSet::new();
        self.collect_recursive(&mut recursive);
        let mut schema = Schema { recursive, definitions: Map::new() };
        let mut root = schema.of(self);
        if let Value::Object(root) = &mut root {
            root.insert("$schema".to_owned(), "https://json-schema.org/draft/2020-12/schema".into());
            if !schema.definitions.is_empty() {
                root.insert("$defs".to_owned(), schema.definitions.into());
            }
        }
        root
    }

    fn collect_recursive(&self, names: &mut BTreeSet<String>) {
        match self {
            Self::Recursive(name) => drop(names.insert(name.clone())),
            Self::Option(inner) | Self::Sequence(inner) | Self::Array(inner, _) => {
                inner.collect_recursive(names);
            }
            Self::Map(key, value) => {
                key.collect_recursive(names);
                value.collect_recursive(names);
            }
            Self::Tuple(parts) => parts.iter().for_each(|part| part.collect_recursive(names)),
            Self::Struct(_, fields) => fields.collect_recursive(names),
            Self::Enum(_, variants) => variants.iter().for_each(|v| v.fields.collect_recursive(names)),
            _ => {}
        }
    }
}

impl Fields {
    fn collect_recursive(&self, names: &mut BTreeSet<String>) {
        match self {
            Self::Unit => {}
            Self::Newtype(inner) => inner.collect_recursive(names),
            Self::Tuple(parts) => parts.iter().for_each(|part| part.collect_recursive(names)),
            Self::Named(fields) => fields.iter().for_each(|field| field.shape.collect_recursive(names)),
        }
    }
}

struct Schema {
    recursive: BTreeSet<String>,
    definitions: Map<String, Value>,
}

impl Schema {
    fn of(&mut self, shape: &Shape) -> Value {
        match shape {
            Shape::Option(inner) => json!({ "anyOf": [self.of(inner), { "type": "null" }] }),
            Shape::Sequence(inner) => json!({ "type": "array", "items": self.of(inner) }),
            Shape::Map(_, value) => json!({ "type": "object", "additionalProperties": self.of(value) }),
            Shape::Array(inner, len) => {
                json!({ "type": "array", "items": self.of(inner), "minItems": len, "maxItems": len })
            }
            Shape::Tuple(parts) => self.of_tuple(parts),
            Shape::Struct(name, fields) => self.named(name, |schema| schema.of_fields(name, fields)),
            Shape::Enum(name, variants) => self.named(name, |schema| schema.of_enum(name, variants)),
            Shape::Recursive(name) => reference(name),
            Shape::Opaque(name) => json!({ "description": format!("any JSON that `{name}` reads") }),
            primitive => of_primitive(primitive),
        }
    }

    /// A type that stands within itself goes among the definitions, and is referred to.
    fn named(&mut self, name: &str, build: impl FnOnce(&mut Self) -> Value) -> Value {
        if !self.recursive.contains(name) {
            return build(self);
        }
        if !self.definitions.contains_key(name) {
            self.definitions.insert(name.to_owned(), Value::Null);
            let schema = build(self);
            self.definitions.insert(name.to_owned(), schema);
        }
        reference(name)
    }

    fn of_fields(&mut self, title: &str, fields: &Fields) -> Value {
        let mut schema = match fields {
            Fields::Unit => json!({ "type": "null" }),
            Fields::Newtype(inner) => return self.of(inner),
            Fields::Tuple(parts) => self.of_tuple(parts),
            Fields::Named(fields) => self.of_named(fields),
        };
        if let Value::Object(schema) = &mut schema {
            schema.insert("title".to_owned(), title.into());
        }
        schema
    }

    fn of_named(&mut self, fields: &[Field]) -> Value {
        let is_required = |field: &&Field| !field.has_default && !matches!(field.shape, Shape::Option(_));
        let required: Vec<_> = fields.iter().filter(is_required).map(|field| field.name.clone()).collect();
        let properties: Map<_, _> =
            fields.iter().map(|field| (field.name.clone(), self.of(&field.shape))).collect();
        json!({ "type": "object", "properties": properties, "required": required })
    }

    fn of_tuple(&mut self, parts: &[Shape]) -> Value {
        let items: Vec<_> = parts.iter().map(|part| self.of(part)).collect();
        if items.is_empty() {
            return json!({ "type": "array", "maxItems": 0 });
        }
        json!({ "type": "array", "prefixItems": items, "items": false, "minItems": parts.len() })
    }

    fn of_enum(&mut self, title: &str, variants: &[Variant]) -> Value {
        if variants.iter().all(|variant| variant.fields == Fields::Unit) {
            let names: Vec<_> = variants.iter().map(|variant| variant.name.as_str()).collect();
            return json!({ "title": title, "type": "string", "enum": names });
        }
        let variants: Vec<_> = variants.iter().map(|variant| self.of_variant(variant)).collect();
        json!({ "title": title, "oneOf": variants })
    }

    fn of_variant(&mut self, variant: &Variant) -> Value {
        let name = variant.name.as_str();
        if variant.fields == Fields::Unit {
            return json!({ "const": name });
        }
        let content = self.of_fields(name, &variant.fields);
        json!({ "type": "object", "properties": { name: content }, "required": [name], "additionalProperties": false })
    }
}

fn reference(name: &str) -> Value {
    json!({ "$ref": format!("#/$defs/{name}") })
}

fn of_primitive(shape: &Shape) -> Value {
    let integer =
        |minimum: Value, maximum: Value| json!({ "type": "integer", "minimum": minimum, "maximum": maximum });
    match shape {
        Shape::Unit => json!({ "type": "null" }),
        Shape::Bool => json!({ "type": "boolean" }),
        Shape::I8 => integer(i8::MIN.into(), i8::MAX.into()),
        Shape::I16 => integer(i16::MIN.into(), i16::MAX.into()),
        Shape::I32 => integer(i32::MIN.into(), i32::MAX.into()),
        Shape::I64 => integer(i64::MIN.into(), i64::MAX.into()),
        Shape::I128 => json!({ "type": "integer" }),
        Shape::U8 => integer(0.into(), u8::MAX.into()),
        Shape::U16 => integer(0.into(), u16::MAX.into()),
        Shape::U32 => integer(0.into(), u32::MAX.into()),
        Shape::U64 => integer(0.into(), u64::MAX.into()),
        Shape::U128 => json!({ "type": "integer", "minimum": 0 }),
        Shape::F32 | Shape::F64 => json!({ "type": "number" }),
        Shape::Char => json!({ "type": "string", "minLength": 1, "maxLength": 1 }),
        Shape::Bytes => {
            json!({ "type": "array", "items": { "type": "integer", "minimum": 0, "maximum": 255 } })
        }
        _ => json!({ "type": "string" }),
    }
}
