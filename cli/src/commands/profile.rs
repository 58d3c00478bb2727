//! `cargo faas profile`: runs a handler alone, and records when it computes and when it waits.
//!
//! No privileges are needed: the states of the function's threads and their CPU time stand in `/proc`. What is
//! sampled there says when the function waits; how long it waits in all is its latency without its CPU time, which
//! the kernel counts exactly, so that sampled waits are scaled to that.

mod workflow;

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::io;
use std::net::{Ipv4Addr, TcpListener};
use std::os::unix::process::CommandExt as _;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use command_fds::{CommandFdExt as _, FdMapping};
use limitless_faas_core::profile::{Block, Latency, Profile as Recorded, Profiles};
use limitless_faas_planner::read;
use serde_json::{Value, json};

use super::Session;
use super::plan::{bad_in, write};
use super::trace::Trace;
use crate::args::Profile;
use crate::error::{Context as _, Error, Result};
use crate::exit::Exit;
use crate::project::{Input, Project, check};
use crate::records::now_us;

/// Between two looks at the function's threads.
const SAMPLE: Duration = Duration::from_micros(250);

/// Runs that are not counted: caches fill, and pages are read.
const WARM_UP: u32 = 2;

/// A function process with a socket of its own, killed when it is dropped.
pub(super) struct Running {
    child: Child,
    url: String,
}

/// One run.
struct Measured {
    /// Which of the inputs.
    input: usize,
    latency_ms: f64,
    cpu_ms: f64,
    /// Begin and duration.
    waits: Vec<(f64, f64)>,
    output_bytes: u64,
}

pub(super) async fn profile(session: &Session, args: &Profile) -> Result<()> {
    let inputs = args.input.iter().map(|input| Input::read(input)).collect::<Result<Vec<_>>>()?;
    let project = Project::open(&session.global)?;
    let function = project.function_with(&args.handler, &args.pick, &session.ui).await?;
    let Some(handler) = function.handler(&args.handler) else {
        return Err(Error::bug("a function without the handler it was chosen for"));
    };
    for input in &inputs {
        check(handler, input)?;
    }
    if !args.pick.release {
        session.ui.warn("built without optimisation: --release measures what is deployed");
    }
    if handler.workflow.is_some() {
        return workflow::profile(session, args, &function.program, &inputs).await;
    }
    let running = Running::start(&function.program, &handler.name, None)?;
    let client = reqwest::Client::new();
    let idle_mb = running.memory_mb("VmRSS");
    let mut runs = Vec::new();
    for (at, input) in inputs.iter().enumerate() {
        for run in 0..WARM_UP + args.runs {
            let measured = running.run(&client, &handler.name, (at, input)).await?;
            if run >= WARM_UP {
                runs.push(measured);
            }
        }
    }
    let input_bytes = inputs.iter().map(|input| body(&handler.name, input).to_string().len() as u64).max();
    let (mut recorded, middle) = record(&runs);
    recorded.memory_mb = (running.memory_mb("VmHWM") - idle_mb).max(0.0);
    recorded.input_bytes = input_bytes.unwrap_or(0);
    drop(running);
    if args.strace {
        let trace = Trace::record(&client, &function.program, &handler.name, &inputs).await?;
        recorded.writes = trace.written();
        trace.name_waits(&mut recorded, middle);
    }
    tell(session, args, &recorded, &runs)
}

impl Running {
    /// Starts the function, by way of `before` where something is to run it.
    pub(super) fn start(program: &Path, handler: &str, before: Option<Command>) -> Result<Self> {
        Self::start_with(program, handler, before, |command| {
            command.stdout(Stdio::null());
        })
    }

    /// Starts the function as `set` changes the command.
    fn start_with(
        program: &Path,
        handler: &str,
        before: Option<Command>,
        set: impl FnOnce(&mut Command),
    ) -> Result<Self> {
        let failed = || format!("failed to start {}", program.display());
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).context(Exit::Platform, failed)?;
        let address = listener.local_addr().context(Exit::Platform, failed)?;
        let mut command = match before {
            Some(mut before) => {
                before.arg(program);
                before
            }
            None => Command::new(program),
        };
        command
            .env("LISTEN_FDS", "1")
            .env("LIMITLESS_STORE", "memory:")
            .env("LIMITLESS_HANDLER", handler)
            .stdin(Stdio::null())
            .stderr(Stdio::null())
            .process_group(0)
            .fd_mappings(vec![FdMapping { parent_fd: listener.into(), child_fd: 3 }])
            .map_err(io::Error::other)
            .context(Exit::Platform, failed)?;
        set(&mut command);
        let child = command.spawn().context(Exit::Platform, failed)?;
        Ok(Self { child, url: format!("http://{address}/run") })
    }

    /// One call with one of the inputs, and a look at the function's threads every [`SAMPLE`].
    async fn run(
        &self,
        client: &reqwest::Client,
        handler: &str,
        (number, input): (usize, &Input),
    ) -> Result<Measured> {
        let stop = Arc::new(AtomicBool::new(false));
        let pid = self.child.id();
        let before = threads_ms(pid);
        let begun = Instant::now();
        let watching = Arc::clone(&stop);
        let watcher = std::thread::spawn(move || watch(pid, begun, &watching));
        let answer = self.call(client, handler, input).await;
        let latency_ms = begun.elapsed().as_secs_f64() * 1e3;
        stop.store(true, Ordering::Relaxed);
        let (looks, mut after) =
            watcher.join().map_err(|_| Error::bug("the watcher of a function's threads ended early"))?;
        after.extend(threads_ms(pid));
        let cpu_ms = spent_ms(&before, &after);
        let text = answer?;
        let output_bytes = text.len() as u64;
        Ok(Measured { input: number, latency_ms, cpu_ms, waits: waits(&looks, latency_ms), output_bytes })
    }

    /// One call, to its whole answer.
    pub(super) async fn call(
        &self,
        client: &reqwest::Client,
        handler: &str,
        input: &Input,
    ) -> Result<String> {
        let unreachable = || format!("failed to call {handler}");
        let answer = client.post(&self.url).json(&body(handler, input)).send().await;
        let text =
            answer.context(Exit::Platform, unreachable)?.text().await.context(Exit::Platform, unreachable)?;
        let value: Value = serde_json::from_str(&text).unwrap_or_default();
        match value.get("error").filter(|error| !error.is_null()) {
            Some(error) => Err(Error::new(Exit::Application, format!("the handler failed: {error}"))),
            None => Ok(text),
        }
    }

    /// A line of the process's status, in MB.
    fn memory_mb(&self, field: &str) -> f64 {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.child.id())).unwrap_or_default();
        let line = status.lines().find(|line| line.starts_with(field));
        let kilobytes =
            line.and_then(|line| line.split_whitespace().nth(1)).and_then(|kb| kb.parse::<f64>().ok());
        kilobytes.unwrap_or(0.0) / 1024.0
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        if let Some(group) = i32::try_from(self.child.id()).ok().and_then(rustix::process::Pid::from_raw) {
            let _gone = rustix::process::kill_process_group(group, rustix::process::Signal::KILL);
        }
        // It was just killed: there is nothing to wait long for, and nobody to tell.
        drop(self.child.wait());
    }
}

/// An activation with ten minutes to its deadline, so that nothing is suspended.
fn body(handler: &str, input: &Input) -> Value {
    let deadline_ms = now_us() / 1000 + 600_000;
    json!({
        "value": input.fields(),
        "action_name": format!("/_/{handler}"),
        "activation_id": format!("{:032x}", now_us()),
        "deadline": deadline_ms.to_string(),
    })
}

/// CPU time of every thread of a process.
fn threads_ms(pid: u32) -> BTreeMap<OsString, f64> {
    let threads = std::fs::read_dir(format!("/proc/{pid}/task")).into_iter().flatten().flatten();
    threads.filter_map(|thread| Some((thread.file_name(), thread_ms(&thread.path())?))).collect()
}

/// CPU time of one thread, which may have ended meanwhile.
fn thread_ms(thread: &Path) -> Option<f64> {
    let text = std::fs::read_to_string(thread.join("schedstat")).ok()?;
    Some(text.split_whitespace().next()?.parse::<f64>().ok()? / 1e6)
}

/// What all threads computed, also those that began or ended in between.
fn spent_ms(before: &BTreeMap<OsString, f64>, after: &BTreeMap<OsString, f64>) -> f64 {
    after.iter().map(|(thread, ms)| (ms - before.get(thread).unwrap_or(&0.0)).max(0.0)).sum()
}

/// Whether any thread wanted a CPU, at each look, and the last that was seen of each thread's CPU time.
fn watch(pid: u32, begun: Instant, stop: &AtomicBool) -> (Vec<(f64, bool)>, BTreeMap<OsString, f64>) {
    let (mut looks, mut spent) = (Vec::new(), BTreeMap::new());
    while !stop.load(Ordering::Relaxed) {
        let mut wants = false;
        for thread in std::fs::read_dir(format!("/proc/{pid}/task")).into_iter().flatten().flatten() {
            let stat = std::fs::read_to_string(thread.path().join("stat")).unwrap_or_default();
            // The state stands after the name, which may hold anything but ends with the last bracket.
            wants |= stat.rsplit(") ").next().is_some_and(|rest| rest.starts_with('R'));
            spent.extend(thread_ms(&thread.path()).map(|ms| (thread.file_name(), ms)));
        }
        looks.push((begun.elapsed().as_secs_f64() * 1e3, wants));
        std::thread::sleep(SAMPLE);
    }
    (looks, spent)
}

/// From the first look that saw nobody compute to the next that saw somebody.
fn waits(looks: &[(f64, bool)], latency_ms: f64) -> Vec<(f64, f64)> {
    let mut waits = Vec::new();
    let mut since: Option<f64> = None;
    for &(at, wants) in looks.iter().filter(|look| look.0 < latency_ms) {
        match (wants, since) {
            (false, None) => since = Some(at),
            (true, Some(begin)) => {
                waits.push((begin, at - begin));
                since = None;
            }
            _ => {}
        }
    }
    if let Some(begin) = since {
        waits.push((begin, latency_ms - begin));
    }
    waits
}

/// The profile of all runs: their mean and quantiles, and the waits of the run in the middle, whose input is told.
fn record(runs: &[Measured]) -> (Recorded, usize) {
    let mut latencies: Vec<f64> = runs.iter().map(|run| run.latency_ms).collect();
    latencies.sort_by(f64::total_cmp);
    let count = u32::try_from(latencies.len()).unwrap_or(u32::MAX);
    let mean = latencies.iter().sum::<f64>() / f64::from(count);
    let mut order: Vec<&Measured> = runs.iter().collect();
    order.sort_by(|a, b| a.latency_ms.total_cmp(&b.latency_ms));
    let middle = order[order.len() / 2];
    let mut recorded = Recorded::native(mean, &[]);
    recorded.latency = Latency { mean_ms: mean, quantiles: quantiles(&latencies) };
    recorded.blocks = blocks(middle, mean);
    recorded.output_bytes = runs.iter().map(|run| run.output_bytes).max().unwrap_or(0);
    (recorded, middle.input)
}

fn quantiles(sorted: &[f64]) -> Vec<(f64, f64)> {
    let at = |percent: usize| sorted[((sorted.len() - 1) * percent + 50) / 100];
    let percents =
        [(0.0, 0), (0.05, 5), (0.25, 25), (0.5, 50), (0.75, 75), (0.95, 95), (0.99, 99), (1.0, 100)];
    percents.map(|(share, percent)| (share, at(percent))).to_vec()
}

/// The waits of one run, together as long as it did not compute, stretched to the mean.
fn blocks(run: &Measured, mean: f64) -> Vec<Block> {
    let sampled: f64 = run.waits.iter().map(|wait| wait.1).sum();
    let waited = (run.latency_ms - run.cpu_ms).max(0.0);
    if sampled <= 0.0 || waited < run.latency_ms * 0.01 {
        return Vec::new();
    }
    let (idle, busy) = (waited / sampled, (run.latency_ms - waited) / (run.latency_ms - sampled).max(1e-9));
    let stretch = mean / run.latency_ms;
    let (mut blocks, mut real, mut at) = (Vec::new(), 0.0, 0.0);
    for &(begin, duration) in &run.waits {
        real += (begin - at) * busy * stretch;
        let wait = duration * idle * stretch;
        // Sums of many parts may end a hair after the mean.
        let duration_ms = wait.min(mean - real).max(0.0);
        blocks.push(Block { start_ms: real, duration_ms, call: None });
        (real, at) = (real + duration_ms, begin + duration);
    }
    blocks
}

fn tell(session: &Session, args: &Profile, recorded: &Recorded, runs: &[Measured]) -> Result<()> {
    recorded.check(&args.handler).map_err(|error| Error::bug(error.to_string()))?;
    let outliers = outliers(runs);
    if !outliers.is_empty() {
        let worst = outliers.iter().copied().fold(0.0, f64::max);
        session.ui.warn(&format!(
            "{} of {} runs took far longer than the others, up to {worst:.2} ms: they count, but something disturbed them",
            outliers.len(),
            runs.len()
        ));
    }
    session.ui.status(
        "Profiled",
        &format!(
            "{}: {:.3} ms of which {:.3} ms computing, {}, {:.1} MB, over {} runs",
            args.handler,
            recorded.latency.mean_ms,
            recorded.cpu_ms(),
            waiting(&recorded.blocks),
            recorded.memory_mb,
            runs.len()
        ),
    );
    let handlers = BTreeMap::from([(args.handler.clone(), recorded.clone())]);
    add(session, args, Profiles::new(handlers))
}

/// Adds what was measured to the file that was named, or prints it.
fn add(session: &Session, args: &Profile, measured: Profiles) -> Result<()> {
    let mut profiles = Profiles::new(BTreeMap::new());
    if let Some(path) = args.out.as_ref().filter(|path| path.exists()) {
        let text = std::fs::read_to_string(path)
            .context(Exit::Usage, || format!("failed to read {}", path.display()))?;
        profiles = read::profiles(&text).map_err(|error| bad_in(path, error))?;
    }
    profiles.handlers.extend(measured.handlers);
    profiles.widths.extend(measured.widths);
    let text =
        serde_json::to_string_pretty(&profiles).map_err(|error| Error::bug("no JSON").because(error))?;
    match &args.out {
        Some(path) => write(path, &text),
        None => session.ui.print(&text),
    }
}

/// How many waits, and how long in which calls, where these are known.
fn waiting(blocks: &[Block]) -> String {
    let mut calls: BTreeMap<&str, f64> = BTreeMap::new();
    for block in blocks {
        if let Some(call) = &block.call {
            *calls.entry(call).or_default() += block.duration_ms;
        }
    }
    let waits = if blocks.len() == 1 { "1 wait".to_owned() } else { format!("{} waits", blocks.len()) };
    let named: Vec<String> = calls.iter().map(|(call, ms)| format!("{call} {ms:.3} ms")).collect();
    if named.is_empty() { waits } else { format!("{waits} ({})", named.join(", ")) }
}

/// Runs beyond one and a half times the middle half's width above it.
fn outliers(runs: &[Measured]) -> Vec<f64> {
    let mut sorted: Vec<f64> = runs.iter().map(|run| run.latency_ms).collect();
    sorted.sort_by(f64::total_cmp);
    let at = |share: usize| sorted[(sorted.len() - 1) * share / 4];
    let fence = at(3) + 1.5 * (at(3) - at(1));
    sorted.into_iter().filter(|&ms| ms > fence).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_are_what_nobody_computed_in() {
        let looks = [(0.1, true), (0.5, false), (0.8, false), (2.0, true), (3.0, false)];
        assert_eq!(waits(&looks, 4.0), [(0.5, 1.5), (3.0, 1.0)]);
        assert!(waits(&[(0.1, true)], 1.0).is_empty());
    }

    #[test]
    fn threads_that_end_are_counted() {
        let times = |threads: &[(&str, f64)]| threads.iter().map(|&(id, ms)| (id.into(), ms)).collect();
        let (before, after) =
            (times(&[("1", 5.0), ("2", 1.0)]), times(&[("1", 7.0), ("2", 1.0), ("3", 4.0)]));
        assert!((spent_ms(&before, &after) - 6.0).abs() < 1e-9);
    }

    #[test]
    fn sampled_waits_are_scaled_to_what_the_kernel_counted() {
        let run = Measured {
            input: 0,
            latency_ms: 10.0,
            cpu_ms: 4.0,
            waits: vec![(1.0, 3.0), (6.0, 1.0)],
            output_bytes: 0,
        };
        let blocks = blocks(&run, 20.0);
        let waited: f64 = blocks.iter().map(|block| block.duration_ms).sum();
        assert!((waited - 12.0).abs() < 1e-9, "{waited}");
        let mut recorded = Recorded::native(20.0, &[]);
        recorded.blocks = blocks;
        recorded.check("h").unwrap();
    }
}
