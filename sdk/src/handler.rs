//! A deployable function, its description, and how JSON becomes its arguments and its result JSON.

use std::fmt::Display;
use std::pin::Pin;

use serde::de::DeserializeOwned;
use serde::{Deserialize, Deserializer, Serialize};
#[doc(hidden)]
pub use serde_json::value::RawValue;

use crate::checkpoint::{ApplicationError, Context, Outcome, Session, State, StateCodec};
use crate::workflow::WorkflowDef;

mod arguments;
mod returned;
mod schema;

pub use arguments::{Arguments, Input, Parameter, WholeInput};
pub use returned::{Returned, ViaResult, ViaValue};
pub use schema::{NoSchema, NoSchemaForBorrowed, SchemaProbe, WithSchema, WithSchemaOfOk};

/// A function with `#[handler]`.
///
/// The attribute implements it for a type with the function's name, so `serve!(factors)` can name it.
#[diagnostic::on_unimplemented(
    message = "`{Self}` is not a handler",
    label = "not a handler",
    note = "help: add `#[handler]` to the function"
)]
pub trait Handler: 'static {
    /// Everything that is known of the handler without running it.
    fn definition() -> &'static HandlerDef;
}

/// Describes a handler.
#[derive(Debug)]
pub struct HandlerDef {
    /// The function's name.
    pub name: &'static str,
    /// Its doc comment.
    pub doc: &'static str,
    /// Whether it is an `async fn`.
    pub is_async: bool,
    /// Its parameters without the context, in order.
    pub parameters: &'static [ParameterDef],
    /// What it returns.
    pub output: OutputDef,
    /// Changes with the function's signature and body, not with comments or layout.
    pub fingerprint: u64,
    /// Its checkpointed loops, in the order of the source.
    pub checkpoints: &'static [CheckpointDef],
    /// The state that it names with `ctx: Context<S>`.
    pub state: Option<StateDef>,
    /// Its graph, if it is a workflow.
    pub workflow: Option<WorkflowDef>,
    #[doc(hidden)]
    pub entry: Entry,
}

/// Describes a parameter.
#[derive(Debug, Clone, Copy)]
pub struct ParameterDef {
    /// The field of the input object.
    pub name: &'static str,
    /// The type as written.
    pub type_text: &'static str,
    /// A number for the type as it is deserialised.
    pub fingerprint: fn() -> u64,
    /// The JSON schema of the type.
    pub schema: fn() -> serde_json::Value,
    /// Whether it takes the whole input object, if it is the only parameter: true for structs.
    pub whole_input: fn() -> bool,
}

/// Describes a result.
#[derive(Debug)]
pub struct OutputDef {
    /// The type as written.
    pub type_text: &'static str,
    /// The JSON schema of the type, of `T` for `Result<T, E>`; `None` if only its serialised form is known.
    pub schema: fn() -> Option<serde_json::Value>,
}

/// Describes a checkpointed loop.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CheckpointDef {
    /// Counted from 1 in the order of the source.
    pub number: u32,
    /// The line of its keyword.
    pub line: u32,
    /// Its head as written: `for d in 2..=n.isqrt()`.
    pub label: &'static str,
}

/// Describes a named state.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct StateDef {
    /// Its name: `State::NAME`.
    pub name: &'static str,
    /// Its version: `State::VERSION`.
    pub version: u32,
}

#[doc(hidden)]
pub type SyncEntry = fn(&Session, &RawValue) -> Outcome;

/// An async handler's future.
#[doc(hidden)]
pub type Running = Pin<Box<dyn Future<Output = Outcome>>>;

#[doc(hidden)]
pub type AsyncEntry = fn(&Session, &RawValue) -> Running;

#[doc(hidden)]
#[derive(Debug, Clone, Copy)]
pub enum Entry {
    Sync(SyncEntry),
    Async(AsyncEntry),
    #[cfg(feature = "programs")]
    Program(&'static crate::program::Declared),
}

/// The context that an entry hands to its handler.
#[doc(hidden)]
pub fn context<S: State>(session: &Session) -> Context<S> {
    Context::of(session.clone(), StateCodec::of())
}

/// The same where `State` was asserted already.
#[doc(hidden)]
pub fn context_with<S>(session: &Session, codec: StateCodec<S>) -> Context<S> {
    Context::of(session.clone(), codec)
}

pub(crate) fn schema<T: DeserializeOwned>() -> serde_json::Value {
    crate::shape::of_readable::<T>().json_schema()
}

pub(crate) fn fingerprint<T: DeserializeOwned>() -> u64 {
    crate::shape::of_readable::<T>().fingerprint()
}

pub(crate) fn bad_input(message: impl Display) -> Outcome {
    Outcome::BadInput { message: message.to_string() }
}

pub(crate) fn returned<T: Serialize>(value: &T) -> Outcome {
    match serde_json::value::to_raw_value(value) {
        Ok(json) => Outcome::Returned(Ok(json)),
        Err(error) => application_error(format!("the result can't be written as JSON: {error}")),
    }
}

pub(crate) fn application_error(message: String) -> Outcome {
    Outcome::Returned(Err(ApplicationError { message }))
}

/// Deserialises a field that is not there: `Option` is `None`, anything else an error.
pub(crate) fn missing<'de, T: Deserialize<'de>>() -> Option<T> {
    struct Missing;
    impl<'de> Deserializer<'de> for Missing {
        type Error = serde::de::value::Error;
        fn deserialize_any<V: serde::de::Visitor<'de>>(self, _: V) -> Result<V::Value, Self::Error> {
            Err(serde::de::Error::custom("missing"))
        }
        fn deserialize_option<V: serde::de::Visitor<'de>>(self, visitor: V) -> Result<V::Value, Self::Error> {
            visitor.visit_none()
        }
        serde::forward_to_deserialize_any! {
            bool i8 i16 i32 i64 i128 u8 u16 u32 u64 u128 f32 f64 char str string bytes byte_buf unit
            unit_struct newtype_struct seq tuple tuple_struct map struct enum identifier ignored_any
        }
    }
    T::deserialize(Missing).ok()
}
