//! Who we are to a registry: what `docker login` and `podman login` left on this machine.

use std::fmt;
use std::path::PathBuf;

use docker_credential::{CredentialRetrievalError, DockerCredential};

/// Who we are to a registry. Never shown: its `Debug` tells only which kind it is.
#[derive(Clone, Default)]
pub enum Credentials {
    /// Nobody in particular.
    #[default]
    Anonymous,
    /// A user with a password or access token.
    Basic {
        /// The user.
        user: String,
        /// The password or access token.
        password: String,
    },
    /// A refresh token, to be exchanged at the registry's token service.
    Identity(String),
}

/// Credentials there are, but not to be had.
#[derive(Debug, thiserror::Error)]
#[error("failed to read the credentials for {registry}: {why}")]
pub struct CredentialsError {
    registry: String,
    why: String,
}

/// Under this name `docker login` keeps what it has for Docker Hub.
const HUB: &str = "https://index.docker.io/v1/";

impl Credentials {
    /// What docker's or podman's credential files and helpers have for `registry`; nobody in particular where they
    /// have nothing. Helpers are programs and may take a while.
    ///
    /// # Errors
    /// Where a file or helper names credentials that can't be read.
    pub fn of(registry: &str) -> Result<Self, CredentialsError> {
        let server = if registry == "docker.io" { HUB } else { registry };
        match docker_credential::get_credential(server) {
            Ok(found) => Ok(Self::from(found)),
            Err(error) if is_absence(&error) => match docker_credential::get_podman_credential(server) {
                Ok(found) => Ok(Self::from(found)),
                Err(error) if is_absence(&error) => Ok(Self::Anonymous),
                Err(error) => Err(failed(registry, &error)),
            },
            Err(error) => Err(failed(registry, &error)),
        }
    }

    pub(crate) fn is_anonymous(&self) -> bool {
        matches!(self, Self::Anonymous)
    }
}

fn is_absence(error: &CredentialRetrievalError) -> bool {
    use CredentialRetrievalError as E;
    match error {
        E::ConfigNotFound | E::NoCredentialConfigured => true,
        // Nobody ever signed in here.
        E::ConfigReadError => !config_file().is_some_and(|path| path.exists()),
        // Helpers say it in words; docker itself looks for these.
        E::HelperFailure { stdout, stderr, .. } => {
            [stdout, stderr].iter().any(|text| text.contains("credentials not found"))
        }
        _ => false,
    }
}

/// Where docker keeps credentials.
fn config_file() -> Option<PathBuf> {
    let folder = std::env::var_os("DOCKER_CONFIG").map(PathBuf::from);
    folder
        .or_else(|| std::env::home_dir().map(|home| home.join(".docker")))
        .map(|folder| folder.join("config.json"))
}

fn failed(registry: &str, error: &CredentialRetrievalError) -> CredentialsError {
    // A helper's output may hold a secret: it is not repeated.
    let why = match error {
        CredentialRetrievalError::HelperFailure { helper, .. } => format!("{helper} failed"),
        other => other.to_string(),
    };
    CredentialsError { registry: registry.to_owned(), why }
}

impl From<DockerCredential> for Credentials {
    fn from(found: DockerCredential) -> Self {
        match found {
            DockerCredential::IdentityToken(token) => Self::Identity(token),
            DockerCredential::UsernamePassword(user, password) => Self::Basic { user, password },
        }
    }
}

impl fmt::Debug for Credentials {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Anonymous => "Anonymous",
            Self::Basic { .. } => "Basic { … }",
            Self::Identity(_) => "Identity(…)",
        })
    }
}
