//! Ctrl-C during `cargo faas build` and its pushing and pulling: nothing half-written, and it can be run again.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

mod common;

use std::fs;
use std::path::{Path, PathBuf};

use common::containers::Hub;
use common::proxy::{Fault, Proxy};
use common::{Sample, wait_until};
use rustix::process::Signal;

const BUILD: [&str; 4] = ["build", "--debug", "--target", "gnu"];

/// The files in `folder` and below that are not whole.
fn parts(folder: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(folder).into_iter().flatten().flatten().map(|entry| entry.path());
    entries
        .flat_map(|path| if path.is_dir() { parts(&path) } else { vec![path] })
        .filter(|path| path.extension().is_some_and(|extension| extension == "part"))
        .collect()
}

/// Compilers and build scripts end with the command, and what cargo had begun it does again.
#[test]
fn a_build_that_is_interrupted_ends_with_all_that_it_started() {
    let sample = Sample::new("int-build");
    let (script, pid) = (sample.project().join("build.rs"), sample.project().join("pid"));
    let waits = format!(
        "fn main() {{ std::fs::write({pid:?}, std::process::id().to_string()).unwrap(); std::thread::sleep(std::time::Duration::from_secs(300)); }}"
    );
    fs::write(&script, waits).unwrap();
    let archive = sample.project().join("image.tar");
    let to = archive.display().to_string();
    let building = sample.start(&[&BUILD[..], &["-o", &to]].concat());
    // A file is there before its content is.
    wait_until("the build script does not start", || {
        fs::read_to_string(&pid).is_ok_and(|pid| !pid.is_empty())
    });
    building.signal(Signal::INT);
    building.wait().expect(130);
    let process = Path::new("/proc").join(fs::read_to_string(&pid).unwrap());
    wait_until("the build script goes on", || !process.exists());
    assert!(!archive.exists());

    fs::write(&script, "fn main() {}").unwrap();
    sample.run(&[&BUILD[..], &["-o", &to]].concat()).expect(0);
    assert!(archive.exists());
}

#[test]
fn an_archive_is_whole_or_not_there() {
    let sample = Sample::new("int-archive");
    let archive = sample.project().join("image.tar");
    let to = archive.display().to_string();
    let args = [&BUILD[..], &["-o", &to]].concat();
    sample.run(&args).expect(0);
    let whole = fs::read(&archive).unwrap();
    // Whether it is caught in the middle is a matter of luck, which a few attempts have.
    let is_caught = (0..20).any(|_| {
        fs::remove_file(&archive).unwrap_or_default();
        let writing = sample.start(&args);
        wait_until("no archive is begun", || archive.exists() || !parts(&sample.project()).is_empty());
        writing.signal(Signal::STOP);
        writing.signal(Signal::INT);
        writing.signal(Signal::CONT);
        let ended = writing.wait();
        assert_eq!(parts(&sample.project()), Vec::<PathBuf>::new(), "{}", ended.stderr);
        if ended.code == 0 {
            assert!(fs::read(&archive).unwrap() == whole, "another archive");
        } else {
            assert_eq!((ended.code, archive.exists()), (130, false), "{}", ended.stderr);
        }
        ended.code == 130
    });
    assert!(is_caught, "it was never interrupted in the middle");
    sample.run(&args).expect(0);
    assert!(fs::read(&archive).unwrap() == whole, "another archive");
}

#[test]
fn an_archive_that_nobody_reads_is_given_up() {
    let sample = Sample::new("int-pipe");
    let mut writing = sample.start(&[&BUILD[..], &["-o", "-"]].concat());
    writing.wait_for_output();
    writing.signal(Signal::INT);
    assert_eq!(writing.wait_unread(), 130);
}

/// A layer that is not whole and an image without all its layers are never there under their names.
#[test]
fn a_push_that_is_interrupted_can_be_repeated() {
    let Some(hub) = Hub::start() else { return };
    let sample = Sample::new("int-push");
    let proxy = Proxy::before(&format!("http://{}", hub.address));
    let name = format!("{}/team/sample", proxy.url().trim_start_matches("http://"));
    let push = [&BUILD[..], &["--name", &name, "--push", "--json"]].concat();
    let named = sample.run(&[&BUILD[..], &["--name", &name, "--json"]].concat()).expect(0).json();
    let based = [&BUILD[..], &["--base", named["images"][0]["name"].as_str().unwrap()]].concat();
    for (method, part) in [("PUT", "/blobs/uploads/"), ("PUT", "/manifests/")] {
        proxy.follow(move |it| (it.method == method && it.target.contains(part)).then_some(Fault::Stall));
        let pushing = sample.start(&push);
        proxy.wait_for(|it| it.method == method && it.target.contains(part));
        pushing.signal(Signal::INT);
        pushing.wait().expect(130);
        proxy.follow(|_| None);
        sample.run(&based).expect(7);
    }
    let pushed = sample.run(&push).expect(0).json();
    assert_ne!(
        pushed["images"][0]["pushed"]["present_bytes"], 0,
        "layers that had arrived are sent again: {pushed}"
    );

    // Its layers come back as those of a base image; what comes first is its configuration.
    for fault in [Fault::Trickle, Fault::CutOff] {
        let mut blobs = 0;
        proxy.follow(move |it| {
            blobs += usize::from(it.method == "GET" && it.target.contains("/blobs/"));
            (blobs > 1).then_some(fault)
        });
        let pulling = sample.start(&based);
        if fault == Fault::Trickle {
            wait_until("no layer is begun", || !parts(&sample.state()).is_empty());
            pulling.signal(Signal::INT);
            pulling.wait().expect(130);
        } else {
            pulling.wait().expect(7);
        }
        assert_eq!(parts(&sample.state()), Vec::<PathBuf>::new());
    }
    proxy.follow(|_| None);
    sample.run(&based).expect(0);
}
