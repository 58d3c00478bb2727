//! Figures.
use limitless_faas_core::{calibration::Calibration, profile::Profiles};
use limitless_faas_planner::predict::lock::{Timeline, latency};
fn main() {
    let p: Profiles = serde_json::from_str(include_str!("../tests/data/chiron-profiles.json")).unwrap();
    p.check().unwrap();
    let c = Calibration::chiron();
    let g: serde_json::Value =
        serde_json::from_str(include_str!("../tests/data/chiron-threads.json")).unwrap();
    let tl: Vec<Timeline> = g["handlers"]
        .as_array()
        .unwrap()
        .iter()
        .map(|h| {
            let p = &p.handlers[h.as_str().unwrap()];
            Timeline {
                latency_ms: p.latency.mean_ms + c.thread_load_ms,
                blocks: p
                    .blocks
                    .iter()
                    .map(|b| (b.start_ms + c.thread_load_ms, b.start_ms + c.thread_load_ms + b.duration_ms))
                    .collect(),
            }
        })
        .collect();
    let mut worst = 0.0f64;
    for case in g["cases"].as_array().unwrap() {
        let fs: Vec<&Timeline> =
            case[0].as_array().unwrap().iter().map(|i| &tl[i.as_u64().unwrap() as usize]).collect();
        let l = latency(&fs, &c);
        worst = worst.max((l - case[1].as_f64().unwrap()).abs());
        if fs.len() == 200 {
            let t = std::time::Instant::now();
            for _ in 0..200 {
                std::hint::black_box(latency(std::hint::black_box(&fs), &c));
            }
            println!("200 threads: {:?}", t.elapsed() / 200);
        }
    }
    println!("worst {worst}");
}
