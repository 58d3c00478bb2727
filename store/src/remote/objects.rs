//! What a store of others must be able to do.

use std::fmt::Debug;

use bytes::Bytes;

use crate::{BoxFuture, Created, StoreError, StoreErrorKind};

/// A store of others: small immutable objects under names.
///
/// A name is a [`Key`](crate::Key), or one followed by `=p/` or `=s/` and digits, letters and `-`.
///
/// # Errors
/// An error of [`put_new`](Objects::put_new) or [`delete`](Objects::delete) after which the request may yet be carried out is one of an
/// [unknown outcome](StoreError::unknown_outcome). No message contains a secret.
pub(crate) trait Objects: Send + Sync + Debug + 'static {
    /// Creates the object if its name is free: atomic, linearizable, and durable before it answers.
    fn put_new<'a>(&'a self, name: &'a str, bytes: Bytes) -> BoxFuture<'a, Result<Created, StoreError>>;

    /// The object's bytes; none if it is absent. One that has more than `limit_bytes` is refused before it is loaded.
    fn get<'a>(&'a self, name: &'a str, limit_bytes: u64)
    -> BoxFuture<'a, Result<Option<Bytes>, StoreError>>;

    /// The names directly below `folder`, of objects as of folders that are not empty, in any order.
    fn list<'a>(&'a self, folder: &'a str) -> BoxFuture<'a, Result<Vec<String>, StoreError>>;

    /// Removes the object. It is no error if it is absent.
    fn delete<'a>(&'a self, name: &'a str) -> BoxFuture<'a, Result<(), StoreError>>;

    /// The most bytes that are put into one object.
    fn part_bytes(&self) -> usize {
        8 << 20
    }
}

/// The refusal to load an object that is larger than anything that was stored under such a name.
pub(crate) fn refuse_large(name: &str, len_bytes: u64, limit_bytes: u64) -> Result<(), StoreError> {
    if len_bytes <= limit_bytes {
        return Ok(());
    }
    let message = format!("{name} has {len_bytes} bytes, and {limit_bytes} are the most that is read of it");
    Err(StoreError::new(StoreErrorKind::TooLarge, message))
}
