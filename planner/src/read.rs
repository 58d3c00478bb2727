//! Reading graphs, profiles, calibrations and plans from JSON, with an error that a person can act on.

use limitless_faas_core::calibration::{Calibration, CalibrationError};
use limitless_faas_core::graph::{Graph, GraphError};
use limitless_faas_core::plan::{Plan, Prices};
use limitless_faas_core::profile::{ProfileError, Profiles};
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::Value;

use crate::error::PlanError;
use crate::states;

/// The part of a file that every version has.
#[derive(Deserialize)]
struct Versioned {
    version: u32,
}

/// A graph in this project's own format, or a workflow in the States Language, which is named `name`.
///
/// # Errors
///
/// [`PlanError`] naming what is wrong.
pub fn graph(name: &str, text: &str) -> Result<Graph, PlanError> {
    let value: Value = parse("the graph", text)?;
    if value.get("StartAt").is_some() {
        return states::read(name, text);
    }
    match version("the graph", text)? {
        Graph::VERSION => parse("the graph", text),
        found => Err(GraphError::Version { found }.into()),
    }
}

/// Profiles.
///
/// # Errors
///
/// [`PlanError`] naming what is wrong.
pub fn profiles(text: &str) -> Result<Profiles, PlanError> {
    match version("the profiles", text)? {
        Profiles::VERSION => parse("the profiles", text),
        found => Err(ProfileError::Version { found }.into()),
    }
}

/// A calibration.
///
/// # Errors
///
/// [`PlanError`] naming what is wrong.
pub fn calibration(text: &str) -> Result<Calibration, PlanError> {
    match version("the calibration", text)? {
        Calibration::VERSION => parse("the calibration", text),
        found => Err(CalibrationError::Version { found }.into()),
    }
}

/// A plan.
///
/// # Errors
///
/// [`PlanError`] naming what is wrong.
pub fn plan(text: &str) -> Result<Plan, PlanError> {
    match version("the plan", text)? {
        Plan::VERSION => parse("the plan", text),
        found => Err(PlanError::Plan {
            place: "version".to_owned(),
            what: format!("it is {found}, and this program reads {}", Plan::VERSION),
        }),
    }
}

/// A price table: what the platform charges.
///
/// # Errors
///
/// [`PlanError`] naming what is wrong.
pub fn prices(text: &str) -> Result<Prices, PlanError> {
    let prices: Prices = parse("the price table", text)?;
    let wrong = |problem: String| PlanError::Format { what: "the price table", problem };
    let charged = [("gb_second", prices.gb_second), ("ghz_second", prices.ghz_second), ("call", prices.call)];
    for (field, value) in charged {
        if !value.is_finite() || value < 0.0 {
            return Err(wrong(format!("{field} is {value}, and must be zero or more US dollars")));
        }
    }
    if !prices.ghz.is_finite() || prices.ghz <= 0.0 {
        return Err(wrong(format!("ghz is {}, and must be the clock of one CPU", prices.ghz)));
    }
    Ok(prices)
}

/// The version first: a file of another version need not have the fields of this one.
fn version(what: &'static str, text: &str) -> Result<u32, PlanError> {
    parse::<Versioned>(what, text).map(|file| file.version)
}

fn parse<T: DeserializeOwned>(what: &'static str, text: &str) -> Result<T, PlanError> {
    serde_json::from_str(text).map_err(|error| PlanError::Format { what, problem: error.to_string() })
}
