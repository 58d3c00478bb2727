//! What a function process is started with: its program, its environment, its secrets.

use std::collections::BTreeMap;
use std::fs;
use std::io::{self, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};

use crate::config::Image;
use crate::function::Function;
use crate::keeper::MARK_VARIABLE;
use crate::pool::Pool;
use crate::process::Launch;

/// What a process gets of the platform's own environment. A container would not get even that, but programs without
/// `PATH` or `TMPDIR` fail in ways that have nothing to do with being a function.
const INHERITED: [&str; 4] = ["PATH", "HOME", "TMPDIR", "LANG"];

pub(crate) fn prepare(pool: &Pool, function: &Function, image: &Image, number: u64) -> io::Result<Launch> {
    let inherited = INHERITED.iter().filter_map(|name| Some(((*name).to_owned(), std::env::var(name).ok()?)));
    let mut env: BTreeMap<String, String> = inherited.collect();
    for more in [&pool.config.env, &image.env, &function.env] {
        env.extend(more.iter().map(|(name, value)| (name.clone(), value.clone())));
    }
    if let Some(faults) = pool.config.faults.for_store(pool.config.seed, number) {
        env.insert("LIMITLESS_STORE_FAULTS".to_owned(), faults);
    }
    if !function.secrets.is_empty() {
        let folder = write_secrets(&pool.folder, number, &function.secrets)?;
        env.insert("secret_mount_path".to_owned(), folder.to_string_lossy().into_owned());
    }
    env.insert("LIMITLESS_WATCHDOG_TOKEN".to_owned(), function.watchdog_token.clone());
    env.insert(MARK_VARIABLE.to_owned(), pool.mark.clone());
    Ok(Launch { program: image.program.clone(), args: image.args.clone(), env })
}

/// Removes what [`prepare`] left in the platform's folder.
pub(crate) fn clean(folder: &Path, number: u64) {
    // Most processes have no secrets; what can't be removed goes with the platform's folder.
    drop(fs::remove_dir_all(secrets_folder(folder, number)));
}

fn write_secrets(folder: &Path, number: u64, secrets: &BTreeMap<String, Vec<u8>>) -> io::Result<PathBuf> {
    let folder = secrets_folder(folder, number);
    fs::DirBuilder::new().mode(0o700).create(&folder)?;
    for (name, value) in secrets {
        let mut options = fs::OpenOptions::new();
        options.write(true).create_new(true).mode(0o400).open(folder.join(name))?.write_all(value)?;
    }
    Ok(folder)
}

fn secrets_folder(folder: &Path, number: u64) -> PathBuf {
    folder.join(number.to_string())
}
