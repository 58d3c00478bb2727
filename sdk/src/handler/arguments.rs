//! The input object, taken apart into arguments.

use std::collections::BTreeMap;

use serde::de::{DeserializeOwned, Visitor};
use serde::{Deserializer, forward_to_deserialize_any};
use serde_json::value::RawValue;

use super::{ParameterDef, bad_input, missing};
use crate::checkpoint::Outcome;

/// A value that can be read from the JSON input.
#[diagnostic::on_unimplemented(
    message = "`{Self}` can't be read from the JSON input",
    label = "not `DeserializeOwned`",
    note = "help: add `#[derive(serde::Deserialize)]` to `{Self}`"
)]
pub trait Input: DeserializeOwned {}

#[diagnostic::do_not_recommend]
impl<T: DeserializeOwned> Input for T {}

/// The input, as it is taken apart.
///
/// A handler with several parameters takes an object with a field for each. A handler with one
/// parameter does too, unless the parameter's type deserialises as a struct: then the whole input
/// is that struct. The type decides, never the input.
pub struct Arguments {
    fields: BTreeMap<String, Box<RawValue>>,
    expected: Vec<&'static str>,
}

impl Arguments {
    /// Reads the input object.
    ///
    /// # Errors
    /// It is not an object, or has a field that is no parameter.
    pub fn read(input: &RawValue, expected: &[&'static str]) -> Result<Arguments, Outcome> {
        let text = if expected.is_empty() && input.get() == "null" { "{}" } else { input.get() };
        let fields: BTreeMap<String, Box<RawValue>> = serde_json::from_str(text).map_err(|_| {
            bad_input(format_args!("the input must be a JSON object with {}", listed(expected)))
        })?;
        match fields.keys().find(|field| !expected.contains(&field.as_str())) {
            None => Ok(Arguments { fields, expected: expected.to_vec() }),
            Some(field) => Err(bad_input(format_args!(
                "unknown field `{field}` in the input; expected {}",
                listed(expected)
            ))),
        }
    }

    fn take<T: Input>(&mut self, name: &'static str) -> Result<T, Outcome> {
        let Some(field) = self.fields.remove(name) else {
            return missing().ok_or_else(|| {
                bad_input(format_args!(
                    "missing field `{name}` in the input; expected {}",
                    listed(&self.expected)
                ))
            });
        };
        serde_json::from_str(field.get())
            .map_err(|error| bad_input(format_args!("field `{name}` of the input: {error}")))
    }
}

/// A parameter's description, and how its argument is read. Made once, so that a type that can't be read is told of once.
#[doc(hidden)]
pub struct Parameter<T> {
    definition: ParameterDef,
    take: fn(&mut Arguments, &'static str) -> Result<T, Outcome>,
    only: fn(&RawValue, &'static str) -> Result<T, Outcome>,
}

impl<T> Parameter<T> {
    /// What is known of the parameter's type.
    pub const fn of(name: &'static str, type_text: &'static str) -> Parameter<T>
    where
        T: Input,
    {
        let definition = ParameterDef {
            name,
            type_text,
            fingerprint: super::fingerprint::<T>,
            schema: super::schema::<T>,
            whole_input: WholeInput::is_taken_by::<T>,
        };
        Parameter { definition, take: Arguments::take::<T>, only: only::<T> }
    }

    /// For the handler's description.
    pub const fn definition(&self) -> ParameterDef {
        self.definition
    }

    /// Takes the argument out of the input's fields.
    ///
    /// # Errors
    /// The field is missing or of another type.
    pub fn take(&self, arguments: &mut Arguments) -> Result<T, Outcome> {
        (self.take)(arguments, self.definition.name)
    }

    /// The argument of a handler with one parameter.
    ///
    /// # Errors
    /// As [`Arguments::read`] and [`Parameter::take`].
    pub fn only(&self, input: &RawValue) -> Result<T, Outcome> {
        (self.only)(input, self.definition.name)
    }
}

fn only<T: Input>(input: &RawValue, name: &'static str) -> Result<T, Outcome> {
    if WholeInput::is_taken_by::<T>() {
        return serde_json::from_str(input.get())
            .map_err(|error| bad_input(format_args!("the input (`{name}`): {error}")));
    }
    Arguments::read(input, &[name])?.take(name)
}

fn listed(expected: &[&str]) -> String {
    match expected {
        [] => String::from("no fields"),
        [one] => format!("the field `{one}`"),
        many => format!(
            "the fields {}",
            many.iter().map(|name| format!("`{name}`")).collect::<Vec<_>>().join(", ")
        ),
    }
}

/// Finds out whether a type deserialises as a struct with named fields.
pub struct WholeInput(bool);

impl WholeInput {
    /// Asks the type's `Deserialize` what it wants first; nothing is deserialised.
    pub fn is_taken_by<T: Input>() -> bool {
        let mut asked = WholeInput(false);
        // It always ends in an error; what it asked for before is the answer.
        let _ = T::deserialize(&mut asked);
        asked.0
    }
}

impl<'de> Deserializer<'de> for &mut WholeInput {
    type Error = serde::de::value::Error;

    fn deserialize_any<V: Visitor<'de>>(self, _: V) -> Result<V::Value, Self::Error> {
        Err(serde::de::Error::custom("only asked"))
    }

    fn deserialize_struct<V: Visitor<'de>>(
        self,
        _: &'static str,
        _: &'static [&'static str],
        _: V,
    ) -> Result<V::Value, Self::Error> {
        self.0 = true;
        Err(serde::de::Error::custom("only asked"))
    }

    fn deserialize_newtype_struct<V: Visitor<'de>>(
        self,
        _: &'static str,
        visitor: V,
    ) -> Result<V::Value, Self::Error> {
        visitor.visit_newtype_struct(self)
    }

    forward_to_deserialize_any! {
        bool i8 i16 i32 i64 i128 u8 u16 u32 u64 u128 f32 f64 char str string bytes byte_buf option unit
        unit_struct seq tuple tuple_struct map enum identifier ignored_any
    }
}
