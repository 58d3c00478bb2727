//! `faas.toml`: programs that it declares, served by this very binary, and what it asks of a deployment.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use limitless_faas::program::{self, Declared, Program};
use limitless_faas_core::manifest::Handler;
use serde::Deserialize;

use super::{Function, Target, Wishes};
use crate::args::Global;
use crate::error::{Context, Error, Result};
use crate::exit::Exit;
use crate::suggest;

/// The file's name.
pub const FILE: &str = "faas.toml";

/// Names the file to the function process in a container, which is started without any word.
pub const VARIABLE: &str = "LIMITLESS_PROGRAMS";

/// The word that makes this binary the function process of programs. Nobody types it.
const ROLE: &str = "limitless-serve-programs";

/// The programs of one `faas.toml`.
#[derive(Debug)]
pub struct Programs {
    file: PathBuf,
    all: Vec<Program>,
    wishes: Wishes,
}

#[derive(Debug, Default, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    #[serde(default)]
    program: Vec<Program>,
    #[serde(default)]
    deploy: Wishes,
}

impl Programs {
    /// What the nearest `faas.toml` declares, in the current folder or above it, or beside `--manifest-path`.
    ///
    /// # Errors
    /// Where it can't be read: names the file, the line, and what was meant to stand there.
    pub fn here(global: &Global) -> Result<Option<Self>> {
        let start = match &global.manifest_path {
            Some(manifest) => {
                std::path::absolute(manifest).ok().and_then(|path| path.parent().map(Path::to_owned))
            }
            None => std::env::current_dir().ok(),
        };
        let Some(start) = start else { return Ok(None) };
        let nearest = start.ancestors().map(|folder| folder.join(FILE)).find(|file| file.is_file());
        nearest.map(|file| Self::read(&file)).transpose()
    }

    /// The programs of the nearest `faas.toml`, where its folder is no cargo package and it has any.
    ///
    /// # Errors
    /// As [`Programs::here`].
    pub fn alone(global: &Global) -> Result<Option<Self>> {
        let found = Self::here(global)?;
        Ok(found.filter(|found| !found.all.is_empty() && !found.folder().join("Cargo.toml").exists()))
    }

    /// Reads the file.
    ///
    /// # Errors
    /// As [`Programs::here`].
    pub fn read(file: &Path) -> Result<Self> {
        let failed = || format!("failed to read {}", file.display());
        let text = std::fs::read_to_string(file).context(Exit::Usage, failed)?;
        let read =
            parse(&text).map_err(|(line, why)| Error::usage(format!("{}:{line}: {why}", file.display())))?;
        Ok(Self { file: file.to_owned(), all: read.program, wishes: read.deploy })
    }

    /// What the file asks of a deployment.
    pub fn into_wishes(self) -> Wishes {
        self.wishes
    }

    /// The folder of the file.
    pub fn folder(&self) -> &Path {
        self.file.parent().unwrap_or(Path::new("."))
    }

    /// The file.
    pub fn file(&self) -> PathBuf {
        self.file.clone()
    }

    /// What the programs are started with.
    pub fn commands(&self) -> impl Iterator<Item = &str> {
        self.all.iter().map(|program| program.command.as_str())
    }

    /// The files that they name, those in folders included.
    pub fn files(&self) -> Vec<PathBuf> {
        let mut files: Vec<PathBuf> = self.declared().iter().flat_map(Declared::files).collect();
        files.sort();
        files.dedup();
        files
    }

    /// This binary, as it serves them.
    ///
    /// # Errors
    /// Where it can't be found.
    pub fn into_function(self) -> Result<Function> {
        let program = std::env::current_exe()
            .map_err(|error| Error::usage("failed to find cargo-faas's own binary").because(error))?;
        let manifest = program::manifest(self.declared());
        let package =
            self.folder().file_name().map_or_else(String::new, |name| name.to_string_lossy().into_owned());
        let target = Target { name: FILE.to_owned(), package, is_example: false };
        Ok(Function { target, program, manifest, programs: Some(Arc::new(self)) })
    }

    /// The names that are declared.
    pub fn names(&self) -> impl Iterator<Item = &str> + Clone {
        self.all.iter().map(|program| program.name.as_str())
    }

    /// The program that a person called `name`, as a handler.
    pub fn handler(&self, name: &str) -> Option<Handler> {
        let folded = suggest::fold(name);
        let named = self.names().find(|known| *known == name);
        let named = named.or_else(|| self.names().find(|known| suggest::fold(known) == folded))?;
        program::manifest(self.declared()).handler(named).cloned()
    }

    /// How this binary is started to serve them.
    ///
    /// # Errors
    /// Where the file's path is no UTF-8.
    pub fn arguments(&self) -> Result<Vec<String>> {
        let file = self.file.to_str();
        let file =
            file.ok_or_else(|| Error::usage(format!("the path {} is no UTF-8", self.file.display())))?;
        Ok(vec![ROLE.to_owned(), file.to_owned()])
    }

    fn declared(&self) -> Vec<Declared> {
        self.all.iter().map(|program| Declared::new(program.clone(), self.folder())).collect()
    }
}

/// What the file says, or the line that is wrong and why.
fn parse(text: &str) -> std::result::Result<File, (usize, String)> {
    let line_of = |at: usize| 1 + text.as_bytes().iter().take(at).filter(|byte| **byte == b'\n').count();
    let file: File = toml_edit::de::from_str(text).map_err(|error| {
        (line_of(error.span().map_or(0, |span| span.start)), error.message().trim_end().to_owned())
    })?;
    let mut seen = BTreeSet::new();
    let twice = file.program.iter().position(|program| !seen.insert(suggest::fold(program.name.as_str())));
    match twice {
        None => Ok(file),
        Some(number) => {
            let document = toml_edit::Document::parse(text).ok();
            let tables = document.as_ref().and_then(|document| document.get("program")?.as_array_of_tables());
            let at = tables.and_then(|tables| tables.get(number)?.span()).map_or(0, |span| span.start);
            Err((line_of(at), format!("there are two programs `{}`", file.program[number].name.as_str())))
        }
    }
}

/// Serves programs, or supervises one, where this binary was started for that; says whether it was.
pub fn play_role(args: &[std::ffi::OsString]) -> bool {
    if program::supervise_if_asked() {
        return true;
    }
    let mut words = args.iter().skip(1).map(|word| word.to_string_lossy().into_owned());
    let file = match words.next() {
        Some(first) if first == ROLE => words.next().unwrap_or_default(),
        Some(_) => return false,
        None => match std::env::var(VARIABLE) {
            Ok(file) => file,
            Err(_) => return false,
        },
    };
    match Programs::read(Path::new(&file)) {
        Ok(programs) => program::serve(programs.declared(), &words.collect::<Vec<_>>()),
        Err(error) => crate::ui::report(&error),
    }
    true
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mistake_is_told_with_its_line() {
        for (text, line, word) in [
            ("[[program]]\nname = \"a\"\n", 1, "command"),
            ("[[program]]\nname = \"a\"\ncommand = \"x\"\ncomand = \"y\"\n", 4, "comand"),
            ("[[program]]\nname = \"a b\"\ncommand = \"x\"\n", 2, "letters, digits"),
            (
                "[[program]]\nname = \"a\"\ncommand = \"x\"\nargs = [\"{inptu.n}\"]\n",
                4,
                "there is no `{inptu.n}`",
            ),
            ("[[program]]\nname = \"a\"\ncommand = \"x\"\n\ntimeout = \"soon\"\n", 5, "no length of time"),
            ("[[program]]\nname = \"a\"\ncommand = \"x\"\nstdout = \"xml\"\n", 4, "file:NAME"),
            ("[[program]]\nname = \"a\"\ncommand = \"x\"\nfiles = [\"../up\"]\n", 4, "below the folder"),
            (
                "[[program]]\nname = \"a\"\ncommand = \"x\"\n[[program]]\nname = \"A\"\ncommand = \"x\"\n",
                4,
                "two programs",
            ),
            ("[[program]\n", 1, ""),
            ("[[handler]]\n", 1, "handler"),
            ("[deploy]\nmemry = \"1GB\"\n", 2, "memry"),
            ("[deploy]\nstore = \"file:/x\"\nmemory = \"lots\"\n", 3, "lots"),
            ("[deploy.env.production]\ntime_limit = \"soon\"\n", 2, "soon"),
        ] {
            let (found, why) = parse(text).unwrap_err();
            assert!(found == line && why.contains(word), "line {found}: {why}\n{text}");
        }
        assert_eq!(parse("").unwrap(), File::default());
    }

    #[test]
    fn a_program_is_a_handler_with_the_fields_that_it_names() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join(FILE);
        let text = "[[program]]\nname = \"count-words\"\nabout = \"Counts\"\ncommand = \"wc\"\nargs = [\"-{input.what}\"]\nstdin = \"text\"\n";
        std::fs::write(&file, text).unwrap();
        let programs = Programs::read(&file).unwrap();
        let handler = programs.handler("count_words").unwrap();
        assert_eq!((handler.name.as_str(), handler.doc.as_str()), ("count-words", "Counts"));
        assert_eq!(handler.input["required"], serde_json::json!(["stdin", "what"]));
        assert!(programs.handler("other").is_none());
    }
}
