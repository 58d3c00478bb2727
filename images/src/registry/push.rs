//! Pushing: blobs first, those that are there left alone, the manifest last.

use reqwest::header::{CONTENT_TYPE, LOCATION};
use reqwest::{StatusCode, Url};
use tokio::task::JoinSet;

use super::{DIGEST, Registry, RegistryError, RegistryErrorKind};
use crate::image::MANIFEST;
use crate::{Blob, Digest, Image};

/// What a push did.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Pushed {
    /// Bytes that were sent.
    pub sent_bytes: u64,
    /// Bytes that were there already.
    pub present_bytes: u64,
}

/// Told of each blob as it is done.
pub type Progress<'a> = &'a (dyn Fn(&Pushed) + Send + Sync);

impl Registry {
    /// Sends `image` and names it `tag`. What the registry has is not sent again, and the name appears last: a push
    /// that was broken off leaves nothing that can be pulled, and can be run again.
    ///
    /// # Errors
    /// See [`RegistryErrorKind`].
    pub async fn push(
        &self,
        image: &Image,
        tag: &str,
        progress: Progress<'_>,
    ) -> Result<Pushed, RegistryError> {
        let mut pushed = Pushed::default();
        if self.digest_of(tag).await?.as_deref() == Some(image.digest().as_str()) {
            pushed.present_bytes = image.size();
            progress(&pushed);
            return Ok(pushed);
        }
        let mut sending = JoinSet::new();
        for blob in image.blobs() {
            let (registry, blob) = (self.clone(), blob.clone());
            sending.spawn(async move { registry.push_blob(&blob).await.map(|sent| (sent, blob.size())) });
        }
        // Dropped on the first failure, which ends the others.
        while let Some(done) = sending.join_next().await {
            let done =
                done.map_err(|error| self.error(RegistryErrorKind::Local, "push", error.to_string()))?;
            match done? {
                (true, size) => pushed.sent_bytes += size,
                (false, size) => pushed.present_bytes += size,
            }
            progress(&pushed);
        }
        self.push_manifest(image, tag).await?;
        Ok(pushed)
    }

    /// Sends a blob unless it is there; says whether it was sent.
    async fn push_blob(&self, blob: &Blob) -> Result<bool, RegistryError> {
        const WHAT: &str = "push a layer";
        if self.has_blob(blob.digest()).await? {
            return Ok(false);
        }
        let bytes =
            blob.bytes().map_err(|error| self.error(RegistryErrorKind::Local, WHAT, error.to_string()))?;
        // An upload that breaks off can't be trusted to go on where it was: each attempt is a new one.
        let mut broken = None;
        for _ in 0..3 {
            let place = self.begin_upload(blob.digest()).await?;
            let request = || {
                let request = self.http.put(place.clone()).body(bytes.clone());
                request.header(CONTENT_TYPE, "application/octet-stream")
            };
            match self.finish_upload(request, blob.digest()).await {
                Ok(()) => return Ok(true),
                Err(error) if error.kind() == RegistryErrorKind::Retry => broken = Some(error),
                // The session is gone, as after a restart.
                Err(error) if error.kind() == RegistryErrorKind::NotFound => broken = Some(error),
                Err(error) => return Err(error),
            }
        }
        Err(broken.unwrap_or_else(|| self.error(RegistryErrorKind::Retry, WHAT, "it broke off")))
    }

    async fn has_blob(&self, digest: &Digest) -> Result<bool, RegistryError> {
        const WHAT: &str = "look for a layer";
        let url = format!("{}/blobs/{digest}", self.base);
        let response = self.send(WHAT, || self.http.head(&url)).await?;
        match response.status() {
            StatusCode::NOT_FOUND => Ok(false),
            _ => self.expect(response, WHAT, |status| status.is_success()).await.map(|_| true),
        }
    }

    async fn begin_upload(&self, digest: &Digest) -> Result<Url, RegistryError> {
        const WHAT: &str = "begin an upload";
        let url = format!("{}/blobs/uploads/", self.base);
        let response = self.send(WHAT, || self.http.post(&url).body("")).await?;
        let response = self.expect(response, WHAT, |status| status == StatusCode::ACCEPTED).await?;
        let lies = |why: &str| self.error(RegistryErrorKind::Lies, WHAT, why.to_owned());
        let place = response.headers().get(LOCATION).and_then(|place| place.to_str().ok());
        let place = place.ok_or_else(|| lies("it does not say where to upload"))?;
        let base = Url::parse(&url).map_err(|_| lies("its own URL is none"))?;
        let mut place = base.join(place).map_err(|_| lies("it names no place to upload to"))?;
        let is_own = (place.scheme(), place.host_str(), place.port_or_known_default())
            == (base.scheme(), base.host_str(), base.port_or_known_default());
        if !is_own {
            // Our credentials and our code would go with it.
            return Err(lies("it wants the upload sent to another host"));
        }
        place.query_pairs_mut().append_pair("digest", digest.as_str());
        Ok(place)
    }

    async fn finish_upload(
        &self,
        request: impl Fn() -> reqwest::RequestBuilder,
        digest: &Digest,
    ) -> Result<(), RegistryError> {
        const WHAT: &str = "push a layer";
        let response = self.send_once(WHAT, request).await?;
        let response = self.expect(response, WHAT, |status| status == StatusCode::CREATED).await?;
        self.check_kept(response.headers(), digest, WHAT)?;
        // Some answer "created" to a body that never arrived whole.
        if self.has_blob(digest).await? {
            return Ok(());
        }
        Err(self.error(RegistryErrorKind::Lies, WHAT, "it took the layer and does not have it"))
    }

    async fn push_manifest(&self, image: &Image, tag: &str) -> Result<(), RegistryError> {
        const WHAT: &str = "push the manifest";
        let url = format!("{}/manifests/{tag}", self.base);
        let request = || self.http.put(&url).header(CONTENT_TYPE, MANIFEST).body(image.manifest().to_vec());
        let response = self.send(WHAT, request).await?;
        let response = self.expect(response, WHAT, |status| status == StatusCode::CREATED).await?;
        self.check_kept(response.headers(), image.digest(), WHAT)?;
        match self.digest_of(image.digest().as_str()).await? {
            Some(_) => Ok(()),
            None => Err(self.error(RegistryErrorKind::Lies, WHAT, "it took the image and does not have it")),
        }
    }

    fn check_kept(
        &self,
        headers: &reqwest::header::HeaderMap,
        digest: &Digest,
        what: &'static str,
    ) -> Result<(), RegistryError> {
        let told = headers.get(DIGEST).map(|told| String::from_utf8_lossy(told.as_bytes()).into_owned());
        match told {
            Some(told) if told != digest.as_str() => {
                let why = format!("it keeps {} as `{}`", digest, told.escape_debug());
                Err(self.error(RegistryErrorKind::Lies, what, why))
            }
            _ => Ok(()),
        }
    }
}
