//! Who logs in, where, and which server is believed to be that one.

use std::path::PathBuf;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use russh::client::{self, Config, Handle};
use russh::keys::{
    PrivateKey, PrivateKeyWithHashAlg, PublicKey, PublicKeyOrCertificate, decode_secret_key, known_hosts,
};

use crate::Settings;
use crate::address::Address;
use crate::{StoreError, StoreErrorKind};

const PORT: u16 = 22;
/// For connecting and logging in.
const TIMEOUT: Duration = Duration::from_secs(15);

/// A server, and how to log in there.
pub(super) struct Login {
    host: String,
    port: u16,
    user: String,
    key: Option<Arc<PrivateKey>>,
    password: Option<String>,
    hosts: Hosts,
    secrets: Settings,
}

/// Which host keys are believed.
#[derive(Clone)]
enum Hosts {
    /// Those that were given, whatever the host is called.
    Keys(Vec<PublicKey>),
    /// Those that a file in the format of OpenSSH's `known_hosts` has for the host.
    File(PathBuf),
}

impl Login {
    pub(super) fn new(address: &Address, settings: &Settings) -> Result<Self, StoreError> {
        let invalid = |what: &str| {
            let message = format!("failed to open the store {}: {what}", address.shown());
            StoreError::new(StoreErrorKind::Invalid, settings.redact(&message))
        };
        let (host, port) = address.host_and_port(PORT)?;
        let user =
            address.user().ok_or_else(|| invalid("write the user: sftp://user@host/absolute/folder"))?;
        let passphrase = settings.get("SFTP_KEY_PASSPHRASE");
        let key = settings.get("SFTP_PRIVATE_KEY").map(|text| {
            decode_secret_key(&text, passphrase.as_deref())
                .map_err(|error| invalid(&format!("SFTP_PRIVATE_KEY can't be used: {error}")))
        });
        let key = key.transpose()?.map(Arc::new);
        let password = address.password().map(str::to_owned).or_else(|| settings.get("SFTP_PASSWORD"));
        if key.is_none() && password.is_none() {
            return Err(invalid("set SFTP_PRIVATE_KEY or SFTP_PASSWORD to log in with"));
        }
        let hosts = Hosts::new(address, settings).map_err(|what| invalid(&what))?;
        let user = user.to_owned();
        Ok(Self { host, port, user, key, password, hosts, secrets: settings.clone() })
    }

    /// What messages call the server.
    pub(super) fn server(&self) -> String {
        format!("sftp://{}@{}:{}", self.user, self.host, self.port)
    }

    /// Connects, checks who answers, and logs in.
    pub(super) async fn connect(&self) -> Result<Handle<Greeter>, StoreError> {
        let late = || {
            let seconds = TIMEOUT.as_secs();
            StoreError::unknown_outcome(format!(
                "failed to log in to {}: no answer in {seconds} s",
                self.server()
            ))
        };
        tokio::time::timeout(TIMEOUT, self.try_to_connect()).await.unwrap_or_else(|_| Err(late()))
    }

    async fn try_to_connect(&self) -> Result<Handle<Greeter>, StoreError> {
        let refusal = Arc::new(OnceLock::new());
        let greeter = Greeter {
            host: self.host.clone(),
            port: self.port,
            hosts: self.hosts.clone(),
            refusal: Arc::clone(&refusal),
        };
        let config = Config { nodelay: true, keepalive_interval: Some(TIMEOUT), ..Config::default() };
        let connected = client::connect(Arc::new(config), (self.host.as_str(), self.port), greeter).await;
        let mut session = connected.map_err(|error| match refusal.get() {
            Some(why) => self.refused(why),
            None => self.failed(&error),
        })?;
        if self.is_let_in(&mut session).await.map_err(|error| self.failed(&error))? {
            return Ok(session);
        }
        let what = match (&self.key, &self.password) {
            (Some(_), Some(_)) => "neither key nor password is accepted",
            (Some(_), None) => "the key is not accepted",
            _ => "the password is not accepted",
        };
        Err(self.refused(what))
    }

    async fn is_let_in(&self, session: &mut Handle<Greeter>) -> Result<bool, russh::Error> {
        if let Some(key) = &self.key {
            let key = PrivateKeyWithHashAlg::new(Arc::clone(key), None);
            if session.authenticate_publickey(&self.user, key).await?.success() {
                return Ok(true);
            }
        }
        match &self.password {
            Some(password) => Ok(session.authenticate_password(&self.user, password).await?.success()),
            None => Ok(false),
        }
    }

    fn refused(&self, why: &str) -> StoreError {
        let message = format!("failed to log in to {}: {why}", self.server());
        StoreError::new(StoreErrorKind::Terminal, self.secrets.redact(&message))
    }

    pub(super) fn failed(&self, error: &dyn std::fmt::Display) -> StoreError {
        let message = format!("failed to connect to {}: {error}", self.server());
        // Nothing was asked of it yet, but the caller may have sent this before.
        StoreError::unknown_outcome(self.secrets.redact(&message))
    }
}

impl Hosts {
    /// `SFTP_HOST_KEYS`, one on each line as in a `.pub` file; else the file that `known_hosts` in the URL names; else the user's own.
    fn new(address: &Address, settings: &Settings) -> Result<Self, String> {
        if let Some(text) = settings.get("SFTP_HOST_KEYS") {
            let lines = text.lines().map(str::trim).filter(|line| !line.is_empty());
            let keys: Result<Vec<_>, _> = lines.map(PublicKey::from_openssh).collect();
            return keys.map(Self::Keys).map_err(|error| {
                format!("SFTP_HOST_KEYS wants a key on each line, as `ssh-ed25519 AAAA…`: {error}")
            });
        }
        let of_user = || Some(std::env::home_dir()?.join(".ssh/known_hosts"));
        let file = address.parameter("known_hosts").map(PathBuf::from).or_else(of_user);
        file.map(Self::File).ok_or_else(|| {
            "no host key is known: set SFTP_HOST_KEYS, or name a file with ?known_hosts=/path".to_owned()
        })
    }

    /// Why this key is not believed to be the server's.
    fn refusal(&self, host: &str, port: u16, key: &PublicKey) -> Option<String> {
        let shown = key.to_openssh().unwrap_or_default();
        match self {
            Self::Keys(keys) if keys.iter().any(|known| known.key_data() == key.key_data()) => None,
            Self::Keys(_) => Some(format!("its host key is not in SFTP_HOST_KEYS; it is {shown}")),
            Self::File(path) => match known_hosts::check_known_hosts_path(host, port, key, path) {
                Ok(true) => None,
                Ok(false) => Some(format!(
                    "its host key is not in {}; if it is the right one, add it there or to SFTP_HOST_KEYS: {shown}",
                    path.display()
                )),
                Err(error) => Some(format!(
                    "its host key is not the one in {} ({error}): somebody may be in between",
                    path.display()
                )),
            },
        }
    }
}

/// Checks who answers.
pub(super) struct Greeter {
    host: String,
    port: u16,
    hosts: Hosts,
    refusal: Arc<OnceLock<String>>,
}

impl client::Handler for Greeter {
    type Error = russh::Error;

    async fn check_server_key(&mut self, server: &PublicKeyOrCertificate) -> Result<bool, Self::Error> {
        let refusal = match server {
            PublicKeyOrCertificate::PublicKey { key, .. } => self.hosts.refusal(&self.host, self.port, key),
            PublicKeyOrCertificate::Certificate(_) => {
                Some("it shows a certificate, and only host keys are checked here".to_owned())
            }
        };
        match refusal {
            None => Ok(true),
            Some(why) => {
                let _ = self.refusal.set(why);
                Ok(false)
            }
        }
    }
}
