//! From a URL to a store.

use std::sync::Arc;

use crate::{Faults, Faulty, FolderStore, MemoryStore, Settings, Store, StoreError, StoreErrorKind};

/// Opens the store that `url` names, with what the environment says. Nothing is sent or written, and a folder need not exist yet.
///
/// | URL | store |
/// | --- | --- |
/// | `file:/absolute/folder`, `file:///absolute/folder` | a folder |
/// | `file:folder` | a folder, relative to the process's current one at this moment |
/// | `memory:` | a new, empty store in memory |
/// | `s3://bucket/prefix?region=…&endpoint=…&path_style=true` | S3 and what speaks its protocol |
/// | `gs://bucket/prefix` | Google Cloud Storage |
/// | `azure://account/container/prefix` | Azure Blob Storage |
/// | `redis://user:password@host:port/database/prefix` | Redis; `rediss://` with TLS |
/// | `sftp://user@host:port/absolute/folder` | a folder on an SSH server |
///
/// The path of a folder is taken as it is written, without percent decoding.
///
/// # Errors
/// [`StoreErrorKind::Invalid`] if the URL names no store; [`StoreErrorKind::NotSupported`] if it names one that this build lacks.
pub fn open(url: &str) -> Result<Arc<dyn Store>, StoreError> {
    open_with(url, &Settings::from_env())
}

/// As [`open`], with credentials and the like from `settings`. Where they have `LIMITLESS_KEY`, everything is encrypted.
///
/// # Errors
/// As [`open`].
pub fn open_with(url: &str, settings: &Settings) -> Result<Arc<dyn Store>, StoreError> {
    with_keys(open_plain(url, settings)?, settings)
}

#[cfg(feature = "encryption")]
fn with_keys(store: Arc<dyn Store>, settings: &Settings) -> Result<Arc<dyn Store>, StoreError> {
    match crate::Keys::from_settings(settings) {
        Some(keys) => Ok(Arc::new(crate::Encrypted::new(store, keys?))),
        None => Ok(store),
    }
}

/// Who gave a key must not find plain text.
#[cfg(not(feature = "encryption"))]
fn with_keys(store: Arc<dyn Store>, settings: &Settings) -> Result<Arc<dyn Store>, StoreError> {
    let variable = crate::KEY_VARIABLE;
    if settings.get(variable).is_none() {
        return Ok(store);
    }
    let message = format!(
        "{variable} is set, and this build can't encrypt: it needs the feature `encryption`; in the function, \
         `cargo add limitless-faas --features encryption`"
    );
    Err(StoreError::new(StoreErrorKind::NotSupported, message))
}

fn open_plain(url: &str, settings: &Settings) -> Result<Arc<dyn Store>, StoreError> {
    let Some((scheme, rest)) = url.split_once(':') else {
        return Err(invalid(format!("store URL {url:?} has no scheme; try file:/a/folder or memory:")));
    };
    match scheme {
        "file" => open_folder(url, rest),
        "memory" if rest.is_empty() => Ok(Arc::new(MemoryStore::new())),
        "memory" => Err(invalid("the store in memory has no name; write memory:".to_owned())),
        _ => open_remote(scheme, url, settings).unwrap_or_else(|| Err(unknown(scheme))),
    }
}

/// A store of others, if this build has one of that scheme.
#[cfg(any(feature = "s3", feature = "gcs", feature = "azure", feature = "redis", feature = "sftp"))]
fn open_remote(scheme: &str, url: &str, settings: &Settings) -> Option<Result<Arc<dyn Store>, StoreError>> {
    #[cfg(any(feature = "s3", feature = "gcs", feature = "azure"))]
    use crate::object::Bucket;
    let address = |parameters: &[&str]| crate::address::Address::parse(url, parameters, settings);
    Some(match scheme {
        #[cfg(feature = "s3")]
        "s3" => address(&["region", "endpoint", "path_style", "allow_http"])
            .and_then(|address| Ok(remote(Bucket::s3(&address, settings)?, &address))),
        #[cfg(feature = "gcs")]
        "gs" => address(&["endpoint", "allow_http"])
            .and_then(|address| Ok(remote(Bucket::gcs(&address, settings)?, &address))),
        #[cfg(feature = "azure")]
        "azure" | "az" => address(&["endpoint", "allow_http"])
            .and_then(|address| Ok(remote(Bucket::azure(&address, settings)?, &address))),
        #[cfg(feature = "redis")]
        "redis" | "rediss" => address(&["replicas"])
            .and_then(|address| Ok(remote(crate::redis::Database::new(&address, settings)?, &address))),
        #[cfg(feature = "sftp")]
        "sftp" => address(&["known_hosts"])
            .and_then(|address| Ok(remote(crate::sftp::Folder::new(&address, settings)?, &address))),
        _ => return None,
    })
}

#[cfg(any(feature = "s3", feature = "gcs", feature = "azure", feature = "redis", feature = "sftp"))]
fn remote(objects: impl crate::remote::Objects, address: &crate::address::Address) -> Arc<dyn Store> {
    Arc::new(crate::remote::Remote::new(objects, address.shown()))
}

#[cfg(not(any(feature = "s3", feature = "gcs", feature = "azure", feature = "redis", feature = "sftp")))]
fn open_remote(_: &str, _: &str, _: &Settings) -> Option<Result<Arc<dyn Store>, StoreError>> {
    None
}

/// As [`open_with`]; with a non-empty `spec` the store fails on purpose as [`Faults`] says.
///
/// # Errors
/// As [`open`], and [`StoreErrorKind::Invalid`] if `spec` can't be understood.
pub fn open_with_faults(
    url: &str,
    settings: &Settings,
    spec: Option<&str>,
) -> Result<Arc<dyn Store>, StoreError> {
    let store = open_with(url, settings)?;
    match spec.map(str::trim).filter(|spec| !spec.is_empty()) {
        Some(spec) => Ok(Arc::new(Faulty::new(store, spec.parse::<Faults>()?))),
        None => Ok(store),
    }
}

fn open_folder(url: &str, rest: &str) -> Result<Arc<dyn Store>, StoreError> {
    let path = match rest.strip_prefix("//") {
        Some(absolute) if absolute.starts_with('/') => absolute,
        Some(_) => return Err(invalid(format!("store URL {url:?} names a host; write file:/a/folder"))),
        None => rest,
    };
    if path.is_empty() || path.contains('\0') {
        return Err(invalid(format!("store URL {url:?} names no folder; write file:/a/folder")));
    }
    match FolderStore::new(path) {
        Ok(store) => Ok(Arc::new(store)),
        Err(error) => Err(invalid(format!("failed to open the store {url:?}: {error}"))),
    }
}

/// The feature of this crate that the store of this URL needs; none for a folder, and for what is no store.
pub fn feature(url: &str) -> Option<&'static str> {
    match url.split(':').next()? {
        "s3" => Some("s3"),
        "gs" => Some("gcs"),
        "azure" | "az" => Some("azure"),
        "redis" | "rediss" => Some("redis"),
        "sftp" => Some("sftp"),
        _ => None,
    }
}

/// The URL is not repeated here: it may carry a password.
fn unknown(scheme: &str) -> StoreError {
    let Some(feature) = feature(scheme) else {
        return invalid(format!(
            "no store is called {scheme}:; there are file:, memory:, s3:, gs:, azure:, redis: and sftp:"
        ));
    };
    let message = format!(
        "this build has no store {scheme}:; it needs the feature `{feature}`: in the function, \
         `cargo add limitless-faas --features {feature}`; for the command line, \
         `cargo install cargo-faas --features all-stores`"
    );
    StoreError::new(StoreErrorKind::NotSupported, message)
}

fn invalid(message: String) -> StoreError {
    StoreError::new(StoreErrorKind::Invalid, message)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_url_selects_the_store() {
        assert_eq!(open("memory:").unwrap().describe(), "memory:");
        assert_eq!(open("file:/tmp/x").unwrap().describe(), "file:/tmp/x");
        assert_eq!(open("file:///tmp/x").unwrap().describe(), "file:/tmp/x");
        let relative = open("file:some/folder").unwrap().describe();
        assert!(relative.starts_with("file:/") && relative.ends_with("/some/folder"), "{relative}");
    }

    #[test]
    fn what_is_no_store_is_refused_with_a_reason() {
        let cases = [
            ("", "no scheme"),
            ("/tmp/x", "no scheme"),
            ("file:", "names no folder"),
            ("file:///", ""),
            ("file://host/x", "names a host"),
            ("memory:x", "has no name"),
            #[cfg(not(feature = "s3"))]
            ("s3://secret@bucket/x", "feature `s3`"),
            ("ftp://x", "no store is called ftp:"),
        ];
        for (url, reason) in cases.into_iter().filter(|(_, reason)| !reason.is_empty()) {
            let message = open(url).unwrap_err().to_string();
            assert!(message.contains(reason), "{url}: {message}");
            assert!(!message.contains("secret"), "{message}");
        }
    }

    #[test]
    fn faults_wrap_the_store() {
        let with_faults = |spec| open_with_faults("memory:", &Settings::from_env(), spec);
        assert_eq!(with_faults(None).unwrap().describe(), "memory:");
        assert_eq!(with_faults(Some(" ")).unwrap().describe(), "memory:");
        let faulty = with_faults(Some("seed=7,fail=0.5")).unwrap().describe();
        assert_eq!(faulty, "memory: with faults seed=7,fail=0.5");
        assert!(with_faults(Some("fail=2")).is_err());
    }
}
