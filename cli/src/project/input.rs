//! The input of a call: where it comes from, and whether the handler takes it.

use std::collections::BTreeMap;
use std::io::Read;

use limitless_faas_core::manifest::Handler;
use serde_json::value::RawValue;
use serde_json::{Value, json};

use crate::error::{Context, Error, Result};
use crate::exit::Exit;
use crate::suggest;

/// The reserved parameter that carries control data.
pub const CONTROL: &str = "$limitless";

/// The text that an argument gives: itself, of a file, or from stdin.
///
/// # Errors
/// Where it can't be read.
pub fn text_of(argument: &str) -> Result<String> {
    if argument == "-" {
        let mut text = String::new();
        let read = std::io::stdin().lock().read_to_string(&mut text);
        read.context(Exit::Usage, || "failed to read the input from stdin".to_owned())?;
        return Ok(text);
    }
    match argument.strip_prefix('@') {
        Some(path) => std::fs::read_to_string(path)
            .context(Exit::Usage, || format!("failed to read the input from {path}")),
        None => Ok(argument.to_owned()),
    }
}

/// An input: a JSON object whose values are passed on to the letter.
#[derive(Clone, Debug, Default)]
pub struct Input(BTreeMap<String, Box<RawValue>>);

impl Input {
    /// Reads `JSON`, `@FILE` or `-`.
    ///
    /// # Errors
    /// Where it can't be read, or is no JSON object.
    pub fn read(argument: &str) -> Result<Self> {
        Self::parse(&text_of(argument)?)
    }

    /// Reads JSON text.
    ///
    /// # Errors
    /// Where it is no JSON object, or uses the reserved parameter.
    pub fn parse(text: &str) -> Result<Self> {
        let value: Value = serde_json::from_str(text).map_err(|error| {
            Error::usage("the input is no JSON").because(error).help(
                "quote it from the shell, as in --input '{\"n\": 360}', or write it to a file: --input @FILE",
            )
        })?;
        if !value.is_object() {
            return Err(Error::usage(format!("the input is {}, not an object", kind_of(&value)))
                .help("an input is an object with one field per parameter, such as '{\"n\": 360}'"));
        }
        let fields: BTreeMap<String, Box<RawValue>> = serde_json::from_str(text)
            .map_err(|error| Error::bug("failed to read JSON twice").because(error))?;
        if fields.contains_key(CONTROL) {
            return Err(Error::usage(format!("the input has a field `{CONTROL}`, which is reserved"))
                .help("name the call with --key, and its callback with `cargo faas invoke --callback`"));
        }
        Ok(Self(fields))
    }

    /// The fields, to be sent.
    pub fn fields(&self) -> &BTreeMap<String, Box<RawValue>> {
        &self.0
    }

    /// The same as a value, to be looked at.
    fn value(&self) -> Value {
        let fields = self.0.iter();
        fields
            .map(|(name, raw)| (name.clone(), serde_json::from_str::<Value>(raw.get()).unwrap_or_default()))
            .collect()
    }
}

/// Whether `handler` takes `input`, as far as its schema tells: what passes here the handler may still refuse.
///
/// # Errors
/// Says which field is wrong and what it may have meant.
pub fn check(handler: &Handler, input: &Input) -> Result<()> {
    mismatch(&handler.input, &input.value(), "").map_or(Ok(()), |found| {
        let message = format!("handler `{}` does not take this input: {}", handler.name, found.what);
        Err(Error::usage(message).maybe_help(found.help).maybe_help(example(&handler.input)))
    })
}

struct Mismatch {
    what: String,
    help: Option<String>,
}

fn mismatch(schema: &Value, value: &Value, path: &str) -> Option<Mismatch> {
    let wanted = types(schema);
    if !wanted.is_empty() && !wanted.iter().any(|wanted| is_a(wanted, value)) {
        let place = if path.is_empty() { "it".to_owned() } else { format!("`{path}`") };
        let wanted: Vec<String> = wanted.into_iter().map(with_article).collect();
        let what = format!("{place} is {}, not {}", kind_of(value), wanted.join(" or "));
        return Some(Mismatch { what, help: None });
    }
    match value {
        Value::Object(fields) => fields_mismatch(schema, fields, path),
        Value::Array(items) => {
            let schema = schema.get("items").filter(|items| items.is_object())?;
            let mut places = items.iter().enumerate();
            places.find_map(|(i, item)| mismatch(schema, item, &format!("{path}[{i}]")))
        }
        Value::Number(number) => {
            let least = schema.get("minimum").and_then(Value::as_f64)?;
            (number.as_f64()? < least).then(|| Mismatch {
                what: format!("`{path}` is {number}, and {least} is the least"),
                help: None,
            })
        }
        _ => None,
    }
}

fn fields_mismatch(schema: &Value, fields: &serde_json::Map<String, Value>, path: &str) -> Option<Mismatch> {
    let properties = schema.get("properties").and_then(Value::as_object)?;
    let known = || properties.keys().map(String::as_str);
    let of = |name: &str| if path.is_empty() { name.to_owned() } else { format!("{path}.{name}") };
    let closed = schema.get("additionalProperties") == Some(&json!(false));
    // A struct's schema has its name, and can't tell which fields have a default: those may be left out.
    let is_complete = schema.get("title").is_none();
    let required = schema.get("required").and_then(Value::as_array).cloned().unwrap_or_default();
    let missing: Vec<&str> =
        required.iter().filter_map(Value::as_str).filter(|name| !fields.contains_key(*name)).collect();
    let unknown = fields.keys().find(|name| !properties.contains_key(*name));
    let is_typo =
        |name: &&String| suggest::closest(name, known()).is_some_and(|meant| !fields.contains_key(meant));
    if let Some(name) = unknown.filter(|name| closed || is_typo(name) || (is_complete && !missing.is_empty()))
    {
        let help = Some(suggest::among("field", name, known()));
        let help =
            if properties.is_empty() { Some("it has no parameters: --input '{}'".to_owned()) } else { help };
        return Some(Mismatch { what: format!("there is no field `{}`", of(name)), help });
    }
    if let Some(name) = missing.first().filter(|_| is_complete) {
        return Some(Mismatch { what: format!("the field `{}` is missing", of(name)), help: None });
    }
    let mut known = fields.iter().filter_map(|(name, value)| Some((name, value, properties.get(name)?)));
    known.find_map(|(name, value, schema)| mismatch(schema, value, &of(name)))
}

fn types(schema: &Value) -> Vec<&str> {
    match schema.get("type") {
        Some(Value::String(one)) => vec![one],
        Some(Value::Array(several)) => several.iter().filter_map(Value::as_str).collect(),
        _ => Vec::new(),
    }
}

fn is_a(wanted: &str, value: &Value) -> bool {
    match wanted {
        "null" => value.is_null(),
        "boolean" => value.is_boolean(),
        "integer" => value.is_i64() || value.is_u64() || value.as_f64().is_some_and(|n| n.fract() == 0.0),
        "number" => value.is_number(),
        "string" => value.is_string(),
        "array" => value.is_array(),
        "object" => value.is_object(),
        // A word of a later schema says nothing against this value.
        _ => true,
    }
}

fn with_article(kind: &str) -> String {
    match kind {
        "null" => kind.to_owned(),
        "integer" | "array" | "object" => format!("an {kind}"),
        _ => format!("a {kind}"),
    }
}

fn kind_of(value: &Value) -> String {
    match value {
        Value::Null => "null".to_owned(),
        Value::Bool(_) => "a boolean".to_owned(),
        Value::Number(number) => format!("the number {number}"),
        Value::String(_) => "a string".to_owned(),
        Value::Array(_) => "an array".to_owned(),
        Value::Object(_) => "an object".to_owned(),
    }
}

/// A help line with the form of the input.
fn example(schema: &Value) -> Option<String> {
    let properties = schema.get("properties").and_then(Value::as_object)?;
    let fields: Vec<String> = properties
        .iter()
        .map(|(name, schema)| {
            let sample = match types(schema).first() {
                Some(&"integer" | &"number") => "1",
                Some(&"boolean") => "true",
                Some(&"array") => "[…]",
                Some(&"object") => "{…}",
                Some(&"string") => "\"…\"",
                _ => "…",
            };
            format!("\"{name}\": {sample}")
        })
        .collect();
    (!fields.is_empty()).then(|| format!("its input looks like '{{{}}}'", fields.join(", ")))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ui::render;

    fn handler() -> Handler {
        let input = json!({
            "type": "object",
            "properties": {
                "n": { "type": "integer", "minimum": 0 },
                "names": { "type": "array", "items": { "type": "string" } }
            },
            "required": ["n"]
        });
        let output = json!({});
        let (doc, fingerprint) = (String::new(), String::new());
        let (name, checkpoints) = ("factors".to_owned(), Vec::new());
        Handler {
            name,
            doc,
            is_async: false,
            input,
            output,
            fingerprint,
            checkpoints,
            state: None,
            workflow: None,
        }
    }

    fn refusal(text: &str) -> String {
        let error = Input::parse(text).and_then(|input| check(&handler(), &input)).unwrap_err();
        assert_eq!(error.exit(), Exit::Usage);
        anstream::adapter::strip_str(&render(&error)).to_string()
    }

    #[test]
    fn what_the_handler_takes_passes_to_the_letter() {
        let input = Input::parse(r#"{"n": 12345678901234567890.0, "names": ["a"]}"#).unwrap();
        assert_eq!(input.fields()["n"].get(), "12345678901234567890.0");
        assert!(check(&handler(), &input).is_ok());
        assert!(check(&handler(), &Input::parse(r#"{"n": 1, "more": true}"#).unwrap()).is_ok());
    }

    #[test]
    fn a_struct_may_have_defaults_but_a_typo_is_told() {
        let mut handler = handler();
        handler.input["title"] = json!("Picture");
        let told = |text: &str| check(&handler, &Input::parse(text).unwrap());
        assert!(told("{}").is_ok());
        assert!(told(r#"{"unheard_of": 1}"#).is_ok());
        assert!(told(r#"{"name": []}"#).is_err());
        assert!(told(r#"{"n": "1"}"#).is_err());
    }

    #[test]
    fn refusals_say_which_field_and_how_it_is_right() {
        let refusals = [
            r#"{"m": 1}"#,
            "{}",
            r#"{"n": "1"}"#,
            r#"{"n": -1}"#,
            r#"{"n": 1.5}"#,
            r#"{"n": 1, "names": ["a", 2]}"#,
            "[1]",
            "{n: 1}",
            r#"{"$limitless": {}}"#,
        ];
        insta::assert_snapshot!(refusals.map(refusal).join("\n\n"));
    }
}
