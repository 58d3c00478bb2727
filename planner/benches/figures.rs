//! Figures.
#![allow(missing_docs, clippy::unwrap_used, clippy::print_stdout)]
use limitless_faas_core::{calibration::Calibration, graph::Graph, profile::Profiles};
use limitless_faas_planner::*;
use std::time::Instant;
fn finra(n: usize) -> Graph {
    let five = ["marketdata", "lastpx", "side", "trddate", "volume"];
    Graph::from_stages(
        &format!("finra-{n}"),
        &[(0..n).map(|i| five[i % 5]).collect(), vec!["margin-balance"]],
    )
}
fn show(name: &str, g: &Graph, r: Request) {
    let p: Profiles = serde_json::from_str(include_str!("../tests/data/chiron-profiles.json")).unwrap();
    let w = Workflow::new(g, &p, &Calibration::chiron()).unwrap();
    let t = Instant::now();
    let a = plan(&w, &r).unwrap();
    let t = t.elapsed();
    match a {
        Answer::Plan(p) => println!(
            "{name} {}: {} processes {} cpus {} wraps {:.2} ms in {t:?}; bound {} cpus {:.2} ms optimal {} {:?}",
            p.strategy,
            p.prediction.processes,
            p.prediction.cpus,
            p.wraps.len(),
            p.prediction.latency_ms,
            p.bound.cpus,
            p.bound.latency_ms,
            p.bound.optimal,
            p.wraps.iter().map(|w| w.cpus).collect::<Vec<_>>()
        ),
        Answer::Infeasible(i) => println!(
            "{name}: infeasible bound {} proved {} fastest {:.2} on {} in {t:?}",
            i.bound_ms, i.proved, i.fastest.prediction.latency_ms, i.fastest.prediction.cpus
        ),
    }
}
fn main() {
    let all = [
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
    for n in [5, 6, 7, 8, 9, 10, 12, 14] {
        let g = Graph::from_stages(
            &format!("n{n}"),
            &[all[..n].to_vec(), all[14 - n..].to_vec(), all[..n / 2].to_vec()],
        );
        show(&format!("n{n} cpus 99"), &g, Request::cpus(99));
        show(&format!("n{n} slo 1"), &g, Request::slo(1.0));
        show(&format!("n{n} slo 250"), &g, Request::slo(250.0));
    }
    let st: Vec<Vec<&str>> =
        (0..50).map(|i| (0..20).map(|j| all[(i * 7 + j * (1 + i % 5)) % 14]).collect()).collect();
    let g = Graph::from_stages("thousand", &st);
    for slo in [2500.0, 4000.0, 6000.0, 10000.0] {
        show("1000/50", &g, Request::slo(slo));
    }
    for slo in [300.0, 600.0, 2000.0, 8000.0] {
        show("finra1000", &finra(1000), Request::slo(slo));
    }
    let st: Vec<Vec<&str>> = vec![(0..1000).map(|j| all[(j * j) % 14]).collect()];
    for slo in [300.0, 600.0, 2000.0, 8000.0] {
        show("1000x14", &Graph::from_stages("x", &st), Request::slo(slo));
    }
}
