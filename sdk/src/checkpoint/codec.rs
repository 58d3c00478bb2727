//! The bytes of a saved state: a point, then each value behind its name and its type's shape.
//!
//! Values are encoded with bincode's legacy configuration (fixed-width integers) straight into the
//! sink, so that an 80 MB vector is never held encoded. What surrounds the state (magic, hashes,
//! compression) is the store's matter.

use std::fmt;
use std::io::{BufReader, BufWriter, Read};

use bincode::config::{Configuration, Fixint, LittleEndian, NoLimit};
use bincode::error::{DecodeError, EncodeError};
use serde::Serialize;
use serde::de::DeserializeOwned;

use super::sink::Target;
use crate::shape::{self, Shape};

const BUFFER_BYTES: usize = 64 * 1024;
const CONFIG: Configuration<LittleEndian, Fixint, NoLimit> = bincode::config::legacy();

/// A value follows.
const VALUE: u8 = 1;
/// Nothing follows.
const END: u8 = 0;

/// The saved state and the handler of today do not fit one another.
///
/// The checkpoint is left alone: deploy the version that wrote it, or start the execution again.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Incompatible {
    /// The binding, loop or state that changed.
    pub binding: String,
    /// What the checkpoint holds.
    pub saved: String,
    /// What the handler expects.
    pub present: String,
    /// The first difference between the two types, as a sentence, where the types are what changed.
    pub difference: Option<String>,
}

impl fmt::Display for Incompatible {
    fn fmt(&self, to: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(to, "{} was saved as {}, but is now {}", self.binding, self.saved, self.present)?;
        self.difference.iter().try_for_each(|difference| write!(to, ": {difference}"))
    }
}

impl std::error::Error for Incompatible {}

/// Why a value could not be taken from a saved state.
#[derive(Debug)]
pub(crate) enum Unreadable {
    Incompatible(Incompatible),
    Damaged(String),
}

/// A number for the type as it is serialised; changes when a saved value would no longer fit.
pub fn type_fingerprint<T: DeserializeOwned>() -> u64 {
    shape::of::<T>().fingerprint()
}

/// Writes a state.
pub(crate) struct StateWriter {
    to: BufWriter<Box<dyn Target>>,
}

impl StateWriter {
    pub(crate) fn new(to: Box<dyn Target>) -> StateWriter {
        StateWriter { to: BufWriter::with_capacity(BUFFER_BYTES, to) }
    }

    pub(crate) fn raw<T: Serialize>(&mut self, value: &T) -> std::io::Result<()> {
        bincode::serde::encode_into_std_write(value, &mut self.to, CONFIG).map(drop).map_err(into_io)
    }

    pub(crate) fn value<T: Serialize + DeserializeOwned>(
        &mut self,
        name: &str,
        value: &T,
    ) -> std::io::Result<()> {
        self.raw(&(VALUE, name, shape::of::<T>().to_json()))?;
        self.raw(value)
    }

    pub(crate) fn finish(mut self) -> std::io::Result<()> {
        self.raw(&END)?;
        self.to.into_inner().map_err(std::io::IntoInnerError::into_error)?.seal()
    }
}

fn into_io(error: EncodeError) -> std::io::Error {
    match error {
        EncodeError::Io { inner, .. } => inner,
        other => std::io::Error::other(other.to_string()),
    }
}

/// Reads a state, one value after the other.
pub(crate) struct StateReader {
    from: BufReader<Box<dyn Read + Send>>,
}

impl StateReader {
    pub(crate) fn new(from: Box<dyn Read + Send>) -> StateReader {
        StateReader { from: BufReader::with_capacity(BUFFER_BYTES, from) }
    }

    /// All that is left, as it is.
    #[cfg(feature = "programs")]
    pub(crate) fn rest(&mut self) -> std::io::Result<Vec<u8>> {
        let mut bytes = Vec::new();
        self.from.read_to_end(&mut bytes)?;
        Ok(bytes)
    }

    pub(crate) fn raw<T: DeserializeOwned>(&mut self, what: &str) -> Result<T, Unreadable> {
        bincode::serde::decode_from_std_read(&mut self.from, CONFIG).map_err(|error| damaged(what, &error))
    }

    pub(crate) fn value<T: DeserializeOwned>(&mut self, name: &str) -> Result<T, Unreadable> {
        let present = shape::of::<T>();
        if self.raw::<u8>(name)? != VALUE {
            return Err(incompatible(name, "nothing", &describe(name, &present)));
        }
        let (saved_name, saved) = self.head(name)?;
        if saved_name != name || saved != present {
            let mut found = Incompatible {
                binding: format!("`{name}`"),
                saved: describe(&saved_name, &saved),
                present: describe(name, &present),
                difference: None,
            };
            if saved_name == name {
                found.difference = present.difference(&saved);
            }
            return Err(Unreadable::Incompatible(found));
        }
        self.raw(name)
    }

    fn head(&mut self, what: &str) -> Result<(String, Shape), Unreadable> {
        let (name, json): (String, String) = self.raw(what)?;
        match Shape::from_json(&json) {
            Ok(shape) => Ok((name, shape)),
            Err(error) => Err(Unreadable::Damaged(format!("failed to read the type of {what}: {error}"))),
        }
    }

    /// Proves that everything saved was taken.
    pub(crate) fn finish(mut self) -> Result<(), Unreadable> {
        if self.raw::<u8>("the end of the state")? == VALUE {
            let (name, saved) = self.head("the end of the state")?;
            return Err(incompatible(&name, &describe(&name, &saved), "no longer saved here"));
        }
        match self.from.read(&mut [0]) {
            Ok(0) => Ok(()),
            Ok(_) => Err(Unreadable::Damaged(String::from("bytes follow the end of the state"))),
            Err(error) => Err(Unreadable::Damaged(format!("failed to read the end of the state: {error}"))),
        }
    }
}

fn describe(name: &str, of: &Shape) -> String {
    format!("`{name}: {of}`")
}

pub(crate) fn incompatible(name: &str, saved: &str, present: &str) -> Unreadable {
    Unreadable::Incompatible(Incompatible {
        binding: format!("`{name}`"),
        saved: saved.to_owned(),
        present: present.to_owned(),
        difference: None,
    })
}

fn damaged(what: &str, error: &DecodeError) -> Unreadable {
    Unreadable::Damaged(format!("failed to read {what}: {error}"))
}
