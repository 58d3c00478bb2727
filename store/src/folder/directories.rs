//! The folders below a store's root, made durable before anything is put into them.

use std::collections::HashSet;
use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};

/// How often a folder that others keep removing is made again.
const ATTEMPTS: usize = 100;

/// The folders that are known to be durable.
///
/// Nothing is put into a folder before its name is durable, by any process. So a folder that is not empty needs no sync,
/// and an execution's log costs its syncs once, not in every process that goes on with it.
#[derive(Debug)]
pub(super) struct Directories {
    root: PathBuf,
    durable: Mutex<HashSet<PathBuf>>,
}

impl Directories {
    pub(super) fn new(root: &Path) -> Self {
        Self { root: root.to_owned(), durable: Mutex::default() }
    }

    /// Runs `act`, which needs the folder of `path`; makes that folder first if need be.
    pub(super) fn with_parent<T>(
        &self,
        path: &Path,
        mut act: impl FnMut() -> io::Result<T>,
    ) -> io::Result<T> {
        let Some(parent) = path.parent() else { return act() };
        let mut attempt = 0;
        loop {
            match self.ensure(parent).and_then(|()| act()) {
                Err(error) if error.kind() == io::ErrorKind::NotFound && attempt < ATTEMPTS => {
                    // Somebody who deleted the last record in it removed a folder meanwhile.
                    self.forget(parent);
                    attempt += 1;
                }
                done => return done,
            }
        }
    }

    /// Removes the folders above `path` that are empty now. Best effort: an empty folder does no harm.
    pub(super) fn remove_empty_parents(&self, path: &Path) {
        let below_root = |folder: &&Path| folder.starts_with(&self.root) && *folder != self.root;
        for folder in path.ancestors().skip(1).take_while(below_root) {
            if fs::remove_dir(folder).is_err() {
                return;
            }
            self.durable().remove(folder);
        }
    }

    fn ensure(&self, folder: &Path) -> io::Result<()> {
        if self.durable().contains(folder) {
            return Ok(());
        }
        // From the top down, each one durable before the next is made in it.
        let mut chain: Vec<&Path> = folder.ancestors().collect();
        chain.reverse();
        for folder in chain {
            self.ensure_one(folder)?;
        }
        Ok(())
    }

    fn ensure_one(&self, folder: &Path) -> io::Result<()> {
        let is_ours = folder.starts_with(&self.root);
        if !is_ours && folder.exists() || self.durable().contains(folder) {
            return Ok(());
        }
        match fs::create_dir(folder) {
            Ok(()) => sync_parent(folder)?,
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
                if fs::read_dir(folder)?.next().is_none() {
                    sync_parent(folder)?;
                }
            }
            Err(error) => return Err(error),
        }
        if is_ours {
            self.durable().insert(folder.to_owned());
        }
        Ok(())
    }

    fn forget(&self, folder: &Path) {
        let mut durable = self.durable();
        for folder in folder.ancestors() {
            durable.remove(folder);
        }
    }

    fn durable(&self) -> MutexGuard<'_, HashSet<PathBuf>> {
        self.durable.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Makes the names in the folder of `path` durable.
pub(super) fn sync_parent(path: &Path) -> io::Result<()> {
    match path.parent() {
        Some(parent) => File::open(parent)?.sync_all(),
        None => Ok(()),
    }
}
