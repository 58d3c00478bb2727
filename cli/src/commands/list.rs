//! `cargo faas list`: the executions in the store, or the handlers of the package.

use limitless_faas_core::manifest::Handler;
use serde::Serialize;
use serde_json::json;

use super::Session;
use crate::args::List;
use crate::error::Result;
use crate::history::History;
use crate::project::{Function, Project};
use crate::records::now_us;
use crate::render;
use crate::ui::Ui;
use crate::units;

/// One execution as `--json` lists it.
#[derive(Debug, Serialize)]
struct Row {
    execution: String,
    handler: String,
    status: limitless_faas_core::log::Status,
    invocations: usize,
    begun_us: u64,
    took_us: u64,
}

pub(super) async fn list(session: &Session, args: &List) -> Result<()> {
    if args.handlers {
        let project = Project::open(&session.global)?;
        return handlers(&session.ui, &project.functions(&args.pick, &session.ui).await?);
    }
    let records = session.records(args.records.store.as_deref())?;
    let (mut rows, mut unreadable) = (Vec::new(), 0u64);
    for id in records.ids().await? {
        match records.history(&id).await {
            Ok(history) => rows.push(row(&history)),
            // One that is just being removed, or of a later version: the others are worth listing.
            Err(_) => unreadable += 1,
        }
    }
    rows.retain(|row| args.status.as_deref().is_none_or(|status| status == row.status.as_str()));
    rows.retain(|row| args.handler.as_deref().is_none_or(|handler| handler == row.handler));
    rows.sort_by_key(|row| std::cmp::Reverse(row.begun_us));
    let hidden = rows.len().saturating_sub(args.limit) as u64;
    rows.truncate(args.limit);
    if session.ui.is_json() {
        return session
            .ui
            .print_json(&json!({ "executions": rows, "more": hidden, "unreadable": unreadable }));
    }
    show(&session.ui, &rows, hidden, unreadable, records.url())
}

fn row(history: &History) -> Row {
    Row {
        execution: history.execution.id.to_string(),
        handler: history.execution.handler.clone(),
        status: history.status(),
        invocations: history.invocations.len(),
        begun_us: history.span_us.0,
        took_us: history.took_us(),
    }
}

fn show(ui: &Ui, rows: &[Row], hidden: u64, unreadable: u64, url: &str) -> Result<()> {
    if unreadable > 0 {
        ui.warn(&format!("failed to read {}", units::count(unreadable, "execution")));
    }
    if rows.is_empty() {
        ui.say(&format!("no executions in {url}"));
        return Ok(());
    }
    let now_us = now_us();
    let cells: Vec<[String; 6]> = rows
        .iter()
        .map(|row| {
            let ago = units::duration(now_us.saturating_sub(row.begun_us));
            let took = units::duration(row.took_us);
            let id = row.execution[..12].to_owned();
            [
                id,
                row.handler.clone(),
                render::status(row.status),
                row.invocations.to_string(),
                took,
                format!("{ago} ago"),
            ]
        })
        .collect();
    ui.print(&render::table(["EXECUTION", "HANDLER", "STATUS", "INVOCATIONS", "TOOK", "BEGUN"], &cells))?;
    if hidden > 0 {
        ui.say(&format!("{hidden} more: --limit shows them"));
    }
    Ok(())
}

fn handlers(ui: &Ui, functions: &[Function]) -> Result<()> {
    if ui.is_json() {
        let value = |function: &Function| {
            let target = &function.target;
            json!({ "package": target.package, "name": target.name, "example": target.is_example,
                    "program": function.program, "manifest": function.manifest })
        };
        let functions: Vec<_> = functions.iter().map(value).collect();
        return ui.print_json(&json!({ "functions": functions }));
    }
    let row = |package: &str, handler: &Handler| {
        let about = handler.doc.trim().lines().next().unwrap_or_default().trim().to_owned();
        [handler.name.clone(), package.to_owned(), handler.checkpoints.len().to_string(), about]
    };
    let rows: Vec<[String; 4]> = functions
        .iter()
        .flat_map(|function| {
            function.manifest.handlers.iter().map(|handler| row(&function.target.package, handler))
        })
        .collect();
    ui.print(&render::table(["HANDLER", "PACKAGE", "CHECKPOINTS", "ABOUT"], &rows))
}
