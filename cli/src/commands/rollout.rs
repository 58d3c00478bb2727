//! Changing what is deployed: what would change, and changing it so that a failure leaves what was there.

use std::collections::BTreeMap;
use std::time::Duration;

use serde_json::{Value, json};

use super::Session;
use super::deploy::wait_for_words;
use crate::error::{Error, Result};
use crate::exit::Exit;
use crate::platform::{Client, Deployed, Dialect, Spec};
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

/// Puts the changes, versions first, and takes back what was put if one fails or the command is interrupted. A function may take
/// `patience` to its first answer.
pub(super) async fn apply(
    session: &Session,
    client: &Client,
    changes: &[Change],
    patience: Duration,
) -> Result<()> {
    let (current, versions): (Vec<&Change>, Vec<&Change>) =
        changes.iter().filter(|change| change.is_any()).partition(|change| change.wanted.mark.is_current);
    session.undoes("what was begun was not put back: deploy again, which makes it whole");
    let mut rollout = Rollout::new(session, client);
    // Until a version answers, callers keep what they have.
    for change in versions.into_iter().chain(current) {
        if let Err(error) = rollout.put(change, patience).await {
            return Err(rollout.take_back(error).await);
        }
    }
    Ok(())
}

/// A deployment under way, and what it did so far.
struct Rollout<'a> {
    session: &'a Session,
    client: &'a Client,
    /// Changes that were begun, and whether the platform acknowledged each.
    functions: Vec<(&'a Change, bool)>,
    /// The secrets that a gateway was given; whether each was new to it.
    secrets: BTreeMap<&'a str, bool>,
}

impl<'a> Rollout<'a> {
    fn new(session: &'a Session, client: &'a Client) -> Self {
        Self { session, client, functions: Vec::new(), secrets: BTreeMap::new() }
    }

    /// Puts one function and waits until it answers.
    async fn put(&mut self, change: &'a Change, patience: Duration) -> Result<()> {
        let (wanted, client) = (&change.wanted, self.client);
        self.session.ui.status("Deploying", &wanted.name);
        if client.dialect() == Dialect::OpenFaas {
            self.put_secrets(wanted).await?;
        }
        self.functions.push((change, false));
        // A request under way is never given up: who takes back has to come after it.
        match change.before {
            Some(_) => client.replace(wanted).await?,
            None => client.create(wanted).await?,
        }
        if let Some((_, is_acknowledged)) = self.functions.last_mut() {
            *is_acknowledged = true;
        }
        tokio::select! {
            biased;
            () = self.session.interrupted() => Err(Error::new(Exit::Interrupted, "interrupted")),
            answered = wait_for_words(client, &wanted.name, patience) => answered,
        }
    }

    /// A gateway keeps secrets beside its functions, which find them when they start.
    async fn put_secrets(&mut self, wanted: &'a Spec) -> Result<()> {
        for (name, value) in &wanted.secrets {
            if !self.secrets.contains_key(name.as_str()) {
                let is_new = self.client.put_secret(name, value).await?;
                self.secrets.insert(name, is_new);
            }
        }
        Ok(())
    }

    /// Undoes all of it; answers why, with what became of it.
    async fn take_back(&self, error: Error) -> Error {
        let mut left = Vec::new();
        for (change, is_acknowledged) in self.functions.iter().rev() {
            let name = &change.wanted.name;
            match undo(self.client, change, *is_acknowledged).await {
                Ok(true) => self.session.ui.status("Restored", name),
                Ok(false) => {}
                Err(_) => left.push(name.as_str()),
            }
        }
        let (created, replaced): (Vec<&str>, Vec<&str>) =
            self.secrets.keys().copied().partition(|name| self.secrets[name]);
        for name in created {
            if self.client.delete_secret(name).await.is_err() {
                left.push(name);
            }
        }
        let kept = (!replaced.is_empty()).then(|| {
            format!("the new value of {} stays: a gateway tells nobody the old one", replaced.join(", "))
        });
        let error = error.maybe_help(kept);
        if left.is_empty() {
            return error.help("what was there before is there again");
        }
        error.help(format!(
            "{} could not be put back: deploy again when the platform is back",
            left.join(", ")
        ))
    }
}

/// Makes a function what it was before; says whether there was anything to do.
async fn undo(client: &Client, change: &Change, is_acknowledged: bool) -> Result<bool> {
    let name = &change.wanted.name;
    let now = client.deployed(name).await;
    let is_as_before = |before: &Deployed| matches!(&now, Ok(Some(now)) if now.spec == before.spec);
    match (&change.before, &now) {
        (Some(before), _) if is_as_before(before) => Ok(false),
        (Some(before), _) => client.restore(before).await.map(|()| true),
        (None, _) if is_acknowledged => client.delete(name).await.map(|()| true),
        (None, Ok(None)) => Ok(false),
        // It was there before, whatever the platform said then.
        (None, Ok(Some(now))) if now.spec.mark != change.wanted.mark => Ok(false),
        (None, Ok(Some(_))) => client.delete(name).await.map(|()| true),
        (None, Err(_)) => now.map(|_| false),
    }
}
