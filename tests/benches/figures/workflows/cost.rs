//! What it costs that something is a node: empty nodes, more and fewer of them, in turns.

use std::time::{Duration, Instant};

use limitless_faas_core::placement::Model;
use limitless_faas_tests::{Setting, Stage};
use serde_json::{Value, json};

use super::super::{Figure, median, ms};
use super::call;

const SUBJECT: &str = env!("CARGO_BIN_EXE_subject");
const ROUNDS: u32 = 101;
/// Nodes of the subject's `chain`, one after the other.
const CHAIN: u32 = 16;
/// Nodes of a map, of which some run side by side.
const WIDE: usize = 1000;

async fn stage(workflow: &str, model: Model, store: Option<&str>) -> Stage {
    let mut setting = Setting { time_limit: Duration::from_secs(60), ..Setting::default() };
    if let Some(store) = store {
        setting.config.env.insert("LIMITLESS_STORE".to_owned(), store.to_owned());
    }
    Stage::placed(SUBJECT, workflow, model, setting).await.unwrap()
}

pub(super) async fn figures() -> Vec<Figure> {
    let thread = local(Model::Ours).await;
    let pool = local(Model::Pool).await;
    vec![
        told("orchestration of a node: thread", "≤ 10 µs", thread, 10.0),
        told("the same: process of the pool", "≤ 60 µs", pool, 60.0),
        remote().await,
        fan_out().await,
    ]
}

fn told(
    what: &'static str,
    asked: &'static str,
    (mapped_us, chained_us): (f64, f64),
    most_us: f64,
) -> Figure {
    let measured = format!("{mapped_us:.1} µs in a map of {WIDE}, {chained_us:.1} µs one after another");
    Figure::new(what, asked, measured, mapped_us <= most_us && chained_us <= most_us)
}

/// Microseconds for each further node, in a map and one after another, where the store costs nothing.
async fn local(model: Model) -> (f64, f64) {
    let wide = stage("each", model, Some("memory:")).await;
    let numbers = |count: usize| json!({ "numbers": vec![0; count] });
    let mapped = further(&wide, "each", [numbers(1), numbers(WIDE)], ROUNDS / 4).await / (WIDE - 1) as f64;
    wide.platform.shutdown().await;
    let chain = stage("chain", model, Some("memory:")).await;
    let chained = further(&chain, "chain", [json!({ "nodes": 1 }), json!({ "nodes": CHAIN })], ROUNDS).await;
    chain.platform.shutdown().await;
    (mapped, chained / f64::from(CHAIN - 1))
}

/// How much longer the second input takes than the first, in microseconds.
async fn further(stage: &Stage, workflow: &str, inputs: [Value; 2], rounds: u32) -> f64 {
    let mut times = [Vec::new(), Vec::new()];
    for round in 0..rounds {
        for (input, times) in inputs.iter().zip(&mut times) {
            let elapsed = call(stage, workflow, input).await;
            // The first calls start sandboxes and processes.
            if round >= 2 {
                times.push(elapsed);
            }
        }
    }
    let [few, many] = times.map(median);
    (many - few) * 1e3
}

/// A node in another wrap, beside a plain request for the same execution of the same function.
async fn remote() -> Figure {
    let stage = stage("chain", Model::OneToOne, None).await;
    let (mut few, mut many, mut plain) = (Vec::new(), Vec::new(), Vec::new());
    for round in 0..ROUNDS {
        let key = format!("plain-{round}");
        let input = json!({ "n": 1, "$limitless": { "node": "same", "idempotency_key": key } });
        let times = [
            call(&stage, "chain", &json!({ "nodes": 1 })).await,
            call(&stage, "chain", &json!({ "nodes": CHAIN })).await,
            call(&stage, "chain-w2", &input).await,
        ];
        if round >= 2 {
            few.push(times[0]);
            many.push(times[1]);
            plain.push(times[2]);
        }
    }
    stage.platform.shutdown().await;
    let (node, plain) = ((median(many) - median(few)) / f64::from(CHAIN - 1), median(plain));
    let measured =
        format!("{:.2} × ({:.0} µs, {:.0} µs the plain request)", node / plain, node * 1e3, plain * 1e3);
    Figure::new(
        "the same: another wrap, against one HTTP request to it",
        "≤ 1.2 ×",
        measured,
        node / plain <= 1.2,
    )
}

/// Fifty nodes side by side whose results are durable before the workflow has its own.
async fn fan_out() -> Figure {
    let stage = stage("each", Model::Ours, None).await;
    let numbers = |count: usize| json!({ "numbers": vec![0; count] });
    let (mut times, mut synced) = (Vec::new(), Vec::new());
    for round in 0..ROUNDS {
        let elapsed = call(&stage, "each", &numbers(50)).await;
        if round >= 2 {
            times.push(elapsed);
        }
        let begun = Instant::now();
        let file = std::fs::File::create(stage.folder.path().join("plain")).unwrap();
        std::io::Write::write_all(&mut &file, &[7; 2500]).unwrap();
        file.sync_data().unwrap();
        synced.push(ms(begun.elapsed()));
    }
    stage.platform.shutdown().await;
    let (time, synced) = (median(times), median(synced));
    let measured = format!("{time:.1} ms from call to result; one file of as much, synced, {synced:.2} ms");
    Figure::new("durable fan-out of 50 nodes, folder with fsync", "≤ 15 ms", measured, time <= 15.0)
}
