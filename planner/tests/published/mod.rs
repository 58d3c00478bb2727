//! The published figures that tests and the benchmark hold the planner to, and the workflows they are about.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]
#![allow(dead_code, reason = "each test uses its part")]

use std::collections::BTreeMap;

use limitless_faas_core::calibration::Calibration;
use limitless_faas_core::graph::Graph;
use limitless_faas_core::profile::{Profile, Profiles};
use limitless_faas_planner::Workflow;
use limitless_faas_planner::fit::Group;
use serde::Deserialize;

pub(crate) fn profiles() -> Profiles {
    serde_json::from_str(include_str!("../data/chiron-profiles.json")).unwrap()
}

pub(crate) fn workflow(graph: &Graph) -> Workflow {
    Workflow::new(graph, &profiles(), &Calibration::chiron()).unwrap()
}

pub(crate) fn finra(nodes: usize) -> Graph {
    let rules = ["marketdata", "lastpx", "side", "trddate", "volume"];
    let first = (0..nodes).map(|node| rules[node % 5]).collect();
    Graph::from_stages(&format!("finra-{nodes}"), &[first, vec!["margin-balance"]])
}

pub(crate) fn slapp() -> Graph {
    let stages =
        [vec!["network-io", "factorial", "disk-io", "fibonacci"], vec!["network-io", "pi", "pbkdf2"]];
    Graph::from_stages("slapp", &stages)
}

pub(crate) fn social_network() -> Graph {
    let uploads =
        vec!["upload-user-mentions", "upload-creator", "upload-media", "upload-text", "upload-unique-id"];
    let stores = vec!["post-storage", "upload-home-timeline", "upload-user-timeline"];
    Graph::from_stages("social-network", &[vec!["compose-post"], uploads, vec!["compose-and-upload"], stores])
}

pub(crate) fn movie_review() -> Graph {
    let uploads = vec!["upload-user-id", "upload-movie-id", "mr-upload-text", "mr-upload-unique-id"];
    let stores = vec!["store-review", "upload-user-review", "upload-movie-review"];
    let stages = [vec!["compose-review"], uploads, vec!["mr-compose-and-upload"], stores];
    Graph::from_stages("movie-review", &stages)
}

/// Handlers of all lengths, for stages that nobody has measured.
pub(crate) const MIXED: [&str; 14] = [
    "network-io",
    "factorial",
    "disk-io",
    "fibonacci",
    "pi",
    "pbkdf2",
    "post-storage",
    "upload-home-timeline",
    "store-review",
    "upload-user-review",
    "upload-creator",
    "upload-user-id",
    "marketdata",
    "upload-user-timeline",
];

/// 1,000 nodes in 50 stages, each with another mixture.
pub(crate) fn thousand_in_fifty() -> Graph {
    let stage = |stage: usize| (0..20).map(|at| MIXED[(stage * 7 + at * (1 + stage % 5)) % 14]).collect();
    Graph::from_stages("thousand-in-fifty", &(0..50).map(stage).collect::<Vec<Vec<&str>>>())
}

/// 1,000 nodes in one stage.
pub(crate) fn thousand_at_once() -> Graph {
    Graph::from_stages("thousand-at-once", &[(0..1000).map(|at| MIXED[at * at % 14]).collect::<Vec<_>>()])
}

#[derive(Deserialize)]
struct Measured {
    /// Mean and three quantiles in a forked process, by workflow and handler.
    solo: BTreeMap<String, (f64, f64, f64, f64)>,
    /// Workflow, handlers by number, mean and two quantiles.
    groups: Vec<(String, Vec<usize>, f64, f64, f64)>,
    handlers: Vec<String>,
}

/// How many threads a workflow's parallel stages have. A measured group of as many ran in the wrap's main process,
/// because there was nothing to fork for; a smaller one ran in a forked process beside others.
fn stage_of(workflow: &str, handler: &str) -> usize {
    let second = ["post-storage", "upload-home-timeline", "upload-user-timeline", "store-review"];
    let second = second.contains(&handler) || handler.ends_with("-review");
    match workflow {
        "sn" | "mr" if second => 3,
        "slapp" if ["pi", "pbkdf2"].contains(&handler) => 3,
        "mr" | "slapp" => 4,
        _ => 5,
    }
}

/// The measured groups, and profiles of their handlers, named `workflow/handler`.
pub(crate) fn measured() -> (Profiles, Vec<Group>) {
    let measured: Measured = serde_json::from_str(include_str!("../data/chiron-groups.json")).unwrap();
    let published = profiles().handlers;
    let profile = |(name, solo): (&String, &(f64, f64, f64, f64))| {
        let (workflow, handler) = name.split_once('/').unwrap();
        // One handler was measured in a variant, with the same waits.
        let variant = handler == "marketdata2";
        let mut profile: Profile = published[if variant { "marketdata" } else { handler }].clone();
        // That variant and this workflow have no profile of their own: their solo runs scale the published one.
        if workflow == "slappv" || variant {
            let factor = solo.0 / profile.latency.mean_ms;
            profile.latency.mean_ms = solo.0;
            for block in &mut profile.blocks {
                block.start_ms *= factor;
                block.duration_ms *= factor;
            }
        }
        profile.forked_ms = Some(solo.0);
        (name.clone(), profile)
    };
    let profiles = Profiles::new(measured.solo.iter().map(profile).collect());
    let group = |(workflow, handlers, mean, ..): &(String, Vec<usize>, f64, f64, f64)| {
        let names: Vec<&str> = handlers.iter().map(|&handler| measured.handlers[handler].as_str()).collect();
        let whole = names.iter().map(|name| stage_of(workflow, name)).min().unwrap();
        Group {
            set: workflow.clone(),
            handlers: names.iter().map(|name| format!("{workflow}/{name}")).collect(),
            forked: names.len() < whole,
            mean_ms: *mean,
        }
    };
    (profiles, measured.groups.iter().map(group).collect())
}

/// Every other group: one half to fit to, the other to be judged on.
pub(crate) fn halves(groups: &[Group]) -> (Vec<Group>, Vec<Group>) {
    let half = |of: usize| groups.iter().skip(of).step_by(2).cloned().collect();
    (half(0), half(1))
}

/// Halves that have no set of handlers in common, in whatever order.
pub(crate) fn strangers(groups: &[Group]) -> (Vec<Group>, Vec<Group>) {
    let mut sets: Vec<Vec<String>> = groups.iter().map(sorted).collect();
    sets.sort();
    sets.dedup();
    let first = |group: &&Group| sets.binary_search(&sorted(group)).unwrap().is_multiple_of(2);
    (groups.iter().filter(first).cloned().collect(), groups.iter().filter(|g| !first(g)).cloned().collect())
}

fn sorted(group: &Group) -> Vec<String> {
    let mut handlers = group.handlers.clone();
    handlers.sort();
    handlers
}
