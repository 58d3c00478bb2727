//! One clear error that names the place and the fix; never a panic, never an endless search.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]
mod published;

use std::time::{Duration, Instant};

use limitless_faas_core::calibration::Calibration;
use limitless_faas_core::graph::{Edge, Graph, Node};
use limitless_faas_core::profile::{Profile, Profiles};
use limitless_faas_planner::{Answer, Goal, PlanError, Request, Strategy, Workflow, plan, states};

fn profiles(profile: Profile) -> Profiles {
    Profiles::new([("a".to_owned(), profile)].into())
}

fn chain(names: &[&str]) -> Graph {
    let mut graph = Graph::empty("chain");
    graph.nodes = names.iter().map(|name| Node::new(name, "a")).collect();
    graph.edges = names.windows(2).map(|pair| Edge::data(pair[0], pair[1])).collect();
    graph
}

fn refused(graph: &Graph, profiles: &Profiles, says: &str) {
    let error = Workflow::new(graph, profiles, &Calibration::chiron()).unwrap_err().to_string();
    assert!(error.contains(says), "{error}");
}

#[test]
fn a_circle_is_spelled_out() {
    let mut graph = chain(&["x", "y", "z"]);
    graph.edges.push(Edge::data("z", "y"));
    refused(&graph, &profiles(Profile::locked(1.0, &[])), "y → z → y");
    let mut own = chain(&["x"]);
    own.edges.push(Edge::data("x", "x"));
    refused(&own, &profiles(Profile::locked(1.0, &[])), "x → x");
}

#[test]
fn a_node_without_profile_is_named_with_the_command_that_makes_one() {
    let empty = Profiles::new([].into());
    refused(&chain(&["x"]), &empty, "`x` calls the handler `a`, which has no profile");
    refused(&chain(&["x"]), &empty, "cargo faas profile a");
}

#[test]
fn times_must_be_times() {
    for wrong in [0.0, -1.0, 1e300, f64::NAN, f64::INFINITY] {
        refused(&chain(&["x"]), &profiles(Profile::locked(wrong, &[])), "`a` has latency.mean_ms");
    }
    refused(&chain(&["x"]), &profiles(Profile::locked(5.0, &[(1.0, f64::NAN)])), "blocks[0].duration_ms");
    refused(
        &chain(&["x"]),
        &profiles(Profile::locked(5.0, &[(1.0, 2.0), (2.0, 1.0)])),
        "after the block before",
    );
    refused(&chain(&["x"]), &profiles(Profile::locked(5.0, &[(1.0, 9.0)])), "within the mean latency");
    let mut calibration = Calibration::chiron();
    calibration.fork_start_ms = f64::NAN;
    let error =
        Workflow::new(&chain(&["x"]), &profiles(Profile::locked(1.0, &[])), &calibration).unwrap_err();
    assert!(error.to_string().contains("fork_start_ms"), "{error}");
}

#[test]
fn another_version_is_refused() {
    let mut old = profiles(Profile::locked(1.0, &[]));
    old.version = 7;
    refused(&chain(&["x"]), &old, "version 7");
    let mut graph = chain(&["x"]);
    graph.version = 0;
    refused(&graph, &profiles(Profile::locked(1.0, &[])), "version 0");
}

#[test]
fn a_million_nodes_are_refused_at_once() {
    let mut graph = Graph::empty("million");
    graph.nodes = (0..1_000_000).map(|at| Node::new(&format!("n{at}"), "a")).collect();
    let started = Instant::now();
    refused(&graph, &profiles(Profile::locked(1.0, &[])), "1000000 nodes");
    assert!(started.elapsed() < Duration::from_secs(2));
}

#[test]
fn a_target_must_be_one() {
    let workflow = published::workflow(&published::finra(5));
    for slo in [0.0, -5.0, f64::NAN, f64::INFINITY] {
        assert!(matches!(plan(&workflow, &Request::slo(slo)), Err(PlanError::Target { .. })));
    }
    assert!(matches!(plan(&workflow, &Request::cpus(0)), Err(PlanError::Target { .. })));
}

#[test]
fn an_slo_that_nothing_meets_is_proved_so() {
    let workflow = published::workflow(&published::finra(50));
    let Answer::Infeasible(proof) = plan(&workflow, &Request::slo(90.0)).unwrap() else { panic!("a plan") };
    assert!(proof.proved && proof.bound_ms > 90.0 && proof.fastest.prediction.latency_ms >= proof.bound_ms);
    let text = limitless_faas_planner::explain::infeasible(&proof);
    assert!(
        text.contains("No plan of threads and forks can meet 90 ms") && text.contains("`marketdata`"),
        "{text}"
    );
}

#[test]
fn the_time_budget_ends_every_search() {
    // A thousand handlers that are all different, and an SLO just out of reach.
    let handlers =
        (0..1000u32).map(|at| (format!("h{at}"), Profile::locked(20.0 + f64::from(at) * 0.01, &[])));
    let names: Vec<String> = (0..1000).map(|at| format!("h{at}")).collect();
    let graph = Graph::from_stages("different", &[names]);
    let workflow = Workflow::new(&graph, &Profiles::new(handlers.collect()), &Calibration::chiron()).unwrap();
    let long = [Strategy::Pool, Strategy::Pgp, Strategy::Fewest].map(|strategy| (strategy, 500));
    // One that is over before it begins still has an answer.
    for (strategy, ms) in long.into_iter().chain([(Strategy::Fewest, 0), (Strategy::Pgp, 0)]) {
        let budget = Some(Duration::from_millis(ms));
        let request = Request { time_budget: budget, ..Request::slo(60.0) }.with(strategy);
        let started = Instant::now();
        match plan(&workflow, &request).unwrap() {
            Answer::Plan(plan) => assert!(plan.prediction.latency_ms <= 60.0),
            Answer::Infeasible(infeasible) => assert!(infeasible.fastest.prediction.latency_ms > 60.0),
        }
        let took = started.elapsed();
        assert!(took < Duration::from_secs(20), "{} took {took:?}", strategy.name());
    }
}

#[test]
fn constraints_that_exclude_each_other_are_named() {
    let mut graph = chain(&["x", "y"]);
    graph.nodes[0].wrap = Some(0);
    let workflow =
        Workflow::new(&graph, &profiles(Profile::locked(1.0, &[])), &Calibration::chiron()).unwrap();
    let error = plan(&workflow, &Request::slo(50.0)).unwrap_err().to_string();
    assert!(error.contains("`x` can't be placed") && error.contains("numbered from 1"), "{error}");
    graph.nodes[0].wrap = Some(2);
    let workflow =
        Workflow::new(&graph, &profiles(Profile::locked(1.0, &[])), &Calibration::chiron()).unwrap();
    let Answer::Plan(plan) = plan(&workflow, &Request::slo(50.0)).unwrap() else { panic!("no plan") };
    assert_eq!(plan.wraps.len(), 2);
    assert_eq!(plan.wraps[1].stages[0].processes[0].threads, ["x"]);
}

#[test]
fn memory_of_a_sandbox_splits_wraps() {
    let mut profile = Profile::locked(10.0, &[]);
    profile.memory_mb = 100.0;
    let graph = Graph::from_stages("memory", &[vec!["a"; 4]]);
    let workflow = Workflow::new(&graph, &profiles(profile), &Calibration::chiron()).unwrap();
    let request = Request { sandbox_mb: Some(260.0), ..Request::slo(500.0) };
    let Answer::Plan(plan) = plan(&workflow, &request).unwrap() else { panic!("no plan") };
    assert_eq!(plan.wraps.len(), 2);
    assert!(plan.wraps.iter().all(|wrap| wrap.memory_mb <= 260.0));
    let request = Request { sandbox_mb: Some(120.0), goal: Goal::SloMs(500.0), ..request };
    let error = limitless_faas_planner::plan(&workflow, &request).unwrap_err().to_string();
    assert!(error.contains("more memory"), "{error}");
}

#[test]
fn states_are_read_whole_or_not_at_all() {
    let task = |end: &str| format!(r#"{{"Type":"Task","Resource":"arn:aws:lambda:eu:1:function:a",{end}}}"#);
    let read = |states: &str| states::read("w", &format!(r#"{{"StartAt":"A","States":{{{states}}}}}"#));
    let next = task(r#""Next":"P""#);
    let body = format!(
        r#"{{"StartAt":"B","States":{{"B":{},"C":{}}}}}"#,
        task(r#""Next":"C""#),
        task(r#""End":true"#)
    );
    let parallel = format!(r#"{{"Type":"Parallel","Branches":[{body},{body}],"Next":"M"}}"#);
    let map = format!(r#"{{"Type":"Map","MaxConcurrency":3,"ItemProcessor":{body},"Next":"Q"}}"#);
    let choice = r#"{"Type":"Choice","Choices":[{"Next":"Y"}],"Default":"Z"}"#;
    let whole = format!(
        r#""A":{next},"P":{parallel},"M":{map},"Q":{choice},"Y":{},"Z":{{"Type":"Pass","Next":"Y"}}"#,
        task(r#""End":true"#)
    );
    let graph = read(&whole).unwrap();
    assert_eq!(graph.nodes.len(), 1 + 4 + 6 + 1);
    let stages = limitless_faas_planner::workflow::stages(&graph).unwrap();
    assert_eq!(stages.iter().map(Vec::len).collect::<Vec<_>>(), [1, 2, 2, 3, 3, 1]);
    for (states, says) in [
        (r#""A":{"Type":"Task","Resource":"a","End":true,"Nxt":"B"}"#.to_owned(), "unknown field `Nxt`"),
        (r#""A":{"Type":"Wait","Seconds":3,"End":true}"#.to_owned(), "the type `Wait`"),
        (format!(r#""A":{}"#, task(r#""Next":"B""#)), "`B` is named"),
        (format!(r#""A":{},"B":{}"#, task(r#""Next":"B""#), task(r#""Next":"A""#)), "reached from itself"),
        (r#""A":{"Type":"Task","Resource":"a"}"#.to_owned(), "needs either `Next`"),
        (r#""A":{"Type":"Map","ItemProcessor":{},"End":true}"#.to_owned(), "set `MaxConcurrency`"),
    ] {
        let error = read(&states).unwrap_err().to_string();
        assert!(error.contains(says), "{error}");
    }
}
