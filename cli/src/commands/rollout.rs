//! Changing what is deployed: what would change, and changing it so that a failure leaves what was there.

use serde_json::{Value, json};

use super::Session;
use super::deploy::wait_for_words;
use crate::error::{Error, Result};
use crate::exit::Exit;
use crate::platform::{Client, Deployed, Spec};
use crate::ui::{BAD, DIM, VERB, paint};

/// A function as it is and as it shall be.
#[derive(Debug)]
pub(super) struct Change {
    pub(super) wanted: Spec,
    before: Option<Deployed>,
}

/// Compares what is wanted with what is there.
pub(super) async fn change(client: &Client, mut wanted: Spec) -> Result<Change> {
    let before = client.deployed(&wanted.name).await?;
    match before.as_ref().map(|it| &it.spec.mark) {
        Some(mark) if mark.handler.is_empty() => {
            return Err(Error::usage(format!(
                "the platform has a function `{}` that is not ours",
                wanted.name
            ))
            .help("rename the handler, or remove that function with the platform's own client"));
        }
        // Since when a version is there is no reason to deploy it again.
        Some(mark) if mark.version == wanted.mark.version => wanted.mark.since_ms = mark.since_ms,
        _ => {}
    }
    Ok(Change { wanted, before })
}

impl Change {
    /// Whether anything is to be done. What secrets were there nobody tells, so they always are.
    pub(super) fn is_any(&self) -> bool {
        !self.wanted.secrets.is_empty() || !self.lines().is_empty() || self.before.is_none()
    }

    /// What differs, a line each.
    fn lines(&self) -> Vec<String> {
        let Some(before) = self.before.as_ref().map(|it| &it.spec) else { return Vec::new() };
        let mut lines = Vec::new();
        let mut differ = |what: &str, old: &str, new: &str| {
            if old != new {
                lines.push(format!("{what}: {} → {}", shown(old), shown(new)));
            }
        };
        let wanted = &self.wanted;
        differ("image", &before.image, &wanted.image);
        differ(
            "time limit",
            &format!("{} ms", before.time_limit_ms),
            &format!("{} ms", wanted.time_limit_ms),
        );
        differ("memory", &format!("{} MB", before.memory_mb), &format!("{} MB", wanted.memory_mb));
        let names = before.environment.keys().chain(wanted.environment.keys());
        let names: std::collections::BTreeSet<&String> = names.collect();
        for name in names.into_iter().filter(|name| !wanted.secrets.contains_key(*name)) {
            let value =
                |spec: &Spec| spec.environment.get(name).cloned().unwrap_or_else(|| "nothing".to_owned());
            differ(name, &value(before), &value(wanted));
        }
        let gone = before.secrets.keys().filter(|name| !wanted.secrets.contains_key(*name));
        lines.extend(gone.map(|name| format!("{name}: a secret no more")));
        lines
    }

    pub(super) fn to_json(&self) -> Value {
        let action = match (&self.before, self.is_any()) {
            (None, _) => "create",
            (Some(_), true) => "update",
            (Some(_), false) => "keep",
        };
        let secrets: Vec<&String> = self.wanted.secrets.keys().collect();
        json!({ "function": self.wanted, "action": action, "changes": self.lines(), "secrets": secrets })
    }
}

/// A URL may hold a password, and a value anything.
fn shown(value: &str) -> String {
    let text = match value.split_once("://") {
        Some((scheme, rest)) => match rest.split_once('@') {
            Some((_, host)) => format!("{scheme}://…@{host}"),
            None => value.to_owned(),
        },
        None => value.to_owned(),
    };
    text.chars().take(120).flat_map(char::escape_debug).collect::<String>().replace("\\\"", "\"")
}

/// Shows what differs.
pub(super) fn show(session: &Session, changes: &[Change]) {
    for change in changes {
        let (mark, name) = (&change.wanted.mark, &change.wanted.name);
        let sign = match (&change.before, change.is_any()) {
            (None, _) => paint(VERB, "+"),
            (Some(_), true) => paint(BAD, "~"),
            (Some(_), false) => paint(DIM, "="),
        };
        session.ui.say(&format!("  {sign} {name}  {}", paint(DIM, &format!("version {}", mark.version))));
        for line in change.lines() {
            session.ui.say(&format!("      {line}"));
        }
        for secret in change.wanted.secrets.keys() {
            session.ui.say(&format!("      {secret}: from this environment"));
        }
    }
}

/// Puts the changes, versions first, and takes back what was put if one fails or the command is interrupted.
pub(super) async fn apply(session: &Session, client: &Client, changes: &[Change]) -> Result<()> {
    let (current, versions): (Vec<&Change>, Vec<&Change>) =
        changes.iter().filter(|change| change.is_any()).partition(|change| change.wanted.mark.is_current);
    let mut done: Vec<&Change> = Vec::new();
    session.undoes();
    // Until a version answers, callers keep what they have.
    for change in versions.into_iter().chain(current) {
        session.ui.status("Deploying", &change.wanted.name);
        done.push(change);
        if let Err(error) = put(session, client, &change.wanted).await {
            return Err(take_back(session, client, &done, error).await);
        }
    }
    Ok(())
}

/// Puts one function and waits until it answers.
async fn put(session: &Session, client: &Client, wanted: &Spec) -> Result<()> {
    // A request under way is never given up: who takes back has to come after it.
    client.put(wanted).await?;
    tokio::select! {
        biased;
        () = session.interrupted() => Err(Error::new(Exit::Interrupted, "interrupted")),
        answered = wait_for_words(client, &wanted.name) => answered,
    }
}

async fn is_as_before(client: &Client, change: &Change) -> bool {
    let spec = |deployed: &Deployed| deployed.spec.clone();
    match client.deployed(&change.wanted.name).await {
        Ok(now) => now.as_ref().map(spec) == change.before.as_ref().map(spec),
        Err(_) => false,
    }
}

async fn take_back(session: &Session, client: &Client, done: &[&Change], error: Error) -> Error {
    let mut left = Vec::new();
    for change in done.iter().rev() {
        let name = &change.wanted.name;
        let taken = match &change.before {
            Some(before) => client.restore(before).await,
            None => client.delete(name).await,
        };
        match taken {
            Ok(()) => session.ui.status("Restored", name),
            // What a platform refuses to change it refuses to change back: then nothing has to be.
            Err(_) if is_as_before(client, change).await => {}
            Err(_) => left.push(name.as_str()),
        }
    }
    if left.is_empty() {
        return error.help("what was there before is there again");
    }
    error.help(format!("{} could not be put back: deploy again when the platform is back", left.join(", ")))
}
