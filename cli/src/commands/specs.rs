//! The functions that a handler is deployed as: the one that callers know, the version that executions go on in, and the
//! other wraps of a workflow that a plan places.

use std::cell::Cell;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use limitless_faas_core::manifest::Handler;
use limitless_faas_core::placement::Placement;
use limitless_faas_core::plan::Plan;
use limitless_faas_images::{Digest, Reference};

use super::deploy::Asked;
use super::plan::{bad_in, text_of};
use crate::error::{Error, Result};
use crate::platform::{Client, Dialect, Mark, PLACEMENT_VARIABLE, Spec, written};
use crate::records::now_us;

/// Where functions find their gateway by convention.
const GATEWAY: &str = "http://gateway:8080";

/// The plan that places a workflow's nodes, if there is one.
#[derive(Debug, Default)]
pub(super) struct Planned {
    plan: Option<(PathBuf, Plan)>,
    is_used: Cell<bool>,
}

impl Planned {
    /// Reads the plan.
    pub(super) fn read(path: Option<&Path>) -> Result<Self> {
        let Some(path) = path else { return Ok(Self::default()) };
        let plan = serde_json::from_str(&text_of(path, "the plan")?)
            .map_err(|error| bad_in(path, error).help("`cargo faas plan … --out FILE` writes one"))?;
        Ok(Self { plan: Some((path.to_owned(), plan)), is_used: Cell::new(false) })
    }

    /// Where the nodes of `handler` run, if the plan is one of it.
    pub(super) fn of(&self, handler: &Handler) -> Result<Option<Placement>> {
        let (Some((path, plan)), Some(workflow)) = (&self.plan, &handler.workflow) else { return Ok(None) };
        if plan.graph.name != workflow.graph.name {
            return Ok(None);
        }
        self.is_used.set(true);
        let placement = Placement::of(plan, &workflow.graph).map_err(|error| {
            let again = format!("cargo faas plan {} --out {}", handler.name, path.display());
            bad_in(path, error).help(format!("plan it again: {again}"))
        })?;
        Ok(Some(placement))
    }

    /// Where nodes run in a function of these handlers, if one of them is the plan's workflow.
    pub(super) fn among(&self, handlers: &[Handler]) -> Result<Option<Placement>> {
        handlers.iter().find_map(|handler| self.of(handler).transpose()).transpose()
    }

    /// Sees that one of the workflows was the plan's.
    pub(super) fn is_used(&self) -> Result<()> {
        match &self.plan {
            Some((path, plan)) if !self.is_used.get() => Err(Error::usage(format!(
                "{} plans the workflow `{}`, which is not among what is built",
                path.display(),
                plan.graph.name
            ))
            .help("choose its package with -p, or leave --plan away")),
            _ => Ok(()),
        }
    }
}

/// What `handler` is deployed as, in the order in which each can be called by the next.
pub(super) async fn specs(
    client: &Client,
    handler: &str,
    placement: Option<Placement>,
    image: &Reference,
    asked: &Asked,
) -> Result<Vec<Spec>> {
    let current = client.function_name(handler);
    let version = version(image, placement.as_ref())?;
    let versioned = format!("{current}-v{version}");
    let placement = placement.map(|placement| placement.beside(&versioned));
    let environment = environment(client, asked).await?;
    let spec = |name: &str, own: &[(&str, String)], is_current: bool, is_wrap: bool| Spec {
        name: name.to_owned(),
        image: image.familiar(),
        time_limit_ms: asked.time_limit_ms,
        memory_mb: asked.memory_mb,
        environment: environment
            .clone()
            .into_iter()
            .chain(own.iter().map(|(name, value)| ((*name).to_owned(), value.clone())))
            .collect(),
        secrets: asked.secrets.clone(),
        mark: Mark {
            handler: handler.to_owned(),
            version: version.clone(),
            is_current,
            is_wrap,
            since_ms: now_us() / 1000,
        },
    };
    let wraps = placement.iter().flat_map(Placement::wraps);
    let mut specs: Vec<Spec> =
        wraps.map(|wrap| spec(wrap, &[("LIMITLESS_FUNCTION", wrap.to_owned())], false, true)).collect();
    let mut own = vec![("LIMITLESS_HANDLER", handler.to_owned()), ("LIMITLESS_FUNCTION", versioned.clone())];
    if let Some(placement) = &placement {
        own.push((PLACEMENT_VARIABLE, written(placement)?));
    }
    specs.extend([spec(&versioned, &own, false, false), spec(&current, &own, true, false)]);
    Ok(specs)
}

/// What all of them find in their environment.
async fn environment(client: &Client, asked: &Asked) -> Result<BTreeMap<String, String>> {
    let mut environment = asked.environment.clone();
    environment.extend(asked.store.clone().map(|store| ("LIMITLESS_STORE".to_owned(), store)));
    if client.dialect() == Dialect::OpenFaas && (asked.gateway_url.is_some() || !client.is_local().await?) {
        let gateway = asked.gateway_url.clone().unwrap_or_else(|| GATEWAY.to_owned());
        environment.insert("LIMITLESS_GATEWAY_URL".to_owned(), gateway);
    }
    Ok(environment)
}

/// Other code is another version, and so are other places for its nodes: an execution ends where it began.
fn version(image: &Reference, placement: Option<&Placement>) -> Result<String> {
    let mut text = image.to_string();
    if let Some(placement) = placement {
        text.push_str(&written(placement)?);
    }
    Ok(Digest::of(text.as_bytes()).short()[..8].to_owned())
}
