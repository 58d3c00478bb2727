//! `cargo faas gc`: remove what executions that have ended left in the store.
//!
//! Two stages, so that a delivery that comes late never begins an execution anew: first the mark `end` is made and what
//! is large goes; the log, with the result, goes when the mark has become as old again, and the mark goes last.

use std::time::Duration;

use bytes::Bytes;
use limitless_faas_core::{ExecutionId, key};
use limitless_faas_store::{Key, Store, StoreError};
use serde::{Deserialize, Serialize};
use serde_json::json;

use super::Session;
use crate::args::Gc;
use crate::capture;
use crate::error::Result;
use crate::history::History;
use crate::records::{Records, now_us};
use crate::recover::Patience;
use crate::state::State;
use crate::units;

/// What stands in the mark.
#[derive(Debug, Serialize, Deserialize)]
struct Mark {
    /// When it was made, µs since 1970.
    at_us: u64,
}

/// What is to be done about one execution.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
enum Stage {
    /// Nothing yet.
    Keep,
    /// Mark its end and remove what is large.
    Shrink,
    /// Remove the rest.
    Remove,
}

/// What was removed of one execution.
#[derive(Debug, Serialize)]
struct Removed {
    execution: ExecutionId,
    stage: Stage,
    keys: u64,
    bytes: u64,
}

pub(super) async fn gc(session: &Session, args: &Gc) -> Result<()> {
    let records = session.records(args.records.store.as_deref())?;
    let logs = State::here(&session.global).ok().map(|state| state.logs());
    let (mut removed, mut kept) = (Vec::new(), 0u64);
    for id in records.ids().await? {
        let mark = read_mark(&records, &id).await?;
        // What can't be read is not ours to remove.
        let history = records.history(&id).await.ok();
        let stage = stage(history.as_ref(), mark.as_ref(), now_us(), (args.older_than, args.keep_results));
        if stage == Stage::Keep {
            kept += 1;
            continue;
        }
        if let (Stage::Remove, Some(history), Some(logs), false) = (stage, &history, &logs, args.dry_run) {
            capture::remove(logs, &id, history.invocations.iter().map(|one| one.activation.as_str()))?;
        }
        let one = remove(&records, &id, stage, args.dry_run).await?;
        if one.keys > 0 {
            removed.push(one);
        }
    }
    show(session, args, &removed, kept)
}

/// `older_than` is for what is large, and for the mark; what else there is of an execution is kept for `keep_results` after its end, or for
/// as long as its caller asked.
fn stage(
    history: Option<&History>,
    mark: Option<&Mark>,
    now_us: u64,
    (older_than, keep_results): (Duration, Duration),
) -> Stage {
    let is_past = |at_us: u64, age: Duration| u128::from(now_us.saturating_sub(at_us)) >= age.as_micros();
    let is_old = |at_us: u64| is_past(at_us, older_than);
    // A removal that was cut short: entry 0 went first, so there is no log any more.
    let Some(history) = history else {
        return if mark.is_some_and(|mark| is_old(mark.at_us)) { Stage::Remove } else { Stage::Keep };
    };
    let skew_ms = u64::try_from(Patience::default().skew.as_millis()).unwrap_or_default();
    let is_leased = now_us / 1000 < history.lease_until_ms + skew_ms;
    if !history.status().is_terminal() || history.is_owed() || is_leased || !is_old(history.span_us.1) {
        return Stage::Keep;
    }
    let asked = history.execution.origin.as_ref().and_then(|origin| origin.keep_ms);
    let keep = asked.map_or(keep_results, Duration::from_millis);
    match mark {
        Some(mark) if is_old(mark.at_us) && is_past(history.span_us.1, keep) => Stage::Remove,
        _ => Stage::Shrink,
    }
}

async fn read_mark(records: &Records, id: &ExecutionId) -> Result<Option<Mark>> {
    let key = Key::new(&key::end(id)).map_err(StoreError::from)?;
    let bytes = records.store().read(&key).await?;
    // One that somebody else made in another form is as young as can be.
    Ok(bytes.map(|bytes| serde_json::from_slice(&bytes).unwrap_or(Mark { at_us: now_us() })))
}

async fn remove(records: &Records, id: &ExecutionId, stage: Stage, is_dry: bool) -> Result<Removed> {
    let store = records.store().as_ref();
    let end = Key::new(&key::end(id)).map_err(StoreError::from)?;
    if stage == Stage::Shrink && !is_dry {
        let mark = serde_json::to_vec(&Mark { at_us: now_us() }).unwrap_or_default();
        store.create(&end, Bytes::from(mark)).await?;
    }
    let mut removed = Removed { execution: id.clone(), stage, keys: 0, bytes: 0 };
    for key in keys(store, id, stage).await? {
        removed.keys += 1;
        removed.bytes += length(store, &key).await?;
        if !is_dry {
            store.delete(&key).await?;
        }
    }
    if stage == Stage::Remove && !is_dry {
        store.delete(&end).await?;
    }
    Ok(removed)
}

/// What goes in this stage, in the order in which it goes.
async fn keys(store: &dyn Store, id: &ExecutionId, stage: Stage) -> Result<Vec<Key>> {
    let folder = Key::new(&key::execution(id)).map_err(StoreError::from)?;
    let mut keys = Vec::new();
    for name in store.children(&folder).await? {
        let key = folder.join(&name).map_err(StoreError::from)?;
        let is_large = matches!(name.as_str(), "checkpoints" | "packs" | "segments");
        let is_wanted = match stage {
            Stage::Keep => false,
            Stage::Shrink => is_large || name.starts_with("input"),
            Stage::Remove => name != "end",
        };
        if !is_wanted {
            continue;
        }
        if is_large || name == "log" {
            // Entry 0 goes first: without it there is no log, whatever else is left of it.
            for child in store.children(&key).await? {
                keys.push(key.join(&child).map_err(StoreError::from)?);
            }
        } else {
            keys.push(key);
        }
    }
    Ok(keys)
}

async fn length(store: &dyn Store, key: &Key) -> Result<u64> {
    Ok(store.read_blob(key).await?.map_or(0, |blob| blob.len_bytes()))
}

fn show(session: &Session, args: &Gc, removed: &[Removed], kept: u64) -> Result<()> {
    let bytes: u64 = removed.iter().map(|one| one.bytes).sum();
    if session.ui.is_json() {
        return session.ui.print_json(&json!({
            "dry_run": args.dry_run, "removed": removed, "bytes": bytes, "kept": kept,
        }));
    }
    for one in removed {
        let what = if one.stage == Stage::Shrink { "what is large" } else { "all" };
        let keys = units::count(one.keys, "value");
        session.ui.say(&format!("{}  {what}: {keys}, {}", one.execution, units::bytes(one.bytes)));
    }
    let verb = if args.dry_run { "Would free" } else { "Freed" };
    let of = units::count(removed.len() as u64, "execution");
    session.ui.status(verb, &format!("{} of {of}; {kept} kept", units::bytes(bytes)));
    Ok(())
}

#[cfg(test)]
mod tests {
    use limitless_faas_core::invocation::Written;
    use limitless_faas_core::log::{Kind, Stored};

    use super::*;
    use crate::history::samples::{BEGIN_US, Scribe, three};

    const DAY: Duration = Duration::from_secs(86_400);
    /// Results go as soon as they may.
    const SOON: (Duration, Duration) = (DAY, Duration::ZERO);
    const DAY_US: u64 = 86_400_000_000;

    #[test]
    fn only_what_ended_long_ago_goes_and_the_log_later() {
        let (done, mut running) = (three().history(), Scribe::new());
        let running = running.start().suspend(1).history();
        let late = BEGIN_US + 10 * DAY_US;
        let marked = |at_us| Some(Mark { at_us });
        let table = [
            ("young", stage(Some(&done), None, BEGIN_US + 10_000_000, SOON), Stage::Keep),
            ("old", stage(Some(&done), None, late, SOON), Stage::Shrink),
            ("just marked", stage(Some(&done), marked(late).as_ref(), late, SOON), Stage::Shrink),
            (
                "marked long ago",
                stage(Some(&done), marked(late - DAY_US).as_ref(), late, SOON),
                Stage::Remove,
            ),
            (
                "marked long ago, and its result is wanted",
                stage(Some(&done), marked(late - DAY_US).as_ref(), late, (DAY, 11 * DAY)),
                Stage::Shrink,
            ),
            (
                "no longer wanted",
                stage(Some(&done), marked(late - DAY_US).as_ref(), late, (DAY, 9 * DAY)),
                Stage::Remove,
            ),
            ("suspended for ever", stage(Some(&running), None, late, SOON), Stage::Keep),
            ("no log, no mark", stage(None, None, late, SOON), Stage::Keep),
            ("removal cut short", stage(None, marked(late - DAY_US).as_ref(), late, SOON), Stage::Remove),
            (
                "leased",
                stage(Some(&done), None, BEGIN_US + 5_800_000, (Duration::ZERO, Duration::ZERO)),
                Stage::Keep,
            ),
        ];
        for (what, found, expected) in table {
            assert_eq!(found, expected, "{what}");
        }
    }

    #[test]
    fn a_result_is_kept_as_long_as_its_caller_asked() {
        let mut scribe = Scribe::new();
        scribe.start();
        if let Kind::Started { origin, .. } = &mut scribe.entries[0].kind {
            origin.keep_ms = Some(10 * DAY_US / 1000);
        }
        scribe.complete("1");
        let history = scribe.history();
        let ended_us = history.span_us.1;
        let mark = Mark { at_us: ended_us + DAY_US };
        let after = |days: u64, keep_results: Duration| {
            stage(Some(&history), Some(&mark), ended_us + days * DAY_US, (DAY, keep_results))
        };
        assert_eq!(after(9, Duration::ZERO), Stage::Shrink, "longer than gc was told");
        assert_eq!(after(10, Duration::ZERO), Stage::Remove);
        assert_eq!(after(10, 90 * DAY), Stage::Remove, "and no longer than was asked");
    }

    #[test]
    fn a_result_that_is_owed_stays() {
        let mut scribe = Scribe::new();
        scribe.start();
        if let Kind::Started { origin, .. } = &mut scribe.entries[0].kind {
            origin.callback = Some("http://127.0.0.1:1/".to_owned());
        }
        scribe.complete("1");
        assert_eq!(stage(Some(&scribe.history()), None, BEGIN_US + 9 * DAY_US, SOON), Stage::Keep);
        scribe.write(Kind::Delivered { to: "http://127.0.0.1:1/".to_owned() });
        assert_eq!(stage(Some(&scribe.history()), None, BEGIN_US + 9 * DAY_US, SOON), Stage::Shrink);
    }

    #[tokio::test]
    async fn stages_leave_what_they_must() {
        let folder = tempfile::tempdir().unwrap();
        let records = Records::open(&format!("file:{}", folder.path().display())).unwrap();
        let entries = three().entries;
        let id = entries[0].execution.clone();
        let log = records.log(&id);
        for (number, entry) in entries.iter().enumerate() {
            assert!(matches!(log.create(number as u64, entry).await, Written::New));
        }
        let store = records.store();
        let blob = Key::new(&key::checkpoint(&id, "000001-0001")).unwrap();
        store.create(&blob, Bytes::from_static(b"state")).await.unwrap();
        let end = Key::new(&key::end(&id)).unwrap();

        let dry = remove(&records, &id, Stage::Shrink, true).await.unwrap();
        assert_eq!((dry.keys, dry.bytes), (1, 5));
        assert!(store.read(&end).await.unwrap().is_none() && store.read(&blob).await.unwrap().is_some());

        remove(&records, &id, Stage::Shrink, false).await.unwrap();
        assert!(store.read(&end).await.unwrap().is_some() && store.read(&blob).await.unwrap().is_none());
        let output = Stored::Json("[2,2,2,3,3,5]".to_owned());
        assert_eq!(records.json(&id, &output).await.unwrap().get(), "[2,2,2,3,3,5]");
        assert_eq!(log.entries(0).await.unwrap().len(), entries.len());

        let rest = remove(&records, &id, Stage::Remove, false).await.unwrap();
        assert_eq!(rest.keys, entries.len() as u64);
        assert_eq!(records.ids().await.unwrap(), []);
    }
}
