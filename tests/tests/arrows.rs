//! The rooms and their arrows, as ARCHITECTURE.md draws them.

#![allow(clippy::unwrap_used, clippy::panic, reason = "tests may fail, and their helpers with them")]

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::{env, fs};

/// Who may use whom. Development dependencies are free: tests look into every room.
const ARROWS: [(&str, &[&str]); 12] = [
    ("core", &[]),
    ("macros", &[]),
    ("cipher", &[]),
    ("store", &["cipher", "core"]),
    ("dmtcp-sys", &[]),
    ("sdk", &["core", "dmtcp-sys", "macros", "store"]),
    ("local", &["core"]),
    ("planner", &["core"]),
    ("proof", &["core"]),
    ("fuzz", &[]),
    ("images", &[]),
    ("cli", &["core", "images", "local", "planner", "sdk", "store"]),
];

/// The only places that may name a platform; everywhere else code is the same for all of them.
const NAMES_PLATFORMS: [&str; 6] = [
    "sdk/src/runtime",
    "sdk/src/config.rs",
    "local/",
    "cli/src/platform",
    "cli/src/commands",
    "cli/src/args",
];

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap().to_owned()
}

fn crate_name(room: &str) -> &str {
    match room {
        "sdk" => "limitless-faas",
        "cli" => "cargo-faas",
        "dmtcp-sys" => "dmtcp-sys",
        "cipher" => "limitless-faas-cipher",
        "core" => "limitless-faas-core",
        "macros" => "limitless-faas-macros",
        "store" => "limitless-faas-store",
        "local" => "limitless-faas-local",
        "images" => "limitless-faas-images",
        "planner" => "limitless-faas-planner",
        "proof" => "limitless-faas-proof",
        "fuzz" => "limitless-faas-fuzz",
        _ => panic!("no crate is known for the room {room}"),
    }
}

/// The rooms that a manifest's `[dependencies]` name.
fn used_by(room: &str) -> BTreeSet<String> {
    let text = fs::read_to_string(root().join(room).join("Cargo.toml")).unwrap();
    let manifest: toml::Table = text.parse().unwrap();
    let rooms: BTreeMap<&str, &str> = ARROWS.iter().map(|(room, _)| (crate_name(room), *room)).collect();
    let dependencies = manifest.get("dependencies").and_then(toml::Value::as_table);
    dependencies
        .into_iter()
        .flatten()
        .filter_map(|(name, _)| rooms.get(name.as_str()))
        .map(ToString::to_string)
        .collect()
}

#[test]
fn every_arrow_is_one_of_the_architecture() {
    for (room, allowed) in ARROWS {
        let allowed: BTreeSet<String> = allowed.iter().map(ToString::to_string).collect();
        let used = used_by(room);
        let extra: Vec<_> = used.difference(&allowed).collect();
        assert!(extra.is_empty(), "{room} uses {extra:?}, which ARCHITECTURE.md does not allow");
    }
}

#[test]
fn every_room_of_the_workspace_is_known_here() {
    let text = fs::read_to_string(root().join("Cargo.toml")).unwrap();
    let manifest: toml::Table = text.parse().unwrap();
    let members = manifest["workspace"]["members"].as_array().unwrap();
    let known: BTreeSet<&str> = ARROWS.iter().map(|(room, _)| *room).chain(["examples/*", "tests"]).collect();
    for member in members {
        let member = member.as_str().unwrap();
        assert!(
            known.contains(member) || member.starts_with("tests/"),
            "{member} has no arrows in this test"
        );
    }
}

#[test]
fn the_core_does_nothing() {
    // clippy.toml in core/ disallows clocks and files one by one; whole modules are quicker to name here.
    for file in sources("core/src") {
        let text = fs::read_to_string(&file).unwrap();
        for word in
            ["std::fs", "std::net", "std::env", "std::process", "std::thread", "async fn", "tokio", "rand"]
        {
            let uses =
                text.lines().filter(|line| !line.trim_start().starts_with("//")).any(|line| uses(line, word));
            assert!(!uses, "{} uses {word}", file.display());
        }
    }
}

fn uses(line: &str, word: &str) -> bool {
    line.match_indices(word).any(|(at, _)| {
        let boundary = |c: Option<char>| !c.is_some_and(|c| c.is_alphanumeric() || c == '_');
        boundary(line[..at].chars().next_back()) && boundary(line[at + word.len()..].chars().next())
    })
}

#[test]
fn a_platform_is_named_where_platforms_are_spoken_to() {
    for room in ["core/src", "store/src", "sdk/src", "macros/src", "images/src", "cli/src"] {
        for file in sources(room) {
            let relative = file.strip_prefix(root()).unwrap().to_string_lossy().into_owned();
            if NAMES_PLATFORMS.iter().any(|place| relative.starts_with(place)) {
                continue;
            }
            let text = fs::read_to_string(&file).unwrap();
            let code = text.lines().filter(|line| !line.trim_start().starts_with("//"));
            for (number, line) in code.enumerate() {
                let named =
                    ["openwhisk", "openfaas", "__OW_"].iter().any(|name| line.to_lowercase().contains(name));
                assert!(!named, "{relative} names a platform around line {}: {line}", number + 1);
            }
        }
    }
}

fn sources(folder: &str) -> Vec<PathBuf> {
    let mut files = Vec::new();
    let mut folders = vec![root().join(folder)];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(&folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                files.push(path);
            }
        }
    }
    files.sort();
    files
}
