//! A store's URL, taken apart.

use std::collections::BTreeMap;

use crate::{Key, Settings, StoreError, StoreErrorKind};

/// A store's URL in its parts: `scheme://user:password@host:port/folder?name=value`.
#[derive(Clone)]
pub(crate) struct Address {
    scheme: String,
    user: Option<String>,
    password: Option<String>,
    host: String,
    folder: String,
    parameters: BTreeMap<String, String>,
}

impl Address {
    /// Takes a URL apart; `parameters` are the names that this store knows.
    pub(crate) fn parse(url: &str, parameters: &[&str], settings: &Settings) -> Result<Self, StoreError> {
        let (scheme, rest) = url.split_once("://").ok_or_else(|| {
            let scheme = url.split(':').next().unwrap_or_default();
            invalid(format!("the store URL is not complete; write {scheme}://host/folder"))
        })?;
        let (rest, query) = rest.split_once('?').unwrap_or((rest, ""));
        let (authority, folder) = rest.split_once('/').unwrap_or((rest, ""));
        let (user, host) = match authority.rsplit_once('@') {
            Some((user, host)) => (Some(user), host),
            None => (None, authority),
        };
        let (user, password) = match user.and_then(|user| user.split_once(':')) {
            Some((user, password)) => (Some(user), Some(password)),
            None => (user, None),
        };
        let decoded = |text: Option<&str>| text.filter(|text| !text.is_empty()).map(decode).transpose();
        let mut address = Self {
            scheme: scheme.to_owned(),
            user: decoded(user)?,
            password: decoded(password)?,
            host: host.to_owned(),
            folder: folder.trim_matches('/').to_owned(),
            parameters: BTreeMap::new(),
        };
        // As it was written, and as it is meant.
        for secret in address.password.as_deref().into_iter().chain(password) {
            settings.keep_secret(secret);
        }
        address.check_folder()?;
        address.take_parameters(query, parameters)?;
        Ok(address)
    }

    /// The folder is taken as it is written, by the rules for keys.
    fn check_folder(&self) -> Result<(), StoreError> {
        if self.folder.is_empty() {
            return Ok(());
        }
        Key::new(&self.folder).map(drop).map_err(|error| {
            invalid(format!("the folder in the store URL {} can't be used: {error}", self.shown()))
        })
    }

    fn take_parameters(&mut self, query: &str, known: &[&str]) -> Result<(), StoreError> {
        for pair in query.split('&').filter(|pair| !pair.is_empty()) {
            let (name, value) = pair.split_once('=').unwrap_or((pair, "true"));
            if !known.contains(&name) {
                let known = if known.is_empty() { "none".to_owned() } else { known.join(", ") };
                return Err(invalid(format!(
                    "the store URL {} has a parameter that {}: does not know; it knows {known}",
                    self.shown(),
                    self.scheme
                )));
            }
            self.parameters.insert(name.to_owned(), decode(value)?);
        }
        Ok(())
    }

    /// Splits the first name off the folder, where it means something else; `example` shows what was expected.
    #[cfg(feature = "azure")]
    pub(crate) fn split_folder(&self, example: &str) -> Result<(String, Self), StoreError> {
        let (first, rest) = self.folder.split_once('/').unwrap_or((&self.folder, ""));
        if first.is_empty() {
            return Err(invalid(format!("the store URL {} is not complete; write {example}", self.shown())));
        }
        Ok((first.to_owned(), Self { folder: rest.to_owned(), ..self.clone() }))
    }

    pub(crate) fn host(&self) -> Result<&str, StoreError> {
        if self.host.is_empty() {
            let message = format!("the store URL {} names no host or bucket", self.shown());
            return Err(invalid(message));
        }
        Ok(&self.host)
    }

    /// The host, and its port where the URL has one.
    #[cfg(any(feature = "redis", feature = "sftp"))]
    pub(crate) fn host_and_port(&self, default: u16) -> Result<(String, u16), StoreError> {
        let host = self.host()?;
        // The colons of an address in brackets are its own.
        let (name, port) = match host.rsplit_once(':') {
            Some((name, port)) if !port.ends_with(']') => (name, Some(port)),
            _ => (host, None),
        };
        let name = name.trim_start_matches('[').trim_end_matches(']').to_owned();
        let wrong = || invalid(format!("the port in the store URL {} is not a number", self.shown()));
        Ok((name, port.map(str::parse).transpose().map_err(|_| wrong())?.unwrap_or(default)))
    }

    #[cfg(any(feature = "redis", feature = "sftp"))]
    pub(crate) fn user(&self) -> Option<&str> {
        self.user.as_deref()
    }

    #[cfg(any(feature = "redis", feature = "sftp"))]
    pub(crate) fn password(&self) -> Option<&str> {
        self.password.as_deref()
    }

    #[cfg(feature = "redis")]
    pub(crate) fn scheme(&self) -> &str {
        &self.scheme
    }

    #[cfg(any(feature = "redis", feature = "sftp"))]
    pub(crate) fn folder(&self) -> &str {
        &self.folder
    }

    #[cfg(any(feature = "s3", feature = "gcs", feature = "azure"))]
    /// What stands before each name: empty, or a folder and `/`.
    pub(crate) fn prefix(&self) -> String {
        if self.folder.is_empty() { String::new() } else { format!("{}/", self.folder) }
    }

    pub(crate) fn parameter(&self, name: &str) -> Option<String> {
        self.parameters.get(name).cloned()
    }

    #[cfg(any(feature = "s3", feature = "gcs", feature = "azure"))]
    pub(crate) fn flag(&self, name: &str) -> Result<Option<bool>, StoreError> {
        match self.parameters.get(name).map(String::as_str) {
            None => Ok(None),
            Some("true" | "1") => Ok(Some(true)),
            Some("false" | "0") => Ok(Some(false)),
            Some(_) => Err(invalid(format!("`{name}` in {} is neither true nor false", self.shown()))),
        }
    }

    /// The URL for messages: without password and parameters.
    pub(crate) fn shown(&self) -> String {
        let user = self.user.as_ref().map(|user| format!("{user}@")).unwrap_or_default();
        let slash = if self.folder.is_empty() { "" } else { "/" };
        format!("{}://{user}{}{slash}{}", self.scheme, self.host, self.folder)
    }
}

fn invalid(message: String) -> StoreError {
    StoreError::new(StoreErrorKind::Invalid, message)
}

fn decode(text: &str) -> Result<String, StoreError> {
    let wrong = || invalid("the store URL has a % that two hexadecimal digits do not follow".to_owned());
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.bytes();
    while let Some(byte) = rest.next() {
        if byte != b'%' {
            bytes.push(byte);
            continue;
        }
        let mut digit = || rest.next().and_then(|digit| char::from(digit).to_digit(16));
        let value = digit().zip(digit()).map(|(high, low)| high * 16 + low);
        bytes.push(value.and_then(|value| u8::try_from(value).ok()).ok_or_else(wrong)?);
    }
    String::from_utf8(bytes).map_err(|_| wrong())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(url: &str) -> Result<Address, StoreError> {
        Address::parse(url, &["region", "path_style"], &Settings::new(|_| None))
    }

    #[cfg(any(feature = "redis", feature = "sftp"))]
    #[test]
    fn a_port_stands_after_the_host() {
        let server = |url| parse(url).unwrap().host_and_port(22);
        assert_eq!(server("sftp://host").unwrap(), ("host".to_owned(), 22));
        assert_eq!(server("sftp://[::1]:9/x").unwrap(), ("::1".to_owned(), 9));
        assert_eq!(server("sftp://[::1]").unwrap(), ("::1".to_owned(), 22));
        assert!(server("sftp://host:x").is_err());
    }

    #[test]
    fn a_url_comes_apart() {
        let address = parse("s3://me:pa%24s@host:90/a/b/?region=eu-1&path_style").unwrap();
        assert_eq!((address.user.as_deref(), address.password.as_deref()), (Some("me"), Some("pa$s")));
        assert_eq!((address.host().unwrap(), address.folder.as_str()), ("host:90", "a/b"));
        assert_eq!(address.parameter("region").as_deref(), Some("eu-1"));
        assert_eq!(address.shown(), "s3://me@host:90/a/b");
    }

    #[test]
    fn what_is_wrong_is_said_without_the_secret() {
        let cases = [
            ("s3:bucket", "write s3://host/folder"),
            ("s3://me:secret99@host/../etc", "begins with a dot"),
            ("s3://me:secret99@host/a?colour=red", "it knows region, path_style"),
            ("s3://me:%zz@host/a", "hexadecimal"),
        ];
        for (url, reason) in cases {
            let message = parse(url).map(drop).unwrap_err().to_string();
            assert!(message.contains(reason) && !message.contains("secret99"), "{message}");
        }
        assert!(parse("s3:///a").unwrap().host().is_err());
    }

    #[cfg(any(feature = "s3", feature = "gcs", feature = "azure"))]
    #[test]
    fn a_flag_is_true_or_false_and_a_prefix_ends_with_a_slash() {
        let flag = |url| parse(url).unwrap().flag("path_style");
        assert_eq!(flag("s3://h/a?path_style").unwrap(), Some(true));
        assert_eq!(flag("s3://h/a").unwrap(), None);
        assert!(flag("s3://h/a?path_style=perhaps").is_err());
        assert_eq!(parse("s3://h").unwrap().prefix(), "");
        assert_eq!(parse("s3://h/a/b/").unwrap().prefix(), "a/b/");
    }
}
