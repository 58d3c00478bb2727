//! Where a running program's files are: its work folder, and a private one in memory for its images.
//!
//! The work folder's path is part of the image, so it is the same in every invocation of an execution, on every host. It is made anew
//! in each, from what the checkpoint carried along. What a killed process left behind is known by its lock, which nobody holds.

use std::fs::{self, File};
use std::io;
use std::os::unix::fs::{DirBuilderExt, MetadataExt};
use std::path::{Path, PathBuf};
use std::sync::Once;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use limitless_faas_core::ExecutionId;
use rustix::fs::{FlockOperation, flock};
use serde::{Deserialize, Serialize};

use super::Declared;

/// Memory-backed, on most systems.
const MEMORY: &str = "/dev/shm";
/// Containers often have a tiny one.
const LEAST_FREE_BYTES: u64 = 256 << 20;
const ABANDONED_AFTER: Duration = Duration::from_secs(86_400);

/// A file that one process at a time locks.
#[derive(Debug)]
pub(super) struct Locked(#[expect(dead_code, reason = "closing it gives the lock back")] File);

impl Locked {
    /// Waits for the lock.
    pub(super) fn wait(path: &Path) -> io::Result<Self> {
        loop {
            if let Some(locked) = Self::take(path, FlockOperation::LockExclusive)? {
                return Ok(locked);
            }
        }
    }

    /// The lock, unless another process has it.
    fn now(path: &Path) -> io::Result<Option<Self>> {
        match Self::take(path, FlockOperation::NonBlockingLockExclusive) {
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => Ok(None),
            other => other,
        }
    }

    /// None where the file was removed while it was being locked.
    fn take(path: &Path, how: FlockOperation) -> io::Result<Option<Self>> {
        let file = File::options().create(true).truncate(false).write(true).open(path)?;
        flock(&file, how)?;
        let is_there =
            fs::metadata(path).is_ok_and(|there| file.metadata().is_ok_and(|own| own.ino() == there.ino()));
        Ok(is_there.then_some(Self(file)))
    }
}

/// The right to an execution's two folders, until what is in them is stored. Dropped, it is given back.
#[derive(Debug)]
pub(super) struct Claimed {
    path: PathBuf,
    _lock: Locked,
}

impl Claimed {
    /// Waits for it. Blocks.
    pub(super) fn wait(path: PathBuf) -> io::Result<Self> {
        let lock = Locked::wait(&path)?;
        Ok(Self { path, _lock: lock })
    }
}

impl Drop for Claimed {
    fn drop(&mut self) {
        // Whoever waits for it looks whether it is still there.
        drop(fs::remove_file(&self.path));
    }
}

/// A folder of this process alone, gone when it is dropped.
#[derive(Debug)]
pub(super) struct Private {
    pub(super) path: PathBuf,
    _lock: Locked,
}

impl Private {
    /// In memory, where there is room.
    pub(super) fn new() -> io::Result<Self> {
        static NUMBER: AtomicU64 = AtomicU64::new(0);
        static SWEEP: Once = Once::new();
        let folder = own(&memory().unwrap_or_else(std::env::temp_dir))?;
        SWEEP.call_once(|| sweep(&folder));
        let number = NUMBER.fetch_add(1, Ordering::Relaxed);
        let path = folder.join(format!("{}-{number}", std::process::id()));
        let lock = Locked::wait(&path.with_extension("lock"))?;
        // A process of the same number may have died here.
        drop(fs::remove_dir_all(&path));
        fs::DirBuilder::new().mode(0o700).create(&path)?;
        Ok(Self { path, _lock: lock })
    }
}

impl Drop for Private {
    fn drop(&mut self) {
        // What can't be removed is swept by the next process.
        drop(fs::remove_dir_all(&self.path));
        drop(fs::remove_file(self.path.with_extension("lock")));
    }
}

/// The two folders whose paths are part of a program's image.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Paths {
    /// Where it works.
    pub(super) work: PathBuf,
    /// Where generation after generation of its images stands, each in a folder named by its number: an image knows by its path
    /// what DMTCP wrote beside it.
    pub(super) images: PathBuf,
    /// The number of the generation.
    pub(super) generation: u64,
}

impl Paths {
    /// Those of an execution that begins here.
    pub(super) fn new(execution: &ExecutionId) -> io::Result<Self> {
        static SWEEP: Once = Once::new();
        let temporary = own(&std::env::temp_dir())?;
        SWEEP.call_once(|| sweep(&temporary));
        let images = own(&memory().unwrap_or_else(std::env::temp_dir))?;
        let (work, images) =
            (temporary.join(format!("{execution}-work")), images.join(format!("{execution}-images")));
        Ok(Self { work, images, generation: 0 })
    }

    /// What the invocation holds that uses them.
    pub(super) fn claim(&self) -> PathBuf {
        self.work.with_extension("claim.lock")
    }

    /// What its supervisor holds, which may outlive it.
    pub(super) fn locks(&self) -> [PathBuf; 2] {
        [self.work.with_extension("lock"), self.images.with_extension("lock")]
    }

    /// Makes the folders anew, empty, on whatever host this is; that of this generation's images too, which is looked into whenever the
    /// program ends.
    pub(super) fn renew(&self) -> io::Result<()> {
        for folder in [&self.work, &self.images] {
            renew(folder)?;
        }
        fs::create_dir(self.of_generation())
    }

    /// The folder of this generation's images.
    pub(super) fn of_generation(&self) -> PathBuf {
        self.images.join(self.generation.to_string())
    }

    /// The same for the next one.
    pub(super) fn next(&self) -> Self {
        Self { generation: self.generation + 1, ..self.clone() }
    }

    /// Removes them: what counts is in the store.
    pub(super) fn remove(&self) {
        // What can't be removed is swept by the next process.
        drop(fs::remove_dir_all(&self.work));
        drop(fs::remove_dir_all(&self.images));
    }
}

/// Our folder in `base`, which nobody else may look into.
fn own(base: &Path) -> io::Result<PathBuf> {
    let uid = rustix::process::getuid().as_raw();
    let folder = base.join(format!("limitless-programs-{uid}"));
    match fs::DirBuilder::new().mode(0o700).create(&folder) {
        Err(error) if error.kind() != io::ErrorKind::AlreadyExists => return Err(error),
        _ => {}
    }
    let there = fs::symlink_metadata(&folder)?;
    if there.is_dir() && there.uid() == uid {
        return Ok(folder);
    }
    Err(io::Error::other(format!("{} belongs to somebody else", folder.display())))
}

fn memory() -> Option<PathBuf> {
    let memory = PathBuf::from(MEMORY);
    let there = rustix::fs::statvfs(&memory).ok()?;
    let is_writable = rustix::fs::access(&memory, rustix::fs::Access::WRITE_OK).is_ok();
    (is_writable && there.f_bavail.saturating_mul(there.f_frsize) >= LEAST_FREE_BYTES).then_some(memory)
}

/// Removes what processes left that were killed.
fn sweep(folder: &Path) {
    for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
        let path = entry.path();
        let is_lock = path.extension().is_some_and(|extension| extension == "lock");
        if is_lock && let Ok(Some(_lock)) = Locked::now(&path) {
            drop(fs::remove_dir_all(path.with_extension("")));
            drop(fs::remove_file(&path));
        } else if !is_lock && !path.with_extension("lock").exists() && is_old(&path) {
            drop(fs::remove_dir_all(&path));
        }
    }
}

/// Between the end of a program and the end of its invocation nobody holds a lock on its folders; that takes minutes at most.
fn is_old(path: &Path) -> bool {
    let changed = fs::metadata(path).and_then(|there| there.modified()).ok();
    changed.and_then(|at| at.elapsed().ok()).is_some_and(|age| age > ABANDONED_AFTER)
}

/// The files that a declaration names, those in folders included, sorted.
pub(super) fn declared_files(declared: &Declared) -> Vec<PathBuf> {
    let mut files = Vec::new();
    let mut open: Vec<PathBuf> =
        declared.program.files.iter().map(|file| declared.folder.join(file.as_str())).collect();
    while let Some(path) = open.pop() {
        match fs::read_dir(&path) {
            Ok(entries) => open.extend(entries.flatten().map(|entry| entry.path())),
            Err(_) => files.push(path),
        }
    }
    files.sort();
    files
}

/// Fills a fresh work folder with the declared files.
///
/// # Errors
/// Names the file that can't be had.
pub(super) fn fill(work: &Path, declared: &Declared) -> Result<(), String> {
    for file in declared_files(declared) {
        let relative = file.strip_prefix(&declared.folder).unwrap_or(&file);
        let to = work.join(relative);
        let copied = to.parent().map_or(Ok(()), fs::create_dir_all).and_then(|()| fs::copy(&file, &to));
        copied.map_err(|error| {
            format!(
                "the file `{}` that faas.toml declares can't be copied from {}: {error}",
                relative.display(),
                file.display()
            )
        })?;
    }
    Ok(())
}

/// Moves a folder, also to another file system.
pub(super) fn move_to(from: &Path, to: &Path) -> io::Result<()> {
    match fs::rename(from, to) {
        Err(error) if error.kind() == io::ErrorKind::CrossesDevices => {}
        other => return other,
    }
    fs::create_dir_all(to)?;
    for entry in fs::read_dir(from)? {
        let entry = entry?;
        let to = to.join(entry.file_name());
        if entry.file_type()?.is_dir() {
            move_to(&entry.path(), &to)?;
        } else {
            fs::copy(entry.path(), &to)?;
        }
    }
    fs::remove_dir_all(from)
}

/// How long the files in this folder are together, those in folders of it included. What vanishes meanwhile does not count.
pub(super) fn len_bytes(folder: &Path) -> u64 {
    let len = |entry: fs::DirEntry| match entry.metadata() {
        Ok(there) if there.is_dir() => len_bytes(&entry.path()),
        Ok(there) if there.is_file() => there.len(),
        _ => 0,
    };
    fs::read_dir(folder).into_iter().flatten().flatten().map(len).sum()
}

/// An empty folder at this path.
pub(super) fn renew(path: &Path) -> io::Result<()> {
    match fs::remove_dir_all(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    fs::create_dir_all(path)
}
