//! Where a result is posted: a URL that stands in the log, and so holds no password.

/// The scheme of what takes results, and that of the HTTP it speaks.
const SCHEMES: [(&str, &str); 4] =
    [("http", "http"), ("https", "https"), ("couchdb", "http"), ("couchdbs", "https")];

/// The function's variable, or secret file, that holds logins of receivers: `https://user:password@host:port`, between commas.
pub const LOGIN_VARIABLE: &str = "LIMITLESS_CALLBACK_LOGIN";

/// A callback that is not taken.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CallbackError {
    /// It is none of the URLs that results can go to.
    #[error(
        "the callback is not a URL that results can be posted to: write http://host/path, https://host/path, couchdb://host/database or couchdbs://host/database"
    )]
    NoReceiver,
    /// It would stand in the log.
    #[error(
        "the callback holds a password, which would stand in the execution's log: leave it out (`https://user@host/…`) and give the function \
         {LOGIN_VARIABLE}=https://user:password@host"
    )]
    Password,
}

/// Checks what a caller gave, before anything of it is written. Nothing of the URL stands in the error.
///
/// # Errors
/// It holds a password, or is no such URL. The same will be refused again.
pub fn check(url: &str) -> Result<(), CallbackError> {
    let (scheme, rest) = url.split_once("://").ok_or(CallbackError::NoReceiver)?;
    // What parsers of URLs remove or read as something else.
    let is_odd = url.chars().any(|c| c.is_whitespace() || c.is_control() || c == '\\');
    let authority = rest.split(['/', '?', '#']).next().unwrap_or_default();
    let (user, host) = authority.rsplit_once('@').unwrap_or(("", authority));
    if http(scheme).is_none() || is_odd || host.is_empty() || host.starts_with(':') {
        return Err(CallbackError::NoReceiver);
    }
    if user.contains(':') { Err(CallbackError::Password) } else { Ok(()) }
}

/// `http` or `https` for the scheme of a receiver; none where it is no receiver's.
pub fn http(scheme: &str) -> Option<&'static str> {
    SCHEMES.iter().find(|(known, _)| *known == scheme).map(|(_, http)| *http)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_password_never_gets_into_a_log() {
        for url in [
            "http://user:pw@host/",
            "https://user:pw@host:8443/x?y#z",
            "couchdb://:pw@host/results",
            "couchdbs://user:@host/results",
            "http://a@b:c@host/",
        ] {
            let error = check(url).unwrap_err();
            assert_eq!(error, CallbackError::Password, "{url}");
            let text = error.to_string();
            assert!(!text.contains("pw@") && text.contains(LOGIN_VARIABLE), "{text}");
        }
    }

    #[test]
    fn what_parsers_of_urls_would_mend_is_refused() {
        for url in [
            "",
            "host/path",
            "http:user:pw@host/",
            "http:/user:pw@host/",
            "http:///user:pw@host/",
            "http:\\\\user:pw@host/",
            "http://host\\@user:pw@other/",
            "ht\ntp://user:pw@host/",
            " http://user:pw@host/",
            "HTTP://user:pw@host/",
            "file:///etc/passwd",
            "http://",
            "http://@/",
            "http://:80/",
        ] {
            assert_eq!(check(url), Err(CallbackError::NoReceiver), "{url:?}");
        }
    }

    #[test]
    fn receivers_are_taken() {
        for url in [
            "http://127.0.0.1:1/",
            "https://user@host/path?token=1:2@3",
            "couchdb://user@host:5984/results",
            "http://[::1]:80/x:y@z",
            "couchdbs://host/results",
        ] {
            assert_eq!(check(url), Ok(()), "{url}");
        }
    }
}
