//! Images that were read and verified, ready to go on from.

use std::io;
use std::path::PathBuf;
use std::sync::Mutex;

use limitless_faas_store::pieces::PiecesReader;

use super::folders::{self, Paths, Private};
use crate::engine::lock;

/// A checkpoint between its verification and the run that goes on from it.
pub(super) struct Prepared {
    /// The blob that it was read from.
    pub(super) blob: String,
    /// Holds the images, until they are moved to where they were written.
    pub(super) private: Private,
    /// What the program printed for its result.
    pub(super) output: Vec<u8>,
    /// For the work folder.
    pub(super) reader: PiecesReader,
}

/// The folder in the private one that holds the images.
pub(super) const FROM: &str = "from";

/// Puts images where they were written; answers which are there.
pub(super) fn move_images(private: &Private, paths: &Paths) -> io::Result<Vec<PathBuf>> {
    let to = paths.of_generation();
    folders::move_to(&private.path.join(FROM), &to)?;
    let mut images = Vec::new();
    for entry in std::fs::read_dir(&to)? {
        let path = entry?.path();
        if path.extension().is_some_and(|extension| extension == "dmtcp") {
            images.push(path);
        }
    }
    images.sort();
    Ok(images)
}

/// One is enough: a process has one execution at a time.
static LAST: Mutex<Option<Prepared>> = Mutex::new(None);

pub(super) fn put(prepared: Prepared) {
    *lock(&LAST) = Some(prepared);
}

/// What was read from this blob, if it was the last.
pub(super) fn take(blob: &str) -> Option<Prepared> {
    let mut last = lock(&LAST);
    if last.as_ref().is_some_and(|prepared| prepared.blob == blob) { last.take() } else { None }
}
