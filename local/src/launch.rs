//! What a function process is started with: its program, its environment, its secrets.

use std::collections::BTreeMap;
use std::fs;
use std::io::{self, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};

use crate::config::Image;
use crate::engine::ContainerLaunch;
use crate::function::Function;
use crate::keeper::MARK_VARIABLE;
use crate::pool::Pool;
use crate::process::Launch;

/// What a process gets of the platform's own environment. A container would not get even that, but programs without
/// `PATH` or `TMPDIR` fail in ways that have nothing to do with being a function.
const INHERITED: [&str; 4] = ["PATH", "HOME", "TMPDIR", "LANG"];

/// What is started.
#[derive(Debug)]
pub(crate) enum Start {
    Program(Launch),
    Container(Box<ContainerLaunch>),
}

pub(crate) fn prepare(pool: &Pool, function: &Function, image: &Image, number: u64) -> io::Result<Start> {
    let mut env = environment(pool, function, image, number);
    let secrets = if function.secrets.is_empty() {
        None
    } else {
        Some(write_secrets(&pool.folder, number, &function.secrets, image.container.is_some())?)
    };
    let Some(container) = &image.container else {
        let inherited =
            INHERITED.iter().filter_map(|name| Some(((*name).to_owned(), std::env::var(name).ok()?)));
        env = inherited.chain(env).collect();
        env.extend(secrets.map(|it| ("secret_mount_path".to_owned(), it.to_string_lossy().into_owned())));
        env.insert(MARK_VARIABLE.to_owned(), pool.mark.clone());
        return Ok(Start::Program(Launch { program: image.program.clone(), args: image.args.clone(), env }));
    };
    let engine = pool.config.engine.clone().ok_or_else(|| io::Error::other("the platform has no engine"))?;
    Ok(Start::Container(Box::new(ContainerLaunch {
        engine,
        image: container.clone(),
        name: format!("limitless-{}-{number}", pool.mark),
        mark: pool.mark.clone(),
        env,
        memory_bytes: function.memory_bytes,
        habits: function.habits,
        secrets,
    })))
}

fn environment(pool: &Pool, function: &Function, image: &Image, number: u64) -> BTreeMap<String, String> {
    let mut env = BTreeMap::new();
    for more in [&pool.config.env, &image.env, &function.env] {
        env.extend(more.iter().map(|(name, value)| (name.clone(), value.clone())));
    }
    if let Some(faults) = pool.config.faults.for_store(pool.config.seed, number) {
        env.insert("LIMITLESS_STORE_FAULTS".to_owned(), faults);
    }
    env.insert("LIMITLESS_WATCHDOG_TOKEN".to_owned(), function.watchdog_token.clone());
    env
}

/// Removes what [`prepare`] left in the platform's folder.
pub(crate) fn clean(folder: &Path, number: u64) {
    // Most processes have no secrets; what can't be removed goes with the platform's folder.
    drop(fs::remove_dir_all(secrets_folder(folder, number)));
}

/// The user of a container is seldom this one and must be able to read them; the folder above is closed to others.
fn write_secrets(
    folder: &Path,
    number: u64,
    secrets: &BTreeMap<String, Vec<u8>>,
    for_others: bool,
) -> io::Result<PathBuf> {
    let folder = secrets_folder(folder, number);
    let (folder_mode, mode) = if for_others { (0o755, 0o444) } else { (0o700, 0o400) };
    fs::DirBuilder::new().mode(folder_mode).create(&folder)?;
    for (name, value) in secrets {
        let mut options = fs::OpenOptions::new();
        options.write(true).create_new(true).mode(mode).open(folder.join(name))?.write_all(value)?;
    }
    Ok(folder)
}

fn secrets_folder(folder: &Path, number: u64) -> PathBuf {
    folder.join(number.to_string())
}
