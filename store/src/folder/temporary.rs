//! Files that are not visible yet: without a name where the file system can, otherwise with one in `.tmp`.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Seek};
use std::os::fd::AsRawFd;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::process;
use std::sync::Once;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use rustix::fs::{AtFlags, CWD, FlockOperation, Mode, OFlags};
use rustix::io::Errno;

/// What linking a temporary file under its key found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Published {
    New,
    Exists,
}

/// Makes temporary files and links them under their final names.
#[derive(Debug)]
pub(super) struct Temporaries {
    root: PathBuf,
    /// Whether files without a name work here, as far as is known.
    unnamed: AtomicBool,
    sweep: Once,
    count: AtomicU64,
}

/// A file that only this process can see; dropped, it is gone.
#[derive(Debug)]
pub(super) struct Temporary {
    file: File,
    name: Option<PathBuf>,
}

impl Temporaries {
    pub(super) fn new(root: &Path) -> Self {
        let unnamed = cfg!(target_os = "linux") && Path::new("/proc/self/fd").exists();
        Self {
            root: root.to_owned(),
            unnamed: AtomicBool::new(unnamed),
            sweep: Once::new(),
            count: AtomicU64::new(0),
        }
    }

    pub(super) fn named(root: &Path) -> Self {
        Self { unnamed: AtomicBool::new(false), ..Self::new(root) }
    }

    /// An empty temporary file. The root exists.
    pub(super) fn begin(&self) -> io::Result<Temporary> {
        if self.unnamed.load(Ordering::Relaxed) {
            match open_unnamed(&self.root) {
                Ok(file) => return Ok(Temporary { file, name: None }),
                Err(error) if lacks_unnamed_files(error) => self.unnamed.store(false, Ordering::Relaxed),
                Err(error) => return Err(error.into()),
            }
        }
        self.begin_named()
    }

    /// Links the file under `path`, unless that exists.
    pub(super) fn link(&self, temporary: &Temporary, path: &Path) -> io::Result<Published> {
        let linked = match &temporary.name {
            Some(name) => fs::hard_link(name, path),
            None => match link_unnamed(&temporary.file, path) {
                Err(error) if lacks_unnamed_files(error) => {
                    self.unnamed.store(false, Ordering::Relaxed);
                    let copy = self.copy_to_named(&temporary.file)?;
                    return self.link(&copy, path);
                }
                linked => linked.map_err(io::Error::from),
            },
        };
        match linked {
            Ok(()) => Ok(Published::New),
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Ok(Published::Exists),
            Err(error) => Err(error),
        }
    }

    fn folder(&self) -> PathBuf {
        self.root.join(".tmp")
    }

    fn begin_named(&self) -> io::Result<Temporary> {
        let folder = self.folder();
        if let Err(error) = fs::create_dir(&folder)
            && error.kind() != io::ErrorKind::AlreadyExists
        {
            return Err(error);
        }
        self.sweep.call_once(|| sweep(&folder));
        loop {
            let count = self.count.fetch_add(1, Ordering::Relaxed);
            // Containers that share a folder may share process ids, so a name may be taken.
            let name = folder.join(format!("{}-{count}", process::id()));
            match OpenOptions::new().read(true).write(true).create_new(true).open(&name) {
                Ok(file) if is_kept(&file)? => return Ok(Temporary { file, name: Some(name) }),
                Ok(_) => {}
                Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
                Err(error) => return Err(error),
            }
        }
    }

    /// A durable copy that has a name, for file systems that make files without a name but can't link them.
    fn copy_to_named(&self, mut from: &File) -> io::Result<Temporary> {
        let copy = self.begin_named()?;
        from.rewind()?;
        io::copy(&mut from, &mut &copy.file)?;
        copy.file.sync_all()?;
        Ok(copy)
    }
}

impl Temporary {
    pub(super) fn file(&self) -> &File {
        &self.file
    }
}

impl Drop for Temporary {
    fn drop(&mut self) {
        if let Some(name) = &self.name {
            // What can't be removed now is removed by the next sweep.
            let _ = fs::remove_file(name);
        }
    }
}

/// Locks a new temporary file, which says that its writer lives; false if a sweep was faster and removed it.
fn is_kept(file: &File) -> io::Result<bool> {
    rustix::fs::flock(file, FlockOperation::LockExclusive)?;
    Ok(file.metadata()?.nlink() > 0)
}

/// Removes the temporary files whose writers are dead: those that nobody holds a lock on.
fn sweep(folder: &Path) {
    let Ok(entries) = fs::read_dir(folder) else { return };
    for path in entries.flatten().map(|entry| entry.path()) {
        let Ok(file) = File::open(&path) else { continue };
        if rustix::fs::flock(&file, FlockOperation::NonBlockingLockExclusive).is_ok() {
            // Still locked by us, so that a writer that has only just made it finds out.
            let _ = fs::remove_file(&path);
        }
    }
}

#[cfg(target_os = "linux")]
fn open_unnamed(folder: &Path) -> Result<File, Errno> {
    let flags = OFlags::TMPFILE | OFlags::RDWR | OFlags::CLOEXEC;
    rustix::fs::open(folder, flags, Mode::from_raw_mode(0o666)).map(File::from)
}

#[cfg(not(target_os = "linux"))]
fn open_unnamed(_folder: &Path) -> Result<File, Errno> {
    Err(Errno::OPNOTSUPP)
}

fn link_unnamed(file: &File, path: &Path) -> Result<(), Errno> {
    let open_file = format!("/proc/self/fd/{}", file.as_raw_fd());
    rustix::fs::linkat(CWD, open_file, CWD, path, AtFlags::SYMLINK_FOLLOW)
}

/// Whether an error says that the file system can't make or link files without a name, rather than that this one failed.
fn lacks_unnamed_files(error: Errno) -> bool {
    matches!(error, Errno::OPNOTSUPP | Errno::ISDIR | Errno::INVAL | Errno::XDEV | Errno::NOSYS | Errno::PERM)
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use super::*;

    #[test]
    fn a_file_that_can_not_be_linked_is_copied_to_one_with_a_name() {
        let root = tempfile::tempdir().unwrap();
        let temporaries = Temporaries::new(root.path());
        let first = temporaries.begin().unwrap();
        first.file().write_all(b"content").unwrap();
        let copy = temporaries.copy_to_named(first.file()).unwrap();
        let path = root.path().join("final");
        assert_eq!(temporaries.link(&copy, &path).unwrap(), Published::New);
        assert_eq!(temporaries.link(&copy, &path).unwrap(), Published::Exists);
        drop(copy);
        assert_eq!(fs::read(&path).unwrap(), b"content");
        assert_eq!(fs::read_dir(root.path().join(".tmp")).unwrap().count(), 0);
    }
}
