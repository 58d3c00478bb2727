//! What stores need besides their URL, and what of it must not be shown.

use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};

type Lookup = dyn Fn(&str) -> Option<String> + Send + Sync;

/// Settings of stores by the names that their own clients use, such as `AWS_SECRET_ACCESS_KEY`; from the environment,
/// from secret files, or from wherever else a platform keeps them.
///
/// What was looked up by the name of a key, secret, token or password is taken out of messages by [`redact`](Settings::redact).
#[derive(Clone)]
pub struct Settings {
    lookup: Arc<Lookup>,
    given: Arc<Mutex<Vec<String>>>,
}

/// The settings that stores look up; S3's, Google's and Azure's are those of their own clients.
pub const SETTINGS: [&str; 18] = [
    "AWS_ACCESS_KEY_ID",
    "AWS_SECRET_ACCESS_KEY",
    "AWS_SESSION_TOKEN",
    "AWS_REGION",
    "AWS_ENDPOINT_URL",
    "GOOGLE_SERVICE_ACCOUNT_KEY",
    "GOOGLE_SERVICE_ACCOUNT",
    "GOOGLE_APPLICATION_CREDENTIALS",
    "AZURE_STORAGE_ACCOUNT_KEY",
    "AZURE_STORAGE_SAS_TOKEN",
    "AZURE_STORAGE_CLIENT_ID",
    "AZURE_STORAGE_CLIENT_SECRET",
    "AZURE_STORAGE_TENANT_ID",
    "REDIS_PASSWORD",
    "SFTP_PRIVATE_KEY",
    "SFTP_KEY_PASSPHRASE",
    "SFTP_PASSWORD",
    "SFTP_HOST_KEYS",
];

/// Shorter values are no secrets worth the name, and would tear holes into messages.
const SHORTEST_SECRET: usize = 6;

impl Settings {
    /// Settings that `lookup` finds.
    pub fn new(lookup: impl Fn(&str) -> Option<String> + Send + Sync + 'static) -> Self {
        Self { lookup: Arc::new(lookup), given: Arc::default() }
    }

    /// This process's environment.
    pub fn from_env() -> Self {
        Self::new(|name| std::env::var(name).ok().filter(|value| !value.is_empty()))
    }

    /// The value of `name`; one that is secret by its name is from now on kept out of messages.
    pub fn get(&self, name: &str) -> Option<String> {
        let value = (self.lookup)(name)?;
        if ["KEY", "SECRET", "TOKEN", "PASSWORD", "PASSPHRASE"].iter().any(|word| name.contains(word)) {
            self.keep_secret(&value);
        }
        Some(value)
    }

    /// Keeps `secret` out of messages.
    pub(crate) fn keep_secret(&self, secret: &str) {
        if secret.len() >= SHORTEST_SECRET {
            self.given.lock().unwrap_or_else(PoisonError::into_inner).push(secret.to_owned());
        }
    }

    /// `message` without any secret that was looked up.
    pub fn redact(&self, message: &str) -> String {
        let given = self.given.lock().unwrap_or_else(PoisonError::into_inner);
        given.iter().fold(message.to_owned(), |message, secret| message.replace(secret.as_str(), "***"))
    }
}

impl fmt::Debug for Settings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Settings")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_looked_up_is_kept_out_of_messages() {
        let settings = Settings::new(|name| (name == "KEY").then(|| "abcdefgh".to_owned()));
        assert_eq!(settings.redact("the key is abcdefgh"), "the key is abcdefgh");
        assert_eq!(settings.get("KEY").as_deref(), Some("abcdefgh"));
        assert_eq!(settings.redact("the key is abcdefgh"), "the key is ***");
    }
}
