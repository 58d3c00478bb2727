//! Finding a platform that runs already.

use std::path::PathBuf;

use super::{Client, Dialect, faas_cli};
use crate::args::Remote;
use crate::error::{Error, Result};
use crate::exit::Exit;
use crate::state::Dev;

/// What a platform is reached by.
#[derive(Debug, Default, PartialEq, Eq)]
struct Properties {
    host: Option<String>,
    key: Option<String>,
}

/// The client that the command line, the running `dev` or the environment tell of; with the store of that `dev`.
///
/// # Errors
/// Where nothing tells of any, or its URL or key is none.
pub fn find(remote: &Remote, dev: Option<Dev>) -> Result<(Client, Option<String>)> {
    if let Some(gateway) = &remote.gateway {
        return at_gateway(remote, gateway).map(|client| (client, None));
    }
    if let Some(dev) = dev.filter(|_| remote.apihost.is_none()) {
        let client = Client::new(dev.platform, &dev.url, Some(&dev.key), false)?;
        return Ok((client, Some(dev.store)));
    }
    let environment = |name: &str| std::env::var(name).ok().filter(|value| !value.is_empty());
    // A variable is nearer than a file, and the platform whose client sets both of its own is meant first.
    let is_whisk = remote.apihost.is_some()
        || ["__OW_API_HOST", "APIHOST"].into_iter().any(|name| environment(name).is_some());
    if let Some(gateway) = environment("OPENFAAS_URL").filter(|_| !is_whisk) {
        return at_gateway(remote, &gateway).map(|client| (client, None));
    }
    let file = properties_file().and_then(|path| std::fs::read_to_string(path).ok()).unwrap_or_default();
    let told = merge(remote, &environment, &file);
    let (Some(host), Some(key)) = (told.host, told.key) else {
        return Err(Error::new(Exit::Platform, "failed to find a running platform")
            .help("start one with `cargo faas dev`")
            .help("or name one: --apihost URL --auth UUID:KEY for OpenWhisk, --gateway URL for OpenFaaS"));
    };
    Client::new(Dialect::OpenWhisk, &with_scheme(&host, "https"), Some(&key), remote.insecure)
        .map(|client| (client, None))
}

/// A client of the gateway; who we are to it says the command line, or what `faas-cli login` left.
fn at_gateway(remote: &Remote, gateway: &str) -> Result<Client> {
    let gateway = with_scheme(gateway, "http");
    let key = match &remote.auth {
        Some(key) => Some(key.clone()),
        None => faas_cli::key(&gateway)?,
    };
    Client::new(Dialect::OpenFaas, &gateway, key.as_deref(), remote.insecure)
}

/// A line that sets OpenWhisk's own client up for this platform.
pub fn wsk_line(url: &str, key: &str) -> String {
    format!("wsk property set --apihost {url} --auth {key}")
}

fn properties_file() -> Option<PathBuf> {
    let given = std::env::var_os("WSK_CONFIG_FILE").map(PathBuf::from);
    given.or_else(|| std::env::home_dir().map(|home| home.join(".wskprops")))
}

/// The command line goes first, then the environment, then the file.
fn merge(remote: &Remote, environment: &dyn Fn(&str) -> Option<String>, file: &str) -> Properties {
    let from_environment =
        |names: [&str; 2]| names.into_iter().find_map(environment).filter(|value| !value.is_empty());
    let from_file = |wanted: &str| {
        let lines = file.lines().filter_map(|line| line.trim().split_once('='));
        let mut values =
            lines.filter(|(name, _)| name.trim() == wanted).map(|(_, value)| value.trim().to_owned());
        values.rfind(|value| !value.is_empty())
    };
    let host = remote.apihost.clone();
    let key = remote.auth.clone();
    Properties {
        host: host
            .or_else(|| from_environment(["__OW_API_HOST", "APIHOST"]))
            .or_else(|| from_file("APIHOST")),
        key: key.or_else(|| from_environment(["__OW_API_KEY", "AUTH"])).or_else(|| from_file("AUTH")),
    }
}

fn with_scheme(host: &str, scheme: &str) -> String {
    if host.contains("://") { host.to_owned() } else { format!("{scheme}://{host}") }
}

#[cfg(test)]
mod tests {
    use super::*;

    const FILE: &str = "# mine\nAPIHOST=ow.example\nAUTH = u:old\nAUTH=u:p=x\nNAMESPACE=_\n";

    #[test]
    fn the_nearest_word_counts() {
        let none = |_: &str| None;
        let told = merge(&Remote::default(), &none, FILE);
        assert_eq!(told, Properties { host: Some("ow.example".into()), key: Some("u:p=x".into()) });
        let environment = |name: &str| (name == "__OW_API_HOST").then(|| "http://env".to_owned());
        let remote = Remote { auth: Some("a:b".into()), ..Remote::default() };
        let told = merge(&remote, &environment, FILE);
        assert_eq!(told, Properties { host: Some("http://env".into()), key: Some("a:b".into()) });
        assert_eq!(merge(&Remote::default(), &none, ""), Properties::default());
    }

    #[test]
    fn a_bare_host_is_taken_as_its_own_client_takes_it() {
        assert_eq!(with_scheme("ow.example", "https"), "https://ow.example");
        assert_eq!(with_scheme("http://127.0.0.1:1", "https"), "http://127.0.0.1:1");
    }
}
