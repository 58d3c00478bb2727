//! The safe layer under a real DMTCP. The test binary starts itself under `dmtcp_launch`, and plays the program.

#![allow(clippy::unwrap_used, clippy::panic, reason = "tests may fail")]
#![allow(clippy::print_stdout, clippy::print_stderr, reason = "the program speaks to the test")]

use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use limitless_faas::dmtcp::{checkpoint_now, hold_checkpoints, under_dmtcp};

/// Where DMTCP's programs are, or none, said aloud.
fn dmtcp() -> Option<PathBuf> {
    let given = std::env::var_os("DMTCP_ROOT").map(|root| PathBuf::from(root).join("bin"));
    let path = std::env::var_os("PATH").unwrap_or_default();
    let usual = ["/usr/local/bin", "/opt/dmtcp/bin"].map(PathBuf::from);
    let mut places = given.into_iter().chain(std::env::split_paths(&path)).chain(usual);
    let found = places.find(|place| place.join("dmtcp_launch").is_file());
    let why = match (&found, dmtcp_sys::available()) {
        (None, _) => "DMTCP is not installed".to_owned(),
        (Some(_), Err(why)) => why.to_string(),
        (Some(_), Ok(())) => return found,
    };
    assert!(std::env::var_os("LIMITLESS_REQUIRE_DMTCP").is_none(), "{why}");
    println!("skipped: {why}");
    None
}

/// A program under DMTCP that plays `part`.
fn launch(bin: &Path, folder: &Path, part: &str) -> Child {
    let mut command = Command::new(bin.join("dmtcp_launch"));
    command.args(["-q", "--new-coordinator", "-p", "0", "--no-gzip", "--port-file"]).arg(folder.join("port"));
    command.arg("--ckptdir").arg(folder).arg("--tmpdir").arg(folder);
    command.arg(std::env::current_exe().unwrap()).args(["--exact", "the_program", "--nocapture"]);
    command.env("PART", part).env("FOLDER", folder);
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap()
}

fn images(folder: &Path) -> Vec<PathBuf> {
    let all = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    all.filter(|path| path.extension().is_some_and(|extension| extension == "dmtcp")).collect()
}

/// The next word that the program says, past what the test harness says around it.
fn word(from: &mut impl BufRead) -> String {
    let mut line = String::new();
    loop {
        line.clear();
        assert_ne!(from.read_line(&mut line).unwrap(), 0, "the program ended without a word");
        if let Some((_, word)) = line.split_once("says ") {
            return word.trim_end().to_owned();
        }
    }
}

/// What runs under DMTCP; nothing where a test runs it.
#[test]
fn the_program() {
    match std::env::var("PART").as_deref() {
        Ok("checkpoint") => {
            assert!(under_dmtcp());
            println!("says {:?}", checkpoint_now().unwrap());
        }
        Ok("hold") => {
            let hold = hold_checkpoints().unwrap();
            println!("says held");
            std::io::stdin().read_line(&mut String::new()).unwrap();
            // Long enough for an image, were it not held.
            std::thread::sleep(Duration::from_millis(300));
            let folder = PathBuf::from(std::env::var_os("FOLDER").unwrap());
            println!("says {} images", images(&folder).len());
            drop(hold);
            std::thread::sleep(Duration::from_secs(60));
            println!("says nobody saved me");
        }
        _ => {}
    }
}

#[test]
fn a_program_asks_for_its_own_image_and_knows_on_which_side_it_is() {
    let Some(bin) = dmtcp() else { return };
    let folder = tempfile::tempdir().unwrap();
    let mut launched = launch(&bin, folder.path(), "checkpoint");
    let mut says = BufReader::new(launched.stdout.take().unwrap());
    assert_eq!(word(&mut says), "Saved");
    assert!(launched.wait().unwrap().success());
    let mut command = Command::new(bin.join("dmtcp_restart"));
    command
        .args(["-q", "--no-strict-checking", "--new-coordinator", "-p", "0", "--tmpdir"])
        .arg(folder.path());
    command.args(images(folder.path())).stdin(Stdio::null()).stdout(Stdio::piped());
    let mut restarted = command.spawn().unwrap();
    let mut says = BufReader::new(restarted.stdout.take().unwrap());
    assert_eq!(word(&mut says), "Restarted");
    assert!(restarted.wait().unwrap().success());
}

#[test]
fn a_held_checkpoint_waits_until_it_is_let_go() {
    let Some(bin) = dmtcp() else { return };
    let folder = tempfile::tempdir().unwrap();
    let mut program = launch(&bin, folder.path(), "hold");
    let mut says = BufReader::new(program.stdout.take().unwrap());
    assert_eq!(word(&mut says), "held");
    let port = std::fs::read_to_string(folder.path().join("port")).unwrap();
    // It waits for the image.
    let mut asking =
        Command::new(bin.join("dmtcp_command")).args(["-p", port.trim(), "-kc"]).spawn().unwrap();
    program.stdin.take().unwrap().write_all(b"go on\n").unwrap();
    assert_eq!(word(&mut says), "0 images");
    program.wait().unwrap();
    asking.wait().unwrap();
    assert_eq!(images(folder.path()).len(), 1);
}
