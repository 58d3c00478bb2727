//! Signing in: what a registry's refusal asks for, and the token it leads to.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use reqwest::header::{HeaderMap, HeaderValue, WWW_AUTHENTICATE};
use serde::Deserialize;

use super::{Credentials, Registry, RegistryError, RegistryErrorKind};

/// The value of the `Authorization` header.
#[derive(Clone)]
pub(super) struct Authorization(HeaderValue);

impl std::fmt::Debug for Authorization {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Authorization(…)")
    }
}

impl Authorization {
    pub(super) fn header(&self) -> HeaderValue {
        self.0.clone()
    }

    fn new(text: &str) -> Option<Self> {
        let mut value = HeaderValue::from_str(text).ok()?;
        value.set_sensitive(true);
        Some(Self(value))
    }

    fn basic(user: &str, password: &str) -> Option<Self> {
        Self::new(&format!("Basic {}", STANDARD.encode(format!("{user}:{password}"))))
    }
}

/// What a `WWW-Authenticate` header asks for.
#[derive(Debug, PartialEq, Eq)]
enum Challenge {
    Basic,
    Bearer { realm: String, service: Option<String> },
}

#[derive(Deserialize)]
struct Token {
    #[serde(default)]
    token: Option<String>,
    #[serde(default)]
    access_token: Option<String>,
}

const WHAT: &str = "sign in";

impl Registry {
    /// Signs in as the refusal with these headers asks.
    pub(super) async fn sign_in(&self, refusal: &HeaderMap) -> Result<(), RegistryError> {
        let mut values = refusal.get_all(WWW_AUTHENTICATE).iter().filter_map(|value| value.to_str().ok());
        let challenge = values.find_map(challenge);
        let authorization = match challenge {
            Some(Challenge::Basic) => match &self.credentials {
                Credentials::Basic { user, password } => Authorization::basic(user, password),
                _ => None,
            },
            Some(Challenge::Bearer { realm, service }) => Some(self.token(&realm, service.as_deref()).await?),
            None => None,
        };
        let refused = || {
            let why = if self.credentials.is_anonymous() {
                "it asks who we are, and there are no credentials for it"
            } else {
                "it does not take the credentials that there are"
            };
            self.error(RegistryErrorKind::Unauthorized, WHAT, why)
        };
        *self.authorization.lock().await = Some(authorization.ok_or_else(refused)?);
        Ok(())
    }

    async fn token(&self, realm: &str, service: Option<&str>) -> Result<Authorization, RegistryError> {
        let lies = |why: &str| self.error(RegistryErrorKind::Lies, WHAT, why.to_owned());
        let mut url = reqwest::Url::parse(realm).map_err(|_| lies("its token service has no URL"))?;
        let is_safe = url.scheme() == "https" || self.name.is_loopback() && is_loopback(&url);
        if !is_safe {
            // Whoever answers for the registry could name any host.
            return Err(lies("it wants credentials sent without encryption"));
        }
        let scope = format!("repository:{}:pull,push", self.name.repository());
        let request = if let Credentials::Identity(token) = &self.credentials {
            let mut form = url.clone();
            form.query_pairs_mut()
                .clear()
                .append_pair("grant_type", "refresh_token")
                .append_pair("service", service.unwrap_or_default())
                .append_pair("client_id", "cargo-faas")
                .append_pair("scope", &scope)
                .append_pair("refresh_token", token);
            let body = form.query().unwrap_or_default().to_owned();
            let kind = "application/x-www-form-urlencoded";
            self.http.post(url).header(reqwest::header::CONTENT_TYPE, kind).body(body)
        } else {
            url.query_pairs_mut().extend_pairs(service.map(|service| ("service", service)));
            url.query_pairs_mut().append_pair("scope", &scope);
            match &self.credentials {
                Credentials::Basic { user, password } => self.http.get(url).basic_auth(user, Some(password)),
                _ => self.http.get(url),
            }
        };
        let response = request.send().await.map_err(|error| self.unreachable(WHAT, &error))?;
        let response = self.expect(response, WHAT, |status| status.is_success()).await?;
        let body = response.bytes().await.map_err(|error| self.unreachable(WHAT, &error))?;
        let token: Token =
            serde_json::from_slice(&body).map_err(|_| lies("its token service does not answer a token"))?;
        let text = token.token.or(token.access_token).unwrap_or_default();
        let authorization = Authorization::new(&format!("Bearer {text}")).filter(|_| !text.is_empty());
        authorization.ok_or_else(|| lies("its token service does not answer a token"))
    }
}

fn is_loopback(url: &reqwest::Url) -> bool {
    let host = url.host_str().unwrap_or_default();
    let address = host.trim_start_matches('[').trim_end_matches(']');
    host == "localhost" || address.parse::<std::net::IpAddr>().is_ok_and(|address| address.is_loopback())
}

fn challenge(value: &str) -> Option<Challenge> {
    let (scheme, parameters) = value.split_once(' ').unwrap_or((value, ""));
    if scheme.eq_ignore_ascii_case("basic") {
        return Some(Challenge::Basic);
    }
    if !scheme.eq_ignore_ascii_case("bearer") {
        return None;
    }
    let parameter = |wanted: &str| {
        let mut rest = parameters;
        while let Some((name, after)) = rest.split_once("=\"") {
            let (value, after) = after.split_once('"')?;
            if name.trim_start_matches([',', ' ']).eq_ignore_ascii_case(wanted) {
                return Some(value.to_owned());
            }
            rest = after;
        }
        None
    };
    Some(Challenge::Bearer { realm: parameter("realm")?, service: parameter("service") })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn challenges_are_read() {
        let bearer =
            r#"Bearer realm="https://auth.example/token",service="registry.example",scope="a:b:pull,push""#;
        let expected = Challenge::Bearer {
            realm: "https://auth.example/token".into(),
            service: Some("registry.example".into()),
        };
        assert_eq!(challenge(bearer), Some(expected));
        assert_eq!(challenge(r#"Basic realm="x""#), Some(Challenge::Basic));
        for other in ["", "Negotiate", "Bearer", "Bearer realm=", "Bearer realm=\"open"] {
            assert_eq!(challenge(other), None, "{other}");
        }
    }
}
