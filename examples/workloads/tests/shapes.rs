//! The graphs that the workflows say they have are those of the paper.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::collections::BTreeMap;
use std::process::Command;

use limitless_faas_core::manifest::Manifest;

/// Each node of a workflow, and how many others it waits for.
fn shape(manifest: &Manifest, workflow: &str) -> Vec<(String, usize)> {
    let graph = &manifest.handler(workflow).unwrap().workflow.as_ref().unwrap().graph;
    graph.check().unwrap();
    let mut waits: BTreeMap<&str, usize> = BTreeMap::new();
    for edge in &graph.edges {
        *waits.entry(&edge.to).or_default() += 1;
    }
    let waits = |name: &str| waits.get(name).copied().unwrap_or(0);
    graph.nodes.iter().map(|node| (node.name.clone(), waits(&node.name))).collect()
}

#[test]
fn workflows_have_the_published_shapes() {
    let output = Command::new(env!("CARGO_BIN_EXE_workloads")).arg("describe").output().unwrap();
    let manifest: Manifest = serde_json::from_slice(&output.stdout).unwrap();
    let waits =
        |workflow: &str| shape(&manifest, workflow).into_iter().map(|node| node.1).collect::<Vec<_>>();
    assert_eq!(waits("finra_5"), [0, 0, 0, 0, 0, 5]);
    assert_eq!(waits("slapp"), [0, 0, 0, 0, 4, 4, 4]);
    assert_eq!(waits("social_network"), [0, 1, 1, 1, 1, 1, 5, 1, 1, 1]);
    assert_eq!(waits("movie_review"), [0, 1, 1, 1, 1, 4, 1, 1, 1]);
    let finra = shape(&manifest, "finra");
    assert_eq!(finra, [("check".to_owned(), 0), ("margin_balance".to_owned(), 1)]);
    for workflow in manifest.handlers.iter().filter_map(|handler| handler.workflow.as_ref()) {
        for node in &workflow.graph.nodes {
            assert!(manifest.handler(&node.handler).is_some(), "{} is not served", node.handler);
        }
    }
}
