//! Requests: signed in, sent again where that can help, and their refusals as errors.

use std::time::Duration;

use reqwest::header::{AUTHORIZATION, RETRY_AFTER};
use reqwest::{RequestBuilder, Response, StatusCode};

use super::{Registry, RegistryError, RegistryErrorKind};

/// How often a request is made before it is given up.
const ATTEMPTS: u32 = 4;
/// The first pause between two attempts; each is twice the one before.
const PAUSE: Duration = Duration::from_millis(250);
/// The longest pause that a registry may ask for.
const PAUSE_MAX: Duration = Duration::from_secs(20);

impl Registry {
    /// Sends a request until it is answered by something other than "later": once more after signing in, and a few
    /// times where the registry is busy or away.
    pub(super) async fn send(
        &self,
        what: &'static str,
        request: impl Fn() -> RequestBuilder,
    ) -> Result<Response, RegistryError> {
        let mut pause = PAUSE;
        let mut has_signed_in = false;
        let mut attempt = 1;
        loop {
            let sent = self.authorized(request()).await.send().await;
            let is_last = attempt == ATTEMPTS;
            match sent {
                Ok(response) if response.status() == StatusCode::UNAUTHORIZED && !has_signed_in => {
                    has_signed_in = true;
                    self.sign_in(response.headers()).await?;
                    continue;
                }
                Ok(response) if is_later(response.status()) && !is_last => {
                    tokio::time::sleep(asked_pause(&response).unwrap_or(pause)).await;
                }
                Ok(response) => return Ok(response),
                Err(error) if is_last || error.is_builder() => return Err(self.unreachable(what, &error)),
                Err(_) => tokio::time::sleep(pause).await,
            }
            attempt += 1;
            pause *= 2;
        }
    }

    /// Sends a request that can't be sent again as it is; where the registry forgot us, signs in first.
    pub(super) async fn send_once(
        &self,
        what: &'static str,
        request: impl Fn() -> RequestBuilder,
    ) -> Result<Response, RegistryError> {
        let send = async || self.authorized(request()).await.send().await;
        let response = send().await.map_err(|error| self.unreachable(what, &error))?;
        if response.status() != StatusCode::UNAUTHORIZED {
            return Ok(response);
        }
        self.sign_in(response.headers()).await?;
        send().await.map_err(|error| self.unreachable(what, &error))
    }

    async fn authorized(&self, request: RequestBuilder) -> RequestBuilder {
        match &*self.authorization.lock().await {
            Some(authorization) => request.header(AUTHORIZATION, authorization.header()),
            None => request,
        }
    }

    /// The response, if its status is one of those hoped for.
    pub(super) async fn expect(
        &self,
        response: Response,
        what: &'static str,
        is_good: impl Fn(StatusCode) -> bool,
    ) -> Result<Response, RegistryError> {
        let status = response.status();
        if is_good(status) {
            return Ok(response);
        }
        let body = response.text().await.unwrap_or_default();
        Err(RegistryError::refused(self.name.registry(), what, status, &body))
    }

    pub(super) fn error(
        &self,
        kind: RegistryErrorKind,
        what: &'static str,
        why: impl Into<String>,
    ) -> RegistryError {
        RegistryError::new(kind, self.name.registry(), what, why)
    }

    /// reqwest repeats the URL, which may hold a token; the last cause says what happened.
    pub(super) fn unreachable(&self, what: &'static str, error: &reqwest::Error) -> RegistryError {
        let mut cause: &dyn std::error::Error = error;
        while let Some(deeper) = cause.source() {
            cause = deeper;
        }
        self.error(RegistryErrorKind::Retry, what, cause.to_string())
    }
}

fn is_later(status: StatusCode) -> bool {
    status == StatusCode::TOO_MANY_REQUESTS || status.is_server_error()
}

fn asked_pause(response: &Response) -> Option<Duration> {
    let seconds = response.headers().get(RETRY_AFTER)?.to_str().ok()?.parse().ok()?;
    Some(Duration::from_secs(seconds).min(PAUSE_MAX))
}
