//! The login for a receiver of results: the log names the user, and the deployment has the password.

use limitless_faas_core::callback::{LOGIN_VARIABLE, http};
use limitless_faas_core::{Code, Failure};
use reqwest::Url;

/// The callback with the password for its user, where it names one. A password is given to nobody but the host it is for: whoever may call may
/// name any receiver.
///
/// # Errors
/// [`Code::NotConfigured`] where there is no login for this user at this host.
pub(super) fn with_login(callback: &str, logins: impl FnOnce() -> Option<String>) -> Result<String, Failure> {
    let Some(mut url) = Url::parse(callback).ok().filter(|url| !url.username().is_empty()) else {
        return Ok(callback.to_owned());
    };
    let logins = logins().unwrap_or_default();
    let mut known = logins.split(',').filter_map(|text| Url::parse(text.trim()).ok());
    let login = known.find(|login| login.username() == url.username() && is_same_place(login, &url));
    let is_set = login.is_some_and(|login| url.set_password(login.password()).is_ok());
    if is_set { Ok(url.into()) } else { Err(missing(&url)) }
}

/// The same host and port over the same kind of connection: nothing for TLS is sent without it.
fn is_same_place(login: &Url, url: &Url) -> bool {
    let place = |url: &Url| {
        let scheme = http(url.scheme())?;
        let port = url.port().unwrap_or(if scheme == "https" { 443 } else { 80 });
        Some((scheme, url.host_str()?.to_lowercase(), port))
    };
    place(login).is_some() && place(login) == place(url)
}

fn missing(url: &Url) -> Failure {
    let (scheme, user) = (http(url.scheme()).unwrap_or("https"), url.username());
    let host = url.host_str().unwrap_or_default();
    let port = url.port().map(|port| format!(":{port}")).unwrap_or_default();
    let message = format!(
        "the function has no password for the receiver {scheme}://{user}@{host}{port}: set {LOGIN_VARIABLE}={scheme}://{user}:PASSWORD@{host}{port}"
    );
    Failure::new(Code::NotConfigured, message)
}

#[cfg(test)]
mod tests {
    use super::*;

    const LOGINS: &str =
        "https://me:pw@one.example:8443, http://me:other@two.example,http://you:p%40w@two.example";

    fn ready(callback: &str) -> Result<String, Failure> {
        with_login(callback, || Some(LOGINS.to_owned()))
    }

    #[test]
    fn a_receiver_is_given_its_own_password() {
        for (callback, expected) in [
            ("https://me@one.example:8443/x?y", "https://me:pw@one.example:8443/x?y"),
            ("couchdbs://me@ONE.example:8443/results", "couchdbs://me:pw@ONE.example:8443/results"),
            ("http://me@two.example/", "http://me:other@two.example/"),
            ("couchdb://you@two.example:80/db", "couchdb://you:p%40w@two.example:80/db"),
            ("http://two.example/hook", "http://two.example/hook"),
        ] {
            assert_eq!(ready(callback).unwrap(), expected);
        }
    }

    #[test]
    fn nobody_else_is_given_one() {
        for callback in [
            "http://me@one.example:8443/",
            "https://me@one.example/",
            "https://me@evil.example:8443/?one.example",
            "https://me@one.example.evil:8443/",
            "https://you@one.example:8443/",
        ] {
            let failure = ready(callback).unwrap_err();
            assert_eq!(failure.code, Code::NotConfigured, "{callback}");
            assert!(
                failure.message.contains(LOGIN_VARIABLE) && !failure.message.contains("pw"),
                "{failure:?}"
            );
            assert!(with_login(callback, || None).is_err());
        }
    }
}
