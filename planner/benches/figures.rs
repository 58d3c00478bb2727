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
    let slapp = Graph::from_stages(
        "slapp",
        &[vec!["network-io", "factorial", "disk-io", "fibonacci"], vec!["network-io", "pi", "pbkdf2"]],
    );
    show("slapp 104", &slapp, Request::slo(104.0));
    show("slapp 3", &slapp, Request::cpus(3));
    show("slapp 104", &slapp, Request::slo(104.0).with(Strategy::Pgp));
    show("finra5 119", &finra(5), Request::slo(119.0));
    show("finra50 255", &finra(50), Request::slo(255.0));
    show("finra100 200", &finra(100), Request::slo(200.0));
    show("finra100 350", &finra(100), Request::slo(350.0));
    show("finra100 6", &finra(100), Request::cpus(6));
    for s in Strategy::ALL {
        show("finra50 255", &finra(50), Request::slo(255.0).with(s));
    }
    show("finra100 200", &finra(100), Request::slo(200.0).with(Strategy::Pgp));
    show("finra100 350", &finra(100), Request::slo(350.0).with(Strategy::Pgp));
    show("finra1000 600", &finra(1000), Request::slo(600.0));
}
