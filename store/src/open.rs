//! From a URL to a store.

use std::sync::Arc;

use crate::{Faults, Faulty, FolderStore, MemoryStore, Store, StoreError, StoreErrorKind};

/// Opens the store that `url` names. Nothing is written, and a folder need not exist yet.
///
/// | URL | store |
/// | --- | --- |
/// | `file:/absolute/folder`, `file:///absolute/folder` | a folder |
/// | `file:folder` | a folder, relative to the process's current one at this moment |
/// | `memory:` | a new, empty store in memory |
///
/// The path is taken as it is written, without percent decoding.
///
/// # Errors
/// [`StoreErrorKind::Invalid`] if the URL names no store; [`StoreErrorKind::NotSupported`] if it names one that this build lacks.
pub fn open(url: &str) -> Result<Arc<dyn Store>, StoreError> {
    let Some((scheme, rest)) = url.split_once(':') else {
        return Err(invalid(format!("store URL {url:?} has no scheme; try file:/a/folder or memory:")));
    };
    match scheme {
        "file" => open_folder(url, rest),
        "memory" if rest.is_empty() => Ok(Arc::new(MemoryStore::new())),
        "memory" => Err(invalid("the store in memory has no name; write memory:".to_owned())),
        _ => Err(unknown(scheme)),
    }
}

/// As [`open`]; with a non-empty `spec` the store fails on purpose as [`Faults`] says.
///
/// # Errors
/// As [`open`], and [`StoreErrorKind::Invalid`] if `spec` can't be understood.
pub fn open_with_faults(url: &str, spec: Option<&str>) -> Result<Arc<dyn Store>, StoreError> {
    let store = open(url)?;
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

/// The URL is not repeated here: it may carry a password.
fn unknown(scheme: &str) -> StoreError {
    let feature = match scheme {
        "s3" => "s3",
        "gs" => "gcs",
        "az" | "azure" => "azure",
        "redis" | "rediss" => "redis",
        "sftp" => "sftp",
        "couchdb" | "couchdbs" => "couchdb",
        _ => return invalid(format!("no store is called {scheme}:; there are file: and memory:")),
    };
    let message = format!(
        "this build has no store {scheme}:; it needs the feature `{feature}` of limitless-faas-store"
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
        assert_eq!(open_with_faults("memory:", None).unwrap().describe(), "memory:");
        assert_eq!(open_with_faults("memory:", Some(" ")).unwrap().describe(), "memory:");
        let faulty = open_with_faults("memory:", Some("seed=7,fail=0.5")).unwrap().describe();
        assert_eq!(faulty, "memory: with faults seed=7,fail=0.5");
        assert!(open_with_faults("memory:", Some("fail=2")).is_err());
    }
}
