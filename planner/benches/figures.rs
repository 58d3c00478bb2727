//! The figures of the README: this planner on the published workflows, beside what the published artifact does.
//!
//! Both use the same model and constants. Times are medians; the artifact's are quoted from a two-core machine.
#![allow(missing_docs, clippy::unwrap_used, clippy::print_stdout, reason = "a benchmark prints")]

#[path = "../tests/published/mod.rs"]
mod published;

use std::hint::black_box;
use std::time::{Duration, Instant};

use limitless_faas_core::calibration::Calibration;
use limitless_faas_core::graph::Graph;
use limitless_faas_core::plan::{Plan, Start};
use limitless_faas_planner::fit::{errors, fit};
use limitless_faas_planner::predict::{Model, quantiles};
use limitless_faas_planner::{Answer, Request, Strategy, plan};

fn median<T>(runs: usize, mut run: impl FnMut() -> T) -> (Duration, T) {
    let mut times = Vec::new();
    let mut last = None;
    for _ in 0..runs {
        let start = Instant::now();
        last = Some(black_box(run()));
        times.push(start.elapsed());
    }
    times.sort();
    (times[runs / 2], last.unwrap())
}

fn planned(graph: &Graph, request: &Request, runs: usize) -> (Duration, Plan) {
    let workflow = published::workflow(graph);
    let (time, answer) = median(runs, || plan(&workflow, request).unwrap());
    match answer {
        Answer::Plan(plan) => (time, *plan),
        Answer::Infeasible(infeasible) => (time, infeasible.fastest),
    }
}

fn row(case: &str, artifact: &str, ours: &str) {
    println!("| {case} | {artifact} | {ours} |");
}

fn summary((time, plan): &(Duration, Plan)) -> String {
    let prediction = &plan.prediction;
    let proof = if plan.bound.optimal {
        "fewest, proved".to_owned()
    } else {
        format!("at least {} needed", plan.bound.cpus)
    };
    let gap = (prediction.latency_ms / plan.bound.latency_ms - 1.0) * 100.0;
    format!(
        "{} processes ({proof}) in {} wraps, {:.2} ms ({gap:.1} % above the bound), {:.1} ms",
        prediction.processes,
        plan.wraps.len(),
        prediction.latency_ms,
        time.as_secs_f64() * 1e3
    )
}

fn threads() {
    let workflow = published::workflow(&published::finra(200));
    let model = Model::new(&workflow);
    let mut handlers: Vec<usize> = workflow.stages[0].iter().map(|&node| workflow.handler_of[node]).collect();
    handlers.sort_by(|&a, &b| model.work_ms(b).total_cmp(&model.work_ms(a)));
    let (time, _) = median(2001, || model.exec_ms(Start::Main, black_box(&handlers), true));
    row("Algorithm 1, 200 threads", "10.3 ms", &format!("{:.3} ms", time.as_secs_f64() * 1e3));
}

fn searches() {
    let slo = Request::slo;
    let cases = [
        ("FINRA-50, SLO 255 ms", "6 processes, 1.4 s", published::finra(50), slo(255.0), 21),
        ("FINRA-100, SLO 200 ms", "17–19 processes, 38 s", published::finra(100), slo(200.0), 21),
        ("FINRA-100, SLO 350 ms", "6 at 344.5 ms, 21 s", published::finra(100), slo(350.0), 21),
        ("SLApp at 3 processes, wraps free", "89.04 ms", published::slapp(), Request::cpus(3), 21),
        ("Social Network, SLO 72 ms", "1 process, 48.18 ms", published::social_network(), slo(72.0), 21),
        ("Movie Review, SLO 63 ms", "1 process, 43.77 ms", published::movie_review(), slo(63.0), 21),
        ("SLApp, SLO 104 ms", "2 processes, 98.29 ms", published::slapp(), slo(104.0), 21),
        ("FINRA-5, SLO 119 ms", "1 process, 99.07 ms", published::finra(5), slo(119.0), 21),
        ("1,000 nodes at once, SLO 600 ms", "not possible", published::thousand_at_once(), slo(600.0), 3),
        ("1,000 nodes at once, SLO 300 ms", "not possible", published::thousand_at_once(), slo(300.0), 3),
        ("1,000 nodes in 50 stages, SLO 6 s", "not possible", published::thousand_in_fifty(), slo(6000.0), 3),
        ("1,000 nodes in 50 stages, SLO 5 s", "not possible", published::thousand_in_fifty(), slo(5000.0), 3),
    ];
    for (case, artifact, graph, request, runs) in cases {
        row(case, artifact, &summary(&planned(&graph, &request, runs)));
    }
    for slo_ms in [200.0, 350.0] {
        let request = slo(slo_ms).with(Strategy::Pgp);
        let ours = summary(&planned(&published::finra(100), &request, 3));
        row(&format!("PGP itself, FINRA-100, SLO {slo_ms} ms"), "see above", &ours);
    }
}

fn predictions() {
    let (profiles, groups) = published::measured();
    let plain = errors(&profiles, &Calibration::chiron(), &groups).unwrap();
    for (name, (seen, unseen)) in
        [("other half", published::halves(&groups)), ("unseen sets", published::strangers(&groups))]
    {
        let fitted = fit(&profiles, &Calibration::chiron(), &seen).unwrap();
        let judged = errors(&fitted.profiles, &fitted.calibration, &unseen).unwrap();
        for (workflow, error) in judged {
            let artifact = format!("{:.1} %", plain[&workflow] * 100.0);
            row(
                &format!("thread predictor, {workflow}, {name}"),
                &artifact,
                &format!("{:.1} %", error * 100.0),
            );
        }
    }
}

fn percentiles() {
    let (_, plan) = planned(&published::finra(50), &Request::slo(255.0), 1);
    let (time, _) = median(3, || quantiles(&plan, &[0.5, 0.95, 0.99], 400).unwrap());
    row("percentiles of FINRA-50, 400 draws", "not possible", &format!("{:.1} ms", time.as_secs_f64() * 1e3));
}

fn main() {
    println!("| case | the artifact | ours |\n| --- | --- | --- |");
    threads();
    searches();
    predictions();
    percentiles();
}
