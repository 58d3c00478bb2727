//! The files of a layer.

use std::collections::BTreeMap;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::{fs, io};

use crate::Error;

/// What stands at a path.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Entry {
    /// A folder with these permissions.
    Folder {
        /// Permission bits.
        mode: u32,
    },
    /// A file with this content.
    Bytes {
        /// Permission bits.
        mode: u32,
        /// What it holds.
        bytes: Vec<u8>,
    },
    /// A copy of a file of this machine.
    File {
        /// Permission bits: those of the machine's file depend on who made it.
        mode: u32,
        /// The file.
        source: PathBuf,
    },
    /// A symbolic link.
    Link {
        /// Where it points.
        target: String,
    },
}

impl Entry {
    /// Its permission bits; a link has none of its own.
    pub fn mode(&self) -> Option<u32> {
        match self {
            Self::Folder { mode } | Self::Bytes { mode, .. } | Self::File { mode, .. } => Some(*mode),
            Self::Link { .. } => None,
        }
    }
}

/// The files of a layer by their path, without a leading `/`, in the order in which they are written.
///
/// Owners, times and the order of the file system are no part of it, so they can't differ.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Tree {
    entries: BTreeMap<String, Entry>,
}

const FOLDER: u32 = 0o755;

impl Tree {
    /// A tree without files.
    pub fn new() -> Self {
        Self::default()
    }

    /// Whether it has no files.
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// Puts `entry` at `path`, with the folders above it.
    ///
    /// # Errors
    /// Where the path can't stand in an image, or something else stands there already.
    pub fn add(&mut self, path: &str, entry: Entry) -> Result<(), Error> {
        let path = inside(path)?;
        for (at, _) in path.match_indices('/') {
            let above = path.get(..at).unwrap_or_default();
            let folder = self.entries.entry(above.to_owned()).or_insert(Entry::Folder { mode: FOLDER });
            if !matches!(folder, Entry::Folder { .. }) {
                return Err(bad(above, "it would be a folder and a file at once"));
            }
        }
        match self.entries.get(path) {
            Some(there) if *there != entry => Err(bad(path, "two different files would stand there")),
            _ => {
                self.entries.insert(path.to_owned(), entry);
                Ok(())
            }
        }
    }

    /// The entries in order.
    pub fn entries(&self) -> impl Iterator<Item = (&str, &Entry)> {
        self.entries.iter().map(|(path, entry)| (path.as_str(), entry))
    }

    /// Writes the files into `folder`.
    ///
    /// # Errors
    /// Where they can't be read or written.
    pub fn write_to(&self, folder: &Path) -> Result<(), Error> {
        fs::create_dir_all(folder).map_err(Error::Write)?;
        for (path, entry) in &self.entries {
            let to = folder.join(path);
            let write = || -> io::Result<()> {
                match entry {
                    Entry::Folder { .. } => fs::create_dir_all(&to)?,
                    Entry::Bytes { bytes, .. } => fs::write(&to, bytes)?,
                    Entry::File { source, .. } => fs::copy(source, &to).map(drop)?,
                    Entry::Link { target } => return std::os::unix::fs::symlink(target, &to),
                }
                Ok(())
            };
            write().map_err(Error::read(&to))?;
        }
        // What may not be written to comes last.
        for (path, entry) in self.entries.iter().rev() {
            if let Some(mode) = entry.mode() {
                let to = folder.join(path);
                fs::set_permissions(&to, fs::Permissions::from_mode(mode)).map_err(Error::read(&to))?;
            }
        }
        Ok(())
    }

    /// Whether something stands at this path.
    pub fn contains(&self, path: &str) -> bool {
        self.entries.contains_key(path.trim_start_matches('/'))
    }
}

fn inside(path: &str) -> Result<&str, Error> {
    let relative = path.strip_prefix('/').unwrap_or(path);
    if relative.is_empty() || relative.contains(['\0', '\n']) {
        return Err(bad(path, "it is empty or has control characters"));
    }
    let is_plain = |part: &str| !matches!(part, "" | "." | "..");
    if relative.split('/').all(is_plain) { Ok(relative) } else { Err(bad(path, "it leaves its folder")) }
}

fn bad(path: &str, why: &'static str) -> Error {
    Error::Path { path: path.escape_debug().to_string(), why }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn file(bytes: &[u8]) -> Entry {
        Entry::Bytes { mode: 0o644, bytes: bytes.to_vec() }
    }

    #[test]
    fn folders_come_before_what_is_in_them() {
        let mut tree = Tree::new();
        tree.add("/etc/ssl/certs", Entry::Folder { mode: 0o755 }).unwrap();
        tree.add("/etc/passwd", file(b"x")).unwrap();
        let paths: Vec<&str> = tree.entries().map(|(path, _)| path).collect();
        assert_eq!(paths, ["etc", "etc/passwd", "etc/ssl", "etc/ssl/certs"]);
        assert!(tree.contains("/etc/passwd"));
    }

    #[test]
    fn no_path_leaves_the_image() {
        let mut tree = Tree::new();
        for bad in ["", "/", "../etc/passwd", "/a/../b", "a//b", "a/./b", "a\nb", "a\0b"] {
            assert!(tree.add(bad, file(b"")).is_err(), "{bad:?}");
        }
        assert!(tree.is_empty() || tree.entries().all(|(path, _)| path == "a"));
    }

    #[test]
    fn one_path_has_one_content() {
        let mut tree = Tree::new();
        tree.add("a", file(b"1")).unwrap();
        tree.add("a", file(b"1")).unwrap();
        assert!(tree.add("a", file(b"2")).is_err());
        assert!(tree.add("a/b", file(b"2")).is_err());
    }
}
