//! The platform embedded in `run`, `resume` and `dev`.

use std::collections::BTreeMap;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::Path;
use std::time::Duration;

use limitless_faas_local::{Config, Event, Image, Limits, Platform};
use tokio::sync::broadcast;

use super::{Client, Deployment};
use crate::args::Target;
use crate::error::{Error, Result};
use crate::exit::Exit;
use crate::units;

/// Tells the function how many invocations one execution may have.
const MAX_INVOCATIONS_VARIABLE: &str = "LIMITLESS_MAX_INVOCATIONS";

/// A platform of our own, and a client of it.
#[derive(Debug)]
pub struct Local {
    platform: Platform,
    client: Client,
    target: Target,
    store_url: String,
}

/// A handler on it.
#[derive(Clone, Debug)]
pub struct Deployed<'a> {
    /// Its name.
    pub handler: &'a str,
    /// The binary that has it.
    pub program: &'a Path,
    /// What makes the binary serve it, beside its environment.
    pub args: &'a [String],
}

impl Local {
    /// Starts a platform with the limits and faults of `target`.
    ///
    /// # Errors
    /// Where it can't listen.
    pub async fn start(target: &Target, store_url: &str, listen: Option<SocketAddr>) -> Result<Self> {
        let config = Config {
            listen: listen.unwrap_or_else(|| (Ipv4Addr::LOCALHOST, 0).into()),
            limits: limits(target),
            faults: target.faults.clone(),
            seed: target.seed,
            ..Config::default()
        };
        let platform = Platform::start(config).await.map_err(|error| {
            Error::new(Exit::Platform, "failed to start the platform on this machine")
                .because(error)
                .help("free the address, or take another with --listen 127.0.0.1:0")
        })?;
        let client = Client::new(target.platform, &platform.url(), Some(platform.api_key().as_str()), false)?;
        Ok(Self { platform, client, target: target.clone(), store_url: store_url.to_owned() })
    }

    /// A client of it.
    pub fn client(&self) -> &Client {
        &self.client
    }

    /// Its URL.
    pub fn url(&self) -> String {
        self.platform.url()
    }

    /// Its key, `user:password`.
    pub fn key(&self) -> &str {
        self.platform.api_key().as_str()
    }

    /// What happens on it from now on.
    pub fn events(&self) -> broadcast::Receiver<Event> {
        self.platform.events()
    }

    /// Deploys a handler, or a new version of it.
    ///
    /// # Errors
    /// Where the platform refuses the limits.
    pub async fn deploy(&self, deployed: &Deployed<'_>) -> Result<()> {
        let image = Image {
            env: self.environment(deployed.handler),
            args: deployed.args.to_vec(),
            resumable: true,
            ..Image::new(deployed.program)
        };
        let name = format!("local/{}:1", deployed.handler);
        self.platform.set_image(&name, image);
        let deployment = Deployment {
            name: deployed.handler.to_owned(),
            image: name,
            time_limit: self.target.time_limit,
            memory_mb: self.target.memory,
        };
        self.client.deploy(&deployment).await.map_err(|error| {
            let asked = units::limit(u64::try_from(self.target.time_limit.as_millis()).unwrap_or(u64::MAX));
            error.help(format!("it was asked for --time-limit {asked} and --memory {}MB", self.target.memory))
        })
    }

    /// Ends it: no process, port or file is left.
    pub async fn shutdown(self) {
        self.platform.shutdown().await;
    }

    fn environment(&self, handler: &str) -> BTreeMap<String, String> {
        let own = self.target.env.iter().map(|setting| (setting.name.clone(), setting.value.clone()));
        // A store over a network needs its credentials in the function too.
        let of_store = limitless_faas_store::feature(&self.store_url).map(|_| limitless_faas_store::SETTINGS);
        let of_store = of_store.into_iter().flatten();
        let set = of_store.filter_map(|name| Some((name.to_owned(), std::env::var(name).ok()?)));
        let mut environment: BTreeMap<String, String> = set.chain(own).collect();
        // Where a program's DMTCP is.
        environment.extend(std::env::var("DMTCP_ROOT").ok().map(|root| ("DMTCP_ROOT".to_owned(), root)));
        environment.insert("LIMITLESS_STORE".to_owned(), self.store_url.clone());
        environment.insert("LIMITLESS_HANDLER".to_owned(), handler.to_owned());
        if let Some(most) = self.target.max_invocations {
            environment.insert(MAX_INVOCATIONS_VARIABLE.to_owned(), most.to_string());
        }
        environment
    }
}

/// A person's own machine refuses nothing that a platform's operator could allow.
fn limits(target: &Target) -> Limits {
    let day = Duration::from_secs(24 * 3600);
    let generous = Limits::generous();
    Limits {
        time_max: target.time_limit.max(day),
        memory_max_mb: target.memory.max(generous.memory_max_mb),
        ..generous
    }
}
