//! `cargo faas deploy`: the image into its registry, then a version of each handler beside those that run, then the
//! function that callers know.

use std::collections::BTreeMap;
use std::time::Duration;

use limitless_faas_core::callback::LOGIN_VARIABLE;
use limitless_faas_core::{Code, ExecutionId};
use limitless_faas_images::Reference;
use limitless_faas_store::KEY_VARIABLE;
use serde::Deserialize;
use serde_json::{Value, json};
use tokio::time::Instant;

use super::build::{functions, gather};
use super::specs::{Planned, specs};
use super::{Session, rollout};
use crate::args::{Deploy, Make, Pick};
use crate::error::{Error, Result};
use crate::image::{self, registry_error};
use crate::platform::{self, Answer, Ask, Client, Place, Said};
use crate::project::{Function, Project, Wishes};
use crate::state::State;
use crate::units;

const DEFAULT_TIME: Duration = Duration::from_secs(60);
const DEFAULT_MEMORY_MB: u64 = 256;

pub(super) async fn deploy(session: &Session, args: &Deploy) -> Result<()> {
    let project = Project::open(&session.global)?;
    let dev = State::of(&project, &session.global)?.dev();
    let planned = Planned::read(args.make.plan.as_deref())?;
    let (client, dev_store) = platform::find(&args.remote, dev)?;
    let make = Make { platform: client.dialect(), ..args.make.clone() };
    let allowed = client.allowed().await?;
    let pick = with_features(&project, args, &client, dev_store.as_deref())?;
    let functions = functions(session, &project, &make, &pick).await?;
    let mut changes = Vec::new();
    for function in &functions {
        let wishes = project.wishes(&function.target.package)?.of(args.environment.as_deref())?;
        let asked = Asked::of(args, wishes, dev_store.clone())?;
        warn_of_missing(session, &asked);
        let image = image_of(session, &project, args, &make, function, &asked).await?;
        for handler in &function.manifest.handlers {
            let placement = planned.of(handler)?;
            for spec in specs(&client, &handler.name, placement, &image, &asked).await? {
                allowed.check(&spec)?;
                changes.push(rollout::change(&client, spec).await?);
            }
        }
    }
    planned.is_used()?;
    check_names(&changes)?;
    rollout::show(session, &changes);
    if !args.dry_run {
        rollout::apply(session, &client, &changes, args.wait).await?;
    }
    tell(session, &client, &changes, args.dry_run)
}

/// With what the functions need to reach their store, and their platform where that wants HTTPS.
fn with_features(project: &Project, args: &Deploy, client: &Client, dev_store: Option<&str>) -> Result<Pick> {
    let mut pick = args.pick.clone();
    let mut urls = vec![Some(client.base().to_owned())];
    for package in project.picked(&args.pick)? {
        let wishes = project.wishes(&package)?.of(args.environment.as_deref())?;
        let store = args.store.clone().or(wishes.store).or_else(|| dev_store.map(str::to_owned));
        pick = pick.for_store(store.as_deref());
        urls.push(args.gateway_url.clone().or(wishes.gateway_url));
    }
    if urls.iter().flatten().any(|url| url.starts_with("https:")) {
        pick.features.push("limitless-faas/tls".to_owned());
    }
    pick.features.sort();
    pick.features.dedup();
    Ok(pick)
}

/// What is asked for, by the command line and the settings.
pub(super) struct Asked {
    pub(super) image: Option<Reference>,
    pub(super) store: Option<String>,
    pub(super) time_limit_ms: u64,
    pub(super) memory_mb: u64,
    pub(super) environment: BTreeMap<String, String>,
    pub(super) secrets: BTreeMap<String, String>,
    pub(super) gateway_url: Option<String>,
}

impl Asked {
    fn of(args: &Deploy, wishes: Wishes, dev_store: Option<String>) -> Result<Self> {
        let mut environment = wishes.environment;
        environment.extend(args.set.iter().map(|setting| (setting.name.clone(), setting.value.clone())));
        if let Some(bad) = environment.iter().find(|(name, value)| !is_variable(name) || value.contains('\0'))
        {
            return Err(Error::usage(format!("`{}` can't be an environment variable", bad.0.escape_debug()))
                .help("a name has letters, digits and _, and begins with no digit"));
        }
        if let Some(name) = OWN_SECRETS.into_iter().find(|name| environment.contains_key(*name)) {
            return Err(Error::usage(format!(
                "{name} is a secret, and an environment is shown to everybody"
            ))
            .help(format!(
                "export it here and name it: --secret {name}, or `secrets` in [deploy] of faas.toml"
            )));
        }
        let secret = |name: String| match std::env::var(&name) {
            Ok(value) => Ok((name, value)),
            Err(_) => Err(Error::usage(format!("the secret {name} is not in this command's environment"))
                .help(format!("export {name} first, from where it is kept"))),
        };
        Ok(Self {
            image: args.make.name.clone().or(wishes.image),
            store: args.store.clone().or(wishes.store).or(dev_store),
            time_limit_ms: millis(args.time_limit.or(wishes.time_limit).unwrap_or(DEFAULT_TIME)),
            memory_mb: args.memory.or(wishes.memory).unwrap_or(DEFAULT_MEMORY_MB),
            environment,
            secrets: wishes
                .secrets
                .into_iter()
                .chain(args.secret.clone())
                .map(secret)
                .collect::<Result<_>>()?,
            gateway_url: args.gateway_url.clone().or(wishes.gateway_url),
        })
    }
}

/// What functions of ours keep to themselves.
const OWN_SECRETS: [&str; 2] = [KEY_VARIABLE, LOGIN_VARIABLE];

/// What stands in the environment of this command and is to reach no function is an oversight: without the key nothing is encrypted.
fn warn_of_missing(session: &Session, asked: &Asked) {
    let is_set = |name: &&str| std::env::var_os(name).is_some_and(|value| !value.is_empty());
    for name in OWN_SECRETS.into_iter().filter(is_set).filter(|name| !asked.secrets.contains_key(*name)) {
        session.ui.warn(&format!(
            "{name} is set here, and no function gets it: give it to them with --secret {name}"
        ));
    }
}

fn is_variable(name: &str) -> bool {
    let is_good = |c: char| c.is_ascii_alphanumeric() || c == '_';
    name.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_') && name.chars().all(is_good)
}

fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

/// The image to deploy: the one that was pushed before, or one that is built and pushed now.
async fn image_of(
    session: &Session,
    project: &Project,
    args: &Deploy,
    make: &Make,
    function: &Function,
    asked: &Asked,
) -> Result<Reference> {
    if let Some(image) = &args.image {
        if !args.unchecked {
            see_that_it_can_be_pulled(image).await?;
        }
        return Ok(image.clone());
    }
    let Some(name) = &asked.image else {
        return Err(Error::usage(
            "the image has no name with a registry, from which the platform could pull it",
        )
        .help("name it: --name registry.example/me/factors, or `image` in [deploy] of faas.toml"));
    };
    let make = Make { name: Some(name.clone()), ..make.clone() };
    let built = gather(session, project, &make, function).await?.build().await?;
    if !args.dry_run {
        image::push(&built, &session.ui).await?;
    }
    Ok(built.name)
}

/// Some platforms take a running function down for an image that can't be pulled.
async fn see_that_it_can_be_pulled(image: &Reference) -> Result<()> {
    let found = image::registry(image)?.digest_of(image.version()).await;
    match found.map_err(|error| registry_error(error, image))? {
        Some(_) => Ok(()),
        None => Err(Error::usage(format!("there is no image {image}"))
            .help("push it first: cargo faas build --push --name …")),
    }
}

fn check_names(changes: &[rollout::Change]) -> Result<()> {
    let mut seen = BTreeMap::new();
    for change in changes {
        let mark = &change.wanted.mark;
        if let Some(other) = seen.insert(&change.wanted.name, &mark.handler) {
            return Err(Error::usage(format!(
                "the handlers `{other}` and `{}` would both be deployed as `{}`",
                mark.handler, change.wanted.name
            ))
            .help("choose one package with -p, or rename a handler"));
        }
    }
    Ok(())
}

/// Waits until a function answers in its own words. What it is asked has no effect: an execution that is none.
pub(super) async fn wait_for_words(client: &Client, name: &str, patience: Duration) -> Result<()> {
    let ask =
        Ask::Resume { place: Place::own(name), id: ExecutionId::derive(name, "is it there?"), entry: None };
    let until = Instant::now() + patience;
    let gone = |why: &str| {
        Error::platform(format!("function `{name}` does not answer"))
            .because(std::io::Error::other(if why.is_empty() { "it gave no answer in time" } else { why }))
            .help("see what it prints in the platform's logs, or run the image here: cargo faas build --load")
    };
    let mut activation = String::new();
    loop {
        if client.keeps_answers() && activation.is_empty() {
            activation = client.resume(&ask.place(), &ask.execution(), None).await?;
        }
        let why = match client.answer(&ask, &activation).await? {
            Answer::Function(said) if is_ours(&said) => return Ok(()),
            // A gateway's refusals may look like a function's answers.
            Answer::Function(said) if !client.keeps_answers() => said.json,
            Answer::Function(said) => return Err(gone(&said.json)),
            Answer::Lost(why) if client.keeps_answers() => return Err(gone(&why)),
            Answer::Lost(why) => why,
            Answer::Pending => String::new(),
        };
        if Instant::now() > until {
            return Err(gone(&why));
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
}

/// Whether these are words of a function that limitless-faas serves: it refuses what it was asked, by number.
fn is_ours(said: &Said) -> bool {
    said.value.get("code").is_some_and(|code| Code::deserialize(code).is_ok())
}

fn tell(session: &Session, client: &Client, changes: &[rollout::Change], is_dry: bool) -> Result<()> {
    let current: Vec<&rollout::Change> =
        changes.iter().filter(|change| change.wanted.mark.is_current).collect();
    if session.ui.is_json() {
        let functions: Vec<Value> = changes.iter().map(rollout::Change::to_json).collect();
        return session
            .ui
            .print_json(&json!({ "platform": client.base(), "dry_run": is_dry, "functions": functions }));
    }
    if is_dry {
        session.ui.say("\nnothing was changed: --dry-run");
        return Ok(());
    }
    let changed = current.iter().filter(|change| change.is_any()).count() as u64;
    session.ui.status("Deployed", &format!("{} to {}", units::count(changed, "function"), client.base()));
    if let Some(first) = current.first() {
        session.ui.say(&format!("\n  cargo faas invoke {} --input '{{…}}'", first.wanted.name));
    }
    Ok(())
}
