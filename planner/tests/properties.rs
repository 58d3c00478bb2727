//! What must hold of every plan, against a brute-force oracle where that can follow.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

mod oracle;

use std::collections::BTreeMap;

use limitless_faas_core::calibration::{Calibration, ThreadModel};
use limitless_faas_core::graph::{Graph, Isolation};
use limitless_faas_core::plan::{Plan, Start};
use limitless_faas_core::profile::{Profile, Profiles};
use limitless_faas_planner::predict::{predict, schedule};
use limitless_faas_planner::{Answer, Request, Strategy as Way, Workflow, front, plan};
use proptest::prelude::*;

fn profile() -> impl Strategy<Value = Profile> {
    let block = (0.01..0.4, 0.0..0.3);
    (0.1..60.0f64, prop::collection::vec(block, 0..3)).prop_map(|(mean, parts)| {
        let mut blocks = Vec::new();
        let mut at = 0.0;
        for (cpu, wait) in parts {
            let (start, duration): (f64, f64) = (at + cpu * mean / 3.0, wait * mean / 3.0);
            blocks.push((start, duration));
            at = start + duration;
        }
        Profile::locked(mean, &blocks)
    })
}

/// Up to four handlers and up to two stages of up to `widest` nodes.
fn workflow(widest: usize, most_stages: usize) -> impl Strategy<Value = Workflow> {
    let profiles = prop::collection::vec(profile(), 1..=4);
    let stages = prop::collection::vec(prop::collection::vec(0..4usize, 1..=widest), 1..=most_stages);
    let constants = (0.0..8.0f64, 0.0..20.0f64, 0.0..10.0f64, 0.0..25.0f64, 0.0..5.0f64, any::<bool>());
    (profiles, stages, constants).prop_map(|(profiles, stages, constants)| {
        let name = |at: usize| format!("h{}", at % profiles.len());
        let stages: Vec<Vec<String>> =
            stages.iter().map(|stage| stage.iter().map(|&at| name(at)).collect()).collect();
        let handlers: BTreeMap<_, _> =
            profiles.iter().enumerate().map(|(at, profile)| (name(at), profile.clone())).collect();
        let mut calibration = Calibration::chiron();
        (calibration.fork_block_ms, calibration.fork_start_ms) = (constants.0, constants.1);
        (calibration.collect_ms, calibration.remote_ms) = (constants.2, constants.3);
        calibration.invoke_ms = constants.4;
        if constants.5 {
            calibration.threads = ThreadModel::Fair;
            calibration.fitted.main.base_ms = -0.5;
            calibration.fitted.fork.base_ms = 1.5;
            calibration.fitted.fork.factor = 1.1;
        }
        Workflow::new(&Graph::from_stages("random", &stages), &Profiles::new(handlers), &calibration).unwrap()
    })
}

fn answer(workflow: &Workflow, request: &Request) -> Answer {
    plan(workflow, request).unwrap()
}

fn expect_plan(answer: Answer) -> Plan {
    match answer {
        Answer::Plan(plan) => *plan,
        Answer::Infeasible(infeasible) => panic!("no plan: {infeasible:?}"),
    }
}

/// A plan's prediction is that of the plan read back from its JSON.
fn recomputes(plan: &Plan) {
    let text = serde_json::to_string(plan).unwrap();
    let read: Plan = serde_json::from_str(&text).unwrap();
    let mut again = predict(&read).unwrap();
    again.quantiles.clone_from(&plan.prediction.quantiles);
    assert_eq!(again, plan.prediction);
    let drawn = schedule(&read).unwrap();
    let (all, latency): (f64, f64) = (drawn.stages_ms.iter().sum(), plan.prediction.latency_ms);
    assert!((all - latency).abs() < 1e-6, "the picture ends at {all}, the prediction at {latency}");
    assert_eq!(drawn.threads.len(), plan.graph.nodes.len());
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 40, max_shrink_iters: 60, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn the_fewest_cpus_are_the_oracles(workflow in workflow(4, 2), share in 0.0..1.2f64) {
        let options = oracle::options(&workflow);
        let (slow, fast) = (oracle::fastest(&options, 1), oracle::fastest(&options, 99));
        let slo = fast.unwrap() + share * (slow.unwrap() - fast.unwrap()) - 0.5;
        let truth = (1..=16).find(|&cpus| oracle::fastest(&options, cpus).is_some_and(|ms| ms <= slo));
        match (answer(&workflow, &Request::slo(slo.max(0.01))), truth) {
            (Answer::Plan(plan), Some(cpus)) => {
                prop_assert_eq!(plan.prediction.cpus as usize, cpus);
                prop_assert!(plan.bound.optimal);
                recomputes(&plan);
            }
            (Answer::Infeasible(infeasible), None) => {
                prop_assert!(infeasible.bound_ms <= infeasible.fastest.prediction.latency_ms + 1e-9);
                prop_assert!((infeasible.fastest.prediction.latency_ms - fast.unwrap()).abs() < 1e-6);
            }
            (answer, truth) => prop_assert!(false, "{truth:?} CPUs are right, not {answer:?}"),
        }
    }

    #[test]
    fn the_least_latency_is_the_oracles(workflow in workflow(4, 2), cpus in 1..6u32) {
        let truth = oracle::fastest(&oracle::options(&workflow), cpus as usize).unwrap();
        let plan = expect_plan(answer(&workflow, &Request::cpus(cpus)));
        prop_assert!((plan.prediction.latency_ms - truth).abs() < 1e-6, "{} is not {truth}", plan.prediction.latency_ms);
        prop_assert!(plan.bound.latency_ms <= truth + 1e-9, "the bound {} is above {truth}", plan.bound.latency_ms);
        prop_assert!(plan.prediction.cpus <= cpus);
    }

    #[test]
    fn a_looser_slo_is_never_worse(workflow in workflow(14, 3), share in 0.0..1.0f64, looser in 1.0..1.5f64) {
        let slow = expect_plan(answer(&workflow, &Request::cpus(1))).prediction.latency_ms;
        let fast = expect_plan(answer(&workflow, &Request::cpus(99))).prediction.latency_ms;
        let slo = fast + share * (slow - fast);
        let Answer::Plan(tight) = answer(&workflow, &Request::slo(slo)) else { return Ok(()) };
        let loose = expect_plan(answer(&workflow, &Request::slo(slo * looser)));
        let order = |plan: &Plan| (plan.prediction.cpus, plan.prediction.usd_per_million);
        prop_assert!(order(&loose) <= order(&tight), "{:?} after {:?}", order(&loose), order(&tight));
    }

    #[test]
    fn more_cpus_are_never_worse(workflow in workflow(14, 3)) {
        let mut last = f64::INFINITY;
        for cpus in 1..8 {
            let plan = expect_plan(answer(&workflow, &Request::cpus(cpus)));
            prop_assert!(plan.prediction.latency_ms <= last + 1e-9);
            prop_assert!(plan.bound.latency_ms <= plan.prediction.latency_ms + 1e-9);
            last = plan.prediction.latency_ms;
        }
    }

    #[test]
    fn the_same_input_gets_the_same_plan(workflow in workflow(20, 3), cpus in 1..8u32) {
        for way in Way::ALL {
            let request = Request::cpus(cpus).with(way);
            let (one, two) = (answer(&workflow, &request), answer(&workflow, &request));
            let plan = expect_plan(one.clone());
            recomputes(&plan);
            let (bound, latency) = (plan.bound.latency_ms, plan.prediction.latency_ms);
            prop_assert!(bound <= latency + 1e-9, "{}: the bound {bound} is above {latency}", way.name());
            prop_assert_eq!(one, two);
        }
    }

    #[test]
    fn nothing_on_the_front_beats_another(workflow in workflow(6, 2)) {
        let plans = front(&workflow, &Request::slo(1.0)).unwrap();
        prop_assert!(!plans.is_empty());
        let fast = expect_plan(answer(&workflow, &Request::cpus(99))).prediction.latency_ms;
        let best = plans.iter().map(|plan| plan.prediction.latency_ms).fold(f64::INFINITY, f64::min);
        prop_assert!((best - fast).abs() < 1e-6, "the front ends at {best}, and {fast} can be had");
        for (at, one) in plans.iter().enumerate() {
            for other in &plans[at + 1..] {
                let faster = other.prediction.latency_ms < one.prediction.latency_ms;
                prop_assert!(faster || other.wraps.len() < one.wraps.len() || other.prediction.memory_mb < one.prediction.memory_mb);
            }
        }
    }

    #[test]
    fn constraints_hold(
        workflow in workflow(5, 2),
        marks in prop::collection::vec(0..6u8, 12),
        cpus in 4..12u32,
    ) {
        let (mut graph, mut profiles) = (workflow.graph.clone(), workflow.profiles.clone());
        for (node, mark) in graph.nodes.iter_mut().zip(&marks) {
            node.isolation = match mark { 0 => Isolation::Wrap, 1 => Isolation::Process, _ => Isolation::Shared };
        }
        for (profile, mark) in profiles.handlers.values_mut().zip(&marks) {
            if mark % 3 == 2 { profile.writes = vec!["/data/out".to_owned()]; }
            if *mark == 4 { profile.runtime.name = "python2".to_owned(); }
        }
        let workflow = Workflow::new(&graph, &profiles, &workflow.calibration).unwrap();
        let Ok(answer) = plan(&workflow, &Request::cpus(cpus)) else { return Ok(()) };
        let plan = expect_plan(answer);
        recomputes(&plan);
        for wrap in &plan.wraps {
            check_wrap(&graph, &profiles, wrap)?;
        }
    }
}

/// Collecting costs far more here than starting a fork: a sandbox whose main process runs nothing must pay it too.
#[test]
fn forks_alone_are_not_below_the_bound() {
    let profiles = Profiles::new(BTreeMap::from([("h".to_owned(), Profile::locked(42.0, &[]))]));
    let mut calibration = Calibration::chiron();
    (calibration.fork_block_ms, calibration.fork_start_ms, calibration.collect_ms) = (0.0, 0.0, 4.5);
    let graph = Graph::from_stages("twins", &[vec!["h", "h"]]);
    let workflow = Workflow::new(&graph, &profiles, &calibration).unwrap();
    for way in [Way::Sand, Way::Faastlane, Way::FaastlanePlus] {
        let plan = expect_plan(answer(&workflow, &Request::cpus(2).with(way)));
        recomputes(&plan);
        let (bound, latency) = (plan.bound.latency_ms, plan.prediction.latency_ms);
        assert!(bound <= latency, "{}: the bound {bound} is above {latency}", way.name());
        // Two starts of forks that take nothing, 42 ms of computing with its thread's start, two collections.
        assert!(
            (latency - (42.0 + calibration.thread_start_ms + calibration.thread_load_ms + 9.0)).abs() < 0.1,
            "{latency}"
        );
    }
}

fn check_wrap(
    graph: &Graph,
    profiles: &Profiles,
    wrap: &limitless_faas_core::plan::Wrap,
) -> Result<(), TestCaseError> {
    let node = |name: &String| graph.nodes.iter().find(|node| node.name == *name).unwrap();
    let everything: Vec<_> =
        wrap.stages.iter().flat_map(|share| &share.processes).flat_map(|process| &process.threads).collect();
    for name in &everything {
        prop_assert_eq!(&profiles.handlers[&node(name).handler].runtime.name, &wrap.runtime);
        prop_assert!(node(name).isolation != Isolation::Wrap || everything.len() == 1);
    }
    for share in &wrap.stages {
        let threads: Vec<_> = share.processes.iter().flat_map(|process| &process.threads).collect();
        let writers = threads.iter().filter(|name| !profiles.handlers[&node(name).handler].writes.is_empty());
        prop_assert!(writers.count() < 2, "two writers of one file in a sandbox");
        for process in &share.processes {
            let own = process.threads.iter().any(|name| node(name).isolation == Isolation::Process);
            prop_assert!(!own || process.threads.len() == 1);
            prop_assert!(matches!(process.start, Start::Main | Start::Fork));
        }
    }
    Ok(())
}
