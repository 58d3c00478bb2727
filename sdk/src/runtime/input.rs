//! A call's input on its way from the request to the handler: as text, so that no number loses a digit.

use std::collections::BTreeMap;

use limitless_faas_core::{Code, Failure};
use serde_json::value::RawValue;

/// The fields of an object, each as it was written.
pub(crate) type Fields = BTreeMap<String, Box<RawValue>>;

/// Deeper nesting is refused, as serde itself does.
const DEEPEST: usize = 128;

/// The canonical JSON of an input: without white space, its objects' fields in order. Numbers stay as they were
/// written, since no number type holds them all.
///
/// # Errors
/// [`Code::BadInput`] where it is nested too deeply.
pub(crate) fn canonical(fields: &Fields) -> Result<String, Failure> {
    let mut out = String::new();
    object(fields, 1, &mut out)?;
    Ok(out)
}

/// As [`canonical`], for any JSON.
///
/// # Errors
/// As [`canonical`].
pub(crate) fn canonical_value(json: &RawValue) -> Result<String, Failure> {
    let mut out = String::new();
    value(json, 1, &mut out)?;
    Ok(out)
}

fn value(json: &RawValue, depth: usize, out: &mut String) -> Result<(), Failure> {
    let text = json.get().trim();
    match text.as_bytes().first() {
        _ if depth > DEEPEST => {
            Err(Failure::new(Code::BadInput, format!("the input is nested more than {DEEPEST} deep")))
        }
        Some(b'{') => object(&serde_json::from_str(text).map_err(unread)?, depth, out),
        Some(b'[') => array(&serde_json::from_str::<Vec<&RawValue>>(text).map_err(unread)?, depth, out),
        Some(b'"') => string(&serde_json::from_str::<String>(text).map_err(unread)?, out),
        _ => {
            out.push_str(text);
            Ok(())
        }
    }
}

fn object(fields: &Fields, depth: usize, out: &mut String) -> Result<(), Failure> {
    out.push('{');
    for (i, (name, field)) in fields.iter().enumerate() {
        if i > 0 {
            out.push(',');
        }
        string(name, out)?;
        out.push(':');
        value(field, depth + 1, out)?;
    }
    out.push('}');
    Ok(())
}

fn array(items: &[&RawValue], depth: usize, out: &mut String) -> Result<(), Failure> {
    out.push('[');
    for (i, item) in items.iter().enumerate() {
        if i > 0 {
            out.push(',');
        }
        value(item, depth + 1, out)?;
    }
    out.push(']');
    Ok(())
}

fn string(text: &str, out: &mut String) -> Result<(), Failure> {
    out.push_str(&serde_json::to_string(text).map_err(unread)?);
    Ok(())
}

/// What was read as JSON once reads so again, but for lone surrogates in a string.
#[expect(clippy::needless_pass_by_value, reason = "for map_err")]
fn unread(error: serde_json::Error) -> Failure {
    Failure::new(Code::BadInput, format!("the input can't be read: {error}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(text: &str) -> Result<String, Failure> {
        canonical_value(serde_json::from_str(text).unwrap())
    }

    #[test]
    fn the_same_input_reads_the_same_however_it_was_written() {
        let written = r#" { "b" : [ 1 , { "y":null, "x" : "\u0041\n" } ] , "a" : true, "b\u0062": {} } "#;
        assert_eq!(of(written).unwrap(), r#"{"a":true,"b":[1,{"x":"A\n","y":null}],"bb":{}}"#);
        assert_eq!(canonical(&serde_json::from_str(written).unwrap()).unwrap(), of(written).unwrap());
    }

    #[test]
    fn numbers_keep_every_digit() {
        let written = r#"{"n":340282366920938463463374607431768211455,"x":[0.1000000000000000055,1e400,-0]}"#;
        assert_eq!(of(written).unwrap(), written);
    }

    #[test]
    fn what_is_nested_too_deeply_is_refused_and_not_recursed_into() {
        let nested = |depth: usize| format!("{}{}", "[".repeat(depth), "]".repeat(depth));
        assert!(of(&nested(DEEPEST)).is_ok());
        for depth in [DEEPEST + 1, 100_000] {
            assert_eq!(of(&nested(depth)).unwrap_err().code, Code::BadInput);
        }
        assert_eq!(of(r#"["\ud800"]"#).unwrap_err().code, Code::BadInput);
    }
}
