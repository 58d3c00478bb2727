//! Arguments of the commands that change what is deployed.

use std::time::Duration;

use clap::Args;
use limitless_faas_images::Reference;

use super::{Make, Pick, Remote, Setting};
use crate::units;

/// `cargo faas deploy`
#[derive(Clone, Debug, Args)]
#[command(after_help = "\
Examples:
  cargo faas deploy --name registry.example/me/factors --store file:/mnt/faas
  cargo faas deploy --apihost https://ow.example --env production
  cargo faas deploy --gateway http://127.0.0.1:8080 --platform openfaas --dry-run
  cargo faas deploy --image registry.example/me/factors:1.2     an image that was pushed before
  cargo faas deploy --plan plan.json          a workflow, with a function for each wrap of its plan

What it asks for stands in faas.toml, or as [package.metadata.faas] in Cargo.toml, or is given here;
--env NAME takes the table of that name first:

  [deploy]
  image = \"registry.example/me/factors\"
  store = \"file:/mnt/faas\"
  time_limit = \"60s\"
  memory = \"256MB\"
  environment = { LANGUAGE = \"en\" }
  secrets = [\"API_TOKEN\"]            taken from the environment of this command

  [deploy.env.production]
  memory = \"512MB\"

Each version has a function of its own beside the one that callers know, so that an execution ends in
the version that began it. After a failure or Ctrl-C what was there before is put back: run it again.")]
pub struct Deploy {
    /// Deploy this image, which was pushed before, instead of building one
    #[arg(long, value_name = "IMAGE", conflicts_with = "name")]
    pub image: Option<Reference>,
    /// Don't see whether the image can be pulled
    #[arg(long, requires = "image")]
    pub unchecked: bool,
    /// Take the settings of this environment
    #[arg(long = "env", value_name = "NAME")]
    pub environment: Option<String>,
    /// Show what would change and change nothing
    #[arg(long)]
    pub dry_run: bool,
    /// Time limit of one invocation [default: the settings', else 60s]
    #[arg(long, value_name = "DURATION", value_parser = units::parse_limit)]
    pub time_limit: Option<Duration>,
    /// Memory limit [default: the settings', else 256MB]
    #[arg(long, value_name = "SIZE", value_parser = units::parse_memory_mb)]
    pub memory: Option<u64>,
    /// The store of the executions [default: the settings']
    #[arg(long, value_name = "URL")]
    pub store: Option<String>,
    /// An environment variable for the functions
    #[arg(long, value_name = "NAME=VALUE")]
    pub set: Vec<Setting>,
    /// A secret of the functions, whose value is taken from the environment of this command
    #[arg(long, value_name = "NAME")]
    pub secret: Vec<String>,
    /// Where functions reach the OpenFaaS gateway [default: the settings', else <http://gateway:8080>]
    #[arg(long, value_name = "URL")]
    pub gateway_url: Option<String>,
    /// How long a function may take to its first answer, while the platform pulls its image
    #[arg(long, value_name = "DURATION", default_value = "120s", value_parser = units::parse_limit)]
    pub wait: Duration,
    #[command(flatten)]
    pub make: Make,
    #[command(flatten)]
    pub pick: Pick,
    #[command(flatten)]
    pub remote: Remote,
}

/// `cargo faas versions`
#[derive(Clone, Debug, Args)]
#[command(after_help = "\
Examples:
  cargo faas versions
  cargo faas versions --drain --store file:/mnt/faas      remove old ones that nobody needs any more")]
pub struct Versions {
    /// Remove old versions without unfinished executions
    #[arg(long, requires = "store")]
    pub drain: bool,
    /// The store that the functions are deployed with
    #[arg(long, value_name = "URL")]
    pub store: Option<String>,
    #[command(flatten)]
    pub remote: Remote,
}

/// `cargo faas remove`
#[derive(Clone, Debug, Args)]
#[command(after_help = "\
Examples:
  cargo faas remove factors                       the function and all its versions
  cargo faas remove factors --version 3f2a9c1b    one version")]
pub struct Remove {
    /// The handler
    pub handler: String,
    /// Only this version
    #[arg(long, value_name = "VERSION")]
    pub version: Option<String>,
    #[command(flatten)]
    pub remote: Remote,
}
