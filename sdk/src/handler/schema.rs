//! The schema of a result, if its type can also be deserialised.
//!
//! A result only has to be `Serialize`, so the choice is made by autoref: the method found with the
//! most references wins.

use std::marker::PhantomData;

use serde::de::DeserializeOwned;
use serde_json::Value;

/// Asks for the schema of `T`.
pub struct SchemaProbe<T>(PhantomData<fn() -> T>);

impl<T> SchemaProbe<T> {
    /// The question.
    pub const NEW: SchemaProbe<T> = SchemaProbe(PhantomData);
}

/// A borrow is never `DeserializeOwned`, but the compiler would notice too late to choose otherwise.
pub trait NoSchemaForBorrowed {
    /// None.
    fn schema(&self) -> Option<Value> {
        None
    }
}

impl<T: ?Sized> NoSchemaForBorrowed for &&&SchemaProbe<&T> {}

/// `Result<T, E>` has the schema of `T`.
pub trait WithSchemaOfOk {
    /// The schema.
    fn schema(&self) -> Option<Value>;
}

impl<T: DeserializeOwned, E> WithSchemaOfOk for &&SchemaProbe<Result<T, E>> {
    fn schema(&self) -> Option<Value> {
        Some(super::schema::<T>())
    }
}

/// Anything that can be deserialised.
pub trait WithSchema {
    /// The schema.
    fn schema(&self) -> Option<Value>;
}

impl<T: DeserializeOwned> WithSchema for &SchemaProbe<T> {
    fn schema(&self) -> Option<Value> {
        Some(super::schema::<T>())
    }
}

/// Anything else.
pub trait NoSchema {
    /// None.
    fn schema(&self) -> Option<Value> {
        None
    }
}

impl<T> NoSchema for SchemaProbe<T> {}
