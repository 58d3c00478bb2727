//! The same image as a Dockerfile, for people who want their own builder.

use std::fmt::Write as _;

use crate::image::Recipe;
use crate::{Entry, Tree};

/// A Dockerfile whose build context is the folder that `context` is copied to: `layers` are the folders in it, in order.
///
/// Building it gives an image with the same files and configuration; only digests differ, since builders record times.
pub fn dockerfile(layers: &[(&str, &Tree)], base: Option<&str>, recipe: &Recipe<'_>) -> String {
    let definition = recipe.definition;
    let mut text = String::new();
    // Writing into a String can't fail.
    let mut line = |args: std::fmt::Arguments<'_>| {
        let _ = writeln!(text, "{args}");
    };
    line(format_args!("FROM {}", base.unwrap_or("scratch")));
    for (name, tree) in layers.iter().filter(|(_, tree)| !tree.is_empty()) {
        line(format_args!("\n# {name}: {}", summary(tree)));
        line(format_args!("COPY --chown=0:0 {name}/ /"));
    }
    line(format_args!(""));
    for (name, value) in definition.environment.iter().chain(recipe.environment) {
        line(format_args!("ENV {name}={}", quoted(value)));
    }
    for (name, value) in &definition.labels {
        line(format_args!("LABEL {}={}", quoted(name), quoted(value)));
    }
    line(format_args!("WORKDIR {}", definition.folder));
    line(format_args!("USER {0}:{0}", definition.user));
    line(format_args!("EXPOSE {}", definition.port));
    line(format_args!("ENTRYPOINT [{}]", serde_json::Value::from(definition.program.as_str())));
    text
}

fn summary(tree: &Tree) -> String {
    let files = tree.entries().filter(|(_, entry)| !matches!(entry, Entry::Folder { .. }));
    let paths: Vec<&str> = files.map(|(path, _)| path).collect();
    match paths.as_slice() {
        [first, .., last] if paths.len() > 6 => format!("/{first} … /{last}, {} files", paths.len()),
        _ => paths.iter().map(|path| format!("/{path}")).collect::<Vec<_>>().join(", "),
    }
}

/// In double quotes, where a Dockerfile gives only `\`, `"` and `$` a meaning. A line end can't be written there.
fn quoted(value: &str) -> String {
    let mut text = String::from('"');
    for c in value.chars() {
        match c {
            '"' | '\\' | '$' => text.extend(['\\', c]),
            '\n' => text.push(' '),
            _ => text.push(c),
        }
    }
    text.push('"');
    text
}
