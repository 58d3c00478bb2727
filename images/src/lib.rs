//! Container images, written without a container engine: the same inputs give the same bytes on every machine.
//!
//! A [`Tree`] of files becomes a compressed [`Layer`]; layers and a [`Definition`] become an [`Image`]; an image goes into
//! an [archive](Image::write_archive) that engines load, or to a [registry](registry::Registry). What a dynamically
//! linked program needs beside itself is its [closure](closure::closure).
//!
//! Nothing here knows a function, a platform or a project: what an image is for stands in the definition.

pub mod closure;
pub mod registry;

mod archive;
mod certificates;
mod definition;
mod digest;
mod dockerfile;
mod error;
mod image;
mod layer;
mod part;
mod reference;
mod tree;

pub use definition::Definition;
pub use digest::Digest;
pub use dockerfile::dockerfile;
pub use error::Error;
pub use image::{Base, Image, Recipe};
pub use layer::{Blob, Layer};
pub use part::Part;
pub use reference::{InvalidReference, Reference};
pub use tree::{Entry, Tree};
