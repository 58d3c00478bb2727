//! The end of a program swept against the moment at which it is asked to yield: one result and one effect, each time.

use std::fs;

use serde_json::json;

use super::Figure;
use super::folder::{Folder, invocations};

/// Computes for so many milliseconds, leaves a mark, and ends.
const ENDS: &str = "import sys, time
end = time.monotonic() + int(sys.argv[1]) / 1000
while time.monotonic() < end: pass
open(sys.argv[2], 'a').write('end\\n')
print(1)
";
const RUNS: u32 = 200;
/// It is asked half its limit before that, since no margin is larger, and saved within some tenths of a second.
const LIMIT: &str = "3s";
const MARGIN: &str = "2s";
const FIRST_END_MS: u32 = 1250;
const SWEPT_MS: u32 = 450;

pub(super) fn figure() -> Figure {
    let folder = tempfile::tempdir().unwrap();
    let program = folder.path().join("ends.py");
    fs::write(&program, ENDS).unwrap();
    let words = ["/usr/bin/python3", "ends.py", "{input.ms}", "{input.mark}"];
    let runner = Folder::with_margin(&words, &program, Some(MARGIN));
    let (mut single, mut once, mut yielded) = (0, 0, 0);
    for run in 0..RUNS {
        let mark = folder.path().join(format!("mark-{run}"));
        let ms = FIRST_END_MS + SWEPT_MS * run / RUNS;
        let report = runner.run_with(&json!({ "ms": ms, "mark": mark }), LIMIT);
        single += u32::from(report["result"] == json!(1));
        if fs::read_to_string(&mark).is_ok_and(|mark| mark == "end\n") {
            once += 1;
        } else {
            println!("{ms} ms: {report}");
        }
        yielded += u32::from(invocations(&report).len() > 1);
    }
    let measured =
        format!("{single} of {RUNS}; the effect once in {once}; {yielded} yielded before their end");
    Figure::new(
        "the end swept against the yield: runs with one result",
        "all, with one effect each",
        measured,
        single == RUNS && once == RUNS,
    )
}
