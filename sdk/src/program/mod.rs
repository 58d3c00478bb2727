//! Programs that nobody can change, served as handlers are.
//!
//! A program is another kind of handler. It runs under DMTCP, which writes an image of the whole process tree from outside; that image is
//! what a checkpoint of it holds. Log, lease, successor and promises are the same.
//!
//! `cargo faas run PROGRAM` serves what `faas.toml` declares. To serve programs from a binary of one's own:
//!
//! ```no_run
//! use limitless_faas::program::{self, Declared};
//!
//! # fn declared() -> Vec<limitless_faas::program::Program> { Vec::new() }
//! if program::supervise_if_asked() {
//!     return;
//! }
//! let folder = std::path::Path::new("/srv/function");
//! program::serve(declared().into_iter().map(|program| Declared::new(program, folder)).collect(), &[]);
//! ```

mod behind;
mod connections;
mod control;
mod descendants;
mod environment;
mod executable;
mod folders;
mod image;
mod keep;
mod output;
mod prepared;
mod relay;
mod run;
mod spec;
mod split;
mod supervisor;
mod tools;
mod vdso;

use std::path::{Path, PathBuf};

pub use limitless_faas_core::program::Program;
use serde_json::{Value, json};

use crate::handler::{Entry, HandlerDef, OutputDef};

pub(crate) use keep::verify;
pub(crate) use run::run;
pub use supervisor::supervise_if_asked;

/// A program, and the folder that its files are relative to.
#[derive(Clone, Debug)]
pub struct Declared {
    /// What was declared.
    pub program: Program,
    /// The folder of `faas.toml`.
    pub folder: PathBuf,
}

impl Declared {
    /// A program whose files are in `folder`.
    pub fn new(program: Program, folder: &Path) -> Self {
        Self { program, folder: folder.to_owned() }
    }

    /// The files that it names, those in folders included, sorted.
    pub fn files(&self) -> Vec<PathBuf> {
        folders::declared_files(self)
    }

    /// The handler that stands for it, for as long as the process lives.
    fn into_handler(self) -> &'static HandlerDef {
        let declared: &'static Declared = Box::leak(Box::new(self));
        let handler = HandlerDef {
            name: declared.program.name.as_str(),
            doc: &declared.program.about,
            is_async: true,
            parameters: &[],
            output: OutputDef { type_text: "", schema: || None },
            fingerprint: declared.fingerprint(),
            checkpoints: &[],
            state: None,
            workflow: None,
            entry: Entry::Program(declared),
        };
        Box::leak(Box::new(handler))
    }

    /// Changes with the declaration and with the files that come along. The program itself is in its image and need not even be there.
    fn fingerprint(&self) -> u64 {
        let mut hash = blake3::Hasher::new();
        hash.update(serde_json::to_string(&self.program).unwrap_or_default().as_bytes());
        for file in folders::declared_files(self) {
            // What can't be read is told when the program is to start.
            hash.update(&std::fs::read(&file).unwrap_or_default());
        }
        let mut number = [0; 8];
        number.copy_from_slice(&hash.finalize().as_bytes()[..8]);
        u64::from_le_bytes(number)
    }

    /// JSON Schema of the result.
    pub(crate) fn output_schema(&self) -> Value {
        use limitless_faas_core::program::Stdout;
        let is_json = match &self.program.stdout {
            Stdout::Json => true,
            Stdout::Text => false,
            Stdout::File(name) => is_json(name.as_str()),
        };
        if is_json { json!({ "title": "JSON" }) } else { json!({ "type": "string" }) }
    }
}

/// Whether a file's name says that it holds JSON.
fn is_json(name: &str) -> bool {
    Path::new(name).extension().is_some_and(|extension| extension == "json")
}

/// Serves programs as [`serve!`](crate::serve) serves handlers; `arguments` are those that it takes: none, or `describe`.
pub fn serve(programs: Vec<Declared>, arguments: &[String]) {
    crate::serve::serve_with(handlers(programs), arguments);
}

/// The folder of DMTCP's programs on this machine.
///
/// # Errors
/// Says that there is none, or that it is too old, and what to do.
pub fn dmtcp() -> Result<PathBuf, String> {
    tools::Tools::find().map(|tools| tools.folder().to_owned())
}

/// What a function process that serves these programs says of itself.
pub fn manifest(programs: Vec<Declared>) -> limitless_faas_core::manifest::Manifest {
    crate::serve::manifest(&handlers(programs))
}

fn handlers(programs: Vec<Declared>) -> Vec<&'static HandlerDef> {
    programs.into_iter().map(Declared::into_handler).collect()
}
