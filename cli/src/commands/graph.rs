//! `cargo faas graph`: a workflow's graph as an outline, a drawing, or for other programs that draw.

use std::path::Path;

use limitless_faas_core::graph;
use limitless_faas_core::manifest::Workflow;
use limitless_faas_planner::explain::graph::{dot, drawing, mermaid, outline};
use limitless_faas_planner::read;
use serde_json::json;

use super::Session;
use super::plan::{bad, bad_in, text_of, write};
use crate::args::{Graph, Pick};
use crate::error::{Error, Result};
use crate::project::Project;

pub(super) async fn graph(session: &Session, args: &Graph) -> Result<()> {
    let graph = named(session, &args.workflow, &args.pick).await?.graph;
    let stages = outline(&graph).map_err(bad)?;
    if let Some(path) = &args.svg {
        write(path, &drawing(&graph).map_err(bad)?)?;
        session.ui.status("Drew", &path.display().to_string());
    }
    if session.ui.is_json() {
        return session.ui.print_json(&json!({ "graph": graph, "svg": args.svg }));
    }
    let text = match (args.mermaid, args.dot) {
        (true, _) => mermaid(&graph).map_err(bad)?,
        (_, true) => dot(&graph).map_err(bad)?,
        _ => stages,
    };
    session.ui.print(text.trim_end())
}

/// The workflow that was named: what stands in a file, or what a function of this project says of itself.
pub(super) async fn named(session: &Session, name: &str, pick: &Pick) -> Result<Workflow> {
    let path = Path::new(name);
    if path.is_file() || path.extension().is_some_and(|extension| extension == "json") {
        return Ok(Workflow { slo_ms: None, graph: in_file(path)? });
    }
    let project = Project::open(&session.global)?;
    let function = project.function_with(name, pick, &session.ui).await?;
    let workflow = function.handler(name).and_then(|handler| handler.workflow.clone());
    workflow.ok_or_else(|| {
        Error::usage(format!("`{name}` is a handler by itself: only a workflow has a graph"))
            .help("name a function with #[workflow], or a graph in a file")
    })
}

/// The graph in a file; one in the States Language is called after its file.
fn in_file(path: &Path) -> Result<graph::Graph> {
    let text = text_of(path, "the workflow")?;
    let name = path.file_name().and_then(|name| name.to_str()).unwrap_or("workflow");
    let name = name.trim_end_matches(".json").trim_end_matches(".asl");
    read::graph(name, &text).map_err(|error| bad_in(path, error))
}
