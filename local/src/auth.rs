//! The platform's key: who may deploy and invoke.

use std::fmt;
use std::str::FromStr;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use constant_time_eq::constant_time_eq;
use hyper::HeaderMap;
use hyper::header::AUTHORIZATION;
use uuid::Uuid;

/// The `uuid:key` pair that every caller of the REST API must show (HTTP Basic). OpenFaaS clients use the part before
/// the colon as the user and the rest as the password.
#[derive(Clone, PartialEq, Eq)]
pub struct ApiKey(String);

impl ApiKey {
    /// A fresh random key.
    pub fn generate() -> Self {
        Self(format!("{}:{}{}", Uuid::new_v4(), Uuid::new_v4().simple(), Uuid::new_v4().simple()))
    }

    /// The part before the colon.
    pub fn user(&self) -> &str {
        self.0.split_once(':').map_or("", |(user, _)| user)
    }

    /// The part after the colon.
    pub fn password(&self) -> &str {
        self.0.split_once(':').map_or("", |(_, password)| password)
    }

    /// `uuid:key`, as clients expect it.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The value of the `Authorization` header that shows this key.
    pub fn basic(&self) -> String {
        format!("Basic {}", STANDARD.encode(&self.0))
    }

    pub(crate) fn check(&self, headers: &HeaderMap) -> Auth {
        let Some(header) = headers.get(AUTHORIZATION) else { return Auth::Missing };
        let shown = header.as_bytes();
        let is_basic = shown.get(..6).is_some_and(|scheme| scheme.eq_ignore_ascii_case(b"basic "));
        let decoded = shown.get(6..).filter(|_| is_basic).and_then(|text| STANDARD.decode(text).ok());
        match decoded {
            Some(shown) if constant_time_eq(&shown, self.0.as_bytes()) => Auth::Right,
            _ => Auth::Wrong,
        }
    }
}

/// What a request showed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Auth {
    Right,
    Wrong,
    Missing,
}

impl fmt::Debug for ApiKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "ApiKey({}:…)", self.user())
    }
}

/// A text that is no `uuid:key` pair.
#[derive(Debug, thiserror::Error)]
#[error("an API key has the form user:password, both parts not empty")]
pub struct InvalidApiKey;

impl FromStr for ApiKey {
    type Err = InvalidApiKey;

    fn from_str(text: &str) -> Result<Self, InvalidApiKey> {
        match text.split_once(':') {
            Some((user, password)) if !user.is_empty() && !password.is_empty() => Ok(Self(text.to_owned())),
            _ => Err(InvalidApiKey),
        }
    }
}
