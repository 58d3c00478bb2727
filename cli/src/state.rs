//! What cargo faas keeps between commands: the default store, captured output, the running `dev`.

use std::fs;
use std::io::Write;
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::args::Global;
use crate::error::{Context, Error, Result};
use crate::exit::Exit;
use crate::platform::Dialect;
use crate::project::{Programs, Project};

/// The folder `faas` in cargo's target folder, unless another is given.
#[derive(Clone, Debug)]
pub struct State {
    folder: PathBuf,
}

/// A running `cargo faas dev`, as other commands find it.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Dev {
    /// Where it listens.
    pub url: String,
    /// Its key.
    pub key: String,
    /// Which interface it speaks to `invoke`.
    pub platform: Dialect,
    /// The store its functions use.
    pub store: String,
    /// Its process.
    pub pid: u32,
}

impl State {
    /// The state of this project.
    ///
    /// # Errors
    /// Where the folder that was given can't be found.
    pub fn of(project: &Project, global: &Global) -> Result<Self> {
        let folder = match &global.state_dir {
            Some(given) => std::path::absolute(given)
                .context(Exit::Usage, || format!("failed to find {}", given.display()))?,
            None => project.target_dir().join("faas"),
        };
        Ok(Self { folder })
    }

    /// The state of the project of the current folder, or of the folder that was given.
    ///
    /// # Errors
    /// Where there is neither.
    pub fn here(global: &Global) -> Result<Self> {
        match &global.state_dir {
            Some(given) => std::path::absolute(given)
                .context(Exit::Usage, || format!("failed to find {}", given.display()))
                .map(|folder| Self { folder }),
            None => match (Project::open(global), Programs::here(global)?) {
                (Err(_), Some(programs)) => Ok(Self::beside(&programs)),
                (project, _) => Self::of(&project?, global),
            },
        }
    }

    /// The state of programs that are no part of a cargo project.
    fn beside(programs: &Programs) -> Self {
        Self { folder: programs.folder().join(".faas") }
    }

    /// The URL of the store to use: the one given, or the default one.
    ///
    /// # Errors
    /// Where the default one is needed and no project is here, or its path is no UTF-8.
    pub fn store_url(global: &Global, given: Option<&str>) -> Result<String> {
        if let Some(url) = given {
            return absolute(url);
        }
        let state = Self::here(global).map_err(|error| error.help("or name the store with --store"))?;
        state.default_store_url()
    }

    /// The default store's URL.
    ///
    /// # Errors
    /// Where the target folder's path is no UTF-8.
    pub fn default_store_url(&self) -> Result<String> {
        let path = self.folder.join("store");
        let path = path.to_str().ok_or_else(|| {
            Error::usage("the target folder's path is no UTF-8")
                .help("choose another with --target-dir or --store")
        })?;
        Ok(format!("file:{path}"))
    }

    /// The folder for captured output.
    pub fn logs(&self) -> PathBuf {
        self.folder.join("logs")
    }

    /// The folder for the binaries that `dev` serves.
    pub fn images(&self) -> PathBuf {
        self.folder.join("images")
    }

    /// The folder for the layers of base images.
    pub fn layers(&self) -> PathBuf {
        self.folder.join("layers")
    }

    /// The running `dev`, if there is one.
    pub fn dev(&self) -> Option<Dev> {
        let text = fs::read_to_string(self.dev_file()).ok()?;
        let dev: Dev = serde_json::from_str(&text).ok()?;
        // One that was killed could not remove its file, and its number may be another process's by now.
        (is_running(dev.pid) && listens(&dev.url)).then_some(dev)
    }

    /// Tells other commands of a running `dev`; the file goes when the answer is dropped.
    ///
    /// # Errors
    /// Where the file can't be written.
    pub fn announce(&self, dev: &Dev) -> Result<Announced> {
        let path = self.dev_file();
        let failed = || format!("failed to write {}", path.display());
        create_folder(&self.folder)?;
        let text = serde_json::to_vec_pretty(dev).map_err(|error| Error::bug("no JSON").because(error))?;
        let mut file = tempfile_beside(&path).context(Exit::Platform, failed)?;
        file.0.write_all(&text).context(Exit::Platform, failed)?;
        fs::rename(&file.1, &path).context(Exit::Platform, failed)?;
        Ok(Announced { path, pid: dev.pid })
    }

    fn dev_file(&self) -> PathBuf {
        self.folder.join("dev.json")
    }
}

/// The file that tells of a running `dev`.
#[derive(Debug)]
pub struct Announced {
    path: PathBuf,
    pid: u32,
}

impl Drop for Announced {
    fn drop(&mut self) {
        let text = fs::read_to_string(&self.path).unwrap_or_default();
        let is_ours = serde_json::from_str::<Dev>(&text).is_ok_and(|dev| dev.pid == self.pid);
        if is_ours {
            drop(fs::remove_file(&self.path));
        }
    }
}

fn listens(url: &str) -> bool {
    let address = url.strip_prefix("http://").and_then(|address| address.parse().ok());
    address.is_some_and(|address| TcpStream::connect_timeout(&address, Duration::from_secs(1)).is_ok())
}

fn is_running(pid: u32) -> bool {
    let pid = i32::try_from(pid).ok().and_then(rustix::process::Pid::from_raw);
    // A process of somebody else's answers "not permitted": it runs, but is no `dev` of ours.
    pid.is_some_and(|pid| rustix::process::test_kill_process(pid).is_ok())
}

/// A new file that only its owner may read, beside `path`.
fn tempfile_beside(path: &Path) -> std::io::Result<(fs::File, PathBuf)> {
    let beside = path.with_extension(format!("{}.tmp", std::process::id()));
    drop(fs::remove_file(&beside));
    let mut options = fs::OpenOptions::new();
    options.write(true).create_new(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    options.open(&beside).map(|file| (file, beside))
}

/// Makes a folder with those above it.
///
/// # Errors
/// Where it can't be made.
pub fn create_folder(path: &Path) -> Result<()> {
    fs::create_dir_all(path).context(Exit::Store, || format!("failed to make the folder {}", path.display()))
}

/// A folder's URL without its dependence on the current folder: function processes have another.
fn absolute(url: &str) -> Result<String> {
    match url.strip_prefix("file:") {
        Some(path) if !path.starts_with('/') => {
            let path = std::path::absolute(path)
                .map_err(|error| Error::usage(format!("failed to find the store {url}")).because(error))?;
            Ok(format!("file:{}", path.display()))
        }
        None if url == "memory:" => Err(Error::usage("a store in memory is lost with each invocation")
            .help("write the store as file:/absolute/folder")),
        _ => Ok(url.to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_running_dev_is_found_and_a_dead_one_is_not() {
        let folder = tempfile::tempdir().unwrap();
        let state = State { folder: folder.path().join("faas") };
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let dev = Dev {
            url: format!("http://{}", listener.local_addr().unwrap()),
            key: "u:p".into(),
            platform: Dialect::default(),
            store: "file:/x".into(),
            pid: std::process::id(),
        };
        assert!(state.dev().is_none());
        let announced = state.announce(&dev).unwrap();
        assert_eq!(state.dev().unwrap().url, dev.url);
        #[cfg(unix)]
        {
            use std::os::unix::fs::PermissionsExt;
            let mode = fs::metadata(state.dev_file()).unwrap().permissions().mode();
            assert_eq!(mode & 0o777, 0o600);
        }
        drop(announced);
        assert!(state.dev().is_none());
        let _dead = state.announce(&Dev { pid: 2_000_000_000, ..dev.clone() }).unwrap();
        assert!(state.dev().is_none());
        let _other = state.announce(&dev).unwrap();
        drop(listener);
        assert!(state.dev().is_none());
    }

    #[test]
    fn a_store_is_the_same_from_every_folder() {
        assert_eq!(absolute("file:/x").unwrap(), "file:/x");
        assert!(absolute("file:x").unwrap().starts_with("file:/"));
        assert!(absolute("memory:").is_err());
    }
}
