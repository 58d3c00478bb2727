//! A store in a folder: one file per key.

mod blob;
mod directories;
mod segments;
mod temporary;

use std::fs::File;
use std::io::{self, Read, Write};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use bytes::Bytes;

use crate::store::refuse_large_record;
use crate::{Behind, BlobReader, BlobWriter, BoxFuture, Created, Key, Store, StoreError};
use blob::{FolderReader, FolderWriter};
use directories::Directories;
use segments::Segments;
use temporary::{Published, Temporaries, Temporary};

/// How long after a file's last change its name may still be on its way to the disk.
const YOUNG: Duration = Duration::from_secs(10);

/// A store in a local folder, or one that several machines share with the semantics of a local file system.
///
/// A record or blob is written to a file without a name, synced, and then linked under its key, which fails if the key
/// exists; then the folder is synced. So nothing half-written is ever visible, and a killed process leaves nothing.
/// Where the file system knows no files without a name, a named one in `.tmp` serves; those that killed processes leave are removed
/// by the next process that writes. A segment is a file that its writer keeps open, extends and syncs.
///
/// The folder itself is made by the first write. Needs hard links and `flock`; not for plain NFS before version 4.
#[derive(Debug, Clone)]
pub struct FolderStore {
    folder: Arc<Folder>,
}

#[derive(Debug)]
struct Folder {
    place: String,
    root: PathBuf,
    directories: Directories,
    temporaries: Temporaries,
    segments: Segments,
}

impl FolderStore {
    /// A store in the folder `root`, which need not exist yet. A relative path is made absolute now.
    ///
    /// # Errors
    /// The path is empty, or relative and the current folder is gone.
    pub fn new(root: impl AsRef<Path>) -> io::Result<Self> {
        Self::with_temporaries(root.as_ref(), Temporaries::new)
    }

    /// As [`FolderStore::new`], but never with files without a name: what file systems that lack them get.
    ///
    /// # Errors
    /// As for [`FolderStore::new`].
    pub fn with_named_temporaries(root: impl AsRef<Path>) -> io::Result<Self> {
        Self::with_temporaries(root.as_ref(), Temporaries::named)
    }

    fn with_temporaries(root: &Path, temporaries: fn(&Path) -> Temporaries) -> io::Result<Self> {
        let root = std::path::absolute(root)?;
        let folder = Folder {
            place: format!("file:{}", root.display()),
            directories: Directories::new(&root),
            temporaries: temporaries(&root),
            segments: Segments::default(),
            root,
        };
        Ok(Self { folder: Arc::new(folder) })
    }

    /// Runs a blocking piece of work off the async thread: a disk or a network file system may take its time, and health
    /// checks are answered meanwhile. The hop costs some microseconds.
    fn blocking<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Arc<Folder>) -> Result<T, StoreError> + Send + 'static,
    ) -> BoxFuture<'_, Result<T, StoreError>> {
        let folder = Arc::clone(&self.folder);
        Box::pin(async move {
            let Ok(runtime) = tokio::runtime::Handle::try_current() else {
                return work(&folder);
            };
            let place = folder.place.clone();
            runtime.spawn_blocking(move || work(&folder)).await.unwrap_or_else(|error| {
                Err(StoreError::unknown_outcome(format!("an operation in {place} was cut off: {error}")))
            })
        })
    }
}

impl Folder {
    fn path(&self, key: &Key) -> PathBuf {
        self.root.join(key.as_str())
    }

    fn error(&self, action: &str, key: &Key, error: &io::Error) -> StoreError {
        StoreError::from_io(action, key, &self.place, error)
    }

    fn create(&self, key: &Key, bytes: &[u8]) -> Result<Created, StoreError> {
        refuse_large_record(key, bytes.len() as u64)?;
        let path = self.path(key);
        // Most losers of a race learn it here, without writing a file.
        match path.metadata() {
            Ok(found) if found.is_dir() => return Err(StoreError::is_folder(key, &self.place)),
            Ok(_) => return self.settle(key, &path).map(|()| Created::Exists),
            Err(_) => {}
        }
        let write = || {
            let temporary = self.begin()?;
            temporary.file().write_all(bytes)?;
            Ok(temporary)
        };
        let temporary = write().map_err(|error| self.error("create", key, &error))?;
        match self.publish("create", key, &temporary)? {
            Published::New => Ok(Created::New),
            Published::Exists => Ok(Created::Exists),
        }
    }

    /// A temporary file, in the root, which is made first if need be.
    fn begin(&self) -> io::Result<Temporary> {
        self.directories.with_parent(&self.root.join("temporary"), || self.temporaries.begin())
    }

    /// Makes a written temporary file durable and visible under its key.
    fn publish(&self, action: &str, key: &Key, temporary: &Temporary) -> Result<Published, StoreError> {
        let path = self.path(key);
        let link = || {
            temporary.file().sync_all()?;
            let link = || self.temporaries.link(temporary, &path);
            self.directories.with_parent(&path, link)
        };
        let published = link().map_err(|error| self.error(action, key, &error))?;
        // "Exists" too is answered only once it will stay true.
        self.settle(key, &path)?;
        Ok(published)
    }

    /// Makes the name of a visible file durable.
    fn settle(&self, key: &Key, path: &Path) -> Result<(), StoreError> {
        let failed = |error: io::Error| self.error("sync the folder of", key, &error).with_unknown_outcome();
        directories::sync_parent(path).map_err(failed)
    }

    fn open(&self, key: &Key) -> Result<Option<File>, StoreError> {
        let path = self.path(key);
        let open = || {
            let file = File::open(&path)?;
            let metadata = file.metadata()?;
            if !metadata.is_file() {
                return Err(io::ErrorKind::NotFound.into());
            }
            if is_young(metadata.ctime()) {
                // Its writer may still be syncing the name. Who acts on a record must not see it vanish with the power.
                directories::sync_parent(&path)?;
            }
            Ok(file)
        };
        match open() {
            Ok(file) => Ok(Some(file)),
            Err(error) if is_absent(&error) => Ok(None),
            Err(error) => Err(self.error("read", key, &error)),
        }
    }

    fn read(&self, key: &Key) -> Result<Option<Bytes>, StoreError> {
        let Some(mut file) = self.open(key)? else { return Ok(None) };
        let failed = |error: io::Error| self.error("read", key, &error);
        refuse_large_record(key, file.metadata().map_err(failed)?.len())?;
        let mut bytes = Vec::new();
        file.read_to_end(&mut bytes).map_err(failed)?;
        Ok(Some(bytes.into()))
    }

    fn read_blob(&self, key: &Key) -> Result<Option<Box<dyn BlobReader>>, StoreError> {
        let Some(file) = self.open(key)? else { return Ok(None) };
        let reader = FolderReader::new(file).map_err(|error| self.error("read", key, &error))?;
        Ok(Some(Box::new(reader)))
    }

    fn children(&self, folder: &Key) -> Result<Vec<String>, StoreError> {
        let list = || {
            let mut names = Vec::new();
            for entry in std::fs::read_dir(self.path(folder))? {
                let name = entry?.file_name();
                names.extend(name.to_str().filter(|name| Key::new(name).is_ok()).map(str::to_owned));
            }
            Ok(names)
        };
        match list() {
            Ok(mut names) => {
                names.sort_unstable();
                Ok(names)
            }
            Err(error) if is_absent(&error) => Ok(Vec::new()),
            Err(error) => Err(self.error("list", folder, &error)),
        }
    }

    fn delete(&self, key: &Key) -> Result<(), StoreError> {
        let path = self.path(key);
        self.segments.close(&path);
        match std::fs::remove_file(&path) {
            Ok(()) => {}
            Err(error) if is_absent(&error) => return Ok(()),
            Err(error) => return Err(self.error("delete", key, &error)),
        }
        match directories::sync_parent(&path) {
            Ok(()) => self.directories.remove_empty_parents(&path),
            // Whoever deleted the last name beside it removed the folder already.
            Err(error) if is_absent(&error) => {}
            Err(error) => return Err(self.error("delete", key, &error).with_unknown_outcome()),
        }
        Ok(())
    }
}

/// Whether a file changed just now, by clocks that need not agree.
fn is_young(changed_secs: i64) -> bool {
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default().as_secs();
    u64::try_from(changed_secs).is_ok_and(|changed| changed.abs_diff(now) <= YOUNG.as_secs())
}

/// Whether an error only says that there is nothing under the key, or that its folder is a record.
fn is_absent(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory)
}

impl Store for FolderStore {
    fn create(&self, key: &Key, bytes: Bytes) -> BoxFuture<'_, Result<Created, StoreError>> {
        let key = key.clone();
        self.blocking(move |folder| folder.create(&key, &bytes))
    }

    fn read(&self, key: &Key) -> BoxFuture<'_, Result<Option<Bytes>, StoreError>> {
        let key = key.clone();
        self.blocking(move |folder| folder.read(&key))
    }

    fn write_blob(&self, key: &Key) -> BoxFuture<'_, Result<Box<dyn BlobWriter>, StoreError>> {
        let key = key.clone();
        self.blocking(move |folder| {
            FolderWriter::begin(folder, key).map(|writer| Box::new(writer) as Box<dyn BlobWriter>)
        })
    }

    fn read_blob(&self, key: &Key) -> BoxFuture<'_, Result<Option<Box<dyn BlobReader>>, StoreError>> {
        let key = key.clone();
        self.blocking(move |folder| folder.read_blob(&key))
    }

    fn append(&self, key: &Key, at: u64, bytes: Bytes) -> BoxFuture<'_, Result<u64, StoreError>> {
        let key = key.clone();
        self.blocking(move |folder| folder.append(&key, at, &bytes, Behind::Nothing))
    }

    fn append_here(
        &self,
        key: &Key,
        at: u64,
        bytes: &Bytes,
        behind: Behind,
    ) -> Option<Result<u64, StoreError>> {
        Some(self.folder.append(key, at, bytes, behind))
    }

    fn settle(&self, key: &Key) -> BoxFuture<'_, Result<(), StoreError>> {
        let key = key.clone();
        self.blocking(move |folder| folder.settle_segment(&key))
    }

    fn children(&self, folder: &Key) -> BoxFuture<'_, Result<Vec<String>, StoreError>> {
        let below = folder.clone();
        self.blocking(move |folder| folder.children(&below))
    }

    fn delete(&self, key: &Key) -> BoxFuture<'_, Result<(), StoreError>> {
        let key = key.clone();
        self.blocking(move |folder| folder.delete(&key))
    }

    fn describe(&self) -> String {
        self.folder.place.clone()
    }
}
