//! What a program needs beside itself: the loader and the libraries it is linked to.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use lddtree::DependencyAnalyzer;

use crate::{Entry, Error, Tree};

/// Libraries that the C library opens by name, so that nothing is linked to them. Those that are not there are part of
/// the C library itself by now.
const OPENED_BY_NAME: [&str; 3] = ["libnss_files.so.2", "libnss_dns.so.2", "libresolv.so.2"];

/// The loader and the shared libraries of `program` and what they need in turn, where they stand in the image and on
/// this machine. Empty for a program that is linked statically.
///
/// # Errors
/// [`Error::Closure`] where the program is no executable, or a library is not to be found.
pub fn closure(program: &Path) -> Result<Tree, Error> {
    closure_of(&[program])
}

/// As [`closure`], of several programs and libraries at once.
///
/// # Errors
/// As [`closure`].
pub fn closure_of(programs: &[&Path]) -> Result<Tree, Error> {
    let mut found = BTreeMap::new();
    for program in programs {
        libraries(program, &mut found)?;
    }
    if let Some(folder) = found.iter().find(|(name, _)| name.contains("libc.so.6")).map(|(_, it)| it.clone())
    {
        for name in OPENED_BY_NAME {
            let beside = folder.with_file_name(name);
            if beside.is_file() {
                found.insert(in_image(&beside), beside);
            }
        }
    }
    let mut tree = Tree::new();
    for (path, source) in found {
        let source = source.canonicalize().map_err(Error::read(&source))?;
        tree.add(&path, Entry::File { mode: 0o755, source })?;
    }
    Ok(tree)
}

fn libraries(program: &Path, found: &mut BTreeMap<String, PathBuf>) -> Result<(), Error> {
    let failed = |why: String| Error::Closure { program: program.to_owned(), why };
    let tree = DependencyAnalyzer::default().analyze(program).map_err(|error| failed(error.to_string()))?;
    let missing: Vec<&str> =
        tree.libraries.values().filter(|it| it.realpath.is_none()).map(|it| it.name.as_str()).collect();
    if !missing.is_empty() {
        return Err(failed(format!("{} is not on this machine", missing.join(", "))));
    }
    if let Some(loader) = &tree.interpreter {
        // The kernel looks for it at this very path.
        found.insert(loader.clone(), PathBuf::from(loader));
    }
    let is_loader = |path: &Path| {
        tree.interpreter.as_deref().is_some_and(|loader| Path::new(loader).file_name() == path.file_name())
    };
    for library in tree.libraries.values().filter(|library| !is_loader(&library.path)) {
        found.insert(in_image(&library.path), library.path.clone());
    }
    Ok(())
}

/// Where the loader looks without any configuration: the folder that its C library was built with.
fn in_image(path: &Path) -> String {
    let text = path.to_string_lossy();
    // On merged systems `/usr/lib` and `/lib` are one folder; the loader takes either.
    text.strip_prefix("/usr/lib/").map_or_else(|| text.to_string(), |rest| format!("/lib/{rest}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn this_test_program_needs_its_loader_and_its_c_library() {
        let own = std::env::current_exe().unwrap();
        let tree = closure(&own).unwrap();
        let paths: Vec<&str> = tree.entries().map(|(path, _)| path).collect();
        if cfg!(target_env = "gnu") {
            assert!(paths.iter().any(|path| path.ends_with("/libc.so.6")), "{paths:?}");
            assert!(paths.iter().any(|path| path.contains("ld-linux")), "{paths:?}");
        }
    }

    #[test]
    fn a_script_is_no_program() {
        let folder = tempfile::tempdir().unwrap();
        let script = folder.path().join("s");
        std::fs::write(&script, "#!/bin/sh\n").unwrap();
        assert!(matches!(closure(&script), Err(Error::Closure { .. })));
    }
}
