//! Arguments of the commands that build images.

use std::path::PathBuf;

use clap::{Args, ValueEnum};
use limitless_faas_images::Reference;

use super::Pick;
use crate::platform::Dialect;

/// What a function is linked with.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
#[value(rename_all = "lowercase")]
pub enum Libc {
    /// Linked statically: one file
    Musl,
    /// Linked with this machine's C library, which goes into the image
    Gnu,
}

/// How an image is built.
#[derive(Clone, Debug, Args)]
#[command(next_help_heading = "Image")]
pub struct Make {
    /// The platform that the image is for
    #[arg(long, value_enum, default_value_t)]
    pub platform: Dialect,
    /// The C library to link with [default: musl where cargo can build for it, else gnu]
    #[arg(long, value_enum, value_name = "LIBC")]
    pub target: Option<Libc>,
    /// The image to build upon: REGISTRY/IMAGE:TAG [default: none]
    #[arg(long, value_name = "IMAGE")]
    pub base: Option<Reference>,
    /// The image's name, with its registry; without a tag it gets one by its content [default: the package's]
    #[arg(long, value_name = "IMAGE")]
    pub name: Option<Reference>,
    /// Place a workflow's nodes as this plan says, which `cargo faas plan --out` wrote
    #[arg(long, value_name = "FILE")]
    pub plan: Option<PathBuf>,
    /// Build without optimisation: sooner, and larger
    #[arg(long, conflicts_with = "release")]
    pub debug: bool,
}

impl Make {
    /// As it is built: an image for `platform` of a binary that exists.
    pub fn of(platform: Dialect) -> Self {
        Self { platform, target: None, base: None, name: None, plan: None, debug: false }
    }
}

/// `cargo faas build`
#[derive(Clone, Debug, Args)]
#[command(after_help = "\
Examples:
  cargo faas build -o factors.tar                          an archive for `docker load`
  cargo faas build --load                                  … loaded already
  cargo faas build --name localhost:5000/factors --push    into a registry
  cargo faas build --platform openfaas --base docker.io/library/debian:bookworm-slim --name me/factors --push
  cargo faas build --dockerfile -o context && docker build context

No container engine is needed but for --load. The same inputs give the same image, to the byte. For
registries it uses what `docker login` left, and plain HTTP on this machine only.")]
pub struct Build {
    /// Write the image as an archive in the OCI layout; with --dockerfile, the folder to build from
    #[arg(long, short, value_name = "PATH")]
    pub output: Option<PathBuf>,
    /// Push the image to its registry
    #[arg(long, requires = "name")]
    pub push: bool,
    /// Load the image into the container engine of this machine
    #[arg(long)]
    pub load: bool,
    /// Print an equal Dockerfile instead
    #[arg(long, conflicts_with_all = ["push", "load"])]
    pub dockerfile: bool,
    #[command(flatten)]
    pub make: Make,
    #[command(flatten)]
    pub pick: Pick,
}
