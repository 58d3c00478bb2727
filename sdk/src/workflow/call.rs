//! How a handler is called as a node: its arguments become its JSON input, its JSON result a value.

use std::marker::PhantomData;

use serde::Serialize;
use serde_json::value::{RawValue, to_raw_value};

use crate::error::Error;
use crate::handler::{Handler, HandlerDef};

/// A handler that a workflow can call. `#[handler]` and `#[workflow]` implement it.
#[diagnostic::on_unimplemented(
    message = "`{Self}` is not a handler, and only a handler can be a node of a workflow",
    label = "not a handler",
    note = "help: add `#[handler]` to the function, or call it without `.await`"
)]
pub trait Callable: Handler {
    /// Its parameters, as a tuple.
    type Arguments;
    /// What it returns.
    type Returns: Returns;
}

/// What a workflow meets where it awaits a node.
pub trait Returns {
    /// The value of the node's JSON.
    type Value;
    /// What `.await` gives: a `Result` of the value, or the value itself.
    type Awaited<V>;
    /// Turns a node's end into what `.await` gives.
    ///
    /// # Errors
    /// The node failed, and its handler's type has no place for that: the workflow ends.
    fn awaited<V>(ended: Result<V, Error>) -> Result<Self::Awaited<V>, Error>;
}

/// Of a handler that returns a `Result`.
pub struct Fallible<R>(PhantomData<fn() -> R>);

/// Of a handler that returns anything else.
pub struct Plain<R>(PhantomData<fn() -> R>);

impl<T, E> Returns for Fallible<Result<T, E>> {
    type Value = T;
    type Awaited<V> = Result<V, Error>;
    fn awaited<V>(ended: Result<V, Error>) -> Result<Result<V, Error>, Error> {
        Ok(ended)
    }
}

impl<T> Returns for Plain<T> {
    type Value = T;
    type Awaited<V> = V;
    fn awaited<V>(ended: Result<V, Error>) -> Result<V, Error> {
        ended
    }
}

/// What may stand for a parameter of type `T`: a `T`, or a reference to one, which is cloned.
#[diagnostic::on_unimplemented(
    message = "the handler takes `{T}`, and `{Self}` is neither that nor a reference to it",
    label = "not `{T}`"
)]
pub trait Argument<T> {
    /// The argument itself.
    fn into_argument(self) -> T;
}

impl<T> Argument<T> for T {
    fn into_argument(self) -> T {
        self
    }
}

impl<T: Clone> Argument<T> for &T {
    fn into_argument(self) -> T {
        self.clone()
    }
}

/// The argument for a parameter of type `T`.
pub fn argument<T>(given: impl Argument<T>) -> T {
    given.into_argument()
}

/// A handler's arguments, as a tuple.
pub trait Arguments {
    /// Each as JSON.
    ///
    /// # Errors
    /// One can't be written as JSON.
    fn write(&self) -> serde_json::Result<Vec<Box<RawValue>>>;
}

macro_rules! tuples {
    ($($name:ident)*) => {
        impl<$($name: Serialize),*> Arguments for ($($name,)*) {
            #[allow(non_snake_case, reason = "a type and its value share a letter")]
            fn write(&self) -> serde_json::Result<Vec<Box<RawValue>>> {
                let ($($name,)*) = self;
                Ok(vec![$(to_raw_value($name)?),*])
            }
        }
    };
}

tuples!();
tuples!(A);
tuples!(A B);
tuples!(A B C);
tuples!(A B C D);
tuples!(A B C D E);
tuples!(A B C D E F);
tuples!(A B C D E F G);
tuples!(A B C D E F G H);

/// The input object that a platform would send.
pub(crate) fn input(handler: &HandlerDef, arguments: &impl Arguments) -> serde_json::Result<Box<RawValue>> {
    let mut values = arguments.write()?;
    if let [only] = handler.parameters
        && (only.whole_input)()
        && let Some(whole) = values.pop()
    {
        return Ok(whole);
    }
    let names = handler.parameters.iter().map(|parameter| parameter.name);
    let fields: std::collections::BTreeMap<_, _> = names.zip(values).collect();
    to_raw_value(&fields)
}
