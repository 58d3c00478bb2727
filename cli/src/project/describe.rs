//! Asking a binary what it has.

use std::path::Path;
use std::process::Stdio;
use std::time::Duration;

use limitless_faas_core::manifest::Manifest;
use serde::Deserialize;
use tokio::process::Command;

use crate::error::{Context, Error, Result};
use crate::exit::Exit;

/// A binary answers at once; one that does not is a server that ignores its arguments.
const PATIENCE: Duration = Duration::from_secs(20);

/// Asked alone: a manifest of another format has it, whatever else it has.
#[derive(Deserialize)]
struct Format {
    format: u32,
}

/// What a binary says of itself; the inner error says why it is no function.
///
/// # Errors
/// Where it can't be started, or speaks as a function of another version would.
pub(super) async fn describe(program: &Path) -> Result<std::result::Result<Manifest, Error>> {
    let name = program.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
    let mut command = Command::new(program);
    command.arg("describe").stdin(Stdio::null()).stderr(Stdio::inherit()).env_remove("LISTEN_FDS");
    command.kill_on_drop(true);
    let other = |why: String| Ok(Err(not_a_function(&name).because(std::io::Error::other(why))));
    let Ok(output) = tokio::time::timeout(PATIENCE, command.output()).await else {
        return other("it did not answer in 20 s".to_owned());
    };
    let output = output.context(Exit::Build, || format!("failed to start {}", program.display()))?;
    if !output.status.success() {
        return other(format!("`{name} describe` ended with {}", output.status));
    }
    read(&name, &output.stdout)
}

fn read(name: &str, printed: &[u8]) -> Result<std::result::Result<Manifest, Error>> {
    let other = |error: serde_json::Error| Ok(Err(not_a_function(name).because(error)));
    let format: Format = match serde_json::from_slice(printed) {
        Ok(format) => format,
        Err(error) => return other(error),
    };
    if format.format != Manifest::FORMAT {
        let message = format!(
            "binary `{name}` describes itself in format {}, and this cargo faas reads format {}",
            format.format,
            Manifest::FORMAT
        );
        return Err(
            Error::usage(message).help("use the cargo-faas of the same version as its limitless-faas")
        );
    }
    serde_json::from_slice(printed).map_or_else(other, |manifest| Ok(Ok(manifest)))
}

fn not_a_function(name: &str) -> Error {
    Error::usage(format!("binary `{name}` does not say which handlers it has"))
        .help("the body of its main is limitless_faas::serve!(handler, …)")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn another_format_and_other_programs_are_told_apart() {
        let error = read("x", br#"{"format":2,"handlers":{}}"#).unwrap_err();
        assert!(error.to_string().contains("format 2"), "{error}");
        let error = read("x", b"Hello, world!\n").unwrap().unwrap_err();
        assert!(error.to_string().contains("does not say which handlers"), "{error}");
        let manifest = read("x", br#"{"format":1,"sdk":"0.1.0","handlers":[]}"#).unwrap().unwrap();
        assert_eq!(manifest.handlers, []);
    }
}
