//! `cargo faas dev`: the platform in the foreground, with every handler of the package, rebuilt on change.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use limitless_faas_local::{Event, EventKind};
use notify::{RecursiveMode, Watcher as _};
use serde_json::json;
use tokio::sync::broadcast::error::RecvError;
use tokio::sync::mpsc;

use super::Session;
use crate::args::Dev;
use crate::capture::Capture;
use crate::deliveries::End;
use crate::error::{Context, Error, Result};
use crate::exit::Exit;
use crate::image::into_engine;
use crate::platform::{Dialect, Local, Runs, Served as Deployed, wsk_line};
use crate::project::{Function, Project, Target};
use crate::records::Records;
use crate::render::printable;
use crate::state;
use crate::state::{Announced, State, create_folder};
use crate::ui::{DIM, Ui, paint};
use crate::units;

pub(super) async fn dev(session: &Session, args: &Dev) -> Result<()> {
    let project = Project::open(&session.global)?;
    let state = State::of(&project, &session.global)?;
    let store = match args.target.store.as_deref() {
        Some(url) => State::store_url(&session.global, Some(url))?,
        None => state.default_store_url()?,
    };
    if let Some(other) = state.dev() {
        return Err(Error::usage(format!(
            "`cargo faas dev` runs already for this project, at {}",
            other.url
        ))
        .help(format!("stop process {} first, or take another --target-dir", other.pid)));
    }
    Records::open(&store)?.probe().await?;
    let mut changes = if args.no_watch { None } else { watch(&project, &session.ui) };
    let pick = args.pick.for_store(Some(&store));
    let functions = project.functions(&pick, &session.ui).await?;
    let local = Local::start(&args.target, &store, Some(args.listen)).await?;
    let mut served = Served {
        images: Images::make(&state)?,
        layers: state.layers(),
        platform: args.target.platform,
        versions: BTreeMap::new(),
    };
    for function in &functions {
        served.serve(&local, function, &session.ui).await?;
    }
    let _announced = announce(&state, &local, args, &store)?;
    greet(session, &local, &functions, args, &store)?;
    let capture = Capture::into(state.logs())?;
    let told = tell(&session.ui, local.events(), capture);
    let rebuilt = rebuild(session, args, &project, &local, &mut served, changes.as_mut());
    // Neither ends but by an error: an interruption drops both.
    tokio::try_join!(told, rebuilt).map(drop)
}

fn announce(state: &State, local: &Local, args: &Dev, store: &str) -> Result<Announced> {
    state.announce(&state::Dev {
        url: local.url(),
        key: local.key().to_owned(),
        platform: args.target.platform,
        store: store.to_owned(),
        pid: std::process::id(),
    })
}

/// What is served, and from which version of its binary.
#[derive(Debug)]
struct Served {
    images: Images,
    layers: PathBuf,
    platform: Dialect,
    versions: BTreeMap<String, (u64, SystemTime)>,
}

impl Served {
    /// Deploys every handler of `function`, unless its binary is the one served already.
    async fn serve(&mut self, local: &Local, function: &Function, ui: &Ui) -> Result<bool> {
        let version = version_of(&function.program)?;
        let name = function.target.to_string();
        if self.versions.get(&name) == Some(&version) {
            return Ok(false);
        }
        let (program, image);
        let runs = if let Some(engine) = local.engine() {
            image = into_engine(engine, self.platform, function, &self.layers, ui).await?;
            Runs::Container(&image)
        } else {
            program = self.images.add(&function.target, &function.program)?;
            Runs::Program(&program, &[])
        };
        for handler in &function.manifest.handlers {
            local.deploy(&Deployed { handler: &handler.name, runs, placement: None }).await?;
        }
        self.versions.insert(name, version);
        Ok(true)
    }
}

fn version_of(program: &Path) -> Result<(u64, SystemTime)> {
    let read = || program.metadata().and_then(|about| Ok((about.len(), about.modified()?)));
    read().context(Exit::Build, || format!("failed to read {}", program.display()))
}

/// Copies of the binaries: cargo overwrites its own while a process of the version before is being started.
#[derive(Debug)]
struct Images {
    folder: PathBuf,
    count: u64,
}

impl Images {
    fn make(state: &State) -> Result<Self> {
        let images = state.images();
        let folder = images.join(std::process::id().to_string());
        create_folder(&folder)?;
        // One that was killed could not remove its own; and only one runs at a time.
        for left in std::fs::read_dir(&images).into_iter().flatten().flatten() {
            if left.path() != folder {
                drop(std::fs::remove_dir_all(left.path()));
            }
        }
        Ok(Self { folder, count: 0 })
    }

    fn add(&mut self, target: &Target, program: &Path) -> Result<PathBuf> {
        self.count += 1;
        let path = self.folder.join(format!("{}-{}", target.name, self.count));
        std::fs::copy(program, &path).context(Exit::Platform, || {
            format!("failed to copy {} to {}", program.display(), path.display())
        })?;
        Ok(path)
    }
}

impl Drop for Images {
    fn drop(&mut self) {
        drop(std::fs::remove_dir_all(&self.folder));
    }
}

fn greet(session: &Session, local: &Local, functions: &[Function], args: &Dev, store: &str) -> Result<()> {
    let handlers: Vec<&str> = functions
        .iter()
        .flat_map(|function| &function.manifest.handlers)
        .map(|handler| handler.name.as_str())
        .collect();
    let (url, key) = (local.url(), local.key());
    if session.ui.is_json() {
        return session.ui.print_json(&json!({
            "status": "serving", "url": url, "key": key, "store": store, "handlers": handlers, "platform": args.target.platform,
        }));
    }
    let limit = units::limit(u64::try_from(args.target.time_limit.as_millis()).unwrap_or(u64::MAX));
    session.ui.status(
        "Serving",
        &format!(
            "{}{} at {url}: {limit} and {} MB an invocation",
            handlers.join(", "),
            if args.target.containers { " in containers" } else { "" },
            args.target.memory
        ),
    );
    let Some(handler) = handlers.first() else { return Ok(()) };
    let curl = match args.target.platform {
        Dialect::OpenWhisk => format!(
            "curl -u {key} -X POST -H 'Content-Type: application/json' \\\n    -d '{{}}' '{url}/api/v1/namespaces/_/actions/{handler}?blocking=true&result=true'"
        ),
        Dialect::OpenFaas => format!("curl -d '{{}}' {url}/function/{handler}"),
    };
    session.ui.say(&format!("\n  cargo faas invoke {handler} --input '{{…}}'\n\n  {curl}"));
    if args.target.platform == Dialect::OpenWhisk {
        session.ui.say(&format!("\n  {}", wsk_line(&url, key)));
        session.ui.say(&format!("  wsk action invoke {handler} --result --param NAME VALUE"));
    } else {
        session.ui.say(&format!("\n  curl -u {key} {url}/system/functions"));
    }
    session.ui.say("\nCtrl-C stops it.\n");
    Ok(())
}

/// Tells what happens and keeps what functions print.
async fn tell(
    ui: &Ui,
    mut events: tokio::sync::broadcast::Receiver<Event>,
    mut capture: Capture,
) -> Result<()> {
    loop {
        match events.recv().await {
            Ok(event) => {
                capture.on(&event)?;
                if let Some(line) = describe(&event) {
                    ui.say(&line);
                }
            }
            Err(RecvError::Lagged(missed)) => ui.warn(&format!("{missed} events came too fast to be shown")),
            Err(RecvError::Closed) => return Err(Error::platform("the platform on this machine has ended")),
        }
    }
}

fn describe(event: &Event) -> Option<String> {
    let what = match &event.kind {
        EventKind::Answered { status, elapsed_us } => {
            format!("answered {status} after {}", units::duration(*elapsed_us))
        }
        EventKind::Killed { reason, elapsed_us } => {
            format!("{} after {}", End::Killed(*reason).describe(), units::duration(*elapsed_us))
        }
        EventKind::Died { status, elapsed_us } => {
            format!("died after {}: {status}", units::duration(*elapsed_us))
        }
        EventKind::Redelivered { attempt } => format!("delivered again ({attempt})"),
        EventKind::Duplicated => "delivered twice".to_owned(),
        EventKind::Lost => "lost".to_owned(),
        EventKind::Delayed { by_ms } => format!("delayed by {by_ms}ms"),
        EventKind::Log { line, .. } => return Some(format!("      {} {}", paint(DIM, "│"), printable(line))),
        _ => return None,
    };
    let short = event.activation.get(..8).unwrap_or(&event.activation);
    (!event.activation.is_empty())
        .then(|| format!("{} {} {what}", paint(DIM, &printable(short)), event.function))
}

/// Changes of the project's sources. Not being able to watch is no reason not to serve.
fn watch(project: &Project, ui: &Ui) -> Option<Changes> {
    let (send, receive) = mpsc::channel(1);
    let ignored = project.target_dir().to_owned();
    let on_event = move |event: notify::Result<notify::Event>| {
        let matters = event.is_ok_and(|event| {
            !event.kind.is_access() && event.paths.iter().any(|path| is_source(path, &ignored))
        });
        if matters {
            // A change that is told already is told.
            send.try_send(()).unwrap_or_default();
        }
    };
    let watched = notify::recommended_watcher(on_event).and_then(|mut watcher| {
        let mut folders = project.source_folders().into_iter();
        folders.try_for_each(|folder| watch_package(&mut watcher, &folder, project.target_dir()))?;
        Ok(watcher)
    });
    match watched {
        Ok(running) => Some(Changes { receive, _watcher: running }),
        Err(error) => {
            ui.warn(&format!("failed to watch the sources, so nothing is rebuilt: {error}"));
            None
        }
    }
}

/// Cargo's target folder often stands in the package's, and has thousands of folders that nobody edits.
fn watch_package(
    watcher: &mut notify::RecommendedWatcher,
    folder: &Path,
    target_dir: &Path,
) -> notify::Result<()> {
    watcher.watch(folder, RecursiveMode::NonRecursive)?;
    for entry in std::fs::read_dir(folder)?.flatten().filter(|entry| entry.path().is_dir()) {
        if is_source(&entry.path(), target_dir) {
            watcher.watch(&entry.path(), RecursiveMode::Recursive)?;
        }
    }
    Ok(())
}

#[derive(Debug)]
struct Changes {
    receive: mpsc::Receiver<()>,
    _watcher: notify::RecommendedWatcher,
}

/// Editors' and tools' own files begin with a dot or end with `~`; cargo's are in the target folder.
fn is_source(path: &Path, target_dir: &Path) -> bool {
    let name = path.file_name().and_then(|name| name.to_str());
    let is_own = |name: &str| name.starts_with('.') && name.len() > 2 || name.ends_with('~');
    let is_target =
        path.starts_with(target_dir) || path.components().any(|part| part.as_os_str() == "target");
    !is_target && !name.is_some_and(is_own) && !path.components().any(|part| part.as_os_str() == ".git")
}

async fn rebuild(
    session: &Session,
    args: &Dev,
    project: &Project,
    local: &Local,
    served: &mut Served,
    changes: Option<&mut Changes>,
) -> Result<()> {
    /// Saving several files is one change.
    const QUIET: Duration = Duration::from_millis(200);
    let Some(changes) = changes else { return std::future::pending().await };
    while changes.receive.recv().await.is_some() {
        while let Ok(Some(())) = tokio::time::timeout(QUIET, changes.receive.recv()).await {}
        let functions = match project.functions(&args.pick, &session.ui).await {
            Ok(functions) => functions,
            Err(error) => {
                crate::ui::report(&error);
                session.ui.warn("the version before is still served");
                continue;
            }
        };
        for function in &functions {
            if served.serve(local, function, &session.ui).await? {
                session.ui.status("Serving", &format!("a new version of {}", function.target));
            }
        }
    }
    Err(Error::bug("nothing watches the sources any more"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_sources_are_rebuilt() {
        let target = Path::new("/p/out");
        for source in ["/p/src/main.rs", "/p/Cargo.toml", "/p/data/input.json"] {
            assert!(is_source(Path::new(source), target), "{source}");
        }
        for other in
            ["/p/out/debug/x", "/p/target/debug/x", "/p/.git/index", "/p/src/.main.rs.swp", "/p/src/main.rs~"]
        {
            assert!(!is_source(Path::new(other), target), "{other}");
        }
    }
}
