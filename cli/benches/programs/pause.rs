//! How long a small program stands still, as it sees that itself: from its last turn before the image to its first one after it.

use std::path::Path;
use std::time::Duration;

use serde_json::Value;

use super::folder::{Folder, images, invocations, seconds};
use super::plainly::{Images, Plain};
use super::{Figure, median};

/// Computes for so many seconds of its own, and prints when it stood still, in seconds since 1970.
const TICKS: &str = "import json, sys, time
left, pauses, last = float(sys.argv[1]), [], time.time()
while left > 0:
    sum(range(2000))
    now = time.time()
    if now - last > 0.02: pauses.append([last, now])
    else: left -= now - last
    last = now
print(json.dumps(pauses))
";
const PYTHON: &str = "/usr/bin/python3";
const PLAIN_ROUNDS: usize = 5;

type Pause = (f64, f64);

pub(super) fn figures(dmtcp: &Path) -> Vec<Figure> {
    let folder = tempfile::tempdir().unwrap();
    let program = folder.path().join("ticks.py");
    std::fs::write(&program, TICKS).unwrap();
    let report = Folder::new(&[PYTHON, "ticks.py", "20"], &program).run("2s");
    let (yields, resumes) = parts(&report);
    let whole: Vec<f64> = yields.iter().zip(&resumes).map(|(saved, back)| saved + back).collect();
    let plain: Vec<f64> = (0..PLAIN_ROUNDS).map(|_| plain_pause(dmtcp, folder.path(), &program)).collect();
    let (saved, back, whole, plain) = (median(yields), median(resumes), median(whole), median(plain));
    vec![
        Figure::new(
            "yield of a small Python program, last turn to image durable",
            "≤ 120 ms",
            format!("{:.0} ms", saved * 1e3),
            saved <= 0.12,
        ),
        Figure::new(
            "resume, invoked to first turn",
            "≤ 90 ms",
            format!("{:.0} ms", back * 1e3),
            back <= 0.09,
        ),
        Figure::new(
            "both, against DMTCP as shipped with gzip",
            "≥ 5 × faster",
            format!("{:.0} ms against {:.0} ms: {:.1} ×", whole * 1e3, plain * 1e3, plain / whole),
            plain / whole >= 5.0,
        ),
    ]
}

/// What each yield and each resume took, in seconds.
fn parts(report: &Value) -> (Vec<f64>, Vec<f64>) {
    let pauses: Vec<Pause> = serde_json::from_value(report["result"].clone()).unwrap();
    let successors = invocations(report).iter().skip(1);
    let both = images(report).into_iter().zip(successors).filter_map(|(image, successor)| {
        let durable = seconds(image, "at_us");
        let (last, first) = pauses.iter().find(|(last, first)| *last < durable && durable < *first)?;
        Some((durable - last, first - seconds(successor, "started_us")))
    });
    both.unzip()
}

/// The same program, saved and restarted by DMTCP itself.
fn plain_pause(dmtcp: &Path, folder: &Path, program: &Path) -> f64 {
    let images = folder.join("images");
    let mut plain = Plain::launch(dmtcp, &images, Images::Gzip, &[PYTHON, program.to_str().unwrap(), "1.5"]);
    std::thread::sleep(Duration::from_millis(800));
    plain.yield_now();
    let printed = plain.restart();
    std::fs::remove_dir_all(images).unwrap();
    let pauses: Vec<Pause> = serde_json::from_slice(&printed).unwrap();
    pauses.iter().map(|(last, first)| first - last).fold(0.0, f64::max)
}
