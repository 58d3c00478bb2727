//! `cargo faas new`: a project that builds, tests and runs as it is.

use std::fs;
use std::path::{Path, PathBuf};

use serde_json::json;
use toml_edit::{DocumentMut, InlineTable, Item, Table, value};

use super::Session;
use crate::args::{New, Template};
use crate::error::{Context, Error, Result};
use crate::exit::Exit;

const GITIGNORE: &str = "/target\n";

/// The files of a project: where each stands in it, and what is in it.
type Files = Vec<(String, String)>;

pub(super) fn new(session: &Session, args: &New) -> Result<()> {
    let folder = std::path::absolute(&args.path)
        .context(Exit::Usage, || format!("failed to find {}", args.path.display()))?;
    let package = folder.file_name().and_then(|name| name.to_str()).unwrap_or_default().to_owned();
    check_name("package", &package, &package.replace('-', "_"))?;
    let handler = args.handler.clone().unwrap_or_else(|| package.replace('-', "_"));
    check_name("handler", &handler, &handler)?;
    let files = match args.template {
        Template::Program => program_files(&handler),
        template => package_files(args, &folder, &package, &handler, template)?,
    };
    write(&folder, &files)?;
    if session.ui.is_json() {
        return session.ui.print_json(&json!({ "folder": folder, "package": package, "handler": handler }));
    }
    session.ui.status("Created", &format!("{} `{handler}` in {}", args.template, args.path.display()));
    let (test, run) = next_steps(args.template, &handler);
    session.ui.say(&format!("\n  cd {}\n  {test}\n  {run}", args.path.display()));
    Ok(())
}

/// How a new project is tested and run.
fn next_steps(template: Template, handler: &str) -> (&'static str, String) {
    let run = |rest: &str| format!("cargo faas run {handler} --input {rest}");
    match template {
        Template::Handler => ("cargo test", run("'{\"below\": 3000000}' --time-limit 2s")),
        Template::Workflow => ("cargo test", run("'{\"text\": \"a rose is a rose is a rose\"}'")),
        Template::Program => {
            ("python3 -m unittest", run("'{\"below\": 300000}' --time-limit 2s    # needs DMTCP"))
        }
    }
}

/// A cargo package with the SDK.
fn package_files(
    args: &New,
    folder: &Path,
    package: &str,
    handler: &str,
    template: Template,
) -> Result<Files> {
    let sdk = match &args.sdk {
        Some(given) => Some(sdk_at(given).ok_or_else(|| {
            Error::usage(format!("{} is not the folder of limitless-faas", given.display()))
                .help("--sdk takes the folder of its sources: the one whose Cargo.toml names limitless-faas")
        })?),
        None => sdk_at(&Path::new(env!("CARGO_MANIFEST_DIR")).join("../sdk")),
    };
    let main = match template {
        Template::Workflow => {
            let text = include_str!("../../template/workflow.rs");
            if text.contains(&format!("fn {handler}(")) && handler != "summary" {
                return Err(Error::usage(format!("the template has a node `{handler}` already"))
                    .help("call the workflow otherwise: --handler NAME"));
            }
            text.replace("summary", handler)
        }
        _ => include_str!("../../template/handler.rs").replace("collatz", handler),
    };
    let manifest = manifest(package, sdk.as_deref(), enclosing_workspace(folder), template);
    let files = [("Cargo.toml", manifest), (".gitignore", GITIGNORE.to_owned()), ("src/main.rs", main)];
    Ok(files.map(|(name, text)| (name.to_owned(), text)).into())
}

/// A program that DMTCP saves from outside: nothing to build.
fn program_files(handler: &str) -> Files {
    let named = |text: &str| text.replace("collatz", handler);
    vec![
        ("faas.toml".to_owned(), named(include_str!("../../template/faas.toml"))),
        (".gitignore".to_owned(), "/.faas\n__pycache__\n".to_owned()),
        (format!("{handler}.py"), include_str!("../../template/program.py").to_owned()),
        (format!("test_{handler}.py"), named(include_str!("../../template/test_program.py"))),
    ]
}

fn write(folder: &Path, files: &Files) -> Result<()> {
    let is_taken = fs::read_dir(folder).is_ok_and(|mut inside| inside.next().is_some()) || folder.is_file();
    if is_taken {
        return Err(Error::usage(format!("{} exists already", folder.display())).help("choose another name"));
    }
    let failed = || format!("failed to write into {}", folder.display());
    for (name, text) in files {
        let path = folder.join(name);
        fs::create_dir_all(path.parent().unwrap_or(folder)).context(Exit::Usage, failed)?;
        fs::write(path, text).context(Exit::Usage, failed)?;
    }
    Ok(())
}

/// The manifest: the SDK by path where this cargo faas was built beside it, else by its version.
fn manifest(package: &str, sdk: Option<&Path>, is_enclosed: bool, template: Template) -> String {
    let mut document = DocumentMut::new();
    document["package"] = Item::Table(Table::new());
    document["package"]["name"] = value(package);
    document["package"]["version"] = value("0.1.0");
    document["package"]["edition"] = value("2024");
    document["dependencies"] = Item::Table(Table::new());
    let version = env!("CARGO_PKG_VERSION");
    document["dependencies"]["limitless-faas"] = match sdk {
        Some(path) => {
            let mut table = InlineTable::new();
            table.insert("version", version.into());
            table.insert("path", path.to_string_lossy().as_ref().into());
            value(table)
        }
        None => value(version),
    };
    if template == Template::Workflow {
        // For its test: a workflow is an async function.
        document["dev-dependencies"] = Item::Table(Table::new());
        let mut tokio = InlineTable::new();
        tokio.insert("version", "1".into());
        tokio.insert("features", toml_edit::Value::Array(["macros", "rt"].into_iter().collect()));
        document["dev-dependencies"]["tokio"] = value(tokio);
    }
    let mut profiles = Table::new();
    profiles.set_implicit(true);
    document["profile"] = Item::Table(profiles);
    document["profile"]["release"] = Item::Table(release_profile());
    if is_enclosed {
        // A package inside a workspace that does not list it is refused by cargo; this makes it stand alone.
        document["workspace"] = Item::Table(Table::new());
    }
    document.to_string()
}

/// A function is downloaded at each cold start: one small binary. Not `panic = "abort"`, since suspending unwinds.
fn release_profile() -> Table {
    let mut profile = Table::new();
    profile["lto"] = value("fat");
    profile["codegen-units"] = value(1);
    profile["strip"] = value(true);
    profile
}

/// The SDK's folder, if it is one of this version.
fn sdk_at(folder: &Path) -> Option<PathBuf> {
    let folder = folder.canonicalize().ok()?;
    let text = fs::read_to_string(folder.join("Cargo.toml")).ok()?;
    let document: DocumentMut = text.parse().ok()?;
    (document.get("package")?.get("name")?.as_str()? == "limitless-faas").then_some(folder)
}

fn enclosing_workspace(folder: &Path) -> bool {
    let is_root = |folder: &Path| {
        let text = fs::read_to_string(folder.join("Cargo.toml")).unwrap_or_default();
        text.parse::<DocumentMut>().is_ok_and(|document| document.contains_key("workspace"))
    };
    folder.ancestors().skip(1).any(is_root)
}

/// The strict and reserved words of Rust, which are no names.
const WORDS: &str = " abstract as async await become box break const continue crate do dyn else enum extern false final \
fn for gen if impl in let loop macro match mod move mut override priv pub ref return self static struct super trait \
true try type typeof union unsafe unsized use virtual where while yield ";

fn check_name(what: &str, name: &str, identifier: &str) -> Result<()> {
    let mut bytes = identifier.bytes();
    let begins = bytes.next().is_some_and(|b| b.is_ascii_lowercase());
    let goes_on = bytes.all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'_');
    let is_word = WORDS.contains(&format!(" {identifier} ")) || identifier == "main" || identifier == "test";
    if begins && goes_on && !is_word && identifier.len() <= 64 {
        return Ok(());
    }
    let shown: String = name.chars().take(80).collect();
    Err(Error::usage(format!("`{}` can't name a {what}", shown.escape_default()))
        .help("a name has lower-case letters, digits and _, begins with a letter and is no word of Rust")
        .help("the handler may be called otherwise than its folder: --handler NAME"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_those_of_functions() {
        for good in ["collatz", "word_count", "a1"] {
            assert!(check_name("handler", good, good).is_ok(), "{good}");
        }
        for bad in ["", "1a", "a-b", "fn", "main", "A", "é", "a/b", "..", "_x"] {
            assert_eq!(check_name("handler", bad, bad).unwrap_err().exit(), Exit::Usage, "{bad}");
        }
    }

    #[test]
    fn the_manifest_takes_the_sdk_from_where_it_is() {
        let version = env!("CARGO_PKG_VERSION");
        let text = manifest("word-count", None, false, Template::Handler);
        let (package, dependencies) = text.split_once("[dependencies]").unwrap();
        let (dependencies, profile) = dependencies.split_once("[profile.release]").unwrap();
        assert_eq!(dependencies.trim(), format!("limitless-faas = \"{version}\""));
        assert!(profile.contains("lto = \"fat\""), "{profile}");
        insta::assert_snapshot!(package, @r#"
        [package]
        name = "word-count"
        version = "0.1.0"
        edition = "2024"
        "#);
        let text = manifest("x", Some(Path::new("/a \"b\"/sdk")), true, Template::Workflow);
        let read: DocumentMut = text.parse().unwrap();
        assert_eq!(read["dependencies"]["limitless-faas"]["path"].as_str(), Some("/a \"b\"/sdk"));
        assert!(read.contains_key("workspace"));
    }

    #[test]
    fn nothing_that_exists_is_overwritten() {
        let folder = tempfile::tempdir().unwrap();
        let project = folder.path().join("x");
        let files = |text: &str| vec![("src/main.rs".to_owned(), text.to_owned())];
        write(&project, &files("first")).unwrap();
        assert_eq!(write(&project, &files("second")).unwrap_err().exit(), Exit::Usage);
        assert_eq!(fs::read_to_string(project.join("src/main.rs")).unwrap(), "first");
    }
}
