//! Recorded steps of ours beside those of durable-execution products, in turns within one run: [Restate](restate) and [DBOS](dbos), each as
//! its registry has it, with what it ships as defaults and syncing to the same disk.
//!
//! Needs `npm`, and Postgres for DBOS; leaves out aloud what is not there. Their programs run in Node, ours is a Rust binary: what a step
//! costs is the way to the disk and back, and that is their servers' part.

mod dbos;
mod peer;
mod process;
mod restate;

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use self::peer::Peer;
use super::state::small_ms;
use super::steps::{self, Times, rate};
use super::{Figure, median};

const ROUNDS: usize = 3;
const STEPS: u32 = 256;
const AT_ONCE: u32 = 32;
/// Steps of one among many executions.
const MANY: u32 = 200;
/// Steps of the execution whose process is killed.
const STAMPS: u32 = 6_000;

/// What is compared, for all who are.
struct Line {
    what: &'static str,
    /// Makes a number readable.
    show: fn(f64) -> String,
    peers: Vec<(&'static str, f64)>,
    ours: f64,
    more_is_better: bool,
}

impl Line {
    fn figure(self) -> Figure {
        let Self { what, show, peers, ours, more_is_better } = self;
        let is_better =
            |(_, theirs): &(&str, f64)| if more_is_better { ours > *theirs } else { ours < *theirs };
        let is_met = peers.iter().all(is_better);
        let asked = peers.iter().map(|(name, theirs)| format!("{name} {}", show(*theirs)));
        Figure::new(what, asked.collect::<Vec<_>>().join(", "), show(ours), is_met)
    }
}

fn micros(us: f64) -> String {
    format!("{us:.0} µs")
}

fn millis(ms: f64) -> String {
    format!("{ms:.1} ms")
}

fn per_second(rate: f64) -> String {
    format!("{rate:.0}/s")
}

fn seconds(s: f64) -> String {
    format!("{s:.2} s")
}

fn megabytes(mb: f64) -> String {
    format!("{mb:.0} MB")
}

/// The folder with what `npm` installs, and with their programs.
fn install() -> Option<PathBuf> {
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join("peers");
    std::fs::create_dir_all(&folder).unwrap();
    for (name, text) in [
        ("package.json", include_str!("package.json")),
        ("package-lock.json", include_str!("package-lock.json")),
        ("restate.mjs", include_str!("restate.mjs")),
        ("dbos.mjs", include_str!("dbos.mjs")),
    ] {
        std::fs::write(folder.join(name), text).unwrap();
    }
    let mut npm = Command::new("npm");
    npm.args(["ci", "--ignore-scripts", "--no-audit", "--no-fund", "--silent"]).current_dir(&folder);
    match npm.status() {
        Ok(status) if status.success() => Some(folder),
        Ok(status) => {
            println!("skipped the peers: npm ended with {status}");
            None
        }
        Err(error) => {
            println!("skipped the peers: npm did not start: {error}");
            None
        }
    }
}

pub(super) async fn figures() -> Vec<Figure> {
    let Some(programs) = install() else { return Vec::new() };
    let mut peers = Vec::new();
    for started in [restate::streams(&programs).await, dbos::start(&programs).await] {
        match started {
            Ok(peer) => peers.push(peer),
            Err(why) => println!("skipped a peer: {why}"),
        }
    }
    if peers.is_empty() {
        return Vec::new();
    }
    println!("the peers run: steps side by side with theirs, then a kill, then short invocations");
    let mut lines = recorded(&peers).await;
    println!("steps are measured");
    lines.push(large(&peers).await);
    lines.push(killed(&mut peers).await);
    lines.push(memory(&peers));
    println!("kills are measured");
    drop(peers);
    match restate::calls(&programs).await {
        Ok(peer) => lines.extend(limited(&peer).await),
        Err(why) => println!("skipped a peer: {why}"),
    }
    lines.into_iter().map(Line::figure).collect()
}

/// What steps took from begin to end, and how many of them there were in a second.
#[derive(Default)]
struct Seen {
    took_us: Vec<f64>,
    alone: Vec<f64>,
    joined: Vec<f64>,
    together: Vec<f64>,
}

impl Seen {
    fn add_alone(&mut self, times: &Times) {
        self.took_us.extend(times.iter().map(|(began_us, ended_us)| (ended_us - began_us) as f64));
        self.alone.push(rate(times));
    }
}

/// Steps in turn, side by side, and of many executions at once.
async fn recorded(peers: &[Peer]) -> Vec<Line> {
    let stage = steps::stage("records", Duration::from_secs(60)).await;
    let mut ours = Seen::default();
    let mut theirs: Vec<Seen> = peers.iter().map(|_| Seen::default()).collect();
    for round in 0..ROUNDS {
        ours.add_alone(&steps::record(&stage, STEPS, 1, &format!("alone-{round}")).await.1);
        ours.joined
            .push(rate(&steps::record(&stage, STEPS * 8, AT_ONCE, &format!("joined-{round}")).await.1));
        let keys: Vec<_> = (0..AT_ONCE).map(|i| format!("together-{round}-{i}")).collect();
        let ended = keys.iter().map(|key| steps::record(&stage, MANY * 5, 1, key));
        let ended = futures_util::future::join_all(ended).await;
        ours.together.push(rate(&ended.into_iter().flat_map(|(_, times)| times).collect::<Times>()));
        for (peer, seen) in peers.iter().zip(&mut theirs) {
            seen.add_alone(&peer.records(STEPS, 1, 0, &format!("alone-{round}")).await.times);
            let joined = peer.records(STEPS * 8, AT_ONCE, 0, &format!("joined-{round}")).await;
            seen.joined.push(rate(&joined.times));
            let ended = keys.iter().map(|key| peer.records(MANY, 1, 0, key));
            let ended = futures_util::future::join_all(ended).await;
            seen.together.push(rate(&ended.into_iter().flat_map(|ended| ended.times).collect::<Times>()));
        }
    }
    stage.platform.shutdown().await;
    let line = |what, show, more_is_better, of: fn(&Seen) -> &Vec<f64>| Line {
        what,
        show,
        peers: peers.iter().zip(&theirs).map(|(peer, seen)| (peer.name, median(of(seen).clone()))).collect(),
        ours: median(of(&ours).clone()),
        more_is_better,
    };
    vec![
        line("recorded step, p50", micros, false, |seen| &seen.took_us),
        line("steps a second, one execution, in turn", per_second, true, |seen| &seen.alone),
        line("the same, 32 side by side", per_second, true, |seen| &seen.joined),
        line("steps a second, 32 executions", per_second, true, |seen| &seen.together),
    ]
}

/// A megabyte that is to outlive: a checkpoint of ours, a step's result of theirs.
async fn large(peers: &[Peer]) -> Line {
    let (ours, _) = small_ms().await;
    let mut theirs = Vec::new();
    for peer in peers {
        let ended = peer.records(64, 1, 1 << 20, "large").await;
        let took = ended.times.iter().map(|(began_us, ended_us)| (ended_us - began_us) as f64 / 1e3);
        theirs.push((peer.name, median(took.collect())));
    }
    Line { what: "1 MB of state, p50", show: millis, peers: theirs, ours, more_is_better: false }
}

/// From `kill -9` of the program in the middle of steps to the first effect that follows. Theirs is started again at once, as ours is by
/// the platform.
async fn killed(peers: &mut [Peer]) -> Line {
    let ours = steps::kill_delay_ms().await;
    let mut theirs = Vec::new();
    for peer in peers {
        let mut delays = Vec::new();
        for round in 0..3 {
            delays.push(peer.kill_delay_ms(STAMPS, &format!("stamps-{round}")).await);
        }
        theirs.push((peer.name, median(delays)));
    }
    Line { what: "kill -9 to the first new step", show: millis, peers: theirs, ours, more_is_better: false }
}

/// What has to run beside the function.
fn memory(peers: &[Peer]) -> Line {
    let theirs = peers.iter().map(|peer| (peer.name, peer.server_mb())).collect();
    let what = "memory of the server beside the function";
    Line { what, show: megabytes, peers: theirs, ours: 0.0, more_is_better: false }
}

/// Steps on a platform that ends functions: ours under a limit of half a second, theirs where each call is a request of its own and the
/// handler is called anew for each step.
async fn limited(peer: &Peer) -> Vec<Line> {
    let stage = steps::stage("records", Duration::from_millis(500)).await;
    let mut lines = Vec::new();
    for (n, what, invocations) in [
        (250, "250 steps in short invocations", "invocations for that"),
        (1_000, "1,000 steps in short invocations", "invocations for those"),
    ] {
        let (ours_s, ours_invocations, _) = steps::within_limits(&stage, n).await;
        let theirs = peer.records(n, 1, 0, &format!("limited-{n}")).await;
        let line = |what, show, theirs, ours| Line {
            what,
            show,
            peers: vec![(peer.name, theirs)],
            ours,
            more_is_better: false,
        };
        lines.push(line(what, seconds as fn(f64) -> String, theirs.took.as_secs_f64(), ours_s));
        let count = |invocations: f64| format!("{invocations:.0}");
        lines.push(line(invocations, count, f64::from(theirs.invocations), ours_invocations));
    }
    stage.platform.shutdown().await;
    lines
}
