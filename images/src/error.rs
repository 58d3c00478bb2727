//! Why an image can't be written.

use std::io;
use std::path::PathBuf;

/// Why an image can't be written. Registries have [their own errors](crate::registry::RegistryError).
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// A file that goes into the image can't be read; the caller's to mend.
    #[error("failed to read {path}")]
    Read {
        /// The file.
        path: PathBuf,
        /// What the system says.
        source: io::Error,
    },
    /// The image can't be written to where it was asked for.
    #[error("failed to write the image")]
    Write(#[source] io::Error),
    /// A path that can't stand in an image, or stands there twice with different content.
    #[error("`{path}` can't stand in an image: {why}")]
    Path {
        /// The path.
        path: String,
        /// Why not.
        why: &'static str,
    },
    /// A definition that does not read as one.
    #[error("the definition of the image can't be read")]
    Definition(#[from] toml_edit::de::Error),
    /// A program that is none, or whose libraries can't be found.
    #[error("failed to find the libraries of {program}: {why}")]
    Closure {
        /// The program.
        program: PathBuf,
        /// What is missing or wrong.
        why: String,
    },
    /// A base image that does not read as one.
    #[error("the base image can't be used: {0}")]
    Base(String),
}

impl Error {
    pub(crate) fn read(path: impl Into<PathBuf>) -> impl FnOnce(io::Error) -> Self {
        let path = path.into();
        move |source| Self::Read { path, source }
    }
}
