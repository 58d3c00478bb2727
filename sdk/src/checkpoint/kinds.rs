//! Tells a borrowed live value from an owned one, so that the error names the borrow.
//!
//! Without this, `&str` across a checkpoint is "not general enough" for `Deserialize`. The choice is
//! made by autoref: a method on `&Storable<T>` with a bound wins over one on `Storable<T>` without.
