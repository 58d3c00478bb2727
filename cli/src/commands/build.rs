//! `cargo faas build`: a container image, without a container engine.

use std::io::{BufWriter, IsTerminal as _};
use std::path::Path;
use std::sync::Arc;

use limitless_faas_core::placement::Placement;
use limitless_faas_images::{self as images, Part};
use serde_json::{Value, json};

use super::Session;
use super::specs::Planned;
use crate::args::{Build, Make, Pick};
use crate::error::{Error, Result};
use crate::exit::Exit;
use crate::image::{self, Built, Engine, Parts, aside};
use crate::project::{Function, Programs, Project};
use crate::state::State;
use crate::units;

pub(super) async fn build(session: &Session, args: &Build) -> Result<()> {
    // What can't be done is told before a build that takes a minute.
    let engine = if args.load { Some(Engine::find().await?) } else { None };
    if let Some(programs) = Programs::alone(&session.global)? {
        let state = State::here(&session.global)?;
        return all(session, &state, args, &[programs.into_function()?], engine.as_ref()).await;
    }
    let project = Project::open(&session.global)?;
    let functions = functions(session, &project, &args.make, &args.pick).await?;
    if functions.len() > 1 && (args.output.is_some() || args.make.name.is_some() || args.dockerfile) {
        return Err(too_many(&functions));
    }
    all(session, &State::of(&project, &session.global)?, args, &functions, engine.as_ref()).await
}

async fn all(
    session: &Session,
    state: &State,
    args: &Build,
    functions: &[Function],
    engine: Option<&Engine>,
) -> Result<()> {
    let planned = Planned::read(args.make.plan.as_deref())?;
    let placed: Vec<Option<Placement>> =
        functions.iter().map(|it| planned.among(&it.manifest.handlers)).collect::<Result<_>>()?;
    planned.is_used()?;
    let mut images = Vec::new();
    for (function, placement) in functions.iter().zip(&placed) {
        let mut parts = Parts::gather(&args.make, function, &state.layers()).await?;
        if let Some(placement) = placement {
            parts.place(placement)?;
        }
        if args.dockerfile {
            return write_dockerfile(session, &parts, args.output.as_deref());
        }
        let built = parts.build().await?;
        show(session, &built);
        if let Some(path) = &args.output {
            write_archive(session, &built, path).await?;
        }
        if let Some(engine) = engine {
            engine.load(&built).await?;
            session.ui.status("Loaded", &format!("{} into {}", built.name.familiar(), engine.program()));
        }
        let pushed = if args.push { Some(image::push(&built, &session.ui).await?) } else { None };
        let mut told = describe(&built, function);
        if let Some(pushed) = pushed {
            told["pushed"] =
                json!({ "sent_bytes": pushed.sent_bytes, "present_bytes": pushed.present_bytes });
        }
        images.push(told);
    }
    if session.ui.is_json() {
        return session.ui.print_json(&json!({ "images": images }));
    }
    for image in &images {
        session.ui.print(image["name"].as_str().unwrap_or_default())?;
    }
    Ok(())
}

/// Builds the binaries that images are made of, with optimisation unless it is unwanted.
pub(super) async fn functions(
    session: &Session,
    project: &Project,
    make: &Make,
    pick: &Pick,
) -> Result<Vec<Function>> {
    let triple = image::triple(make.target).await?;
    let pick = Pick { release: !make.debug, ..pick.clone() };
    project.functions_for(triple.as_deref(), &pick, &session.ui).await
}

/// Gathers what goes into the image of `function`.
pub(super) async fn gather(
    session: &Session,
    project: &Project,
    make: &Make,
    function: &Function,
) -> Result<Parts> {
    let cache = State::of(project, &session.global)?.layers();
    Parts::gather(make, function, &cache).await
}

fn too_many(functions: &[Function]) -> Error {
    let names: Vec<String> = functions.iter().map(|function| function.target.to_string()).collect();
    Error::usage(format!("{} would be built, and only one can have this name", names.join(", ")))
        .help("choose one with -p PACKAGE or --bin NAME")
}

fn show(session: &Session, built: &Built) {
    let layers: Vec<String> = built
        .image
        .layers
        .iter()
        .map(|layer| format!("{} {}", layer.name, units::bytes(layer.blob.size())))
        .collect();
    let size = units::bytes(built.image.size());
    session.ui.status("Built", &format!("{}: {size} ({})", built.name.familiar(), layers.join(", ")));
}

fn describe(built: &Built, function: &Function) -> Value {
    let layers: Vec<Value> = built
        .image
        .layers
        .iter()
        .map(|layer| json!({ "name": layer.name, "digest": layer.blob.digest(), "bytes": layer.blob.size() }))
        .collect();
    let handlers: Vec<&str> =
        function.manifest.handlers.iter().map(|handler| handler.name.as_str()).collect();
    json!({
        "name": built.name.to_string(), "digest": built.image.digest(), "id": built.image.id(),
        "bytes": built.image.size(), "layers": layers, "package": function.target.package, "handlers": handlers,
    })
}

async fn write_archive(session: &Session, built: &Built, path: &Path) -> Result<()> {
    let failed = || Error::new(Exit::Build, format!("failed to write {}", path.display()));
    if path == Path::new("-") {
        if std::io::stdout().is_terminal() || session.ui.is_json() {
            return Err(Error::usage("an archive is nothing to look at").help("name a file: -o image.tar"));
        }
        let (image, name) = (built.image.clone(), built.name.clone());
        let write = move || image.write_archive(&name, BufWriter::new(std::io::stdout().lock()));
        return aside(write).await?.map_err(|error| failed().because(error));
    }
    // Under its own name there is only ever a whole archive.
    let part = Arc::new(Part::of(path));
    let file = part.create().map_err(|error| failed().because(error))?;
    let (image, name, whole) = (built.image.clone(), built.name.clone(), Arc::downgrade(&part));
    let write = move || {
        image.write_archive(&name, BufWriter::new(file))?;
        match whole.upgrade() {
            Some(part) => part.finish().map_err(images::Error::Write),
            None => Ok(()),
        }
    };
    aside(write).await?.map_err(|error| failed().because(error))?;
    session.ui.status("Wrote", &path.display().to_string());
    Ok(())
}

fn write_dockerfile(session: &Session, parts: &Parts, folder: Option<&Path>) -> Result<()> {
    match folder {
        Some(folder) => {
            parts.write_context(folder)?;
            session.ui.status(
                "Wrote",
                &format!("{0}/Dockerfile and what it copies; docker build {0}", folder.display()),
            );
            Ok(())
        }
        None if session.ui.is_json() => session.ui.print_json(&json!({ "dockerfile": parts.dockerfile() })),
        None => session.ui.print(parts.dockerfile().trim_end()),
    }
}
