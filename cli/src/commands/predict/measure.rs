//! A workflow on a platform of its own, called again and again.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::time::Duration;

use limitless_faas_core::node::NodeEvent;
use limitless_faas_core::placement::Placement;
use limitless_faas_local::{Event, EventKind};
use limitless_faas_planner::observe::{Run, Runs};
use serde_json::Value;
use tokio::sync::broadcast::Receiver;
use tokio::sync::broadcast::error::TryRecvError;

use super::spent::spent_ms;
use crate::args::{Setting as Variable, Target};
use crate::error::{Context as _, Error, Result};
use crate::exit::Exit;
use crate::platform::{Dialect, Local, Runs as RunBy, Served};
use crate::project::Input;
use crate::records::now_us;

/// Calls that are not counted: sandboxes and processes start.
pub(super) const WARM_UP: u32 = 3;

/// What is called.
#[derive(Clone, Copy)]
pub(super) struct Setting<'a> {
    pub(super) program: &'a Path,
    pub(super) handler: &'a str,
    pub(super) input: &'a Input,
    /// Where its store is.
    pub(super) folder: &'a Path,
}

/// A workflow that is deployed.
pub(super) struct Stage<'a> {
    setting: Setting<'a>,
    local: Local,
    client: reqwest::Client,
}

impl<'a> Stage<'a> {
    /// Starts a platform and deploys the workflow, placed like this. One that is observed runs a node at a time, and tells.
    pub(super) async fn begin(
        setting: &Setting<'a>,
        placement: &Placement,
        is_observed: bool,
    ) -> Result<Self> {
        let store = format!("file:{}", setting.folder.join("store").display());
        let told = [(NodeEvent::VARIABLE, "events"), ("LIMITLESS_NODES_AT_ONCE", "1")];
        let variable =
            |(name, value): (&str, &str)| Variable { name: name.to_owned(), value: value.to_owned() };
        let target = Target {
            time_limit: Duration::from_secs(600),
            memory: 2048,
            platform: Dialect::OpenWhisk,
            containers: false,
            faults: "none".parse().map_err(|_| Error::bug("no faults can't be said"))?,
            seed: 0,
            store: None,
            max_invocations: None,
            env: if is_observed { told.map(variable).to_vec() } else { Vec::new() },
        };
        let local = Local::start(&target, &store, None).await?;
        let runs = RunBy::Program(setting.program, &[]);
        let deployed = Served { handler: setting.handler, runs, placement: Some(placement) };
        local.deploy(&deployed).await?;
        local.deploy_wraps(&deployed).await?;
        Ok(Self { setting: *setting, local, client: reqwest::Client::new() })
    }

    pub(super) async fn end(self) {
        self.local.shutdown().await;
    }

    /// One call to its result: when it was sent and when that was there.
    pub(super) async fn call(&self) -> Result<(u64, u64)> {
        let handler = self.setting.handler;
        let failed = || format!("failed to call {handler}");
        let url =
            format!("{}/api/v1/namespaces/_/actions/{handler}?blocking=true&result=true", self.local.url());
        let (user, password) = self.local.key().split_once(':').unwrap_or_default();
        let request =
            self.client.post(url).basic_auth(user, Some(password)).json(self.setting.input.fields());
        let begun_us = now_us();
        let answer = request.send().await.context(Exit::Platform, failed)?;
        let text = answer.text().await.context(Exit::Platform, failed)?;
        let ended_us = now_us();
        let value: Value = serde_json::from_str(&text).unwrap_or_default();
        match value.get("error").or_else(|| value.get("activationId")) {
            Some(error) => Err(Error::new(Exit::Application, format!("{handler} gave no result: {error}"))),
            None => Ok((begun_us, ended_us)),
        }
    }

    /// What the workflow told in so many calls.
    pub(super) async fn observe(&self, count: u32) -> Result<Runs> {
        let mut told = Told { events: self.local.events(), pids: BTreeSet::new(), nodes: Vec::new() };
        let (mut spans, mut before) = (Vec::new(), 0.0);
        for number in 0..WARM_UP + count {
            if number == WARM_UP {
                told.hear()?;
                before = spent_ms(&told.pids);
            }
            spans.push(self.call().await?);
            told.hear()?;
        }
        let cpu_ms = (spent_ms(&told.pids) - before) / f64::from(count);
        // A process takes its next call when it has told everything of the last.
        self.call().await?;
        told.hear()?;
        let runs = spans.into_iter().zip(told.nodes).skip(WARM_UP as usize);
        let run = |((begun_us, ended_us), (_, events))| Run { begun_us, ended_us, events };
        Ok(Runs { runs: runs.map(run).collect(), cpu_ms })
    }
}

/// What the platform told so far.
struct Told {
    events: Receiver<Event>,
    /// The processes of its functions.
    pids: BTreeSet<u32>,
    /// What happened to nodes, by activation, in the order in which these began.
    nodes: Vec<(String, Vec<NodeEvent>)>,
}

impl Told {
    fn hear(&mut self) -> Result<()> {
        let mut known: BTreeMap<String, usize> = BTreeMap::new();
        known.extend(self.nodes.iter().enumerate().map(|(at, (name, _))| (name.clone(), at)));
        loop {
            let event = match self.events.try_recv() {
                Ok(event) => event,
                Err(TryRecvError::Lagged(_)) => {
                    return Err(Error::platform("the workflow told more of its nodes than could be heard")
                        .help("predict it with a smaller input"));
                }
                Err(_) => return Ok(()),
            };
            match event.kind {
                EventKind::Started { pid, .. } => {
                    self.pids.insert(pid);
                }
                EventKind::Log { line, .. } => {
                    let Some(told) = NodeEvent::in_line(&line) else { continue };
                    let at = *known.entry(event.activation.clone()).or_insert(self.nodes.len());
                    if at == self.nodes.len() {
                        self.nodes.push((event.activation, Vec::new()));
                    }
                    self.nodes[at].1.push(told);
                }
                _ => {}
            }
        }
    }
}
