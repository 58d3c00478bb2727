//! Arguments of the commands that build and call handlers.

use std::fmt;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::str::FromStr;
use std::time::Duration;

use clap::{Args, ValueEnum};
use limitless_faas_core::placement::Model;
use limitless_faas_local::Faults;

use crate::platform::Dialect;
use crate::units;

/// Which binary of which package.
#[derive(Clone, Debug, Default, Args)]
#[command(next_help_heading = "Package")]
pub struct Pick {
    /// The package with the handler
    #[arg(long, short, value_name = "PACKAGE")]
    pub package: Option<String>,
    /// The example with the handler
    #[arg(long, value_name = "NAME", conflicts_with = "bin")]
    pub example: Option<String>,
    /// The binary with the handler
    #[arg(long, value_name = "NAME")]
    pub bin: Option<String>,
    /// Build with optimisation
    #[arg(long, short)]
    pub release: bool,
    /// Cargo features to turn on
    #[arg(long, short = 'F', value_name = "FEATURES")]
    pub features: Vec<String>,
}

impl Pick {
    /// With what the function needs for the store of this URL, and to encrypt what it keeps if there is a key.
    #[must_use]
    pub fn for_store(&self, url: Option<&str>) -> Self {
        let feature = url.and_then(limitless_faas_store::feature);
        let encryption = std::env::var_os(limitless_faas_store::KEY_VARIABLE).map(|_| "encryption");
        let needed = feature.into_iter().chain(encryption).map(|feature| format!("limitless-faas/{feature}"));
        let mut pick = self.clone();
        pick.features.extend(needed);
        pick
    }
}

/// An environment variable for the function.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Setting {
    pub name: String,
    pub value: String,
}

impl FromStr for Setting {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text.split_once('=') {
            Some((name, value)) if !name.is_empty() => {
                Ok(Self { name: name.to_owned(), value: value.to_owned() })
            }
            _ => Err("write it as NAME=VALUE".to_owned()),
        }
    }
}

/// What a function may use, and what may go wrong, on the embedded platform.
#[derive(Clone, Debug, Args)]
#[command(next_help_heading = "Platform")]
pub struct Target {
    /// Time limit of one invocation
    #[arg(long, value_name = "DURATION", default_value = "60s", value_parser = units::parse_limit)]
    pub time_limit: Duration,
    /// Memory limit of a function process
    #[arg(long, value_name = "SIZE", default_value = "256MB", value_parser = units::parse_memory_mb)]
    pub memory: u64,
    /// Which platform's interface the embedded one speaks
    #[arg(long, value_enum, default_value_t)]
    pub platform: Dialect,
    /// Run the functions in containers, as images built here, with this machine's engine: docker or podman
    #[arg(long)]
    pub containers: bool,
    /// Faults to make: duplicate=0.2,lose=0.1,delay=0.2:300ms,kill=0.3,store-fail=0.1,… or all
    #[arg(long, value_name = "SPEC", default_value = "none")]
    pub faults: Faults,
    /// What the faults follow from: the same seed makes the same ones
    #[arg(long, value_name = "N", default_value_t = 0)]
    pub seed: u64,
    /// The store's URL [default: `file:` and the folder faas/store in the target folder]
    #[arg(long, value_name = "URL")]
    pub store: Option<String>,
    /// Fail an execution after so many invocations
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..))]
    pub max_invocations: Option<u64>,
    /// An environment variable for the function
    #[arg(long, value_name = "NAME=VALUE")]
    pub env: Vec<Setting>,
}

/// `cargo faas run`
#[derive(Clone, Debug, Args)]
#[command(after_help = "\
Examples:
  cargo faas run factors --input '{\"n\": 360}'
  cargo faas run factors --input @n.json --time-limit 2s --release
  echo '{\"n\": 360}' | cargo faas run factors --input - --json
  cargo faas run factors --input @n.json --time-limit 2s --faults duplicate=0.2,kill=0.3 --seed 7
  cargo faas run factors --input @n.json --time-limit 2s --containers
  cargo faas run report --input @text.json --plan plan.json     as `cargo faas plan` placed it
  cargo faas run report --input @text.json --model one-to-one   a sandbox for every node
  cargo faas run report --input @text.json --svg ran.svg        a chart of which node ran when

The result goes to stdout as JSON, everything else to stderr. Ctrl-C stops the platform; the
execution can then go on with `cargo faas resume`.")]
pub struct Run {
    /// The handler: the function's name
    pub handler: String,
    /// Its input: JSON, @FILE, or - for stdin
    #[arg(long, short, value_name = "JSON", default_value = "{}")]
    pub input: String,
    /// Name the call: the same key is the same execution [default: a new one each time]
    #[arg(long, value_name = "KEY")]
    pub key: Option<String>,
    /// Keep the result so long after the end, whatever `gc` is told
    #[arg(long, value_name = "DURATION", value_parser = units::parse_keep_ms)]
    pub keep: Option<u64>,
    #[command(flatten)]
    pub place: Place,
    #[command(flatten)]
    pub pick: Pick,
    #[command(flatten)]
    pub target: Target,
}

/// Where the nodes of a workflow run.
#[derive(Clone, Debug, Default, Args)]
#[command(next_help_heading = "Workflow")]
pub struct Place {
    /// Place its nodes as this plan says, which `cargo faas plan --out` wrote
    #[arg(long, value_name = "FILE", conflicts_with = "model")]
    pub plan: Option<PathBuf>,
    /// Place its nodes by a model: one-to-one, sand, faastlane, pool, or ours, which plans with --profiles for this machine's
    /// CPUs [default: threads of one sandbox]
    #[arg(long, value_name = "MODEL", value_parser = model)]
    pub model: Option<Model>,
    /// What `cargo faas profile` measured of the workflow, for --model ours
    #[arg(long, value_name = "FILE", requires = "model")]
    pub profiles: Option<PathBuf>,
    /// What `cargo faas calibrate` measured of this machine, for --model ours
    #[arg(long, value_name = "FILE", requires = "profiles")]
    pub calibration: Option<PathBuf>,
    /// Draw when its nodes ran and where, with what the plan predicts beside it
    #[arg(long, value_name = "FILE")]
    pub svg: Option<PathBuf>,
}

fn model(text: &str) -> Result<Model, String> {
    Model::ALL
        .into_iter()
        .find(|model| model.name() == text)
        .ok_or_else(|| format!("the models are {}", Model::ALL.map(Model::name).join(", ")))
}

/// `cargo faas dev`
#[derive(Clone, Debug, Args)]
#[command(after_help = "\
Examples:
  cargo faas dev
  cargo faas dev -p factors --listen 127.0.0.1:3233 --time-limit 2s
  cargo faas dev --containers                                as images, with the flags of OpenWhisk's invoker
  cargo faas invoke factors --input '{\"n\": 360}'        in another terminal")]
pub struct Dev {
    /// Where to listen: a loopback address; port 0 takes a free one
    #[arg(long, value_name = "ADDRESS", default_value = "127.0.0.1:0")]
    pub listen: SocketAddr,
    /// Don't rebuild on change
    #[arg(long)]
    pub no_watch: bool,
    #[command(flatten)]
    pub pick: Pick,
    #[command(flatten)]
    pub target: Target,
}

/// What a new project begins with.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
#[value(rename_all = "lowercase")]
pub enum Template {
    /// A function with a checkpointed loop
    #[default]
    Handler,
    /// An async function that calls handlers, two of them side by side
    Workflow,
    /// A Python program that faas.toml declares and nobody changes
    Program,
}

impl fmt::Display for Template {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Handler => "handler",
            Self::Workflow => "workflow",
            Self::Program => "program",
        })
    }
}

/// `cargo faas new`
#[derive(Clone, Debug, Args)]
#[command(after_help = "\
Examples:
  cargo faas new collatz && cd collatz && cargo test && cargo faas run collatz
  cargo faas new summary --template workflow
  cargo faas new collatz --template program       a Python program, which needs DMTCP to run")]
pub struct New {
    /// The project's folder; its last part names package and handler
    pub path: PathBuf,
    /// What to begin with
    #[arg(long, value_enum, value_name = "TEMPLATE", default_value_t)]
    pub template: Template,
    /// The handler's name [default: the folder's]
    #[arg(long, value_name = "NAME")]
    pub handler: Option<String>,
    /// Use the SDK in this folder instead of the published one
    #[arg(long, value_name = "FOLDER")]
    pub sdk: Option<PathBuf>,
}

/// A platform that runs already.
#[derive(Clone, Debug, Default, Args)]
#[command(next_help_heading = "Running platform")]
pub struct Remote {
    /// OpenWhisk's API host [default: `$__OW_API_HOST`, `$APIHOST` or `~/.wskprops`]
    #[arg(long, value_name = "URL", conflicts_with = "gateway")]
    pub apihost: Option<String>,
    /// Its key, as `uuid:key` [default: `$__OW_API_KEY`, `$AUTH` or `~/.wskprops`]
    #[arg(long, value_name = "KEY")]
    pub auth: Option<String>,
    /// OpenFaaS's gateway [default: `$OPENFAAS_URL`; its key is what `faas-cli login` left]
    #[arg(long, value_name = "URL")]
    pub gateway: Option<String>,
    /// Accept a certificate that nobody vouches for
    #[arg(long)]
    pub insecure: bool,
}

fn callback(url: &str) -> Result<String, String> {
    limitless_faas_core::callback::check(url).map_err(|error| error.to_string())?;
    Ok(url.to_owned())
}

/// `cargo faas invoke`
#[derive(Clone, Debug, Args)]
#[command(after_help = "\
Examples:
  cargo faas invoke factors --input '{\"n\": 360}'                     on the running `cargo faas dev`
  cargo faas invoke factors --input @n.json --apihost https://ow.example --store file:/mnt/faas
  cargo faas invoke factors --input @n.json --gateway http://127.0.0.1:8080 --detach
  cargo faas invoke factors --input @n.json --keep 30d          its result stays so long

Without --apihost and --gateway it calls the running `cargo faas dev`, and if there is none, the
OpenWhisk of ~/.wskprops.")]
pub struct Invoke {
    /// The handler: the name it is deployed under
    pub handler: String,
    /// Its input: JSON, @FILE, or - for stdin
    #[arg(long, short, value_name = "JSON", default_value = "{}")]
    pub input: String,
    /// The store the handler is deployed with
    #[arg(long, value_name = "URL")]
    pub store: Option<String>,
    /// Name the call: the same key is the same execution [default: a new one each time]
    #[arg(long, value_name = "KEY")]
    pub key: Option<String>,
    /// Post the result to this URL too; `couchdb://host/database` keeps it
    #[arg(long, value_name = "URL", value_parser = callback)]
    pub callback: Option<String>,
    /// Keep the result so long after the end, whatever `gc` is told
    #[arg(long, value_name = "DURATION", value_parser = units::parse_keep_ms)]
    pub keep: Option<u64>,
    /// Don't wait for the result: print the execution's id
    #[arg(long)]
    pub detach: bool,
    #[command(flatten)]
    pub remote: Remote,
}

/// `cargo faas resume`
#[derive(Clone, Debug, Args)]
#[command(after_help = "\
Examples:
  cargo faas resume last                     build its handler and go on, on the embedded platform
  cargo faas resume 3f2a -p factors          an id may be shortened
  cargo faas resume 3f2a --apihost https://ow.example --store file:/mnt/faas

An invocation that still drives the execution is waited for until its lease ends.")]
pub struct Resume {
    /// The execution: its id, the beginning of it, or `last`
    pub id: String,
    #[command(flatten)]
    pub pick: Pick,
    #[command(flatten)]
    pub target: Target,
    #[command(flatten)]
    pub remote: Remote,
}

/// `cargo faas wake`
#[derive(Clone, Debug, Args)]
#[command(after_help = "\
Examples:
  cargo faas wake                                       every execution of the store whose time has come
  cargo faas wake --store file:/mnt/faas --apihost https://ow.example        each minute, from cron
  cargo faas wake 3f2a --event approval --data true     what its handler waits for with ctx.wait_for

An event happens once: its first data stays. Without --apihost and --gateway it invokes on the running
`cargo faas dev`, and if there is none, on the OpenWhisk of ~/.wskprops.")]
pub struct Wake {
    /// The execution: its id, the beginning of it, or `last` [default: all that are due]
    pub id: Option<String>,
    /// The event that happened to it
    #[arg(long, value_name = "NAME", requires = "id")]
    pub event: Option<String>,
    /// The event's data: JSON, @FILE, or - for stdin
    #[arg(long, value_name = "JSON", default_value = "null", requires = "event")]
    pub data: String,
    /// The store the handlers are deployed with
    #[arg(long, value_name = "URL")]
    pub store: Option<String>,
    #[command(flatten)]
    pub remote: Remote,
}
