//! A workflow's profile: it runs as it is, but one node at a time, and tells when each began and ended and what was computed
//! meanwhile. So every handler is measured on the inputs that it has there.

use std::io::{BufRead as _, BufReader};
use std::path::Path;
use std::process::{ChildStdout, Stdio};

use limitless_faas_core::node::NodeEvent;
use limitless_faas_planner::observe;

use super::{Running, WARM_UP, add};
use crate::args::Profile;
use crate::commands::Session;
use crate::error::{Context as _, Error, Result};
use crate::exit::Exit;
use crate::project::Input;

/// What a function prints after an activation.
const END: &str = "XXX_THE_END_OF_A_WHISK_ACTIVATION_XXX";

pub(super) async fn profile(
    session: &Session,
    args: &Profile,
    program: &Path,
    inputs: &[Input],
) -> Result<()> {
    if args.strace {
        return Err(Error::usage("--strace follows the calls of one handler, and this is a workflow")
            .help("profile the handler that you want to know more of"));
    }
    let mut running = Running::start_with(program, &args.handler, None, |command| {
        command.env(NodeEvent::VARIABLE, "events").env("LIMITLESS_NODES_AT_ONCE", "1").stdout(Stdio::piped());
    })?;
    let stdout = running.child.stdout.take().ok_or_else(|| Error::bug("a process without its output"))?;
    // What is printed is taken while the workflow runs, so that a full pipe holds nothing up.
    let (tell, mut told) = tokio::sync::mpsc::unbounded_channel();
    let reader = std::thread::spawn(move || read(stdout, &tell));
    let client = reqwest::Client::new();
    let mut runs = Vec::new();
    for input in inputs {
        for run in 0..WARM_UP + args.runs {
            running.call(&client, &args.handler, input).await?;
            let events = told.recv().await.ok_or_else(|| Error::platform("the workflow's process ended"))?;
            if run >= WARM_UP {
                runs.push(events);
            }
        }
    }
    drop(running);
    reader.join().map_err(|_| Error::bug("the reader of a workflow's output ended early"))?;
    let measured = observe::profiles(&args.handler, &runs);
    measured
        .check()
        .map_err(|error| Error::bug(error.to_string()))
        .context(Exit::Bug, || format!("failed to make profiles of what {} told", args.handler))?;
    for (handler, profile) in &measured.handlers {
        let (took, cpu) = (profile.latency.mean_ms, profile.cpu_ms());
        session.ui.status("Profiled", &format!("{handler}: {took:.3} ms of which {cpu:.3} ms computing"));
    }
    add(session, args, measured)
}

/// The events of each activation, one after the other, until the process ends.
fn read(stdout: ChildStdout, tell: &tokio::sync::mpsc::UnboundedSender<Vec<NodeEvent>>) {
    let mut events = Vec::new();
    for line in BufReader::new(stdout).lines().map_while(std::io::Result::ok) {
        if line == END {
            // Nobody listens any more where a call failed.
            let _ = tell.send(std::mem::take(&mut events));
        } else {
            events.extend(NodeEvent::in_line(&line));
        }
    }
}
