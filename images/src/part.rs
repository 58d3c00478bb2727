//! Files that are not whole yet.

use std::io;
use std::path::{Path, PathBuf};

/// A file under a name of this process's own until it is whole. What is not finished goes with this value, also where whoever wrote it is
/// interrupted.
#[derive(Debug)]
pub struct Part {
    path: PathBuf,
    to: PathBuf,
}

impl Part {
    /// A part of the file `to`, beside it.
    pub fn of(to: &Path) -> Self {
        let mut name = to.as_os_str().to_owned();
        name.push(format!(".{}.part", std::process::id()));
        Self { path: name.into(), to: to.to_owned() }
    }

    /// Creates it, and empties what was there.
    ///
    /// # Errors
    /// Where the system refuses.
    pub fn create(&self) -> io::Result<std::fs::File> {
        std::fs::File::create(&self.path)
    }

    /// Gives it its name.
    ///
    /// # Errors
    /// Where the system refuses, or the part was given up meanwhile.
    pub fn finish(&self) -> io::Result<()> {
        std::fs::rename(&self.path, &self.to)
    }
}

impl Drop for Part {
    fn drop(&mut self) {
        // A finished one is no longer there.
        drop(std::fs::remove_file(&self.path));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_is_finished_stays() {
        let folder = tempfile::tempdir().unwrap();
        let to = folder.path().join("a.tar");
        let left = || std::fs::read_dir(folder.path()).unwrap().count();
        let part = Part::of(&to);
        part.create().unwrap();
        assert_eq!(left(), 1);
        drop(part);
        assert_eq!(left(), 0);
        let part = Part::of(&to);
        part.create().unwrap();
        part.finish().unwrap();
        drop(part);
        assert!(to.exists() && left() == 1);
    }
}
