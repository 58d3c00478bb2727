//! Algorithm 1 against what its authors' code computes.

use limitless_faas_core::calibration::Calibration;
use limitless_faas_core::profile::Profiles;
use limitless_faas_planner::predict::lock::latency;
use limitless_faas_planner::predict::timeline::Timeline;
use serde::Deserialize;

#[derive(Deserialize)]
struct Golden {
    handlers: Vec<String>,
    cases: Vec<(Vec<usize>, f64)>,
}

#[test]
fn every_golden_case_to_a_millionth() {
    let profiles: Profiles = serde_json::from_str(include_str!("data/chiron-profiles.json")).unwrap();
    profiles.check().unwrap();
    let golden: Golden = serde_json::from_str(include_str!("data/chiron-threads.json")).unwrap();
    let constants = Calibration::chiron();
    let timelines: Vec<_> = golden
        .handlers
        .iter()
        .map(|name| Timeline::plain(&profiles.handlers[name], constants.thread_load_ms))
        .collect();
    assert!(golden.cases.len() > 400);
    for (functions, expected) in &golden.cases {
        let threads: Vec<_> = functions.iter().map(|&function| &timelines[function]).collect();
        let predicted = latency(&threads, &constants);
        assert!((predicted - expected).abs() < 1e-6, "{functions:?}: {predicted} is not {expected}");
    }
}
