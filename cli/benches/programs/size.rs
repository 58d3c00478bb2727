//! Programs with much memory: a gigabyte saved at once, and what the image after it moves.

use std::fs::File;
use std::io::{Read, Write};
use std::path::Path;
use std::time::{Duration, Instant};

use super::folder::{Folder, compile, images, seconds};
use super::plainly::{Images, Plain};
use super::{Figure, median};

/// Fills so many megabytes with noise, then changes the first hundredth of them over and over, for so many seconds of its own.
const NOISE: &str = r#"
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>
static uint64_t seed = 88172645463325252u;
static uint64_t next(void) { seed ^= seed << 13; seed ^= seed >> 7; return seed ^= seed << 17; }
static double now(void) { struct timespec t; clock_gettime(CLOCK_REALTIME, &t); return t.tv_sec + t.tv_nsec / 1e9; }
int main(int argc, char **argv) {
    size_t words = strtoul(argv[1], 0, 10) * 125000;
    double left = strtod(argv[2], 0), last, t;
    uint64_t *noise = malloc(words * 8);
    if (!noise || argc < 3) return 1;
    for (size_t i = 0; i < words; i++) noise[i] = next();
    for (last = now(); left > 0; last = t) {
        for (size_t i = 0; i < words / 100; i++) noise[i] += next();
        t = now();
        if (t - last < 0.1) left -= t - last;
    }
    printf("%d\n", (int)(noise[0] & 1));
    return 0;
}
"#;
const ROUNDS: usize = 3;

/// A gigabyte, against what DMTCP takes to write it and what reading, hashing and writing it takes plainly.
pub(super) fn large(dmtcp: &Path) -> Figure {
    let folder = tempfile::tempdir().unwrap();
    let program = folder.path().join("noise");
    compile(NOISE, &program);
    let (mut ours, mut plain, mut bytes) = (Vec::new(), Vec::new(), Vec::new());
    for _ in 0..ROUNDS {
        let report = Folder::new(&["./noise", "1000", "12"], &program).run("15s");
        ours.push(seconds(images(&report)[0], "cost_us"));
        let (saved, moved) = plainly(dmtcp, &program, folder.path());
        plain.push(saved);
        bytes.push(moved);
    }
    let (ours, plain, bytes) = (median(ours), median(plain), median(bytes));
    let own = (ours - plain - bytes) / ours * 100.0;
    let measured = format!(
        "{ours:.2} s; {plain:.2} s DMTCP, {bytes:.2} s reading, hashing and writing plainly: {own:.0} % our own"
    );
    Figure::new("yield of 1 GB of noise", "≤ 2.5 s, ≤ 20 % our own", measured, ours <= 2.5 && own <= 20.0)
}

/// What DMTCP takes to write the image into memory, and what then reading, hashing and writing it takes.
fn plainly(dmtcp: &Path, program: &Path, to: &Path) -> (f64, f64) {
    let memory = tempfile::tempdir_in("/dev/shm").unwrap();
    let words = [program.to_str().unwrap(), "1000", "60"];
    let mut plain = Plain::launch(dmtcp, &memory.path().join("images"), Images::Raw, &words);
    std::thread::sleep(Duration::from_secs(5));
    let saved = plain.yield_now().as_secs_f64();
    let began = Instant::now();
    let mut image = File::open(&plain.files()[0]).unwrap();
    let mut copy = File::create(to.join("copy")).unwrap();
    let (mut hash, mut buffer) = (blake3::Hasher::new(), vec![0; 1 << 20]);
    loop {
        let read = image.read(&mut buffer).unwrap();
        if read == 0 {
            break;
        }
        hash.update(&buffer[..read]);
        copy.write_all(&buffer[..read]).unwrap();
    }
    copy.sync_all().unwrap();
    assert_ne!(hash.finalize(), blake3::hash(b""));
    (saved, began.elapsed().as_secs_f64())
}

/// The second image of a program that changed a hundredth of its pages.
pub(super) fn generations() -> Figure {
    let folder = tempfile::tempdir().unwrap();
    let program = folder.path().join("noise");
    compile(NOISE, &program);
    let report = Folder::new(&["./noise", "200", "12"], &program).run("5s");
    let bytes: Vec<f64> = images(&report).iter().map(|image| image["bytes"].as_f64().unwrap()).collect();
    let parts: Vec<f64> = bytes.iter().skip(1).map(|moved| moved / bytes[0] * 100.0).collect();
    let shown: Vec<String> = parts.iter().map(|part| format!("{part:.1} %")).collect();
    let measured = format!("{:.0} MB first; then {}", bytes[0] / 1e6, shown.join(", "));
    Figure::new(
        "bytes moved by the next image where 1 % of the pages changed",
        "≤ 5 %",
        measured,
        parts.first().is_some_and(|part| *part <= 5.0),
    )
}
