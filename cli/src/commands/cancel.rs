//! `cargo faas cancel`: call an execution off.

use limitless_faas_core::invocation::Written;
use limitless_faas_core::log::{Entry, Kind, Status};
use limitless_faas_core::{Code, ExecutionId, Failure};
use serde_json::json;

use super::Session;
use crate::args::Cancel;
use crate::error::{Error, Result};
use crate::exit::Exit;
use crate::records::{Records, nonce, now_us};
use crate::units;

const BY: &str = "cargo faas cancel";

pub(super) async fn cancel(session: &Session, args: &Cancel) -> Result<()> {
    let records = session.records(args.one.records.store.as_deref())?;
    let id = records.resolve(&args.one.id).await?;
    if let Some(handler) = &args.handler {
        before_it_begins(&records, &id, handler).await?;
    }
    let execution = records.cancel(&id, BY).await?;
    let status = execution.status();
    if status != Status::Cancelled {
        return Err(Error::usage(format!("execution {id} has ended already: it is {}", status.as_str()))
            .help(format!("`cargo faas result {id}` tells how")));
    }
    let calls = records.cancel_calls(&execution, "the end of who called it").await?;
    if session.ui.is_json() {
        return session.ui.print_json(
            &json!({ "execution": id, "handler": execution.handler, "status": status, "calls": calls }),
        );
    }
    let with_calls = if calls == 0 { String::new() } else { format!(" and {}", units::count(calls, "call")) };
    session.ui.status(
        "Cancelled",
        &format!("{id}{with_calls}; an invocation that still runs stops at its next look at the log"),
    );
    Ok(())
}

/// Makes the cancellation the log's first entry. Where the log has begun already, that is decided by its fold.
async fn before_it_begins(records: &Records, id: &ExecutionId, handler: &str) -> Result<()> {
    let log = records.log(id);
    let entry = Entry {
        execution: id.clone(),
        handler: handler.to_owned(),
        epoch: 0,
        nonce: nonce()?,
        at_us: now_us(),
        kind: Kind::Cancelled { by: BY.to_owned() },
    };
    let mut last = Failure::new(Code::StoreAway, "the store gives no answer");
    for _ in 0..20 {
        // After an unknown outcome the very same is sent to the very same place, until it is decided.
        match log.create(0, &entry).await {
            Written::New | Written::Taken(_) => return Ok(()),
            Written::Unknown(failure) => last = failure,
        }
    }
    Err(Error::new(Exit::Store, format!("failed to cancel execution {id}")).because(last))
}
