//! `cargo faas plan` and `graph` on the published workflows, and what they refuse.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod common;

use std::path::{Path, PathBuf};

use common::{Ended, Sample, faas, workspace};
use serde_json::{Value, json};

/// The published workflows with an SLO that each can meet.
const WORKFLOWS: [(&str, &str, u64); 6] = [
    ("social-network", "72", 4),
    ("movie-review", "63", 4),
    ("slapp", "104", 2),
    ("finra-5", "119", 2),
    ("finra-50", "255", 2),
    ("finra-100", "350", 2),
];

fn graph(name: &str) -> PathBuf {
    workspace().join(format!("planner/workflows/{name}.json"))
}

fn profiles() -> PathBuf {
    workspace().join("planner/tests/data/chiron-profiles.json")
}

/// `cargo faas plan FILE --profiles … ARGS`
fn plan(workflow: &Path, profiles: &Path, args: &[&str]) -> Ended {
    let mut command = faas();
    command.arg("plan").arg(workflow).arg("--profiles").arg(profiles).args(args);
    Ended::from(command.output().unwrap())
}

#[test]
fn every_published_workflow_gets_plan_prose_and_picture() {
    let folder = tempfile::tempdir().unwrap();
    for (name, slo, stages) in WORKFLOWS {
        let (svg, out) = (folder.path().join("plan.svg"), folder.path().join("plan.json"));
        let files = ["--slo-ms", slo, "--svg", svg.to_str().unwrap(), "--out", out.to_str().unwrap()];
        let told = plan(&graph(name), &profiles(), &files).expect(0).stdout;
        for words in
            [&format!("`{name}`"), "within its SLO", "Stage 1 takes", "above that bound", "wrap-1", "begins"]
        {
            assert!(told.contains(words), "{words} is not in:\n{told}");
        }
        let made: Value = serde_json::from_str(&std::fs::read_to_string(&out).unwrap()).unwrap();
        assert_eq!(made["prediction"]["stages_ms"].as_array().unwrap().len() as u64, stages);
        let picture = std::fs::read_to_string(&svg).unwrap();
        assert!(picture.starts_with("<svg ") && picture.trim_end().ends_with("</svg>"));
        assert!(picture.contains(&format!("SLO {slo} ms")) && picture.contains("wrap-1"), "{picture}");
    }
}

#[test]
fn json_has_what_a_program_needs() {
    let made = plan(&graph("finra-50"), &profiles(), &["--slo-ms", "255", "--json"]).expect(0).json();
    assert_eq!(
        (&made["status"], &made["processes"], &made["cpus"]),
        (&json!("planned"), &json!(4), &json!(4))
    );
    assert!(
        made["predicted_ms"].as_f64().unwrap() <= 255.0 && made["wraps"].as_u64().unwrap() >= 1,
        "{made}"
    );
    assert_eq!((&made["lower_bound"]["cpus"], &made["optimal"]), (&json!(4), &json!(true)));

    let all =
        plan(&graph("slapp"), &profiles(), &["--slo-ms", "104", "--compare", "--json"]).expect(0).json();
    let plans = all["plans"].as_array().unwrap();
    let names: Vec<&str> = plans.iter().map(|plan| plan["strategy"].as_str().unwrap()).collect();
    assert_eq!(names, ["fewest", "pgp", "one-to-one", "sand", "faastlane", "faastlane-plus", "pool"]);
    for plan in plans {
        let bound = plan["lower_bound"]["latency_ms"].as_f64().unwrap();
        assert!(bound <= plan["predicted_ms"].as_f64().unwrap() + 1e-9, "{plan}");
    }

    let front = plan(&graph("slapp"), &profiles(), &["--front", "--json"]).expect(0).json();
    assert!(front["plans"].as_array().unwrap().len() > 1, "{front}");
}

#[test]
fn percentiles_want_profiles_that_know_them() {
    let folder = tempfile::tempdir().unwrap();
    let (graph, file) = (folder.path().join("w.json"), folder.path().join("p.json"));
    std::fs::write(&graph, r#"{"version":1,"name":"w","nodes":[{"name":"x","handler":"a"}]}"#).unwrap();
    let with = |latency: &str| {
        std::fs::write(&file, format!(r#"{{"version":1,"handlers":{{"a":{{"latency":{latency}}}}}}}"#))
            .unwrap();
        plan(&graph, &file, &["--slo-ms", "8", "--percentile", "95"])
    };
    let means = with(r#"{"mean_ms":5}"#).expect(0);
    assert!(means.stderr.contains("every percentile is the mean"), "{}", means.stderr);
    // Its mean is within the SLO, its 95th percentile is not, and that is what can be promised.
    let spread = with(r#"{"mean_ms":5,"quantiles":[[0,1],[0.5,4],[0.9,9],[1,20]]}"#);
    assert_ne!(spread.code, 0);
    assert!(!spread.stderr.contains("every percentile"), "{}", spread.stderr);
    let promised = spread.stderr.split("an SLO of ").nth(1).unwrap().split(' ').next().unwrap();
    assert!((10.0..20.0).contains(&promised.parse::<f64>().unwrap()), "{}", spread.stderr);
}

#[test]
fn a_price_table_changes_the_cost_alone() {
    let folder = tempfile::tempdir().unwrap();
    let table = folder.path().join("prices.json");
    std::fs::write(&table, r#"{"gb_second": 0, "ghz_second": 0, "ghz": 2.1, "call": 0.001}"#).unwrap();
    let priced =
        |args: &[&str]| plan(&graph("slapp"), &profiles(), &[&["--cpus", "1", "--json"], args].concat());
    let made = priced(&["--prices", table.to_str().unwrap()]).expect(0).json();
    assert!((made["usd_per_million"].as_f64().unwrap() - 1000.0).abs() < 1e-6, "{made}");
    std::fs::write(&table, r#"{"gb_second": -1, "ghz_second": 0, "ghz": 2.1, "call": 0}"#).unwrap();
    let refused = priced(&["--prices", table.to_str().unwrap()]).expect(2);
    assert!(refused.stderr.contains("gb_second is -1"), "{}", refused.stderr);
}

#[test]
fn an_slo_out_of_reach_is_proved_so() {
    let refused = plan(&graph("finra-50"), &profiles(), &["--slo-ms", "90", "--json"]);
    let value = refused.json();
    assert_eq!((&value["status"], &value["proved"]), (&json!("infeasible"), &json!(true)));
    assert!(value["reason"].as_str().unwrap().contains("misses 90 ms"), "{value}");
    let told = plan(&graph("finra-50"), &profiles(), &["--slo-ms", "90"]);
    assert!(
        told.stderr.contains("can meet 90 ms") && told.stderr.contains("What would have to change"),
        "{}",
        told.stderr
    );
    assert_ne!(told.code, 0);
}

/// One clear error in the command line's own form, and no panic.
#[track_caller]
fn refused(workflow: &str, profiles: &str, args: &[&str], says: &str) {
    let folder = tempfile::tempdir().unwrap();
    let (graph, file) = (folder.path().join("w.json"), folder.path().join("p.json"));
    std::fs::write(&graph, workflow).unwrap();
    std::fs::write(&file, profiles).unwrap();
    let ended = plan(&graph, &file, args).expect(2);
    assert!(ended.stderr.contains(says), "{says} is not in: {}", ended.stderr);
    assert_eq!(ended.stdout, "");
}

#[test]
fn bad_input_is_refused_with_the_place_and_the_fix() {
    const GOOD: &str = r#"{"version":1,"name":"w","nodes":[{"name":"x","handler":"a"}]}"#;
    const PROFILE: &str = r#"{"version":1,"handlers":{"a":{"latency":{"mean_ms":5}}}}"#;
    let slo: &[&str] = &["--slo-ms", "50"];
    let circle = r#"{"version":1,"name":"w","nodes":[{"name":"x","handler":"a"},{"name":"y","handler":"a"}],
        "edges":[{"from":"x","to":"y"},{"from":"y","to":"x"}]}"#;
    refused(circle, PROFILE, slo, "x → y → x");
    refused(GOOD, r#"{"version":1,"handlers":{}}"#, slo, "cargo faas profile a");
    for mean in ["0", "-3", "1e999"] {
        let profile = PROFILE.replace('5', mean);
        refused(GOOD, &profile, slo, if mean == "1e999" { "out of range" } else { "latency.mean_ms" });
    }
    refused(GOOD, r#"{"version":9,"other":1}"#, slo, "version 9");
    refused("{", PROFILE, slo, "can't be read");
    refused(GOOD, PROFILE, &["--slo-ms", "0"], "ask for a positive number");
    refused(GOOD, PROFILE, &["--slo-ms", "-3"], "ask for a positive number");
    refused(GOOD, PROFILE, &["--slo-ms", "9", "--percentile", "101"], "between 0 and 1");
    refused(GOOD, PROFILE, &["--slo-ms", "NaN"], "ask for a positive number");
    refused(GOOD, PROFILE, &[], "--slo-ms, --cpus or --front");
    let states = r#"{"StartAt":"s","States":{"s":{"Type":"Task","Resource":"a","Sorcery":1,"End":true}}}"#;
    refused(states, PROFILE, slo, "unknown field `Sorcery`");
    let waits = r#"{"StartAt":"s","States":{"s":{"Type":"Wait","Seconds":1,"End":true}}}"#;
    refused(waits, PROFILE, slo, "use Task, Parallel, Map, Choice or Pass");
}

#[test]
fn a_graph_is_shown_in_every_form() {
    let folder = tempfile::tempdir().unwrap();
    let svg = folder.path().join("graph.svg");
    let show = |args: &[&str]| {
        let mut command = faas();
        command.arg("graph").arg(graph("finra-50")).args(args);
        Ended::from(command.output().unwrap())
    };
    let told = show(&["--svg", svg.to_str().unwrap()]).expect(0).stdout;
    assert!(told.contains("51 nodes in 2 stages, at most 50 at once"), "{told}");
    assert!(std::fs::read_to_string(&svg).unwrap().contains("marketdata ×10"));
    assert!(show(&["--mermaid"]).expect(0).stdout.starts_with("flowchart LR"));
    assert!(show(&["--dot"]).expect(0).stdout.starts_with("digraph \"finra-50\" {"));
    assert_eq!(show(&["--json"]).expect(0).json()["graph"]["nodes"].as_array().unwrap().len(), 51);
    show(&["--mermaid", "--dot"]).expect(2);
}

#[test]
fn what_is_measured_here_can_be_planned() {
    let sample = Sample::new("measured");
    let place = |name: &str| sample.project().join(name).display().to_string();
    let (profiles, costs) = (place("profiles.json"), place("calibration.json"));
    let input = r#"{"n": 5, "pause_ms": 20}"#;
    let told =
        sample.run(&["profile", "slow", "--input", input, "--runs", "3", "--out", &profiles]).expect(0);
    assert!(told.stderr.contains(" wait"), "{}", told.stderr);
    sample
        .run(&["profile", "says", "--input", r#"{"line": "x"}"#, "--runs", "3", "--out", &profiles])
        .expect(0);
    let failed = sample.run(&["profile", "fails", "--runs", "3", "--out", &profiles]).expect(1);
    assert!(failed.stderr.contains("no luck today"), "{}", failed.stderr);
    let read: Value = serde_json::from_str(&std::fs::read_to_string(&profiles).unwrap()).unwrap();
    let handlers = read["handlers"].as_object().unwrap();
    assert_eq!(handlers.keys().collect::<Vec<_>>(), ["says", "slow"], "one that fails is not recorded");
    // Under strace, where that is, the calls it waits in have names.
    let traced = sample.run(&["profile", "slow", "--input", input, "--runs", "3", "--strace"]);
    if traced.code == 0 {
        assert!(traced.stdout.contains("nanosleep"), "{}", traced.stdout);
    } else {
        eprintln!("skipped: names of calls, for there is no strace here");
        assert!(traced.stderr.contains("strace can't be run"), "{}", traced.stderr);
    }
    // It sleeps 100 ms, and a sleeping thread computes nothing, however busy the machine is.
    let blocks = handlers["slow"]["blocks"].as_array().unwrap();
    let waited: f64 = blocks.iter().map(|block| block["duration_ms"].as_f64().unwrap()).sum();
    assert!(waited >= 90.0, "{blocks:?}");

    sample.run(&["calibrate", "--runs", "5", "--out", &costs]).expect(0);
    let graph = sample.project().join("graph.json");
    let two =
        r#"{"version":1,"name":"two","nodes":[{"name":"a","handler":"slow"},{"name":"b","handler":"says"}]}"#;
    std::fs::write(&graph, two).unwrap();
    let made = plan(&graph, Path::new(&profiles), &["--calibration", &costs, "--cpus", "1", "--json"]);
    let made = made.expect(0).json();
    assert!(made["predicted_ms"].as_f64().unwrap() >= 100.0, "{made}");
}
