//! `cargo faas versions` and `remove`: what is deployed, and away with it.

use std::collections::BTreeMap;

use serde_json::json;

use super::Session;
use crate::args::{Remove, Versions};
use crate::error::{Error, Result};
use crate::platform::{self, Client, Mark};
use crate::records::{Records, now_us};
use crate::render;
use crate::state::State;
use crate::suggest;
use crate::units;

/// A function of ours on the platform.
#[derive(Clone, Debug)]
struct Running {
    name: String,
    mark: Mark,
}

pub(super) async fn versions(session: &Session, args: &Versions) -> Result<()> {
    let client = client(session, &args.remote)?;
    let mut all = running(&client).await?;
    let mut removed = Vec::new();
    if let Some(store) = args.store.as_deref().filter(|_| args.drain) {
        let store = State::store_url(&session.global, Some(store))?;
        let old = drained(&Records::open(&store)?, &all).await?;
        for name in &old {
            client.delete(name).await?;
            session.ui.status("Removed", name);
        }
        all.retain(|it| !old.contains(&it.name));
        removed = old;
    }
    let current = current(&all);
    let is_current = |it: &Running| current.get(it.mark.handler.as_str()) == Some(&it.mark.version);
    if session.ui.is_json() {
        let wraps = |of: &Running| -> Vec<&str> {
            let own = |it: &&Running| {
                it.mark.is_wrap
                    && (&it.mark.handler, &it.mark.version) == (&of.mark.handler, &of.mark.version)
            };
            all.iter().filter(own).map(|it| it.name.as_str()).collect()
        };
        let versions: Vec<_> = all
            .iter()
            .filter(|it| is_version(it))
            .map(|it| {
                json!({ "handler": it.mark.handler, "version": it.mark.version, "function": it.name,
                        "wraps": wraps(it), "current": is_current(it), "since_ms": it.mark.since_ms })
            })
            .collect();
        return session.ui.print_json(&json!({ "versions": versions, "removed": removed }));
    }
    let now_us = now_us();
    let rows: Vec<[String; 4]> = all
        .iter()
        .filter(|it| is_version(it))
        .map(|it| {
            let ago = units::duration(now_us.saturating_sub(it.mark.since_ms * 1000));
            let state = if is_current(it) { "current" } else { "ends what it began" };
            [it.mark.handler.clone(), it.mark.version.clone(), state.to_owned(), format!("{ago} ago")]
        })
        .collect();
    if rows.is_empty() {
        session.ui.say(&format!("nothing of ours is deployed to {}", client.base()));
        return Ok(());
    }
    session.ui.print(&render::table(["HANDLER", "VERSION", "STATE", "SINCE"], &rows))
}

pub(super) async fn remove(session: &Session, args: &Remove) -> Result<()> {
    let client = client(session, &args.remote)?;
    let all = running(&client).await?;
    let wanted = suggest::fold(&args.handler);
    let own: Vec<&Running> = all.iter().filter(|it| suggest::fold(&it.mark.handler) == wanted).collect();
    if own.is_empty() {
        let names: Vec<&str> = all.iter().map(|it| it.mark.handler.as_str()).collect();
        return Err(Error::platform(format!(
            "handler `{}` is not deployed to {}",
            args.handler,
            client.base()
        ))
        .help(suggest::among("handler", &args.handler, names.iter().copied())));
    }
    let mut meant: Vec<&Running> = match &args.version {
        None => own,
        Some(version) if current(&all).get(own[0].mark.handler.as_str()) == Some(version) => {
            return Err(Error::usage(format!("version {version} is the one that callers get"))
                .help("deploy another first, or remove the whole handler: without --version"));
        }
        Some(version) => own.into_iter().filter(|it| it.mark.version == *version).collect(),
    };
    if meant.is_empty() {
        return Err(Error::usage(format!("handler `{}` has no such version", args.handler))
            .help("`cargo faas versions` lists them"));
    }
    // Callers first: nothing begins in a version that is about to go.
    meant.sort_by_key(|it| !it.mark.is_current);
    for it in &meant {
        client.delete(&it.name).await?;
        session.ui.status("Removed", &it.name);
    }
    if session.ui.is_json() {
        let names: Vec<&String> = meant.iter().map(|it| &it.name).collect();
        return session.ui.print_json(&json!({ "removed": names }));
    }
    Ok(())
}

fn client(session: &Session, remote: &crate::args::Remote) -> Result<Client> {
    let dev = State::here(&session.global).ok().and_then(|state| state.dev());
    platform::find(remote, dev).map(|(client, _)| client)
}

async fn running(client: &Client) -> Result<Vec<Running>> {
    let all = client.all_deployed().await?;
    let mut all: Vec<Running> =
        all.into_iter().map(|it| Running { name: it.spec.name, mark: it.spec.mark }).collect();
    all.sort_by(|a, b| (&a.mark.handler, a.mark.since_ms).cmp(&(&b.mark.handler, b.mark.since_ms)));
    Ok(all)
}

/// Whether it is what executions of one version go on in: neither what callers know, nor another wrap of it.
fn is_version(it: &Running) -> bool {
    !it.mark.is_current && !it.mark.is_wrap
}

/// The version that callers of each handler get.
fn current(all: &[Running]) -> BTreeMap<&str, String> {
    let known = all.iter().filter(|it| it.mark.is_current);
    known.map(|it| (it.mark.handler.as_str(), it.mark.version.clone())).collect()
}

/// The old versions that no unfinished execution can need: all that may have begun in them have ended.
async fn drained(records: &Records, all: &[Running]) -> Result<Vec<String>> {
    let mut unfinished: BTreeMap<String, u64> = BTreeMap::new();
    for id in records.ids().await? {
        let history = records.history(&id).await?;
        if matches!(history.status().as_str(), "running" | "suspended") {
            let oldest = unfinished.entry(history.execution.handler.clone()).or_insert(u64::MAX);
            *oldest = (*oldest).min(history.span_us.0 / 1000);
        }
    }
    let current = current(all);
    let is_old = |it: &&Running| {
        let known = current.get(it.mark.handler.as_str());
        !it.mark.is_current && known.is_some_and(|version| *version != it.mark.version)
    };
    // Versions of a handler follow each other: an execution began in the one that was the latest then.
    let next_ms = |it: &Running| {
        let later = all.iter().filter(|other| other.mark.handler == it.mark.handler);
        later.map(|other| other.mark.since_ms).filter(|since_ms| *since_ms > it.mark.since_ms).min()
    };
    let is_drained = |it: &&Running| {
        let oldest_ms = unfinished.get(&it.mark.handler).copied().unwrap_or(u64::MAX);
        next_ms(it).is_some_and(|next_ms| oldest_ms >= next_ms)
    };
    Ok(all.iter().filter(is_old).filter(is_drained).map(|it| it.name.clone()).collect())
}
