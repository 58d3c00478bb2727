//! The platform embedded in `run`, `resume` and `dev`.

use std::collections::BTreeMap;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::time::Duration;

use limitless_faas_core::placement::Placement;
use limitless_faas_local::{Config, Event, Image, Limits, Platform};
use tokio::sync::broadcast;

use super::{Client, Deployment};
use crate::args::Target;
use crate::error::{Error, Result};
use crate::exit::Exit;
use crate::image::Engine;
use crate::units;

/// Tells a workflow where its nodes run.
pub const PLACEMENT_VARIABLE: &str = "LIMITLESS_PLACEMENT";

/// A placement as its variable has it.
///
/// # Errors
/// None but a bug of ours.
pub fn written(placement: &Placement) -> Result<String> {
    serde_json::to_string(placement).map_err(|error| Error::bug("a placement that is no JSON").because(error))
}

/// Tells the function how many invocations one execution may have.
const MAX_INVOCATIONS_VARIABLE: &str = "LIMITLESS_MAX_INVOCATIONS";

/// A platform of our own, and a client of it.
#[derive(Debug)]
pub struct Local {
    platform: Platform,
    client: Client,
    engine: Option<Engine>,
    target: Target,
    store_url: String,
}

/// A handler on it.
#[derive(Clone, Debug)]
pub struct Deployed<'a> {
    /// Its name.
    pub handler: &'a str,
    /// What runs it.
    pub runs: Runs<'a>,
    /// Where its nodes run, if it is a workflow and they are placed.
    pub placement: Option<&'a Placement>,
}

/// What runs a handler.
#[derive(Clone, Copy, Debug)]
pub enum Runs<'a> {
    /// A binary, and what makes it serve the handler beside its environment.
    Program(&'a Path, &'a [String]),
    /// An image that the engine has.
    Container(&'a str),
}

impl Local {
    /// Starts a platform with the limits and faults of `target`.
    ///
    /// # Errors
    /// Where it can't listen; with `--containers`, where there is no engine or containers could not reach the store.
    pub async fn start(target: &Target, store_url: &str, listen: Option<SocketAddr>) -> Result<Self> {
        let engine = if target.containers { Some(Engine::find().await?) } else { None };
        let config = Config {
            engine: engine.as_ref().map(|engine| with_store(engine, store_url)).transpose()?,
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
        Ok(Self { platform, client, engine, target: target.clone(), store_url: store_url.to_owned() })
    }

    /// What runs its containers, with `--containers`.
    pub fn engine(&self) -> Option<&Engine> {
        self.engine.as_ref()
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
        let mut environment = self.environment();
        environment.insert("LIMITLESS_HANDLER".to_owned(), deployed.handler.to_owned());
        if let Some(placement) = deployed.placement {
            environment.insert(PLACEMENT_VARIABLE.to_owned(), written(placement)?);
        }
        self.deploy_as(deployed.handler, deployed, environment).await
    }

    /// Deploys the other wraps that a workflow's placement needs: the same binary under other names.
    ///
    /// # Errors
    /// Where the platform refuses the limits.
    pub async fn deploy_wraps(&self, deployed: &Deployed<'_>) -> Result<()> {
        let wraps = deployed.placement.map(Placement::wraps).unwrap_or_default();
        for wrap in wraps {
            let mut environment = self.environment();
            environment.insert("LIMITLESS_FUNCTION".to_owned(), wrap.to_owned());
            self.deploy_as(wrap, deployed, environment).await?;
        }
        Ok(())
    }

    async fn deploy_as(
        &self,
        function: &str,
        deployed: &Deployed<'_>,
        env: BTreeMap<String, String>,
    ) -> Result<()> {
        let image = match deployed.runs {
            Runs::Program(program, args) => Image { args: args.to_vec(), ..Image::new(program) },
            Runs::Container(name) => Image::container(name),
        };
        let image = Image { env, resumable: true, ..image };
        let name = format!("local/{function}:1");
        self.platform.set_image(&name, image);
        let deployment = Deployment {
            name: function.to_owned(),
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

    fn environment(&self) -> BTreeMap<String, String> {
        let own = self.target.env.iter().map(|setting| (setting.name.clone(), setting.value.clone()));
        // A store over a network needs its credentials in the function too.
        let of_store = limitless_faas_store::feature(&self.store_url).map(|_| limitless_faas_store::SETTINGS);
        let of_store = of_store.into_iter().flatten();
        let set = of_store.filter_map(|name| Some((name.to_owned(), std::env::var(name).ok()?)));
        let mut environment: BTreeMap<String, String> = set.chain(own).collect();
        // Wherever the store is, the function must read what was encrypted here, and write what can be read here.
        let variable = limitless_faas_store::KEY_VARIABLE;
        environment.extend(std::env::var(variable).ok().map(|keys| (variable.to_owned(), keys)));
        // Where a program's DMTCP is.
        environment.extend(std::env::var("DMTCP_ROOT").ok().map(|root| ("DMTCP_ROOT".to_owned(), root)));
        environment.insert("LIMITLESS_STORE".to_owned(), self.store_url.clone());
        if let Some(most) = self.target.max_invocations {
            environment.insert(MAX_INVOCATIONS_VARIABLE.to_owned(), most.to_string());
        }
        environment
    }
}

/// The engine, whose containers see the store's folder where the store is one.
fn with_store(engine: &Engine, store_url: &str) -> Result<limitless_faas_local::Engine> {
    let mut with = limitless_faas_local::Engine::new(engine.program());
    if limitless_faas_store::feature(store_url).is_some() {
        let near = ["//127.", "//localhost", "//[::1]", "@127.", "@localhost", "@[::1]"];
        if near.iter().any(|near| store_url.contains(near)) {
            return Err(Error::usage("containers can't reach a store on this machine's loopback address")
                .help("let it listen on the address of the containers' network, often 172.17.0.1, and name that")
                .help("or use a folder: --store file:/a/folder"));
        }
        return Ok(with);
    }
    let store = limitless_faas_store::open(store_url).map_err(|error| {
        Error::new(Exit::Store, format!("failed to open the store {store_url}")).because(error)
    })?;
    let described = store.describe();
    let Some(folder) = described.strip_prefix("file:") else {
        return Err(Error::usage(format!("containers can't share the store {described}"))
            .help("use a folder: --store file:/a/folder"));
    };
    with.folders.push(PathBuf::from(folder));
    Ok(with)
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
