//! Tells `Result<T, E>` from any other return type, through whatever alias it was written.

use std::fmt::Display;
use std::marker::PhantomData;

use serde::Serialize;

use super::{application_error, returned};
use crate::checkpoint::Outcome;

/// A handler's return value.
pub struct Returned<'a, T>(pub &'a T);

/// A result that can be written as JSON.
#[diagnostic::on_unimplemented(
    message = "the result `{Self}` can't be written as JSON",
    label = "not `Serialize`",
    note = "help: add `#[derive(serde::Serialize)]` to `{Self}`"
)]
pub trait JsonResult: Serialize {}

#[diagnostic::do_not_recommend]
impl<T: Serialize> JsonResult for T {}

/// An error that can be shown to the caller.
#[diagnostic::on_unimplemented(
    message = "the error `{Self}` can't be shown to the caller",
    label = "not `Display`",
    note = "help: implement `Display` for `{Self}`, for example with `thiserror`"
)]
pub trait ShownError: Display {}

#[diagnostic::do_not_recommend]
impl<E: Display> ShownError for E {}

/// Writes a `Result`.
pub struct ResultWriter<T, E>(PhantomData<fn() -> (T, E)>);

/// Writes anything else.
pub struct ValueWriter<T>(PhantomData<fn() -> T>);

/// Chosen for `Result`.
pub trait ViaResult {
    /// Knows how to write it.
    type Writer;
    /// Chooses.
    fn writer(&self) -> Self::Writer;
}

impl<T, E> ViaResult for &Returned<'_, Result<T, E>> {
    type Writer = ResultWriter<T, E>;
    fn writer(&self) -> Self::Writer {
        ResultWriter(PhantomData)
    }
}

/// Chosen for anything else.
pub trait ViaValue {
    /// Knows how to write it.
    type Writer;
    /// Chooses.
    fn writer(&self) -> Self::Writer;
}

impl<T> ViaValue for Returned<'_, T> {
    type Writer = ValueWriter<T>;
    fn writer(&self) -> Self::Writer {
        ValueWriter(PhantomData)
    }
}

#[allow(clippy::unused_self, reason = "it carries the types")]
impl<T, E> ResultWriter<T, E> {
    /// `Ok` is the result, `Err` an application error.
    pub fn write(self, value: &Result<T, E>) -> Outcome
    where
        T: JsonResult,
        E: ShownError,
    {
        match value {
            Ok(value) => returned(value),
            Err(error) => application_error(error.to_string()),
        }
    }
}

#[allow(clippy::unused_self, reason = "it carries the type")]
impl<T> ValueWriter<T> {
    /// The value is the result.
    pub fn write(self, value: &T) -> Outcome
    where
        T: JsonResult,
    {
        returned(value)
    }
}
