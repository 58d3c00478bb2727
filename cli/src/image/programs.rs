//! What goes into an image of programs that `faas.toml` declares: DMTCP, what the programs run, and their files. The function is this very
//! binary, which serves them.

use std::fs;
use std::io::Read as _;
use std::path::{Path, PathBuf};
use std::process::Command;

use limitless_faas::program;
use limitless_faas_images::{Entry, Tree, closure};

use super::failed;
use crate::error::{Context, Error, Result};
use crate::exit::Exit;
use crate::project::Programs;

/// Where DMTCP stands in an image, and the variable that says so.
const DMTCP: &str = "/opt/dmtcp";
const DMTCP_VARIABLE: &str = "DMTCP_ROOT";
const SHELL: &str = "/bin/sh";
/// Where `faas.toml` and the files that it names stand.
const FOLDER: &str = "/etc/limitless-faas/programs";

/// Parts of Python's own library that no program without a screen, a compiler or a test suite needs.
const LEFT_OUT: [&str; 8] =
    ["__pycache__", "ensurepip", "idlelib", "lib2to3", "test", "tests", "tkinter", "turtledemo"];

/// A script may name a script.
const MOST_SCRIPTS: usize = 5;

/// The layers, what changes least first, and the variables that tell the function of them.
pub(super) struct Gathered {
    pub(super) layers: [(&'static str, Tree); 3],
    pub(super) environment: [(String, String); 2],
}

/// Gathers all that `programs` need to run in a container.
///
/// # Errors
/// Where DMTCP, a command, a library or a file is not on this machine.
pub(super) fn gather(programs: &Programs, function: &Path) -> Result<Gathered> {
    let mut linked = vec![function.to_owned()];
    let mut interpreters = Tree::new();
    let mut dmtcp = Tree::new();
    tools(&mut dmtcp, &mut linked)?;
    for command in programs.commands() {
        runs(programs.folder(), command, &mut interpreters, &mut linked)?;
    }
    let linked: Vec<&Path> = linked.iter().map(PathBuf::as_path).collect();
    let libraries = closure::closure_of(&linked).map_err(failed)?;
    for (path, entry) in libraries.entries() {
        dmtcp.add(path, entry.clone()).map_err(failed)?;
    }
    let mut files = Tree::new();
    put(&mut files, &format!("{FOLDER}/{}", crate::project::PROGRAMS_FILE), &programs.file())?;
    for file in programs.files() {
        let relative = file.strip_prefix(programs.folder()).unwrap_or(&file);
        put(&mut files, &format!("{FOLDER}/{}", relative.display()), &file)?;
    }
    let file = format!("{FOLDER}/{}", crate::project::PROGRAMS_FILE);
    Ok(Gathered {
        layers: [("dmtcp", dmtcp), ("interpreters", interpreters), ("programs", files)],
        environment: [
            (crate::project::PROGRAMS_VARIABLE.to_owned(), file),
            (DMTCP_VARIABLE.to_owned(), DMTCP.to_owned()),
        ],
    })
}

/// DMTCP's programs and the libraries that it preloads.
fn tools(tree: &mut Tree, linked: &mut Vec<PathBuf>) -> Result<()> {
    let bin = program::dmtcp().map_err(|why| {
        Error::new(Exit::Build, "failed to build the image").because(std::io::Error::other(why))
    })?;
    // It asks a shell whether a program is linked dynamically.
    put(tree, SHELL, Path::new(SHELL))?;
    linked.push(PathBuf::from(SHELL));
    let root = bin.parent().unwrap_or(Path::new("/"));
    let libraries = ["lib/dmtcp", "lib64/dmtcp"].map(|lib| root.join(lib));
    for folder in [&bin, &libraries[0], &libraries[1]] {
        let Ok(entries) = fs::read_dir(folder) else { continue };
        for file in entries.flatten().map(|entry| entry.path()).filter(|file| file.is_file()) {
            let name = file.file_name().unwrap_or_default().to_string_lossy().into_owned();
            if !name.contains("mtcp") {
                continue;
            }
            let place = file.strip_prefix(root).unwrap_or(&file);
            put(tree, &format!("{DMTCP}/{}", place.display()), &file)?;
            linked.push(file);
        }
    }
    Ok(())
}

/// A command at its own path, with its interpreter where it is a script, and with its library where that is Python.
fn runs(folder: &Path, command: &str, tree: &mut Tree, linked: &mut Vec<PathBuf>) -> Result<()> {
    let mut program = found(folder, command)?;
    for _ in 0..MOST_SCRIPTS {
        // What is beside `faas.toml` comes along with the files that it names.
        if !program.starts_with(folder) {
            put(tree, &program.to_string_lossy(), &program)?;
        }
        match interpreter(&program)? {
            Some(next) => program = found(folder, &next)?,
            None => break,
        }
    }
    let name = program.file_name().unwrap_or_default().to_string_lossy().into_owned();
    if name.starts_with("python") {
        python(&program, tree, linked)?;
    }
    linked.push(program);
    Ok(())
}

fn found(folder: &Path, command: &str) -> Result<PathBuf> {
    let named = folder.join(command);
    let path = std::env::var_os("PATH").unwrap_or_default();
    let mut places = std::env::split_paths(&path).map(|place| place.join(command));
    let found = if command.contains('/') { Some(named) } else { places.find(|place| place.is_file()) };
    found.filter(|found| found.is_file()).ok_or_else(|| {
        Error::new(Exit::Build, format!("there is no program {command} on this machine"))
            .help("an image is made of what is here: install it, or name it by its path in faas.toml")
    })
}

/// What stands behind `#!`.
fn interpreter(program: &Path) -> Result<Option<String>> {
    let mut head = Vec::new();
    fs::File::open(program)
        .and_then(|file| file.take(512).read_to_end(&mut head))
        .context(Exit::Build, || format!("failed to read {}", program.display()))?;
    let text = String::from_utf8_lossy(&head);
    let Some(line) = text.strip_prefix("#!").and_then(|rest| rest.lines().next()) else { return Ok(None) };
    let mut words = line.split_whitespace().map(str::to_owned);
    let first = words.next();
    let is_env = first.as_deref().is_some_and(|first| first.ends_with("/env"));
    Ok(if is_env { words.find(|word| !word.starts_with('-')) } else { first })
}

/// Python's own library, where this interpreter has it.
fn python(program: &Path, tree: &mut Tree, linked: &mut Vec<PathBuf>) -> Result<()> {
    let asked =
        Command::new(program).args(["-c", "import sysconfig; print(sysconfig.get_path('stdlib'))"]).output();
    let told = asked.context(Exit::Build, || format!("failed to run {}", program.display()))?;
    let library = PathBuf::from(String::from_utf8_lossy(&told.stdout).trim());
    if !library.is_dir() {
        let said = String::from_utf8_lossy(&told.stderr).trim().to_owned();
        return Err(Error::new(
            Exit::Build,
            format!("{} does not say where its library is", program.display()),
        )
        .because(std::io::Error::other(said)));
    }
    let mut open = vec![library];
    while let Some(path) = open.pop() {
        let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        if path.is_file() {
            put(tree, &path.to_string_lossy(), &path)?;
            if path.extension().is_some_and(|extension| extension == "so") {
                linked.push(path);
            }
        } else if path.is_dir()
            && !LEFT_OUT.contains(&name.as_str())
            && !name.starts_with("config-")
            && !name.ends_with("-packages")
        {
            let failed = || format!("failed to read {}", path.display());
            for entry in fs::read_dir(&path).context(Exit::Build, failed)? {
                open.push(entry.context(Exit::Build, failed)?.path());
            }
        }
    }
    Ok(())
}

fn put(tree: &mut Tree, path: &str, source: &Path) -> Result<()> {
    use std::os::unix::fs::PermissionsExt as _;
    let about =
        fs::metadata(source).context(Exit::Build, || format!("failed to read {}", source.display()))?;
    let mode = if about.permissions().mode() & 0o100 == 0 { 0o644 } else { 0o755 };
    tree.add(path, Entry::File { mode, source: source.to_owned() }).map_err(failed)
}
