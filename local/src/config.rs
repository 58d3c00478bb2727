//! How a platform is set up.

use std::collections::BTreeMap;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::PathBuf;

use crate::auth::ApiKey;
use crate::engine::Engine;
use crate::faults::Faults;
use crate::limits::Limits;

/// How a [`Platform`](crate::Platform) is set up. The default listens on a free port, knows no image, makes no fault.
#[derive(Clone, Debug)]
pub struct Config {
    /// Where to listen: a loopback address; port 0 takes a free one.
    pub listen: SocketAddr,
    /// The key callers must show; a fresh random one by default.
    pub api_key: ApiKey,
    /// The OpenWhisk namespace that the key stands for.
    pub namespace: String,
    /// What may be run, by image name. Nothing else ever is.
    pub images: BTreeMap<String, Image>,
    /// What runs the images that name a [`Image::container`]; the platform then listens on the engine's network as well.
    pub engine: Option<Engine>,
    /// What functions may use.
    pub limits: Limits,
    /// The faults to make.
    pub faults: Faults,
    /// What the faults follow from.
    pub seed: u64,
    /// Environment variables for every function process.
    pub env: BTreeMap<String, String>,
    /// Whether a call whose process died is delivered again, for images that are [`Image::resumable`].
    pub watchdog: bool,
    /// How many events a slow subscriber may lag behind before it misses some.
    pub event_capacity: usize,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            listen: SocketAddr::from((Ipv4Addr::LOCALHOST, 0)),
            api_key: ApiKey::generate(),
            namespace: "guest".to_owned(),
            images: BTreeMap::new(),
            engine: None,
            limits: Limits::default(),
            faults: Faults::default(),
            seed: 0,
            env: BTreeMap::new(),
            watchdog: true,
            event_capacity: 16_384,
        }
    }
}

/// What stands for a container image: a program on this machine, or one that is a container image indeed.
///
/// A program's process gets a listening loopback socket as file descriptor 3 (`LISTEN_FDS=1`) and a clean environment: `PATH`,
/// `HOME`, `TMPDIR` and `LANG` of the platform, [`Config::env`], [`Image::env`], and what the platform's contract asks for.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Image {
    /// The program, absolute or relative to the working directory; not searched for in `PATH`.
    pub program: PathBuf,
    /// Its arguments.
    pub args: Vec<String>,
    /// Run the container image of this name with [`Config::engine`] instead of the program. The engine must have it already.
    pub container: Option<String>,
    /// Environment variables for its processes.
    pub env: BTreeMap<String, String>,
    /// Whether a call can be delivered again after its process died, because the function goes on where it was.
    pub resumable: bool,
}

impl Image {
    /// An image that runs `program` without arguments and can't resume.
    pub fn new(program: impl Into<PathBuf>) -> Self {
        Self { program: program.into(), ..Self::default() }
    }

    /// An image that the engine runs as a container and that can't resume.
    pub fn container(name: impl Into<String>) -> Self {
        Self { container: Some(name.into()), ..Self::default() }
    }
}
