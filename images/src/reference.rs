//! Image names: `registry/repository:tag`, `registry/repository@sha256:…`.

use std::fmt;
use std::str::FromStr;

use crate::Digest;

/// The name of an image in a registry.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reference {
    registry: String,
    repository: String,
    tag: Option<String>,
    digest: Option<Digest>,
}

/// A text that is no image name.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{text}` is no image name: {why}")]
pub struct InvalidReference {
    text: String,
    why: &'static str,
}

/// Where a name without a registry leads.
const HUB: &str = "docker.io";
const LATEST: &str = "latest";
/// What all registries take.
const REPOSITORY_MAX: usize = 255;
const TAG_MAX: usize = 128;

impl Reference {
    /// `localhost:5000`, `ghcr.io`, `docker.io`.
    pub fn registry(&self) -> &str {
        &self.registry
    }

    /// `team/factors`.
    pub fn repository(&self) -> &str {
        &self.repository
    }

    /// The tag; `latest` where neither tag nor digest is given.
    pub fn tag(&self) -> &str {
        self.tag.as_deref().unwrap_or(LATEST)
    }

    /// Whether a tag or digest was given.
    pub fn is_exact(&self) -> bool {
        self.tag.is_some() || self.digest.is_some()
    }

    /// The digest, where the name has one.
    pub fn digest(&self) -> Option<&Digest> {
        self.digest.as_ref()
    }

    /// What stands after `manifests/` in requests: the digest, else the tag.
    pub fn version(&self) -> &str {
        self.digest.as_ref().map_or_else(|| self.tag(), Digest::as_str)
    }

    /// The same repository with another tag.
    ///
    /// # Errors
    /// Where `tag` is none.
    pub fn with_tag(&self, tag: &str) -> Result<Self, InvalidReference> {
        check_tag(tag)?;
        Ok(Self { tag: Some(tag.to_owned()), digest: None, ..self.clone() })
    }

    /// The same repository by content.
    #[must_use]
    pub fn with_digest(&self, digest: Digest) -> Self {
        Self { digest: Some(digest), ..self.clone() }
    }

    /// As container engines show it: without the registry they take anyway.
    pub fn familiar(&self) -> String {
        let name = if self.registry == HUB {
            self.repository.strip_prefix("library/").unwrap_or(&self.repository).to_owned()
        } else {
            format!("{}/{}", self.registry, self.repository)
        };
        format!("{name}{}", self.suffix())
    }

    /// Whether the registry is this machine's, where plain HTTP is safe.
    pub fn is_loopback(&self) -> bool {
        let host = self.registry.rsplit_once(':').map_or(self.registry.as_str(), |(host, _)| host);
        let address = host.trim_start_matches('[').trim_end_matches(']');
        host == "localhost" || address.parse::<std::net::IpAddr>().is_ok_and(|address| address.is_loopback())
    }

    fn suffix(&self) -> String {
        match (&self.tag, &self.digest) {
            (None, None) => format!(":{LATEST}"),
            (Some(tag), None) => format!(":{tag}"),
            (None, Some(digest)) => format!("@{digest}"),
            (Some(tag), Some(digest)) => format!(":{tag}@{digest}"),
        }
    }
}

impl fmt::Display for Reference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}{}", self.registry, self.repository, self.suffix())
    }
}

impl FromStr for Reference {
    type Err = InvalidReference;

    fn from_str(text: &str) -> Result<Self, InvalidReference> {
        let bad = |why| InvalidReference { text: shown(text), why };
        let (rest, digest) = match text.split_once('@') {
            Some((rest, digest)) => (rest, Some(digest.parse().map_err(|_| bad("its digest is none"))?)),
            None => (text, None),
        };
        // A colon before the last slash belongs to the registry's port.
        let (name, tag) = match rest.rsplit_once(':') {
            Some((name, tag)) if !tag.contains('/') => (name, Some(tag.to_owned())),
            _ => (rest, None),
        };
        if let Some(tag) = &tag {
            check_tag(tag).map_err(|error| bad(error.why))?;
        }
        let (registry, repository) = match name.split_once('/') {
            Some((first, repository)) if is_registry(first) => (first.to_owned(), repository.to_owned()),
            Some(_) => (HUB.to_owned(), name.to_owned()),
            None => (HUB.to_owned(), format!("library/{name}")),
        };
        check_repository(&repository).map_err(bad)?;
        let is_host = |c: char| c.is_ascii_alphanumeric() || ".-:[]_".contains(c);
        let begins = registry.starts_with(|c: char| c.is_ascii_alphanumeric() || c == '[');
        if !begins || !registry.chars().all(is_host) {
            return Err(bad("its registry is no host name"));
        }
        Ok(Self { registry, repository, tag, digest })
    }
}

/// A first part with a dot or a port, or `localhost`, is a registry; anything else is part of the name.
fn is_registry(part: &str) -> bool {
    part == "localhost" || part.contains(['.', ':'])
}

fn check_repository(repository: &str) -> Result<(), &'static str> {
    let is_good = |part: &str| {
        let ends = |c: Option<char>| c.is_some_and(|c| c.is_ascii_lowercase() || c.is_ascii_digit());
        let within = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || "._-".contains(c);
        ends(part.chars().next()) && ends(part.chars().next_back()) && part.chars().all(within)
    };
    if repository.len() <= REPOSITORY_MAX && repository.split('/').all(is_good) {
        return Ok(());
    }
    Err("names have lower-case letters, digits and . _ - between them, in parts divided by /")
}

fn check_tag(tag: &str) -> Result<(), InvalidReference> {
    let begins = tag.chars().next().is_some_and(|c| c.is_ascii_alphanumeric() || c == '_');
    let is_good = |c: char| c.is_ascii_alphanumeric() || "._-".contains(c);
    if begins && tag.chars().all(is_good) && tag.len() <= TAG_MAX {
        return Ok(());
    }
    let why = "a tag has at most 128 letters, digits and . _ -, and begins with a letter, digit or _";
    Err(InvalidReference { text: shown(tag), why })
}

fn shown(text: &str) -> String {
    text.chars().take(120).flat_map(char::escape_debug).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_read_as_engines_read_them() {
        let read = |text: &str| {
            let name: Reference = text.parse().unwrap();
            (name.registry().to_owned(), name.repository().to_owned(), name.version().to_owned())
        };
        let parts = |a: &str, b: &str, c: &str| (a.to_owned(), b.to_owned(), c.to_owned());
        assert_eq!(read("factors"), parts("docker.io", "library/factors", "latest"));
        assert_eq!(read("me/factors:1"), parts("docker.io", "me/factors", "1"));
        assert_eq!(read("localhost:5000/factors:v1.2"), parts("localhost:5000", "factors", "v1.2"));
        assert_eq!(read("[::1]:5000/a/b"), parts("[::1]:5000", "a/b", "latest"));
        let digest = format!("sha256:{}", "a".repeat(64));
        assert_eq!(read(&format!("ghcr.io/a/b:t@{digest}")), parts("ghcr.io", "a/b", &digest));
    }

    #[test]
    fn hostile_names_are_refused() {
        for bad in [
            "",
            "/",
            "a//b",
            "../x",
            "a/../b",
            "UPPER",
            "a b",
            "a\nb",
            "-rf",
            "a:",
            "a:-x",
            "a:b c",
            "localhost:5000/",
            "a@sha256:1",
            "ex ample.org/a",
            "ex%2fample.org/a",
            "a?b=c",
            &"x".repeat(300),
            &format!("a:{}", "t".repeat(129)),
        ] {
            assert!(bad.parse::<Reference>().is_err(), "{bad:?}");
        }
    }

    #[test]
    fn plain_http_is_for_this_machine() {
        for (name, expected) in [
            ("localhost:5000/a", true),
            ("127.0.0.1:5000/a", true),
            ("[::1]:5000/a", true),
            ("localhost.evil.org/a", false),
            ("127.0.0.1.evil.org/a", false),
            ("10.0.0.1:5000/a", false),
            ("a", false),
        ] {
            assert_eq!(name.parse::<Reference>().unwrap().is_loopback(), expected, "{name}");
        }
    }

    #[test]
    fn a_name_is_shown_as_it_was_written() {
        for text in ["docker.io/library/factors:1", "localhost:5000/a/b:2"] {
            assert_eq!(text.parse::<Reference>().unwrap().to_string(), text);
        }
        assert_eq!("factors:1".parse::<Reference>().unwrap().familiar(), "factors:1");
    }
}
