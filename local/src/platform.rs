//! The platform as a whole: started, watched, shut down.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;

use tempfile::TempDir;
use tokio::net::TcpListener;
use tokio::sync::broadcast;
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use crate::auth::ApiKey;
use crate::config::{Config, Image};
use crate::deliver::Dispatcher;
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
        let prepare = |what| move |error| Error::Prepare { what, error };
        let folder = tempfile::Builder::new().prefix("limitless-").tempdir();
        let folder = folder.map_err(prepare("a temporary folder"))?;
        let mark = Uuid::new_v4().simple().to_string();
        let keeper = Keeper::start(folder.path(), &mark).map_err(prepare("the process that cleans up"))?;
        let keeper = Arc::new(keeper);
        let shared = share(config, url, &keeper, &folder, mark);
        let server = server::serve(listener, Arc::clone(&shared));
        shared.pool.tasks.spawn(server);
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

fn share(config: Config, url: String, keeper: &Arc<Keeper>, folder: &TempDir, mark: String) -> Arc<Shared> {
    let config = Arc::new(config);
    let events = Events::new(config.event_capacity);
    let (keeper, folder) = (Arc::clone(keeper), folder.path().to_owned());
    let pool = Pool::new(Arc::clone(&config), events.clone(), keeper, folder, mark);
    let stop = CancellationToken::new();
    let dispatcher = Dispatcher::new(Arc::clone(&pool), stop.clone());
    let (whisk, gateway) = (Whisk::new(&config.limits), Gateway::new(&config.limits));
    Arc::new(Shared { config, url, events, pool, dispatcher, stop, whisk, gateway })
}
