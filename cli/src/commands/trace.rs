//! One run of a function under strace: which files it writes, and which calls it waits in.

use std::ffi::OsString;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{SystemTime, UNIX_EPOCH};

use limitless_faas_core::profile::Profile;

use super::profile::Running;
use crate::error::{Context as _, Error, Result};
use crate::exit::Exit;
use crate::project::Input;
use crate::records::now_us;

/// Calls that open files, or that can wait. A question mark stands before those that some architectures lack.
const CALLS: &str = "trace=?open,openat,?creat,read,pread64,readv,write,pwrite64,writev,fsync,fdatasync,sync,\
    nanosleep,clock_nanosleep,connect,accept4,sendto,sendmsg,recvfrom,recvmsg,wait4,waitid,flock";

/// What one run of each input did.
#[derive(Debug)]
pub(super) struct Trace {
    text: String,
    /// Begin and end of each input's call, in seconds since 1970.
    windows: Vec<(f64, f64)>,
}

/// A call in a trace.
#[derive(Debug, PartialEq)]
struct Call<'a> {
    name: &'a str,
    begin_s: f64,
    duration_s: f64,
}

impl Trace {
    /// Calls the function once with each input.
    pub(super) async fn record(
        client: &reqwest::Client,
        program: &Path,
        handler: &str,
        inputs: &[Input],
    ) -> Result<Self> {
        let file =
            std::env::temp_dir().join(format!("cargo-faas-{}-{}.strace", std::process::id(), now_us()));
        let running = Running::start(program, handler, Some(strace(&file)?))?;
        let mut windows = Vec::new();
        let mut failed = None;
        for input in inputs {
            let begin_s = now_s();
            if let Err(error) = running.call(client, handler, input).await {
                failed = Some(error);
                break;
            }
            windows.push((begin_s, now_s()));
        }
        drop(running);
        let text = std::fs::read(&file);
        drop(std::fs::remove_file(&file));
        let text = text.context(Exit::Platform, || format!("failed to read {}", file.display()))?;
        match failed {
            Some(error) => Err(error),
            // Arguments may be any bytes; strace writes them as escapes, but for paths.
            None => Ok(Self { text: String::from_utf8_lossy(&text).into_owned(), windows }),
        }
    }

    /// Paths opened for writing, without devices.
    pub(super) fn written(&self) -> Vec<String> {
        let any = |line: &str, words: &[&str]| words.iter().any(|word| line.contains(word));
        let opened = self.text.lines().filter(|line| {
            let writes = any(line, &["O_WRONLY", "O_RDWR", "O_CREAT", "creat("]);
            any(line, &[" open(", " openat(", " creat("]) && writes && !line.contains("= -1")
        });
        let mut files: Vec<String> = opened
            .filter_map(|line| line.split('"').nth(1))
            .filter(|path| !path.starts_with("/dev/") && !path.starts_with("/proc/"))
            .map(str::to_owned)
            .collect();
        files.sort();
        files.dedup();
        files
    }

    /// Gives each wait of a profile, recorded with one of the inputs, the name of the call that covers most of it.
    ///
    /// Under strace everything is slower, so times are compared as shares of the whole run. A wait that no traced
    /// call covers at least half of keeps no name: it may wait for a lock, or for a socket of an async runtime.
    pub(super) fn name_waits(&self, profile: &mut Profile, input: usize) {
        let Some(&(begin_s, end_s)) = self.windows.get(input) else { return };
        let calls: Vec<Call<'_>> = self.text.lines().filter_map(call).collect();
        let (whole_s, mean_ms) = (end_s - begin_s, profile.latency.mean_ms);
        for block in &mut profile.blocks {
            let (from, to) = (block.start_ms / mean_ms, (block.start_ms + block.duration_ms) / mean_ms);
            let covered = |call: &Call<'_>| {
                let since = (call.begin_s - begin_s) / whole_s;
                to.min(since + call.duration_s / whole_s) - from.max(since)
            };
            let best = calls.iter().max_by(|a, b| covered(a).total_cmp(&covered(b)));
            block.call = best
                .filter(|call| covered(call) >= (to - from) / 2.0 && to > from)
                .map(|call| call.name.to_owned());
        }
    }
}

/// The command that runs what is appended to it, and writes what it does to a file.
fn strace(file: &Path) -> Result<Command> {
    let found = Command::new("strace").arg("-V").stdout(Stdio::null()).stderr(Stdio::null()).status();
    if !found.is_ok_and(|status| status.success()) {
        return Err(Error::new(Exit::Platform, "strace can't be run")
            .help("install it with your system's package manager, or leave --strace out"));
    }
    let mut command = Command::new("strace");
    command.args(["-f", "-qq", "-ttt", "-T", "-e", CALLS, "-o"]).arg(OsString::from(file));
    Ok(command)
}

fn now_s() -> f64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs_f64()
}

/// A line of a trace: `PID TIME NAME(…) = RESULT <DURATION>`, or the end of a call that others came between:
/// `PID TIME <... NAME resumed>…) = RESULT <DURATION>`.
fn call(line: &str) -> Option<Call<'_>> {
    let (_pid, rest) = line.split_once(' ')?;
    let (time, rest) = rest.trim_start().split_once(' ')?;
    let time_s: f64 = time.parse().ok()?;
    let duration_s: f64 = rest.rsplit_once('<')?.1.trim_end().strip_suffix('>')?.parse().ok()?;
    match rest.strip_prefix("<... ") {
        Some(resumed) => {
            let name = resumed.split_once(' ')?.0;
            Some(Call { name, begin_s: time_s - duration_s, duration_s })
        }
        None => Some(Call { name: rest.split_once('(')?.0, begin_s: time_s, duration_s }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_that_are_written_are_found() {
        let text = "7 1.0 openat(AT_FDCWD, \"/etc/passwd\", O_RDONLY) = 3 <0.1>\n\
                    7 1.0 openat(AT_FDCWD, \"/tmp/out\", O_WRONLY|O_CREAT, 0666) = 4 <0.1>\n\
                    7 1.0 openat(AT_FDCWD, \"/tmp/no\", O_WRONLY) = -1 EACCES (Permission denied) <0.1>\n\
                    7 1.0 write(1, \"O_WRONLY\", 8) = 8 <0.1>\n\
                    7 1.0 openat(AT_FDCWD, \"/dev/null\", O_RDWR) = 5 <0.1>\n";
        assert_eq!(Trace { text: text.to_owned(), windows: Vec::new() }.written(), ["/tmp/out"]);
    }

    #[test]
    fn calls_are_read_whole_and_resumed() {
        let whole = call("4711  1700000000.500000 read(3, \"a <b> c\", 8) = 8 <0.250000>").unwrap();
        assert_eq!(whole, Call { name: "read", begin_s: 1_700_000_000.5, duration_s: 0.25 });
        let resumed = call("4711 1700000001.500000 <... nanosleep resumed>NULL) = 0 <0.500000>").unwrap();
        assert_eq!(resumed, Call { name: "nanosleep", begin_s: 1_700_000_001.0, duration_s: 0.5 });
        assert_eq!(call("4711 1700000000.5 nanosleep({tv_sec=0}, <unfinished ...>"), None);
        assert_eq!(call("4711 1700000000.5 +++ exited with 0 +++"), None);
        assert_eq!(call(""), None);
    }

    #[test]
    fn a_wait_is_called_after_the_call_that_covers_it() {
        let text = "7 100.2 nanosleep({}, NULL) = 0 <0.4>\n7 100.7 fsync(3) = 0 <0.01>\n";
        let trace = Trace { text: text.to_owned(), windows: vec![(100.0, 101.0)] };
        // The run took a second under strace, and takes ten milliseconds without.
        let mut profile = Profile::native(10.0, &[(2.0, 4.0), (7.0, 2.0)]);
        trace.name_waits(&mut profile, 0);
        let names: Vec<_> = profile.blocks.iter().map(|block| block.call.as_deref()).collect();
        assert_eq!(names, [Some("nanosleep"), None]);
    }
}
