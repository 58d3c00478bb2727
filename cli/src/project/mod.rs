//! The user's project: which binary has the handler, how it is built, and what it says of itself.

mod build;
mod describe;
mod input;
mod metadata;
mod pick;
mod programs;

use std::path::{Path, PathBuf};
use std::sync::Arc;

use cargo_metadata::{Metadata, MetadataCommand, Package, PackageId};
use limitless_faas_core::manifest::{Handler, Manifest};

use crate::args::{Global, Pick};
use crate::error::{Error, Result};
use crate::exit::Exit;
use crate::suggest;
use crate::ui::Ui;

pub use build::Profile;
pub use input::{CONTROL, Input, check, text_of};
pub use metadata::Wishes;
pub use pick::Target;
pub use programs::{FILE as PROGRAMS_FILE, Programs, VARIABLE as PROGRAMS_VARIABLE, play_role};

/// A cargo workspace as `cargo metadata` tells it.
#[derive(Debug)]
pub struct Project {
    metadata: Metadata,
    folder: PathBuf,
    target_dir: PathBuf,
}

/// A function binary that was built and asked what it has.
#[derive(Clone, Debug)]
pub struct Function {
    /// Where it came from.
    pub target: Target,
    /// The binary.
    pub program: PathBuf,
    /// What it says of itself.
    pub manifest: Manifest,
    /// The programs that it serves, where it is this binary and they are what `faas.toml` declares.
    pub programs: Option<Arc<Programs>>,
}

impl Function {
    /// The handler that a person called `name`: `word-count` means `word_count` too.
    pub fn handler(&self, name: &str) -> Option<&Handler> {
        let folded = suggest::fold(name);
        let alike = || self.manifest.handlers.iter().find(|handler| suggest::fold(&handler.name) == folded);
        self.manifest.handler(name).or_else(alike)
    }
}

impl Project {
    /// The project of the current folder, or of `--manifest-path`.
    ///
    /// # Errors
    /// Where cargo finds none, or can't read it.
    pub fn open(global: &Global) -> Result<Self> {
        let folder = match &global.manifest_path {
            Some(manifest) => manifest_folder(manifest)?,
            None => std::env::current_dir()
                .map_err(|error| Error::usage("failed to find the current folder").because(error))?,
        };
        let metadata = MetadataCommand::new().no_deps().current_dir(&folder).exec().map_err(no_project)?;
        let target_dir = match &global.target_dir {
            Some(given) => std::path::absolute(given)
                .map_err(|error| Error::usage("failed to find the target folder").because(error))?,
            None => metadata.target_directory.clone().into_std_path_buf(),
        };
        Ok(Self { metadata, folder, target_dir })
    }

    /// Cargo's target folder.
    pub fn target_dir(&self) -> &Path {
        &self.target_dir
    }

    /// The folder to watch for changes of this target's code: its package and the workspace's other members.
    pub fn source_folders(&self) -> Vec<PathBuf> {
        let manifests = self.members().map(|package| package.manifest_path.clone().into_std_path_buf());
        manifests.filter_map(|path| path.parent().map(Path::to_owned)).collect()
    }

    /// Builds until a binary with `handler` is found.
    ///
    /// # Errors
    /// Where no binary has it, or the build fails.
    pub async fn function_with(&self, handler: &str, pick: &Pick, ui: &Ui) -> Result<Function> {
        let (mut asked, mut names, mut other) = (Vec::new(), Vec::new(), None);
        for target in self.targets(pick, Some(handler))? {
            match self.build(None, &target, pick, ui).await? {
                Ok(function) if function.handler(handler).is_some() => return Ok(function),
                Ok(function) => {
                    names.extend(function.manifest.handlers.into_iter().map(|handler| handler.name));
                    asked.push(target);
                }
                Err(error) => other = other.or(Some(error)),
            }
        }
        // A package may have programs beside its functions; nothing but them is the mistake then.
        Err(other.filter(|_| asked.is_empty()).unwrap_or_else(|| no_handler(handler, &asked, &names)))
    }

    /// Builds every binary with handlers that `pick` means.
    ///
    /// # Errors
    /// Where there is none, or a build fails.
    pub async fn functions(&self, pick: &Pick, ui: &Ui) -> Result<Vec<Function>> {
        self.functions_for(None, pick, ui).await
    }

    /// As [`Project::functions`], for another target than this machine's own.
    ///
    /// # Errors
    /// As [`Project::functions`].
    pub async fn functions_for(&self, triple: Option<&str>, pick: &Pick, ui: &Ui) -> Result<Vec<Function>> {
        let (mut functions, mut other) = (Vec::new(), None);
        for target in self.targets(pick, None)? {
            match self.build(triple, &target, pick, ui).await? {
                Ok(function) => functions.push(function),
                Err(error) => other = other.or(Some(error)),
            }
        }
        match other {
            Some(error) if functions.is_empty() => Err(error),
            _ => Ok(functions),
        }
    }

    /// Builds one binary and asks it what it has; the inner error says that it is no function.
    async fn build(
        &self,
        triple: Option<&str>,
        target: &Target,
        pick: &Pick,
        ui: &Ui,
    ) -> Result<std::result::Result<Function, Error>> {
        let profile =
            Profile { release: pick.release, features: &pick.features, quiet: ui.is_quiet(), triple };
        let program = build::build(self, target, &profile).await?;
        let manifest = describe::describe(&program).await?;
        Ok(manifest.map(|manifest| Function { target: target.clone(), program, manifest, programs: None }))
    }

    fn members(&self) -> impl Iterator<Item = &Package> {
        let is_member = |id: &PackageId| self.metadata.workspace_members.contains(id);
        self.metadata.packages.iter().filter(move |package| is_member(&package.id))
    }
}

fn manifest_folder(manifest: &Path) -> Result<PathBuf> {
    let absolute = std::path::absolute(manifest)
        .map_err(|error| Error::usage(format!("failed to find {}", manifest.display())).because(error))?;
    if !absolute.is_file() {
        return Err(Error::usage(format!("failed to find {}", manifest.display()))
            .help("--manifest-path takes the path of a Cargo.toml"));
    }
    absolute.parent().map(Path::to_owned).ok_or_else(|| Error::bug("a file without a folder"))
}

fn no_project(error: cargo_metadata::Error) -> Error {
    let help = "go to the project's folder, or make one with `cargo faas new NAME`";
    match error {
        cargo_metadata::Error::CargoMetadata { stderr } => {
            let stderr = stderr.trim().trim_start_matches("error: ").to_owned();
            Error::usage("failed to find a cargo project").because(std::io::Error::other(stderr)).help(help)
        }
        other => Error::new(Exit::Build, "failed to run `cargo metadata`").because(other),
    }
}

fn no_handler(handler: &str, targets: &[Target], names: &[String]) -> Error {
    let place = match targets {
        [only] => format!("{only} has no handler `{handler}`"),
        many => format!("none of the {} function binaries has a handler `{handler}`", many.len()),
    };
    let error =
        Error::usage(place).help(suggest::among("handler", handler, names.iter().map(String::as_str)));
    if names.iter().any(|name| suggest::closest(handler, [name.as_str()]).is_some()) {
        return error;
    }
    error.help("the body of main lists the handlers: limitless_faas::serve!(name, …)")
}
