//! Registries: pushing and pulling images over the distribution protocol.
//!
//! [`Registry::push`] sends what is not there yet and checks that the registry kept it; [`Registry::pull`] fetches a base
//! image and checks every byte. Both can be run again after any failure.

mod auth;
mod credentials;
mod error;
mod pull;
mod push;
mod request;

use std::sync::Arc;

use tokio::sync::Mutex;

pub use credentials::{Credentials, CredentialsError};
pub use error::{RegistryError, RegistryErrorKind};
pub use push::{Progress, Pushed};

use crate::Reference;
use auth::Authorization;

/// One repository of a registry, as one caller uses it.
#[derive(Clone, Debug)]
pub struct Registry {
    http: reqwest::Client,
    name: Reference,
    base: String,
    credentials: Credentials,
    authorization: Arc<Mutex<Option<Authorization>>>,
}

impl Registry {
    /// The repository of `name`. Plain HTTP is spoken on loopback only; `http` follows no redirect that would leave
    /// HTTPS unless it was built to.
    pub fn new(http: reqwest::Client, name: &Reference, credentials: Credentials) -> Self {
        let scheme = if name.is_loopback() { "http" } else { "https" };
        let host = if name.registry() == "docker.io" { "registry-1.docker.io" } else { name.registry() };
        let base = format!("{scheme}://{host}/v2/{}", name.repository());
        Self { http, name: name.clone(), base, credentials, authorization: Arc::default() }
    }

    /// Whether the registry has this image, and under which digest; none if it has not.
    ///
    /// # Errors
    /// Where the registry can't be reached or refuses.
    pub async fn digest_of(&self, version: &str) -> Result<Option<String>, RegistryError> {
        let url = format!("{}/manifests/{version}", self.base);
        let response = self.send("look for the image", || accepting(self.http.head(&url))).await?;
        if response.status() == reqwest::StatusCode::NOT_FOUND {
            return Ok(None);
        }
        let response = self.expect(response, "look for the image", |status| status.is_success()).await?;
        let digest = response.headers().get(DIGEST).and_then(|digest| digest.to_str().ok());
        Ok(Some(digest.unwrap_or_default().to_owned()))
    }
}

fn accepting(request: reqwest::RequestBuilder) -> reqwest::RequestBuilder {
    request.header(reqwest::header::ACCEPT, MANIFESTS.join(", "))
}

/// The header in which a registry names what it sends or keeps.
const DIGEST: &str = "docker-content-digest";

/// The manifests we read.
const MANIFESTS: [&str; 4] = [
    crate::image::MANIFEST,
    "application/vnd.docker.distribution.manifest.v2+json",
    "application/vnd.oci.image.index.v1+json",
    "application/vnd.docker.distribution.manifest.list.v2+json",
];
