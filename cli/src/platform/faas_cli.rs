//! Who we are to a gateway: what `faas-cli login` left on this machine.

use std::path::PathBuf;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde::Deserialize;

use crate::error::{Error, Result};

#[derive(Deserialize)]
struct Config {
    #[serde(default)]
    auths: Vec<Auth>,
}

/// How one gateway was signed in to.
#[derive(Deserialize)]
struct Auth {
    #[serde(default)]
    gateway: String,
    #[serde(default, rename = "auth")]
    kind: String,
    #[serde(default)]
    token: String,
}

/// The key of this gateway, `user:password`; none where nobody signed in to it.
///
/// # Errors
/// Where the file or what it has for this gateway can't be understood. Its content is not repeated.
pub(super) fn key(gateway: &str) -> Result<Option<String>> {
    let Some(path) = file() else { return Ok(None) };
    let Ok(text) = std::fs::read_to_string(&path) else { return Ok(None) };
    read(&text, gateway).map_err(|why| {
        Error::usage(format!("failed to read the key of {gateway} from {}", path.display()))
            .because(std::io::Error::other(why))
            .help(format!("sign in anew: faas-cli login --gateway {gateway}"))
            .help("or give the key: --auth USER:PASSWORD")
    })
}

fn file() -> Option<PathBuf> {
    let given = std::env::var_os("OPENFAAS_CONFIG").filter(|folder| !folder.is_empty()).map(PathBuf::from);
    let folder = given.or_else(|| std::env::home_dir().map(|home| home.join(".openfaas")));
    folder.map(|folder| folder.join("config.yml"))
}

fn read(text: &str, gateway: &str) -> std::result::Result<Option<String>, &'static str> {
    if text.trim().is_empty() {
        return Ok(None);
    }
    // A parser's message shows what stands there, and a secret does.
    let config: Config = serde_yaml_ng::from_str(text).map_err(|_| "it is not what faas-cli writes")?;
    let same = |url: &str| url.trim_end_matches('/').eq_ignore_ascii_case(gateway.trim_end_matches('/'));
    let Some(found) = config.auths.into_iter().find(|auth| same(&auth.gateway)) else { return Ok(None) };
    if found.kind != "basic" {
        return Err("the sign-in there is of another kind than user and password");
    }
    let key = STANDARD.decode(found.token.trim()).ok().and_then(|bytes| String::from_utf8(bytes).ok());
    key.filter(|key| key.contains(':')).map(Some).ok_or("the token there is no user and password")
}

#[cfg(test)]
mod tests {
    use super::*;

    const FILE: &str = "\
auths:
- gateway: http://127.0.0.1:8080
  auth: basic
  token: YWRtaW46cGE6c3M=
- gateway: https://faas.example/
  auth: oauth2
  token: eyJhbGciOi
";

    #[test]
    fn what_faas_cli_left_is_found_by_the_gateway() {
        assert_eq!(read(FILE, "http://127.0.0.1:8080/"), Ok(Some("admin:pa:ss".to_owned())));
        assert_eq!(read(FILE, "http://127.0.0.1:8081"), Ok(None));
        assert_eq!(read("", "http://127.0.0.1:8080"), Ok(None));
    }

    #[test]
    fn what_can_not_be_understood_is_told_and_not_repeated() {
        for (text, gateway) in [
            (FILE, "https://faas.example"),
            ("auths: [{gateway: 'http://g', auth: basic, token: secret}]", "http://g"),
            ("auths: secret", "http://g"),
        ] {
            let why = read(text, gateway).unwrap_err();
            assert!(!why.contains("secret") && !why.contains("eyJ"), "{why}");
        }
    }
}
