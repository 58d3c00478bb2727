//! The workflows of the Chiron paper under every deployment model, on the same machine and CPUs.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use limitless_faas_core::placement::Model;
use limitless_faas_tests::{Setting, Stage};
use serde_json::{Value, json};

use super::super::{Figure, median};
use super::call;
use super::memory::Sandboxes;

/// Rounds of latencies; in each every model has its turn.
const ROUNDS: usize = 15;
/// Rounds of throughput, and how long each lasts at least.
const RATES: (usize, Duration) = (3, Duration::from_millis(400));

/// A workflow and what it is called with.
struct Case {
    title: &'static str,
    workflow: &'static str,
    input: Value,
}

/// A model with its own platform, and what was measured of it.
struct Run {
    model: Model,
    stage: Stage,
    latencies_ms: Vec<f64>,
    rates: Vec<f64>,
    sandboxes: usize,
    memory_mb: f64,
}

pub(super) async fn figures() -> Vec<Figure> {
    let program = workloads();
    let folder = tempfile::tempdir().unwrap();
    let mut lines = Vec::new();
    let (mut behind, mut gain) = (Vec::new(), 0.0);
    for case in cases(folder.path()) {
        let runs = measure(&program, &case).await;
        let of = |model: Model| runs.iter().find(|run| run.model == model).unwrap();
        let (ours, alone) = (of(Model::Ours), of(Model::OneToOne));
        for other in runs.iter().filter(|run| run.model != Model::Ours) {
            let ratios = (ours.latency_ms() / other.latency_ms(), other.rate() / ours.rate());
            behind.push((ratios.0.max(ratios.1), format!("{} against {}", case.title, other.model.name())));
        }
        if case.title == "FINRA-50" {
            gain = ours.rate() / alone.rate();
        }
        lines.extend(runs.iter().map(|run| run.line(case.title)));
        for run in runs {
            run.stage.platform.shutdown().await;
        }
    }
    println!("\n| workflow | model | latency, ms | requests/s | sandboxes | memory, MB |");
    println!("| --- | --- | --- | --- | --- | --- |\n{}", lines.join("\n"));
    behind.sort_by(|a, b| b.0.total_cmp(&a.0));
    let (worst, place) = &behind[0];
    vec![
        Figure::new(
            "latency and throughput of ours against the best other model",
            "≤ 1.0 ×",
            format!("at worst {worst:.2} × ({place})"),
            *worst <= 1.0,
        ),
        Figure::new(
            "requests/s of FINRA-50, ours against one-to-one",
            "≥ 5 ×",
            format!("{gain:.1} ×"),
            gain >= 5.0,
        ),
    ]
}

fn cases(folder: &Path) -> Vec<Case> {
    let text = "hello @ann and @cleo, see https://example.org/a/long/path";
    let finra = |rules: u32| json!({ "portfolio": 7, "count": 500, "rules": rules });
    let post = json!({ "author": "Bob", "text": text, "picture": 128, "folder": folder });
    let review =
        json!({ "user": "bob", "title": "Solaris", "text": "slow at first", "stars": 9, "folder": folder });
    let case = |title, workflow, input| Case { title, workflow, input };
    vec![
        case("FINRA-5", "finra", finra(5)),
        case("FINRA-50", "finra", finra(50)),
        case("SLApp", "slapp", json!({ "size": 20 })),
        case("Social Network", "social_network", post),
        case("Movie Reviewing", "movie_review", review),
    ]
}

/// The release binary of the workloads, built now beside this one.
fn workloads() -> PathBuf {
    let cargo = std::env::var("CARGO").unwrap_or_else(|_| "cargo".to_owned());
    let own = std::env::current_exe().unwrap();
    let target = own.ancestors().nth(3).unwrap();
    let mut command = Command::new(cargo);
    command.args(["build", "--release", "--quiet", "--package", "workloads"]);
    assert!(command.env("CARGO_TARGET_DIR", target).status().unwrap().success());
    target.join("release/workloads")
}

async fn measure(program: &Path, case: &Case) -> Vec<Run> {
    let mut runs = Vec::new();
    for model in Model::ALL {
        let setting = Setting { time_limit: Duration::from_secs(60), ..Setting::default() };
        let stage = Stage::placed(program, case.workflow, model, setting).await.unwrap();
        let mut events = stage.platform.events();
        let mut sandboxes = Sandboxes::default();
        for _ in 0..3 {
            call(&stage, case.workflow, &case.input).await;
            sandboxes.hear(&mut events);
        }
        let (count, memory_mb) = sandboxes.measure();
        let (latencies_ms, rates) = (Vec::new(), Vec::new());
        runs.push(Run { model, stage, latencies_ms, rates, sandboxes: count, memory_mb });
    }
    for _ in 0..ROUNDS {
        for run in &mut runs {
            run.latencies_ms.push(call(&run.stage, case.workflow, &case.input).await);
        }
    }
    for _ in 0..RATES.0 {
        for run in &mut runs {
            let rate = rate(&run.stage, case).await;
            run.rates.push(rate);
        }
    }
    runs
}

/// Requests a second from two callers.
async fn rate(stage: &Stage, case: &Case) -> f64 {
    let begun = Instant::now();
    let caller = async || {
        let mut calls = 0_u32;
        while begun.elapsed() < RATES.1 {
            call(stage, case.workflow, &case.input).await;
            calls += 1;
        }
        calls
    };
    let (one, other) = tokio::join!(caller(), caller());
    f64::from(one + other) / begun.elapsed().as_secs_f64()
}

impl Run {
    fn latency_ms(&self) -> f64 {
        median(self.latencies_ms.clone())
    }

    fn rate(&self) -> f64 {
        median(self.rates.clone())
    }

    fn line(&self, title: &str) -> String {
        let (model, latency, rate) = (self.model.name(), self.latency_ms(), self.rate());
        let (sandboxes, memory) = (self.sandboxes, self.memory_mb);
        format!("| {title} | {model} | {latency:.1} | {rate:.0} | {sandboxes} | {memory:.1} |")
    }
}
