//! Which binaries a command means.

use std::fmt;

use cargo_metadata::{Package, TargetKind};

use super::Project;
use crate::args::Pick;
use crate::error::{Error, Result};
use crate::suggest;

/// One binary or example of a package.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Target {
    /// The package's name.
    pub package: String,
    /// The target's name.
    pub name: String,
    /// Whether it is an example.
    pub is_example: bool,
}

impl fmt::Display for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let kind = if self.is_example { "example" } else { "binary" };
        write!(f, "{kind} `{}` of package `{}`", self.name, self.package)
    }
}

/// The crate whose users have handlers.
const SDK: &str = "limitless-faas";

impl Project {
    /// The binaries that may hold `handler`, likeliest first.
    pub(super) fn targets(&self, pick: &Pick, handler: Option<&str>) -> Result<Vec<Target>> {
        let packages = self.packages(pick, handler)?;
        let targets: Vec<Target> =
            packages.iter().flat_map(|package| targets_of(package, pick, handler)).collect();
        if targets.is_empty() { Err(no_target(&packages, pick)) } else { Ok(targets) }
    }

    /// The names of the packages that `pick` means.
    ///
    /// # Errors
    /// Where there is no such package.
    pub fn picked(&self, pick: &Pick) -> Result<Vec<String>> {
        let packages = self.packages(pick, None)?;
        Ok(packages.into_iter().map(|package| package.name.to_string()).collect())
    }

    fn packages(&self, pick: &Pick, handler: Option<&str>) -> Result<Vec<&Package>> {
        if let Some(name) = &pick.package {
            let found = self.members().find(|package| *package.name == *name);
            return found.map(|package| vec![package]).ok_or_else(|| self.no_package(name));
        }
        if let Some(package) = self.current_package() {
            return Ok(vec![package]);
        }
        if let Some(handler) = handler.filter(|_| pick.example.is_none() && pick.bin.is_none()) {
            let named = |package: &&Package| suggest::fold(&package.name) == suggest::fold(handler);
            if let Some(package) = self.members().filter(|package| uses_sdk(package)).find(named) {
                return Ok(vec![package]);
            }
        }
        Ok(self.members().filter(|package| uses_sdk(package)).collect())
    }

    /// The package whose folder is the nearest one above the current folder.
    fn current_package(&self) -> Option<&Package> {
        let root = &self.metadata.workspace_root;
        let folder = self.folder.canonicalize().ok()?;
        let above = |package: &&Package| {
            let own = package.manifest_path.parent().and_then(|own| own.canonicalize().ok());
            own.is_some_and(|own| folder.starts_with(own))
        };
        // The root package of a workspace stands for all of it only where nothing nearer does.
        let depth = |package: &&Package| package.manifest_path.components().count();
        let found = self.members().filter(above).max_by_key(depth);
        found.filter(|package| package.manifest_path.starts_with(root) || self.members().count() == 1)
    }

    fn no_package(&self, name: &str) -> Error {
        // What it is likely to mean is a package with functions; where nothing has any, all are as likely.
        let any = self.members().any(uses_sdk);
        let names: Vec<&str> = self
            .members()
            .filter(|package| !any || uses_sdk(package))
            .map(|package| package.name.as_str())
            .collect();
        Error::usage(format!("the workspace has no package `{name}`")).help(suggest::among(
            "package",
            name,
            names.iter().copied(),
        ))
    }
}

fn uses_sdk(package: &Package) -> bool {
    package.dependencies.iter().any(|dependency| dependency.name == SDK)
}

fn targets_of(package: &Package, pick: &Pick, handler: Option<&str>) -> Vec<Target> {
    let of_kind = |kind: TargetKind| {
        let targets = package.targets.iter().filter(move |target| target.kind.contains(&kind));
        targets.map(|target| target.name.as_str())
    };
    let target = |is_example: bool, name: &str| Target {
        package: package.name.to_string(),
        name: name.to_owned(),
        is_example,
    };
    if let Some(example) = &pick.example {
        return of_kind(TargetKind::Example)
            .filter(|name| name == example)
            .map(|name| target(true, name))
            .collect();
    }
    let bins: Vec<&str> = of_kind(TargetKind::Bin).collect();
    if let Some(bin) = &pick.bin {
        return bins.into_iter().filter(|name| name == bin).map(|name| target(false, name)).collect();
    }
    let named = |wanted: &str| bins.iter().find(|name| suggest::fold(name) == suggest::fold(wanted)).copied();
    let chosen = package.default_run.as_deref().or_else(|| handler.and_then(named));
    match chosen {
        Some(name) => vec![target(false, name)],
        None => bins.into_iter().map(|name| target(false, name)).collect(),
    }
}

fn no_target(packages: &[&Package], pick: &Pick) -> Error {
    let (kind, wanted) = match (&pick.example, &pick.bin) {
        (Some(example), _) => (TargetKind::Example, Some(example)),
        (None, bin) => (TargetKind::Bin, bin.as_ref()),
    };
    let word = if kind == TargetKind::Example { "example" } else { "binary" };
    let article = if kind == TargetKind::Example { "an" } else { "a" };
    let all = packages.iter().flat_map(|package| &package.targets);
    let names: Vec<&str> =
        all.filter(|target| target.kind.contains(&kind)).map(|target| target.name.as_str()).collect();
    let place = match packages {
        [] => "the workspace has no package that uses limitless-faas".to_owned(),
        [only] => format!("package `{}` has no {word}", only.name),
        many => format!("none of {} packages that use limitless-faas has {article} {word}", many.len()),
    };
    match wanted {
        Some(wanted) => Error::usage(format!("{place} `{wanted}`"))
            .help(suggest::among(word, wanted, names.iter().copied())),
        None => Error::usage(place)
            .help("a function is a binary whose main is limitless_faas::serve!(handler); see `cargo faas new --help`"),
    }
}
