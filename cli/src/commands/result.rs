//! `cargo faas result`: an execution's result.

use limitless_faas_core::log::Phase;
use serde_json::json;

use super::Session;
use crate::args::ResultOf;
use crate::error::{Error, Result};
use crate::exit::Exit;
use crate::report;

pub(super) async fn result(session: &Session, args: &ResultOf) -> Result<()> {
    let records = session.records(args.one.records.store.as_deref())?;
    let id = records.resolve(&args.one.id).await?;
    let history = records.history(&id).await?;
    if let Some(error) = report::failure(&history) {
        return Err(error);
    }
    let Phase::Completed(output) = &history.execution.phase else {
        let message = format!("execution {id} has no result yet: it is {}", history.status().as_str());
        return Err(Error::new(Exit::Unfinished, message).help(format!(
            "`cargo faas status {id}` shows how far it came, `cargo faas resume {id}` waits for it"
        )));
    };
    let result = records.json(&id, output).await?;
    if session.ui.is_json() {
        return session
            .ui
            .print_json(&json!({ "execution": id, "status": history.status(), "result": result }));
    }
    session.ui.print(result.get())
}
