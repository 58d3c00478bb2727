//! Why a registry did not do what was asked.

use reqwest::StatusCode;

/// What the caller can do about an error.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum RegistryErrorKind {
    /// Try again later: it can't be reached, is busy, or failed.
    Retry,
    /// Sign in, or as somebody else.
    Unauthorized,
    /// The image or repository is not there.
    NotFound,
    /// What it sent is not what was asked for, or it does not speak the protocol.
    Lies,
    /// It refuses for another reason.
    Refused,
    /// A file of this machine can't be read or written.
    Local,
}

/// Why a registry did not do what was asked. Nothing is half done: an image appears under its name last of all.
#[derive(Debug, thiserror::Error)]
#[error("failed to {what} at {registry}: {why}")]
pub struct RegistryError {
    kind: RegistryErrorKind,
    registry: String,
    what: &'static str,
    why: String,
}

impl RegistryError {
    pub(crate) fn new(
        kind: RegistryErrorKind,
        registry: &str,
        what: &'static str,
        why: impl Into<String>,
    ) -> Self {
        Self { kind, registry: registry.to_owned(), what, why: why.into() }
    }

    /// What the caller can do about it.
    pub fn kind(&self) -> RegistryErrorKind {
        self.kind
    }

    /// From a refusal: its status, and the protocol's errors in its body.
    pub(crate) fn refused(registry: &str, what: &'static str, status: StatusCode, body: &str) -> Self {
        let kind = match status {
            StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN => RegistryErrorKind::Unauthorized,
            StatusCode::NOT_FOUND => RegistryErrorKind::NotFound,
            StatusCode::TOO_MANY_REQUESTS => RegistryErrorKind::Retry,
            status if status.is_server_error() => RegistryErrorKind::Retry,
            _ => RegistryErrorKind::Refused,
        };
        let said = said(body);
        Self::new(
            kind,
            registry,
            what,
            if said.is_empty() { status.to_string() } else { format!("{status}: {said}") },
        )
    }
}

/// What the body says, in one line without control characters.
fn said(body: &str) -> String {
    let json: Option<serde_json::Value> = serde_json::from_str(body).ok();
    let first = json.as_ref().and_then(|json| json.pointer("/errors/0"));
    let told = first.and_then(|error| error.get("message").or_else(|| error.get("code")));
    let text = told.and_then(serde_json::Value::as_str).unwrap_or(body);
    text.lines().next().unwrap_or_default().trim().chars().filter(|c| !c.is_control()).take(300).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_refusal_tells_what_to_do() {
        let error = |status: u16, body: &str| {
            RegistryError::refused("r", "push", StatusCode::from_u16(status).unwrap(), body)
        };
        assert_eq!(error(401, "").kind(), RegistryErrorKind::Unauthorized);
        assert_eq!(error(403, "").kind(), RegistryErrorKind::Unauthorized);
        assert_eq!(error(404, "").kind(), RegistryErrorKind::NotFound);
        assert_eq!(error(429, "").kind(), RegistryErrorKind::Retry);
        assert_eq!(error(500, "").kind(), RegistryErrorKind::Retry);
        let body = "{\"errors\":[{\"code\":\"DENIED\",\"message\":\"no \\u001b[31mway\\nat all\"}]}";
        let text = error(409, body).to_string();
        assert_eq!(text, "failed to push at r: 409 Conflict: no [31mway");
    }
}
