//! Images of functions: what goes into which layer.

mod engine;
mod programs;
mod target;
mod transfer;

use std::collections::BTreeMap;
use std::path::Path;

use limitless_faas_core::placement::Placement;
use limitless_faas_images::{
    Base, Definition, Entry, Image, Layer, Recipe, Reference, Tree, closure, dockerfile,
};

use crate::args::Make;
use crate::error::{Error, Result};
use crate::exit::Exit;
use crate::platform::{Dialect, PLACEMENT_VARIABLE, written};
use crate::project::Function;
use crate::ui::Ui;

pub use engine::Engine;
pub use target::triple;
pub use transfer::{push, registry, registry_error};

/// The files of an image, layer by layer, and how it is started.
#[derive(Debug)]
pub struct Parts {
    definition: Definition,
    layers: Vec<(&'static str, Tree)>,
    environment: BTreeMap<String, String>,
    base: Option<(Reference, Base)>,
    name: Reference,
}

/// An image with its name.
#[derive(Debug)]
pub struct Built {
    /// The image.
    pub image: Image,
    /// Its name, with a tag.
    pub name: Reference,
}

impl Parts {
    /// Gathers what the image of `function` contains: what changes least goes lowest.
    ///
    /// # Errors
    /// Where a file or library is not to be had, or the base image can't be pulled.
    pub async fn gather(make: &Make, function: &Function, cache: &Path) -> Result<Self> {
        let definition = make.platform.definition()?;
        let base = match &make.base {
            Some(name) => Some((name.clone(), pull(name, cache).await?)),
            None => None,
        };
        let mut environment = BTreeMap::new();
        let mut layers = vec![("base", definition.base().map_err(failed)?)];
        match &function.programs {
            Some(declared) => {
                let gathered = programs::gather(declared, &function.program)?;
                layers.extend(gathered.layers);
                environment.extend(gathered.environment);
            }
            None => layers.push(("libraries", closure::closure(&function.program).map_err(failed)?)),
        }
        let mut application = Tree::new();
        let program = Entry::File { mode: 0o755, source: function.program.clone() };
        application.add(&definition.program, program).map_err(failed)?;
        layers.push(("application", application));
        let name = match &make.name {
            Some(name) => name.clone(),
            None => default_name(&function.target.package)?,
        };
        layers.retain(|(_, tree)| !tree.is_empty());
        Ok(Self { definition, layers, environment, base, name })
    }

    /// Makes the function place the nodes of a workflow so wherever nobody tells it otherwise.
    ///
    /// # Errors
    /// None but a bug of ours.
    pub fn place(&mut self, placement: &Placement) -> Result<()> {
        self.environment.insert(PLACEMENT_VARIABLE.to_owned(), written(placement)?);
        Ok(())
    }

    /// Writes the layers and puts them together.
    ///
    /// # Errors
    /// Where a file can't be read.
    pub async fn build(self) -> Result<Built> {
        aside(move || self.build_here()).await?
    }

    fn build_here(&self) -> Result<Built> {
        let layers = pack(&self.layers)?;
        let image = Image::assemble(layers, &self.recipe()).map_err(failed)?;
        let name = if self.name.is_exact() {
            self.name.clone()
        } else {
            let tagged = self.name.with_tag(image.id().short());
            tagged.map_err(|error| Error::bug("an image without a tag").because(error))?
        };
        Ok(Built { image, name })
    }

    /// An equal Dockerfile.
    pub fn dockerfile(&self) -> String {
        let layers: Vec<(&str, &Tree)> = self.layers.iter().map(|(name, tree)| (*name, tree)).collect();
        let base = self.base.as_ref().map(|(name, _)| name.to_string());
        dockerfile(&layers, base.as_deref(), &self.recipe())
    }

    /// Writes the Dockerfile and the files that it copies into `folder`, which must be new.
    ///
    /// # Errors
    /// Where it exists, or can't be written.
    pub fn write_context(&self, folder: &Path) -> Result<()> {
        let cant = || Error::usage(format!("failed to write {}", folder.display()));
        std::fs::create_dir(folder)
            .map_err(|error| cant().because(error).help("name a folder that does not exist"))?;
        let write =
            |path: &Path, text: &[u8]| std::fs::write(path, text).map_err(|error| cant().because(error));
        write(&folder.join("Dockerfile"), self.dockerfile().as_bytes())?;
        for (name, tree) in &self.layers {
            tree.write_to(&folder.join(name)).map_err(|error| cant().because(error))?;
        }
        Ok(())
    }

    fn recipe(&self) -> Recipe<'_> {
        Recipe {
            definition: &self.definition,
            architecture: architecture(),
            environment: &self.environment,
            base: self.base.as_ref().map(|(_, base)| base),
        }
    }
}

/// Makes sure that `engine` has the image of `function` as it was built; answers its name there.
///
/// # Errors
/// Where it can't be built, or the engine does not take it.
pub async fn into_engine(
    engine: &Engine,
    platform: Dialect,
    function: &Function,
    cache: &Path,
    ui: &Ui,
) -> Result<String> {
    let built = Parts::gather(&Make::of(platform), function, cache).await?.build().await?;
    let name = built.name.familiar();
    // The tag follows the content.
    if !engine.has(&name).await {
        engine.load(&built).await?;
        let size = crate::units::bytes(built.image.size());
        ui.status("Loaded", &format!("{name} into {}: {size}", engine.program()));
    }
    Ok(name)
}

/// Does what takes long on a thread of its own, so that the command can be interrupted meanwhile.
///
/// # Errors
/// None but a bug of ours.
pub async fn aside<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> Result<T> {
    tokio::task::spawn_blocking(work)
        .await
        .map_err(|error| Error::bug("a thread that works aside panicked").because(error))
}

/// Packs the layers beside each other: compressing takes most of the time.
fn pack(trees: &[(&'static str, Tree)]) -> Result<Vec<Layer>> {
    std::thread::scope(|scope| {
        let packing: Vec<_> = trees
            .iter()
            .map(|(name, tree)| scope.spawn(|| Layer::pack(name, tree).map_err(failed)))
            .collect();
        let done = packing.into_iter().map(|packing| {
            packing.join().unwrap_or_else(|_| Err(Error::bug("the thread that packs a layer panicked")))
        });
        done.collect()
    })
}

async fn pull(name: &Reference, cache: &Path) -> Result<Base> {
    registry(name)?.pull(architecture(), cache).await.map_err(|error| registry_error(error, name))
}

/// This machine's processor as registries call it: images are built where their programs run.
fn architecture() -> &'static str {
    match std::env::consts::ARCH {
        "x86_64" => "amd64",
        "aarch64" => "arm64",
        other => other,
    }
}

fn default_name(package: &str) -> Result<Reference> {
    package.to_lowercase().parse().map_err(|error| {
        Error::usage("the package's name can't be an image's")
            .because(error)
            .help("name the image with --name")
    })
}

/// Says what to do about an image that can't be built.
fn failed(error: limitless_faas_images::Error) -> Error {
    let failed = Error::new(Exit::Build, "failed to build the image");
    let help = match &error {
        limitless_faas_images::Error::Closure { .. } => {
            Some("link it statically with --target musl, or install the library".to_owned())
        }
        _ => None,
    };
    failed.because(error).maybe_help(help)
}
