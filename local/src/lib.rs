//! The serverless platform on one's own machine: one loopback server that speaks OpenWhisk's REST API and OpenFaaS's
//! gateway API, runs functions as child processes, and is as strict as the real ones.
//!
//! Limits are real: a function that takes longer than its time limit is killed with SIGKILL, one that uses more than its
//! memory is too, and an idle one is paused. Faults can be had on demand: see [`Faults`].
//!
//! Only programs that were registered as an [`Image`] are ever run. With an [`Engine`] they are container images, run with
//! the flags of the real platforms.
//!
//! ```no_run
//! # async fn example() -> Result<(), Box<dyn std::error::Error>> {
//! use limitless_faas_local::{Config, Image, Platform};
//!
//! let mut config = Config::default();
//! config.images.insert("factors".to_owned(), Image::new("target/release/factors"));
//! let platform = Platform::start(config).await?;
//! println!("deploy to {} with the key {}", platform.url(), platform.api_key().as_str());
//! let mut events = platform.events();
//! while let Ok(event) = events.recv().await {
//!     println!("{event:?}");
//! }
//! platform.shutdown().await;
//! # Ok(())
//! # }
//! ```

#[cfg(not(unix))]
compile_error!("the local platform runs functions as Unix processes");

mod auth;
mod client;
mod config;
mod container;
mod deliver;
mod duration;
mod engine;
mod events;
mod faults;
mod function;
mod keeper;
mod launch;
mod limits;
mod logs;
mod memory;
mod names;
mod openfaas;
mod openwhisk;
mod platform;
mod pool;
mod process;
mod server;
mod sync;

pub use auth::{ApiKey, InvalidApiKey};
pub use config::{Config, Image};
pub use engine::Engine;
pub use events::{Event, EventKind, KillReason, Stream};
pub use faults::{Faults, InvalidFaults};
pub use limits::Limits;
pub use platform::{Error, Platform};
