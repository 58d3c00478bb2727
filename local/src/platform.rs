//! The platform as a whole: started, watched, shut down.

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use tempfile::TempDir;
use tokio::net::TcpListener;
use tokio::sync::broadcast;
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use crate::auth::ApiKey;
use crate::config::{Config, Image};
use crate::deliver::Dispatcher;
use crate::engine::Engine;
use crate::events::{Event, Events};
use crate::keeper::Keeper;
use crate::openfaas::Gateway;
use crate::openwhisk::Whisk;
use crate::pool::Pool;
use crate::server;

/// Why a platform can't be started. All are the caller's to mend; trying again alone helps only with
/// [`Error::Listen`].
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// Functions run with the rights of whoever started the platform, so nobody else's machine may reach it.
    #[error("the local platform listens on loopback addresses only, not on {0}")]
    NotLoopback(SocketAddr),
    /// The address can't be listened on.
    #[error("failed to listen on {address}: {error}")]
    Listen {
        /// The address.
        address: SocketAddr,
        /// What the system says.
        error: io::Error,
    },
    /// The container engine does not answer, or has no network whose address this machine could listen on.
    #[error("the container engine does not answer as docker does: {0}")]
    Engine(io::Error),
    /// The namespace is no OpenWhisk name.
    #[error("{0:?} can't be a namespace: letters, digits and @ . & - _, beginning with a letter, digit or _")]
    Namespace(String),
    /// The folder for the platform's own files, or the process that cleans up after it, can't be made.
    #[error("failed to prepare {what}: {error}")]
    Prepare {
        /// What.
        what: &'static str,
        /// What the system says.
        error: io::Error,
    },
}

/// What the APIs share.
pub(crate) struct Shared {
    pub(crate) config: Arc<Config>,
    pub(crate) url: String,
    /// Where functions reach the platform; containers do so on their own network.
    pub(crate) function_url: String,
    /// This machine's address on the containers' network.
    pub(crate) inner: Option<IpAddr>,
    pub(crate) events: Events,
    pub(crate) pool: Arc<Pool>,
    pub(crate) dispatcher: Arc<Dispatcher>,
    pub(crate) stop: CancellationToken,
    pub(crate) whisk: Whisk,
    pub(crate) gateway: Gateway,
}

/// A running platform. End it with [`Platform::shutdown`]; dropping it does the same, but blocks for some milliseconds.
pub struct Platform {
    shared: Arc<Shared>,
    keeper: Arc<Keeper>,
    // Removed by the keeper already; this covers a keeper that was killed.
    _folder: TempDir,
}

impl Platform {
    /// Starts a platform on the current Tokio runtime; it accepts requests when this returns.
    ///
    /// # Errors
    /// See [`Error`].
    pub async fn start(config: Config) -> Result<Self, Error> {
        if !config.listen.ip().is_loopback() {
            return Err(Error::NotLoopback(config.listen));
        }
        if !crate::names::is_entity_name(&config.namespace) {
            return Err(Error::Namespace(config.namespace));
        }
        let failed = |error| Error::Listen { address: config.listen, error };
        let listener = TcpListener::bind(config.listen).await.map_err(failed)?;
        let url = format!("http://{}", listener.local_addr().map_err(failed)?);
        let inner = listen_to_containers(config.engine.as_ref()).await?;
        let prepare = |what| move |error| Error::Prepare { what, error };
        let folder = tempfile::Builder::new().prefix("limitless-").tempdir();
        let folder = folder.map_err(prepare("a temporary folder"))?;
        let mark = Uuid::new_v4().simple().to_string();
        let keeper = Keeper::start(folder.path(), &mark, config.engine.as_ref())
            .map_err(prepare("the process that cleans up"))?;
        let keeper = Arc::new(keeper);
        let inner_address = inner.as_ref().map(|(_, address)| *address);
        let shared = share(config, url, inner_address, &keeper, &folder, mark);
        let listeners = std::iter::once(listener).chain(inner.map(|(listener, _)| listener));
        for listener in listeners {
            shared.pool.tasks.spawn(server::serve(listener, Arc::clone(&shared)));
        }
        shared.gateway.start_workers(&shared);
        Ok(Self { shared, keeper, _folder: folder })
    }

    /// Where it listens, such as `http://127.0.0.1:40123`: OpenWhisk's API host and OpenFaaS's gateway in one.
    pub fn url(&self) -> String {
        self.shared.url.clone()
    }

    /// The key callers must show.
    pub fn api_key(&self) -> &ApiKey {
        &self.shared.config.api_key
    }

    /// What happens from now on.
    pub fn events(&self) -> broadcast::Receiver<Event> {
        self.shared.events.subscribe()
    }

    /// Registers an image or replaces it: from now on calls get fresh processes of the new one. Those at work finish.
    pub fn set_image(&self, name: &str, image: Image) {
        self.shared.pool.set_image(name, image);
    }

    /// Ends everything: when it returns, no process, port or file of the platform is left.
    pub async fn shutdown(self) {
        self.stop();
        let keeper = Arc::clone(&self.keeper);
        // It fails only with the runtime; then dropping the keeper finishes it.
        drop(tokio::task::spawn_blocking(move || keeper.finish()).await);
        let tasks = &self.shared.pool.tasks;
        tasks.close();
        tasks.wait().await;
    }

    fn stop(&self) {
        self.shared.stop.cancel();
        self.shared.pool.close();
    }
}

impl Drop for Platform {
    fn drop(&mut self) {
        self.stop();
        self.keeper.finish();
    }
}

impl std::fmt::Debug for Platform {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Platform").field("url", &self.shared.url).finish_non_exhaustive()
    }
}

/// Containers can't reach this machine's loopback: for them the platform listens on their own network.
async fn listen_to_containers(engine: Option<&Engine>) -> Result<Option<(TcpListener, SocketAddr)>, Error> {
    let Some(engine) = engine.cloned() else { return Ok(None) };
    let gateway = tokio::task::spawn_blocking(move || engine.gateway()).await;
    let gateway = gateway.map_err(io::Error::other).and_then(|told| told).map_err(Error::Engine)?;
    let failed = |error| Error::Listen { address: (gateway, 0).into(), error };
    let listener = TcpListener::bind((gateway, 0)).await.map_err(failed)?;
    let address = listener.local_addr().map_err(failed)?;
    Ok(Some((listener, address)))
}

fn share(
    config: Config,
    url: String,
    inner: Option<SocketAddr>,
    keeper: &Arc<Keeper>,
    folder: &TempDir,
    mark: String,
) -> Arc<Shared> {
    let config = Arc::new(config);
    let events = Events::new(config.event_capacity);
    let (keeper, folder) = (Arc::clone(keeper), folder.path().to_owned());
    let pool = Pool::new(Arc::clone(&config), events.clone(), keeper, folder, mark);
    let stop = CancellationToken::new();
    let dispatcher = Dispatcher::new(Arc::clone(&pool), stop.clone());
    let (whisk, gateway) = (Whisk::new(&config.limits), Gateway::new(&config.limits));
    let function_url = inner.map_or_else(|| url.clone(), |address| format!("http://{address}"));
    let inner = inner.map(|address| address.ip());
    Arc::new(Shared { config, url, function_url, inner, events, pool, dispatcher, stop, whisk, gateway })
}
