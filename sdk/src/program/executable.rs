//! What can be told of an executable before it runs: whether DMTCP can get into it.
//!
//! DMTCP preloads a library, so the program must have glibc's dynamic loader. One that has not would run, and never be saved.

use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};

/// How much of a file is looked at.
const HEAD_BYTES: u64 = 8192;
/// A script may name a script.
const MOST_SCRIPTS: usize = 5;

/// Finds `command` as a shell would: a name on `path`, anything with a `/` from `folder`.
///
/// # Errors
/// Says where it was looked for.
pub(super) fn find(command: &str, folder: &Path, path: &str) -> Result<PathBuf, String> {
    if command.contains('/') {
        let found = folder.join(command);
        return if found.is_file() {
            Ok(found)
        } else {
            Err(format!("there is no program {}", found.display()))
        };
    }
    let mut places = std::env::split_paths(path).map(|place| place.join(command));
    places.find(|place| place.is_file()).ok_or_else(|| {
        format!("there is no program `{command}` on PATH ({path}); name a file of the work folder as `./{command}`")
    })
}

/// Whether this program can be checkpointed.
///
/// # Errors
/// Says why not, and what to do.
pub(super) fn check(program: &Path, path: &str) -> Result<(), String> {
    let mut program = program.to_owned();
    for _ in 0..MOST_SCRIPTS {
        let head = head(&program).map_err(|error| format!("{} can't be read: {error}", program.display()))?;
        match interpreter(&head) {
            Some(line) => program = of_script(&line, path)?,
            None => return check_binary(&program, &head),
        }
    }
    Err(format!("{} is a script of a script, too many times over", program.display()))
}

fn head(program: &Path) -> std::io::Result<Vec<u8>> {
    let mut head = Vec::new();
    File::open(program)?.take(HEAD_BYTES).read_to_end(&mut head)?;
    Ok(head)
}

/// What stands behind `#!`.
fn interpreter(head: &[u8]) -> Option<String> {
    let line = head.strip_prefix(b"#!")?.split(|byte| *byte == b'\n').next()?;
    Some(String::from_utf8_lossy(line).trim().to_owned())
}

fn of_script(line: &str, path: &str) -> Result<PathBuf, String> {
    let mut words = line.split_whitespace();
    let interpreter = words.next().unwrap_or_default();
    if Path::new(interpreter).file_name().is_none_or(|name| name != "env") {
        return Ok(PathBuf::from(interpreter));
    }
    let name = words.find(|word| !word.starts_with('-') && !word.contains('=')).unwrap_or_default();
    find(name, Path::new("/"), path)
}

fn check_binary(program: &Path, head: &[u8]) -> Result<(), String> {
    let refuse =
        |why: &str, help: &str| Err(format!("{} can't be checkpointed: {why}. {help}", program.display()));
    if !head.starts_with(b"\x7fELF") {
        return refuse(
            "it is neither a binary of this system nor a script",
            "Name its interpreter as the command",
        );
    }
    if head.get(4) != Some(&2) {
        return refuse("it is a 32-bit program", "Build it for 64 bits");
    }
    match loader(head) {
        Some(loader) if loader.contains("ld-musl") => {
            refuse("it was built with musl, and DMTCP needs glibc", "Build it for a gnu target")
        }
        Some(_) => Ok(()),
        None if contains(head, b"Go\0\0") => refuse(
            "it is a Go program without cgo, which has no dynamic loader",
            "Build it with CGO_ENABLED=1 and -ldflags '-linkmode external'",
        ),
        None => refuse(
            "it is linked statically, so nothing can be loaded into it",
            "Link it dynamically, against glibc",
        ),
    }
}

fn contains(head: &[u8], word: &[u8]) -> bool {
    head.windows(word.len()).any(|window| window == word)
}

/// The dynamic loader that an ELF file asks for (`PT_INTERP`).
fn loader(head: &[u8]) -> Option<String> {
    const INTERPRETER: u32 = 3;
    let (at, size, count) = (number::<8>(head, 32)?, number::<2>(head, 54)?, number::<2>(head, 56)?);
    let mut headers = (0..count).filter_map(|i| usize::try_from(at.saturating_add(i * size)).ok());
    let header = headers.find(|at| number::<4>(head, *at) == Some(INTERPRETER.into()))?;
    let (from, len) = (
        usize::try_from(number::<8>(head, header + 8)?).ok()?,
        usize::try_from(number::<8>(head, header + 32)?).ok()?,
    );
    let name = head.get(from..from.checked_add(len)?)?;
    Some(String::from_utf8_lossy(name).trim_end_matches('\0').to_owned())
}

/// A little-endian number of `N` bytes; none where the bytes end before it does.
pub(super) fn number<const N: usize>(bytes: &[u8], at: usize) -> Option<u64> {
    let mut number = [0; 8];
    number[..N].copy_from_slice(bytes.get(at..at.checked_add(N)?)?);
    Some(u64::from_le_bytes(number))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_dynamic_program_and_scripts_of_one_pass() {
        let own = std::env::current_exe().unwrap();
        check(&own, "").unwrap();
        let folder = tempfile::tempdir().unwrap();
        let script = folder.path().join("script");
        std::fs::write(&script, "#!/usr/bin/env sh\necho\n").unwrap();
        check(&script, &std::env::var("PATH").unwrap()).unwrap();
        assert!(find("script", folder.path(), "/nowhere").unwrap_err().contains("./script"));
        assert_eq!(find("./script", folder.path(), "").unwrap(), folder.path().join("./script"));
    }

    #[test]
    fn what_can_not_be_checkpointed_is_told_apart() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("program");
        let elf = |loader: &str, class: u8| {
            let mut bytes = vec![0; 200];
            bytes[..4].copy_from_slice(b"\x7fELF");
            bytes[4] = class;
            bytes[32] = 64;
            bytes[54] = 56;
            bytes[56] = u8::from(!loader.is_empty());
            bytes[64] = 3;
            bytes[64 + 8] = 150;
            bytes[64 + 32] = u8::try_from(loader.len()).unwrap();
            bytes[150..150 + loader.len()].copy_from_slice(loader.as_bytes());
            bytes
        };
        let go = [elf("", 2), b"Go\0\0".to_vec()].concat();
        for (bytes, word) in [
            (elf("", 2), "statically"),
            (elf("/lib/ld-musl-x86_64.so.1", 2), "musl"),
            (go, "Go program"),
            (elf("", 1), "32-bit"),
            (b"MZ".to_vec(), "neither"),
            (format!("#!{}\n", path.display()).into_bytes(), "too many times"),
        ] {
            std::fs::write(&path, bytes).unwrap();
            let error = check(&path, "").unwrap_err();
            assert!(error.contains(word), "{word}: {error}");
        }
        std::fs::write(&path, elf("/lib64/ld-linux-x86-64.so.2", 2)).unwrap();
        check(&path, "").unwrap();
    }
}
