//! DMTCP as it comes, by hand: saved and ended, then started again.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

/// How DMTCP saves.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Images {
    /// As it does if nothing is said.
    Gzip,
    /// As they are.
    Raw,
}

/// One program under DMTCP, and the folder of its images.
pub(super) struct Plain<'a> {
    dmtcp: &'a Path,
    images: PathBuf,
    how: Images,
    running: Child,
}

impl<'a> Plain<'a> {
    pub(super) fn launch(dmtcp: &'a Path, images: &Path, how: Images, words: &[&str]) -> Self {
        fs::create_dir_all(images).unwrap();
        let mut command = Command::new(dmtcp.join("dmtcp_launch"));
        if how == Images::Raw {
            command.arg("--no-gzip");
        }
        let running = joined(&mut command, images).args(words).spawn().unwrap();
        Self { dmtcp, images: images.to_owned(), how, running }
    }

    /// Saves and ends it; answers how long that took.
    pub(super) fn yield_now(&mut self) -> Duration {
        let began = Instant::now();
        let mut command = Command::new(self.dmtcp.join("dmtcp_command"));
        let port = fs::read_to_string(self.images.join("port")).unwrap();
        let asked = command.args(["-p", port.trim(), "-kc"]).stdout(Stdio::null()).stderr(Stdio::null());
        asked.status().unwrap();
        self.running.wait().unwrap();
        if self.how == Images::Gzip {
            // It leaves before gzip has written the image to its end, and gzip tells nobody.
            while !self.files().iter().all(|image| is_whole_gzip(image)) {
                std::thread::sleep(Duration::from_millis(1));
            }
        }
        began.elapsed()
    }

    /// Starts it again; answers what it prints, at its end.
    pub(super) fn restart(self) -> Vec<u8> {
        let mut command = Command::new(self.dmtcp.join("dmtcp_restart"));
        joined(command.arg("--no-strict-checking"), &self.images).args(self.files());
        let output = command.output().unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        output.stdout
    }

    pub(super) fn files(&self) -> Vec<PathBuf> {
        let entries = fs::read_dir(&self.images).unwrap().map(|entry| entry.unwrap().path());
        let images: Vec<_> =
            entries.filter(|path| path.extension().is_some_and(|extension| extension == "dmtcp")).collect();
        assert!(!images.is_empty(), "DMTCP wrote no image");
        images
    }
}

fn joined<'a>(command: &'a mut Command, images: &Path) -> &'a mut Command {
    // What the runner sets too: without them a restarted Python dies at times.
    command.env("GLIBC_TUNABLES", "glibc.pthread.rseq=0:glibc.malloc.hugetlb=2");
    command.args(["--quiet", "--new-coordinator", "--coord-port", "0", "--port-file"]);
    command.arg(images.join("port")).arg("--ckptdir").arg(images).arg("--tmpdir").arg(images);
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::null())
}

fn is_whole_gzip(image: &Path) -> bool {
    Command::new("gzip")
        .arg("-t")
        .arg(image)
        .stderr(Stdio::null())
        .status()
        .is_ok_and(|ended| ended.success())
}
