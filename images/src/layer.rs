//! Layers: a tree of files as a compressed archive, with its names.

use std::fs::File;
use std::io::{self, Read as _, Write};
use std::path::PathBuf;

use bytes::Bytes;
use flate2::{Compression, GzBuilder, write::GzEncoder};
use sha2::{Digest as _, Sha256};
use tar::{EntryType, Header};

use crate::{Digest, Entry, Error, Tree};

/// Some bytes and their name.
#[derive(Clone, Debug)]
pub struct Blob {
    digest: Digest,
    size: u64,
    source: Source,
}

#[derive(Clone, Debug)]
enum Source {
    Memory(Bytes),
    File(PathBuf),
}

impl Blob {
    /// A blob of these bytes.
    pub fn new(bytes: impl Into<Bytes>) -> Self {
        let bytes = bytes.into();
        Self { digest: Digest::of(&bytes), size: bytes.len() as u64, source: Source::Memory(bytes) }
    }

    /// A blob that stands in a file, whose digest was checked as it was written.
    pub(crate) fn in_file(digest: Digest, size: u64, path: PathBuf) -> Self {
        Self { digest, size, source: Source::File(path) }
    }

    /// Its name.
    pub fn digest(&self) -> &Digest {
        &self.digest
    }

    /// Its length in bytes.
    pub fn size(&self) -> u64 {
        self.size
    }

    /// Its bytes.
    ///
    /// # Errors
    /// Where its file can't be read.
    pub fn bytes(&self) -> Result<Bytes, Error> {
        match &self.source {
            Source::Memory(bytes) => Ok(bytes.clone()),
            Source::File(path) => std::fs::read(path).map(Bytes::from).map_err(Error::read(path)),
        }
    }
}

/// One layer of an image.
#[derive(Clone, Debug)]
pub struct Layer {
    /// What it is, in a word or two: shown in an image's history.
    pub name: String,
    /// The compressed archive.
    pub blob: Blob,
    /// The digest of the archive before it was compressed.
    pub diff_id: Digest,
    /// How the archive is compressed.
    pub(crate) media_type: String,
}

pub(crate) const GZIP: &str = "application/vnd.oci.image.layer.v1.tar+gzip";

/// Where the gains end: twice the time for one percent more.
const LEVEL: u32 = 6;

impl Layer {
    /// Packs `tree`.
    ///
    /// # Errors
    /// Where a file can't be read.
    pub fn pack(name: &str, tree: &Tree) -> Result<Self, Error> {
        let gzip = GzBuilder::new().mtime(0).operating_system(255).write(Vec::new(), Compression::new(LEVEL));
        let mut archive = tar::Builder::new(Hashing { gzip, hasher: Sha256::new() });
        for (path, entry) in tree.entries() {
            append(&mut archive, path, entry)?;
        }
        let unread = |source| Error::Read { path: name.into(), source };
        let Hashing { gzip, hasher } = archive.into_inner().map_err(unread)?;
        let blob = Blob::new(gzip.finish().map_err(unread)?);
        Ok(Self { name: name.to_owned(), blob, diff_id: Digest::finish(hasher), media_type: GZIP.to_owned() })
    }
}

/// Compresses what is written, and names what it was before.
struct Hashing {
    gzip: GzEncoder<Vec<u8>>,
    hasher: Sha256,
}

impl Write for Hashing {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let written = self.gzip.write(bytes)?;
        self.hasher.update(bytes.get(..written).unwrap_or_default());
        Ok(written)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.gzip.flush()
    }
}

fn append(archive: &mut tar::Builder<Hashing>, path: &str, entry: &Entry) -> Result<(), Error> {
    let written = |result: io::Result<()>| result.map_err(Error::read(path));
    match entry {
        Entry::Folder { mode } => {
            let mut header = header(EntryType::Directory, *mode, 0);
            written(archive.append_data(&mut header, format!("{path}/"), io::empty()))
        }
        Entry::Bytes { mode, bytes } => {
            let mut header = header(EntryType::Regular, *mode, bytes.len() as u64);
            written(archive.append_data(&mut header, path, bytes.as_slice()))
        }
        Entry::Link { target } => {
            let mut header = header(EntryType::Symlink, 0o777, 0);
            written(archive.append_link(&mut header, path, target))
        }
        Entry::File { mode, source } => {
            append_file(archive, path, *mode, source).map_err(Error::read(source))
        }
    }
}

fn append_file(
    archive: &mut tar::Builder<Hashing>,
    path: &str,
    mode: u32,
    source: &std::path::Path,
) -> io::Result<()> {
    let file = File::open(source)?;
    let length = file.metadata()?.len();
    let mut header = header(EntryType::Regular, mode, length);
    let mut counted = Counted { inner: file.take(length), seen: 0 };
    archive.append_data(&mut header, path, &mut counted)?;
    if counted.seen == length {
        return Ok(());
    }
    // The archive's header is written already: a file that shrinks meanwhile must not pass for a whole one.
    Err(io::Error::other("it changed while it was read"))
}

struct Counted<R> {
    inner: R,
    seen: u64,
}

impl<R: io::Read> io::Read for Counted<R> {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        let read = self.inner.read(into)?;
        self.seen += read as u64;
        Ok(read)
    }
}

/// Everything that depends on the machine, the person or the hour is the same for all.
fn header(kind: EntryType, mode: u32, size: u64) -> Header {
    let mut header = Header::new_gnu();
    header.set_entry_type(kind);
    header.set_mode(mode);
    header.set_size(size);
    header.set_uid(0);
    header.set_gid(0);
    header.set_mtime(0);
    header
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tree(path: &std::path::Path) -> Tree {
        let mut tree = Tree::new();
        tree.add("function", Entry::File { mode: 0o755, source: path.to_owned() }).unwrap();
        tree.add("lib/libc.so", Entry::Link { target: "libc.so.6".to_owned() }).unwrap();
        tree.add(&format!("deep/{}", "long".repeat(60)), Entry::Bytes { mode: 0o644, bytes: vec![7; 5] })
            .unwrap();
        tree
    }

    #[test]
    fn the_same_files_give_the_same_bytes() {
        let folder = tempfile::tempdir().unwrap();
        let (one, two) = (folder.path().join("one"), folder.path().join("two"));
        std::fs::write(&one, b"program").unwrap();
        let first = Layer::pack("x", &tree(&one)).unwrap();
        std::fs::write(&two, b"program").unwrap();
        let read_only = std::os::unix::fs::PermissionsExt::from_mode(0o400);
        std::fs::set_permissions(&two, read_only).unwrap();
        let second = Layer::pack("y", &tree(&two)).unwrap();
        assert_eq!(first.blob.digest(), second.blob.digest());
        assert_eq!(first.diff_id, second.diff_id);
        // Written once and for all: a change of these bytes moves every image that was ever deployed.
        assert_eq!((first.diff_id.short(), first.blob.digest().short()), ("ddf515ebabae", "1f7e36165fea"));
    }

    #[test]
    fn a_layer_unpacks_to_what_went_in() {
        let folder = tempfile::tempdir().unwrap();
        let program = folder.path().join("p");
        std::fs::write(&program, b"program").unwrap();
        let layer = Layer::pack("x", &tree(&program)).unwrap();
        let bytes = layer.blob.bytes().unwrap();
        let mut archive = tar::Archive::new(flate2::read::GzDecoder::new(bytes.as_ref()));
        let mut seen = Vec::new();
        for entry in archive.entries().unwrap() {
            let mut entry = entry.unwrap();
            let mut content = Vec::new();
            entry.read_to_end(&mut content).unwrap();
            let path = entry.path().unwrap().display().to_string();
            seen.push((path, entry.header().mode().unwrap(), content.len()));
        }
        let long = format!("deep/{}", "long".repeat(60));
        let expected = [
            ("deep/", 0o755, 0),
            (&long, 0o644, 5),
            ("function", 0o755, 7),
            ("lib/", 0o755, 0),
            ("lib/libc.so", 0o777, 0),
        ];
        let expected = expected.map(|(path, mode, size)| (path.to_owned(), mode, size));
        assert_eq!(seen, expected);
    }
}
