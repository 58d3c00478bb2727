//! `cargo faas graph`: a workflow's graph as an outline, a drawing, or for other programs that draw.

use limitless_faas_planner::explain::graph::{dot, drawing, mermaid, outline};
use serde_json::json;

use super::Session;
use super::plan::{bad, graph_of, write};
use crate::args::Graph;
use crate::error::Result;

pub(super) fn graph(session: &Session, args: &Graph) -> Result<()> {
    let graph = graph_of(&args.workflow)?;
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
