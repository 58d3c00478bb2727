//! What an image contains beside the function, as data.

use std::collections::BTreeMap;

use serde::Deserialize;

use crate::{Entry, Error, Tree, certificates};

/// What an image contains beside its program, and how it is started. Read from TOML; see the project's `runtime-images`.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Definition {
    /// The port that the program listens on.
    pub port: u16,
    /// Who the program runs as: a number, since no password file is needed to know it.
    pub user: u32,
    /// Where the program stands.
    pub program: String,
    /// The folder it starts in.
    pub folder: String,
    /// Environment variables.
    #[serde(default)]
    pub environment: BTreeMap<String, String>,
    /// Labels.
    #[serde(default)]
    pub labels: BTreeMap<String, String>,
    /// The folders of the base layer.
    #[serde(default)]
    folders: Vec<Folder>,
    /// The files of the base layer.
    #[serde(default)]
    files: Vec<File>,
}

#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
struct Folder {
    path: String,
    /// In octal digits, as people write it.
    mode: String,
}

#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    path: String,
    #[serde(flatten)]
    content: Content,
}

#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
enum Content {
    #[serde(rename = "text")]
    Text(String),
    #[serde(rename = "from")]
    From(Source),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
enum Source {
    /// The certificate authorities that browsers trust, as one PEM file.
    #[serde(rename = "certificate-authorities")]
    Authorities,
}

impl Definition {
    /// Reads a definition.
    ///
    /// # Errors
    /// [`Error::Definition`] where it is none.
    pub fn read(text: &str) -> Result<Self, Error> {
        Ok(toml_edit::de::from_str(text)?)
    }

    /// The files of its base layer.
    ///
    /// # Errors
    /// Where a path can't stand in an image.
    pub fn base(&self) -> Result<Tree, Error> {
        let mut tree = Tree::new();
        for folder in &self.folders {
            let mode = u32::from_str_radix(&folder.mode, 8);
            let mode = mode.ok().filter(|mode| *mode <= 0o7777).ok_or_else(|| Error::Path {
                path: folder.path.clone(),
                why: "its mode is no octal number such as 0755",
            })?;
            tree.add(&folder.path, Entry::Folder { mode })?;
        }
        for file in &self.files {
            let bytes = match &file.content {
                Content::Text(text) => text.clone().into_bytes(),
                Content::From(Source::Authorities) => certificates::bundle(),
            };
            tree.add(&file.path, Entry::Bytes { mode: 0o644, bytes })?;
        }
        Ok(tree)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: &str = r#"
        port = 8080
        user = 65532
        program = "/function"
        folder = "/"
        folders = [{ path = "/tmp", mode = "1777" }]
        [[files]]
        path = "/etc/passwd"
        text = "root:x:0:0::/:/sbin/nologin\n"
        [[files]]
        path = "/etc/ssl/certs/ca-certificates.crt"
        from = "certificate-authorities"
    "#;

    #[test]
    fn a_definition_is_data() {
        let definition = Definition::read(TEXT).unwrap();
        let base = definition.base().unwrap();
        let paths: Vec<&str> = base.entries().map(|(path, _)| path).collect();
        assert_eq!(
            paths,
            ["etc", "etc/passwd", "etc/ssl", "etc/ssl/certs", "etc/ssl/certs/ca-certificates.crt", "tmp"]
        );
    }

    #[test]
    fn what_is_misspelt_is_refused() {
        for (wrong, right) in
            [("prt", "port"), ("modes", "mode"), ("certificates", "certificate-authorities")]
        {
            let text = TEXT.replace(right, wrong);
            assert!(Definition::read(&text).is_err(), "{wrong}");
        }
        let text = TEXT.replace("1777", "99");
        assert!(Definition::read(&text).unwrap().base().is_err());
    }
}
