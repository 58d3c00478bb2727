//! Packages: what actions can be named under, with parameters for all of them.

use std::time::SystemTime;

use hyper::StatusCode;
use serde::Deserialize;
use serde_json::{Value, json};

use super::action::check_parameters;
use super::{Annotation, Parameter, Refusal, Shown};
use crate::events::epoch_ms;
use crate::platform::Shared;
use crate::sync::lock;

#[derive(Clone, Debug)]
pub(super) struct Package {
    patch: u32,
    pub(super) parameters: Vec<Parameter>,
    annotations: Vec<Annotation>,
    updated: SystemTime,
}

#[derive(Debug, Deserialize)]
pub(super) struct PackagePut {
    binding: Option<Value>,
    parameters: Option<Vec<Parameter>>,
    annotations: Option<Vec<Annotation>>,
}

impl Package {
    fn json(&self, shared: &Shared, name: &str) -> Shown {
        let rest = json!({
            "namespace": shared.config.namespace, "name": name, "version": format!("0.0.{}", self.patch),
            "publish": false, "annotations": self.annotations, "binding": {}, "updated": epoch_ms(self.updated),
        });
        Shown::new(&self.parameters, rest)
    }
}

pub(super) fn put(shared: &Shared, name: &str, put: PackagePut, overwrite: bool) -> Result<Shown, Refusal> {
    if put.binding.is_some_and(|binding| binding.as_object().is_none_or(|binding| !binding.is_empty())) {
        return Err(Refusal::bad_request("package bindings are not offered by the local platform"));
    }
    let mut packages = lock(&shared.whisk.packages);
    let old = packages.get(name);
    if old.is_some() && !overwrite {
        return Err(Refusal::new(StatusCode::CONFLICT, "resource already exists"));
    }
    let kept = || old.map(|old| old.parameters.clone()).unwrap_or_default();
    let parameters = put.parameters.unwrap_or_else(kept);
    check_parameters(shared, &parameters)?;
    let kept = || old.map(|old| old.annotations.clone()).unwrap_or_default();
    let annotations = put.annotations.unwrap_or_else(kept);
    let patch = old.map_or(1, |old| old.patch + 1);
    let package = Package { patch, parameters, annotations, updated: SystemTime::now() };
    let shown = package.json(shared, name);
    packages.insert(name.to_owned(), package);
    Ok(shown)
}

pub(super) fn get(shared: &Shared, name: &str) -> Result<Shown, Refusal> {
    let shown = lock(&shared.whisk.packages).get(name).map(|package| package.json(shared, name));
    let mut shown = shown.ok_or_else(Refusal::not_found)?;
    let actions = lock(&shared.whisk.actions);
    let own = actions.values().filter(|action| action.name.package.as_deref() == Some(name));
    let own: Vec<_> =
        own.map(|action| json!({ "name": action.name.name, "version": action.version() })).collect();
    shown.rest.insert("actions".to_owned(), json!(own));
    shown.rest.insert("feeds".to_owned(), json!([]));
    Ok(shown)
}

pub(super) fn list(shared: &Shared) -> Vec<Shown> {
    lock(&shared.whisk.packages).iter().map(|(name, package)| package.json(shared, name)).collect()
}

pub(super) fn delete(shared: &Shared, name: &str) -> Result<Shown, Refusal> {
    let actions = lock(&shared.whisk.actions);
    if actions.values().any(|action| action.name.package.as_deref() == Some(name)) {
        let message = "Package not empty: delete its actions first";
        return Err(Refusal::new(StatusCode::CONFLICT, message));
    }
    let package = lock(&shared.whisk.packages).remove(name).ok_or_else(Refusal::not_found)?;
    Ok(package.json(shared, name))
}
