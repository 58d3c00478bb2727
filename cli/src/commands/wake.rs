//! `cargo faas wake`: let executions go on that waited.

use limitless_faas_core::log::Phase;
use limitless_faas_core::{Code, Failure};
use serde_json::json;
use serde_json::value::RawValue;

use super::Session;
use crate::args::Wake;
use crate::error::{Error, Result};
use crate::exit::Exit;
use crate::history::History;
use crate::platform::{self, Client, Place};
use crate::project::text_of;
use crate::records::{Records, now_us};
use crate::state::{Dev, State};
use crate::units;

pub(super) async fn wake(session: &Session, args: &Wake) -> Result<()> {
    let dev = State::here(&session.global).ok().and_then(|state| state.dev());
    let dev_store = dev.as_ref().map(|dev| dev.store.clone());
    let records = match (&args.store, dev_store) {
        (None, Some(url)) => Records::open(&url)?,
        (given, _) => session.records(given.as_deref())?,
    };
    if let (Some(id), Some(event)) = (&args.id, &args.event) {
        make_happen(session, &records, id, event, &data(&args.data)?).await?;
    }
    let (due, waiting) = match &args.id {
        Some(id) => (vec![records.history(&records.resolve(id).await?).await?], 0),
        None => due(&records).await?,
    };
    let woken = if due.is_empty() { Vec::new() } else { invoke(session, args, dev, &due).await? };
    if session.ui.is_json() {
        return session.ui.print_json(&json!({ "woken": woken, "waiting": waiting }));
    }
    if args.id.is_none() {
        let still = units::count(waiting, "execution");
        session.ui.status("Woken", &format!("{}; {still} still waiting", woken.len()));
    }
    Ok(())
}

/// The execution has to be one; then the event is recorded, before anybody is invoked for it.
async fn make_happen(session: &Session, records: &Records, id: &str, event: &str, data: &str) -> Result<()> {
    let id = records.resolve(id).await?;
    let history = records.history(&id).await?;
    if history.status().is_terminal() {
        return Err(Error::usage(format!(
            "execution {id} has ended already: nothing happens to it any more"
        )));
    }
    if records.record_event(&id, event, data).await? {
        session.ui.status("Recorded", &format!("event `{event}` of {id}"));
    } else {
        session.ui.warn(&format!("event `{event}` had happened to {id} before; its first data stays"));
    }
    Ok(())
}

/// JSON as it was given, to the letter.
fn data(given: &str) -> Result<String> {
    let text = text_of(given)?;
    let json: std::result::Result<Box<RawValue>, _> = serde_json::from_str(text.trim());
    match json {
        Ok(json) => Ok(json.get().to_owned()),
        Err(error) => Err(Error::usage("the event's data is no JSON")
            .because(error)
            .help("a text wants quotes of its own: --data '\"yes\"'")),
    }
}

/// The executions of this store that can go on now, and how many wait on.
async fn due(records: &Records) -> Result<(Vec<History>, u64)> {
    let (mut due, mut waiting) = (Vec::new(), 0);
    for id in records.ids().await? {
        let history = records.history(&id).await?;
        let execution = &history.execution;
        let Phase::Suspended { wake: Some(wake), .. } = &execution.phase else { continue };
        if wake.is_due(now_us() / 1000) || records.has_happened(execution).await? {
            due.push(history);
        } else {
            waiting += 1;
        }
    }
    Ok((due, waiting))
}

/// Invokes a successor for each. Whatever is delivered twice is claimed once.
async fn invoke(session: &Session, args: &Wake, dev: Option<Dev>, due: &[History]) -> Result<Vec<String>> {
    let client = match platform::find(&args.remote, dev) {
        Ok((client, _)) => client,
        // What happened is recorded, and whoever follows the execution sees it.
        Err(error) if args.event.is_some() => {
            session.ui.warn(&format!("{error}: `cargo faas resume {}` goes on", due[0].execution.id));
            return Ok(Vec::new());
        }
        Err(error) => return Err(error),
    };
    let mut woken = Vec::new();
    let mut refused = None;
    for history in due {
        match one(&client, history).await {
            Ok(()) => woken.push(history.execution.id.to_string()),
            // The others shall not sleep on for it.
            Err(error) => refused = Some(error),
        }
    }
    match refused {
        Some(error) if woken.is_empty() => Err(error),
        Some(error) => {
            session.ui.warn(&error.to_string());
            Ok(woken)
        }
        None => Ok(woken),
    }
}

async fn one(client: &Client, history: &History) -> Result<()> {
    let execution = &history.execution;
    let asked = client.resume(&Place::of(execution), &execution.id, history.suspended).await;
    asked.map(drop).map_err(|error| {
        let failure = Failure::new(Code::SuccessorRefused, error.to_string());
        Error::new(Exit::Platform, format!("failed to invoke `{}` for {}", execution.handler, execution.id))
            .because(failure)
    })
}
