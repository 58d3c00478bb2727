//! A function that ends in time, beside the same function without the SDK.

use std::time::Instant;

use limitless_faas_tests::{Setting, Stage};
use serde_json::json;

use super::{Figure, median};

const SUBJECT: &str = env!("CARGO_BIN_EXE_subject");
const PLAIN: &str = env!("CARGO_BIN_EXE_plain");
const CALLS: usize = 1500;

pub(super) async fn figures() -> Vec<Figure> {
    let ours = Stage::set(SUBJECT, "squares", Setting::default()).await.unwrap();
    let plain = Stage::set(PLAIN, "squares", Setting::default()).await.unwrap();
    let input = json!({ "n": 1000 });
    let mut times = [Vec::new(), Vec::new()];
    for call in 0..CALLS {
        for (stage, times) in [&ours, &plain].into_iter().zip(&mut times) {
            let started = Instant::now();
            let (status, answer) = stage.invoke("squares", &input).await.unwrap();
            let elapsed = started.elapsed().as_secs_f64() * 1e6;
            assert_eq!((status, &answer), (200, &json!({ "result": 332_833_500 })));
            if call > 100 {
                times.push(elapsed);
            }
        }
    }
    ours.platform.shutdown().await;
    plain.platform.shutdown().await;
    let [ours, plain] = times.map(median);
    let ratio = ours / plain;
    let measured = format!("{ratio:.2} × ({ours:.0} µs, {plain:.0} µs without)");
    vec![Figure::new(
        "function that ends in time, p50 through the local platform",
        "≤ 1.2 ×",
        measured,
        ratio <= 1.2,
    )]
}
