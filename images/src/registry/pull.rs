//! Pulling a base image: every byte is checked against its name.

use std::path::{Path, PathBuf};

use reqwest::header::CONTENT_TYPE;
use serde::Deserialize;
use serde_json::{Map, Value};
use sha2::{Digest as _, Sha256};
use tokio::io::AsyncWriteExt as _;

use super::{Registry, RegistryError, RegistryErrorKind};
use crate::image::{Base, Descriptor, Manifest};
use crate::layer::{Blob, Layer};
use crate::{Digest, Part};

/// Manifests and configurations are short; what is longer is none.
const DOCUMENT_MAX: usize = 4 << 20;

#[derive(Deserialize)]
struct Index {
    manifests: Vec<Platform>,
}

#[derive(Deserialize)]
struct Platform {
    digest: Digest,
    #[serde(default)]
    platform: Words,
}

#[derive(Default, Deserialize)]
struct Words {
    #[serde(default)]
    os: String,
    #[serde(default)]
    architecture: String,
}

#[derive(Deserialize)]
struct Config {
    #[serde(default)]
    config: Option<Map<String, Value>>,
    rootfs: RootFs,
}

#[derive(Deserialize)]
struct RootFs {
    diff_ids: Vec<Digest>,
}

const WHAT: &str = "pull the base image";

impl Registry {
    /// Fetches the image to build upon; its layers go to files in `folder`, and those that stand there are not fetched
    /// again.
    ///
    /// # Errors
    /// See [`RegistryErrorKind`].
    pub async fn pull(&self, architecture: &str, folder: &Path) -> Result<Base, RegistryError> {
        let manifest = self.manifest(architecture).await?;
        let bytes = self
            .document(&format!("blobs/{}", manifest.config.digest), Some(&manifest.config.digest))
            .await?
            .0;
        let config: Config = self.read(&bytes)?;
        if config.rootfs.diff_ids.len() != manifest.layers.len() {
            return Err(self.lies("its configuration and its manifest have different layers"));
        }
        let local = |error: std::io::Error| self.error(RegistryErrorKind::Local, WHAT, error.to_string());
        tokio::fs::create_dir_all(folder).await.map_err(local)?;
        let mut layers = Vec::new();
        for (descriptor, diff_id) in manifest.layers.iter().zip(config.rootfs.diff_ids) {
            let path = self.fetch(descriptor, folder).await?;
            layers.push(Layer {
                name: format!("base image {}", self.name.familiar()),
                blob: Blob::in_file(descriptor.digest.clone(), descriptor.size, path),
                diff_id,
                media_type: descriptor
                    .media_type
                    .replace("application/vnd.docker.image.rootfs.diff.tar.gzip", crate::layer::GZIP),
            });
        }
        Ok(Base { layers, config: config.config.unwrap_or_default() })
    }

    async fn manifest(&self, architecture: &str) -> Result<Manifest, RegistryError> {
        let mut version = self.name.version().to_owned();
        // A list names manifests; a manifest names layers; there is nothing deeper.
        for _ in 0..2 {
            let expected = version.parse::<Digest>().ok();
            let (bytes, kind) = self.document(&format!("manifests/{version}"), expected.as_ref()).await?;
            let is_list = kind.contains("index") || kind.contains("list");
            if !is_list {
                return self.read(&bytes);
            }
            let index: Index = self.read(&bytes)?;
            let meant =
                |it: &&Platform| it.platform.os == "linux" && it.platform.architecture == architecture;
            let found = index.manifests.iter().find(meant).map(|it| it.digest.to_string());
            let missing = || {
                self.error(RegistryErrorKind::NotFound, WHAT, format!("it has none for linux/{architecture}"))
            };
            version = found.ok_or_else(missing)?;
        }
        Err(self.lies("a list of images names another list"))
    }

    /// A short document, checked against its digest where that is known.
    async fn document(
        &self,
        path: &str,
        expected: Option<&Digest>,
    ) -> Result<(Vec<u8>, String), RegistryError> {
        let url = format!("{}/{path}", self.base);
        let response = self.send(WHAT, || super::accepting(self.http.get(&url))).await?;
        let mut response = self.expect(response, WHAT, |status| status.is_success()).await?;
        let kind =
            response.headers().get(CONTENT_TYPE).and_then(|kind| kind.to_str().ok()).unwrap_or_default();
        let kind = kind.to_owned();
        let mut bytes = Vec::new();
        while let Some(chunk) = response.chunk().await.map_err(|error| self.unreachable(WHAT, &error))? {
            bytes.extend_from_slice(&chunk);
            if bytes.len() > DOCUMENT_MAX {
                return Err(self.lies("a manifest of more than 4 MB"));
            }
        }
        match expected {
            Some(expected) if Digest::of(&bytes) != *expected => {
                Err(self.lies("what it sent has another digest than what was asked for"))
            }
            _ => Ok((bytes, kind)),
        }
    }

    async fn fetch(&self, descriptor: &Descriptor, folder: &Path) -> Result<PathBuf, RegistryError> {
        let local = |error: std::io::Error| self.error(RegistryErrorKind::Local, WHAT, error.to_string());
        let path = folder.join(descriptor.digest.hex());
        // Only whole files, whose digest was checked, ever get this name.
        if tokio::fs::metadata(&path).await.is_ok_and(|about| about.len() == descriptor.size) {
            return Ok(path);
        }
        let url = format!("{}/blobs/{}", self.base, descriptor.digest);
        let response = self.send(WHAT, || self.http.get(&url)).await?;
        let mut response = self.expect(response, WHAT, |status| status.is_success()).await?;
        let part = Part::of(&path);
        let mut file = tokio::fs::File::from_std(part.create().map_err(local)?);
        let (mut hasher, mut size) = (Sha256::new(), 0);
        while let Some(chunk) = response.chunk().await.map_err(|error| self.unreachable(WHAT, &error))? {
            size += chunk.len() as u64;
            if size > descriptor.size {
                break;
            }
            hasher.update(&chunk);
            file.write_all(&chunk).await.map_err(local)?;
        }
        file.sync_all().await.map_err(local)?;
        if size != descriptor.size || Digest::finish(hasher) != descriptor.digest {
            return Err(self.lies("a layer is not what its digest says, or was cut off"));
        }
        part.finish().map_err(local)?;
        Ok(path)
    }

    fn read<'a, T: Deserialize<'a>>(&self, bytes: &'a [u8]) -> Result<T, RegistryError> {
        serde_json::from_slice(bytes)
            .map_err(|error| self.lies(&format!("its documents can't be read: {error}")))
    }

    fn lies(&self, why: &str) -> RegistryError {
        self.error(RegistryErrorKind::Lies, WHAT, why)
    }
}
