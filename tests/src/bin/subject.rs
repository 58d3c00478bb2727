//! The handlers that the tests across crates deploy.

#![allow(clippy::panic, reason = "some handlers are there to panic")]

use std::time::Duration;

use limitless_faas::{
    Code, Context, Error, Race, Result, Retry, State, StepOptions, handler, program, workflow,
};
use serde::{Deserialize, Serialize};

/// The sum of the squares below `n`, with a pause before each.
#[handler]
fn squares(n: u64, pause_us: Option<u64>) -> u64 {
    let mut sum = 0_u64;
    #[checkpoint]
    for i in 0..n {
        if let Some(pause_us) = pause_us {
            std::thread::sleep(Duration::from_micros(pause_us));
        }
        sum = sum.wrapping_add(i * i);
    }
    sum
}

/// Appends a line to `file` and answers `n`; for workflows, which must not do so twice.
#[handler]
fn noted(n: u64, file: String) -> Result<u64> {
    append(&file, 0)?;
    Ok(n)
}

/// A node at the beginning, two long ones side by side, and one at the end.
#[workflow(slo_ms = 60_000)]
async fn relay(n: u64, pause_us: u64, file: String) -> Result<u64> {
    let n = noted(n, &file).await?;
    let pause = Some(pause_us);
    let (one, other) = join!(squares(n, pause), squares(n + 1, pause));
    noted(one + other, file).await
}

/// The squares' sums below each of the numbers.
#[workflow]
async fn each(numbers: Vec<u64>) -> Vec<u64> {
    let numbers: Vec<Of> = numbers.into_iter().map(|n| Of { n }).collect();
    map(numbers, sum).await
}

/// Breaks, in the way that is asked for.
#[handler]
fn breaks(how: String) -> Result<u64> {
    match how.as_str() {
        "panic" => std::panic::panic_any("it was asked to"),
        "abort" => std::process::abort(),
        how => Err(limitless_faas::Error::msg(format_args!("broken by {how}"))),
    }
}

/// Counts to `n`, a millisecond each.
#[handler]
fn ticks(n: u64) -> Result<u64> {
    #[checkpoint]
    for _ in 0..n {
        std::thread::sleep(Duration::from_millis(1));
    }
    Ok(n)
}

/// A node that breaks beside one that takes for ever.
#[workflow]
async fn fragile(how: String) -> Result<u64> {
    let (broken, n) = try_join!(breaks(how), ticks(1_000_000_000_u64))?;
    Ok(broken + n)
}

/// Two nodes of so many milliseconds side by side, and one that notes their sum.
#[workflow]
async fn patient(n: u64, file: String) -> Result<u64> {
    let (one, other) = try_join!(ticks(n), ticks(n + 1))?;
    noted(one + other, file).await
}

/// Appends a line to `file` each millisecond, for ever.
#[handler]
fn beats(file: String) -> Result<u64> {
    let mut beats = 0;
    #[checkpoint]
    loop {
        append(&file, beats)?;
        std::thread::sleep(Duration::from_millis(1));
        beats += 1;
    }
}

/// Two nodes that go on until they are stopped.
#[workflow]
async fn twins(one: String, other: String) -> Result<u64> {
    let (one, other) = try_join!(beats(one), beats(other))?;
    Ok(one + other)
}

/// Appends its process's number to `file`, and does then what it is asked to.
#[program("/bin/sh", "-c", include_str!("scripted.sh"))]
fn scripted(how: String, file: String) -> Result<u64>;

/// A program, and a node that gets its result.
#[workflow]
async fn scripts(how: String, file: String) -> Result<u64> {
    let n = scripted(how, &file).await?;
    Ok(same(n + 1).await)
}

/// Breaks once there is something in `file`.
#[handler]
fn breaks_once(file: String) -> Result<u64> {
    while std::fs::metadata(&file).map_or(0, |found| found.len()) == 0 {
        std::thread::sleep(Duration::from_millis(1));
    }
    Err(Error::msg("broken by hand"))
}

/// A program that takes for ever beside a node that breaks.
#[workflow]
async fn doomed(file: String) -> Result<u64> {
    let (n, broken) = try_join!(scripted("hang".to_owned(), &file), breaks_once(&file))?;
    Ok(n + broken)
}

/// A node whose result is larger than what a platform carries.
#[workflow]
async fn heavy(bytes: usize) -> Result<usize> {
    let text = blank(bytes).await;
    Ok(text.len())
}

/// A node that gets more than a platform carries, and gives as much to the next one.
#[workflow]
async fn weighty(bytes: usize) -> Result<usize> {
    let text = blank(bytes).await;
    let twice = doubled(text).await;
    Ok(measured(twice).await)
}

/// A text and the same again.
#[handler]
fn doubled(text: String) -> String {
    text.repeat(2)
}

/// How long a text is.
#[handler]
fn measured(text: String) -> usize {
    text.len()
}

/// So many spaces.
#[handler]
fn blank(bytes: usize) -> String {
    " ".repeat(bytes)
}

/// An item of [`each`].
#[derive(Clone, Serialize, Deserialize)]
struct Of {
    n: u64,
}

/// [`squares`] of one item.
#[handler]
fn sum(of: Of) -> u64 {
    (0..of.n).map(|i| i * i).sum()
}

/// Gives the number back: a node that costs nothing but being one.
#[handler]
fn same(n: u64) -> u64 {
    n
}

/// So many empty nodes, one after the other; 16 at most.
#[workflow]
async fn chain(nodes: u64) -> Option<u64> {
    let mut last = when(nodes > 0, same, 1).await;
    last = when(nodes > 1, same, last.unwrap_or(0) + 1).await;
    last = when(nodes > 2, same, last.unwrap_or(0) + 1).await;
    last = when(nodes > 3, same, last.unwrap_or(0) + 1).await;
    last = when(nodes > 4, same, last.unwrap_or(0) + 1).await;
    last = when(nodes > 5, same, last.unwrap_or(0) + 1).await;
    last = when(nodes > 6, same, last.unwrap_or(0) + 1).await;
    last = when(nodes > 7, same, last.unwrap_or(0) + 1).await;
    last = when(nodes > 8, same, last.unwrap_or(0) + 1).await;
    last = when(nodes > 9, same, last.unwrap_or(0) + 1).await;
    last = when(nodes > 10, same, last.unwrap_or(0) + 1).await;
    last = when(nodes > 11, same, last.unwrap_or(0) + 1).await;
    last = when(nodes > 12, same, last.unwrap_or(0) + 1).await;
    last = when(nodes > 13, same, last.unwrap_or(0) + 1).await;
    last = when(nodes > 14, same, last.unwrap_or(0) + 1).await;
    when(nodes > 15, same, last.unwrap_or(0) + 1).await
}

/// How far [`waves`] got.
#[derive(Default, Serialize, Deserialize, State)]
struct Wave {
    at: u64,
    sum: u64,
}

/// The sum of the numbers below `n`, async and with named state.
#[handler]
async fn waves(ctx: Context<Wave>, n: u64, pause_ms: u64) -> u64 {
    let mut wave = ctx.state();
    while wave.at < n {
        ctx.checkpoint(&wave).await;
        tokio::time::sleep(Duration::from_millis(pause_ms)).await;
        wave.sum += wave.at;
        wave.at += 1;
    }
    wave.sum
}

/// Appends a line to `file` in each of `n` steps, and answers how many steps there were.
#[handler]
async fn stairs(ctx: Context, n: u32, pause_ms: u64, file: String) -> Result<u32> {
    let mut climbed = 0;
    #[checkpoint]
    for i in 0..n {
        let step = ctx.step(format!("step-{i}"), async || append(&file, i)).await?;
        tokio::time::sleep(Duration::from_millis(pause_ms)).await;
        climbed += u32::from(step == i);
    }
    Ok(climbed)
}

/// [`stairs`] without async.
#[handler]
fn ladder(ctx: Context, n: u32, pause_ms: u64, file: String) -> Result<u32> {
    let mut climbed = 0;
    #[checkpoint]
    for i in 0..n {
        // The effect brings a runtime of its own, as blocking clients do.
        let effect =
            || tokio::runtime::Builder::new_current_thread().build()?.block_on(async { append(&file, i) });
        let step = ctx.blocking_step(format!("step-{i}"), effect)?;
        std::thread::sleep(Duration::from_millis(pause_ms));
        climbed += u32::from(step == i);
    }
    Ok(climbed)
}

/// Explicit state, and a step before it is asked for: the handler runs from its top in each invocation.
#[handler]
async fn visits(ctx: Context<Wave>, n: u64, pause_ms: u64, file: String) -> Result<u64> {
    ctx.step("open", async || append(&file, 0)).await?;
    let mut wave = ctx.state();
    while wave.at < n {
        ctx.checkpoint(&wave).await;
        let at = u32::try_from(wave.at + 1)?;
        ctx.step(format!("visit-{at}"), async || append(&file, at)).await?;
        tokio::time::sleep(Duration::from_millis(pause_ms)).await;
        wave.at += 1;
    }
    Ok(wave.at)
}

/// [`bulky`], async.
#[handler]
async fn bulky_async(mb: usize, pauses: u64) -> u64 {
    let data: Vec<u64> = (0..mb as u64 * 131_072).collect();
    let mut waited = 0;
    #[checkpoint]
    for _ in 0..pauses {
        tokio::time::sleep(Duration::from_millis(1)).await;
        waited += 1;
    }
    data.iter().fold(waited, |digest, word| digest.rotate_left(5) ^ word)
}

fn append(file: &str, i: u32) -> std::io::Result<u32> {
    use std::io::Write;
    let mut file = std::fs::OpenOptions::new().create(true).append(true).open(file)?;
    writeln!(file, "{i}")?;
    Ok(i)
}

/// Sleeps between two steps.
#[handler]
async fn naps(ctx: Context, ms: u64, file: String) -> Result<u64> {
    ctx.step("before", async || append(&file, 1)).await?;
    ctx.sleep("nap", Duration::from_millis(ms)).await?;
    ctx.step("after", async || append(&file, 2)).await?;
    Ok(ms)
}

/// [`naps`] in a loop, without async.
#[handler]
fn dozes(ctx: Context, times: u32, ms: u64, file: String) -> Result<u32> {
    let mut slept = 0;
    #[checkpoint]
    for i in 0..times {
        ctx.blocking_step(format!("step-{i}"), || append(&file, i))?;
        ctx.blocking_sleep(format!("doze-{i}"), Duration::from_millis(ms))?;
        slept += 1;
    }
    Ok(slept)
}

/// Waits for an event, without end or for a while.
#[handler]
async fn awaits(ctx: Context, within_ms: Option<u64>) -> Result<String> {
    let Some(within_ms) = within_ms else { return ctx.wait_for("word").await };
    let word = ctx.wait_for_within("word", Duration::from_millis(within_ms)).await?;
    Ok(word.unwrap_or_else(|| "silence".to_owned()))
}

/// Two waits against one another; which of them won is remembered.
#[handler]
async fn races(ctx: Context, ms: u64) -> Result<String> {
    let word = ctx.wait_for::<String>("word");
    let patience = ctx.sleep("patience", Duration::from_millis(ms));
    let won = match ctx.race("first", word, patience).await? {
        Race::Left(word) => word?,
        Race::Right(slept) => {
            slept?;
            "silence".to_owned()
        }
    };
    // Comes this way again after what it raced for has happened too.
    ctx.sleep("afterwards", Duration::from_millis(ms)).await?;
    Ok(won)
}

/// A word, a sleep and a step that takes `ms` against one another; tells who won, and what that came to. Asked for twice.
#[handler]
async fn contends(ctx: Context, sleep_ms: u64, step_ms: u64) -> Result<(usize, String)> {
    let word: Side<'_> = Box::pin(ctx.wait_for::<String>("word"));
    let sleep: Side<'_> = Box::pin(async {
        ctx.sleep("patience", Duration::from_millis(sleep_ms)).await?;
        Ok("silence".to_owned())
    });
    let step: Side<'_> = Box::pin(ctx.step("work", async || {
        tokio::time::sleep(Duration::from_millis(step_ms)).await;
        Ok::<_, Error>("work".to_owned())
    }));
    let (place, won) = ctx.race_all("first", [word, sleep, step]).await?;
    ctx.sleep("afterwards", Duration::from_millis(600)).await?;
    Ok((place, won?))
}

type Side<'a> = std::pin::Pin<Box<dyn Future<Output = Result<String>> + 'a>>;

/// Calls a handler that is short, and one that takes `n` ms; answers the sum of what they came to.
#[handler]
async fn asks(ctx: Context, n: u64, file: String) -> Result<u64> {
    let short = ctx.call::<noted>("short", (n, file.clone())).await?;
    let long = ctx.call::<ticks>("long", (n,)).await?;
    ctx.step("after", async || append(&file, 0)).await?;
    Ok(short + long)
}

/// [`asks`] without async, in a loop.
#[handler]
fn bids(ctx: Context, n: u64, times: u64) -> Result<u64> {
    let mut sum = 0;
    #[checkpoint]
    for i in 0..times {
        sum += ctx.blocking_call::<ticks>(format!("bid-{i}"), (n + i,))?;
    }
    Ok(sum)
}

/// Calls a handler that calls another one.
#[handler]
async fn passes_on(ctx: Context, n: u64, file: String) -> Result<u64> {
    Ok(ctx.call::<asks>("asks", (n, file)).await?)
}

/// Calls what breaks; answers which execution that was, and its number.
#[handler]
async fn trusts(ctx: Context, how: String) -> Result<(String, String)> {
    match ctx.call::<breaks>("breaks", (how,)).await {
        Ok(_) => Err(Error::msg("it did not break")),
        Err(error) => Ok((error.execution.to_string(), error.failure.to_string())),
    }
}

/// Calls what goes on until it is stopped.
#[handler]
async fn follows(ctx: Context, file: String) -> Result<u64> {
    Ok(ctx.call::<beats>("beats", (file,)).await?)
}

/// Calls what sleeps.
#[handler]
async fn lulls(ctx: Context, ms: u64, file: String) -> Result<u64> {
    Ok(ctx.call::<naps>("naps", (ms, file)).await?)
}

/// A call of `n` ms against a step that takes longer than anybody waits.
#[handler]
async fn hurries(ctx: Context, n: u64) -> Result<u64> {
    let call = ctx.call::<ticks>("ticks", (n,));
    let step = ctx.step("slow", async || {
        tokio::time::sleep(Duration::from_secs(3600)).await;
        Ok::<_, Error>(0)
    });
    match ctx.race("first", call, step).await? {
        Race::Left(called) => Ok(called?),
        Race::Right(slept) => slept,
    }
}

/// Fails twice, with a wait after each that is longer than an invocation has.
#[handler]
async fn insists(ctx: Context, wait_ms: u64, file: String) -> Result<u32> {
    let options = StepOptions::new()
        .retry(Retry::times(4).first_wait(Duration::from_millis(wait_ms)))
        .time_limit(Duration::from_secs(5));
    let tries = || std::fs::read_to_string(&file).map_or(0, |text| text.lines().count());
    ctx.step_with("insist", options, async || {
        let tried = u32::try_from(tries())? + 1;
        append(&file, tried)?;
        if tried < 3 { Err(Error::msg("not yet")) } else { Ok(tried) }
    })
    .await
}

/// A step that takes `ms` and may run once at most.
#[handler]
async fn dares(ctx: Context, ms: u64, file: String) -> Result<u32> {
    let dared = ctx.step_with("dare", StepOptions::new().at_most_once(), async || {
        let dared = append(&file, 1)?;
        tokio::time::sleep(Duration::from_millis(ms)).await;
        Ok::<_, Error>(dared)
    });
    match dared.await {
        Err(error) if error.code() == Some(Code::StepInterrupted) => Ok(0),
        dared => dared,
    }
}

/// Uses one key for two steps.
#[handler]
async fn stumbles(ctx: Context) -> Result<u32> {
    let first: u32 = ctx.step("one", async || Ok::<_, Error>(1)).await?;
    let second: u32 = ctx.step("one", async || Ok::<_, Error>(2)).await?;
    Ok(first + second)
}

/// Fills `mb` megabytes, then pauses `pauses` times; answers a digest of what it filled.
#[handler]
fn bulky(mb: usize, pauses: u64) -> u64 {
    let data: Vec<u64> = (0..mb as u64 * 131_072).map(|i| i.wrapping_mul(0x9E37_79B9_7F4A_7C15)).collect();
    let mut waited = 0;
    #[checkpoint]
    for _ in 0..pauses {
        std::thread::sleep(Duration::from_millis(1));
        waited += 1;
    }
    data.iter().fold(waited, |digest, word| digest.rotate_left(5) ^ word)
}

/// So many megabytes of it.
fn noise(mb: usize) -> impl Iterator<Item = u64> {
    (0..mb as u64 * 131_072).map(|i| i.wrapping_mul(0x9E37_79B9_7F4A_7C15))
}

/// Holds so many megabytes of noise, and ten times as many once it has been saved; ends once that has been saved too. Answers how many
/// megabytes it had then.
#[handler]
fn swells(mb: usize) -> usize {
    let mut data: Vec<u64> = noise(mb).collect();
    let mut runs = Vec::new();
    #[rebuild]
    let run = now_us();
    #[checkpoint]
    loop {
        if runs.last() != Some(&run) {
            runs.push(run);
            match runs.len() {
                1 => {}
                2 => data.extend(noise(9 * mb)),
                _ => break,
            }
        }
        std::thread::sleep(Duration::from_millis(1));
    }
    data.len() / 131_072
}

/// Holds so many megabytes of noise, of which each run, between one checkpoint and the next, changes a hundredth. Tells when each run
/// began, µs since 1970.
#[handler]
fn drifts(mb: usize, turns: u64) -> Vec<u64> {
    let mut data: Vec<u64> =
        (0..mb as u64 * 125_000).map(|i| i.wrapping_mul(0x9E37_79B9_7F4A_7C15)).collect();
    let mut runs = Vec::new();
    #[rebuild]
    let run = now_us();
    #[checkpoint]
    for _ in 0..turns {
        if runs.last() != Some(&run) {
            let hundredth = data.len() / 100;
            let from = runs.len() * 7 % 100 * hundredth;
            data[from..from + hundredth].iter_mut().for_each(|word| *word = word.wrapping_add(1));
            runs.push(run);
        }
        std::thread::sleep(Duration::from_millis(1));
    }
    runs
}

/// Holds a kilobyte, and pauses.
#[handler]
fn keeps(turns: u64) -> usize {
    let mut held = vec![0_u8; 1024];
    #[checkpoint]
    for turn in 0..turns {
        held[0] = held[0].wrapping_add(1);
        held[1] = held[1].max(turn.to_le_bytes()[0]);
        std::thread::sleep(Duration::from_millis(1));
    }
    held.len()
}

/// Never comes to a hook.
#[handler]
fn stuck(ms: u64) -> u64 {
    let mut rounds = 0;
    #[checkpoint]
    for _ in 0..1 {
        std::thread::sleep(Duration::from_millis(ms));
        rounds += 1;
    }
    rounds
}

/// Waits for what never happens.
#[handler]
async fn hangs() -> u64 {
    std::future::pending().await
}

/// A node that never ends, and nothing else.
#[workflow]
async fn endless(how: String) -> u64 {
    match how.as_str() {
        "blocking" => stuck(3_600_000_u64).await,
        _ => hangs().await,
    }
}

/// A node that never ends beside one that takes for ever, and saves its state.
#[workflow]
async fn unequal() -> u64 {
    let (sum, rounds) = join!(squares(1_000_000_000_u64, Some(1000)), stuck(3_600_000_u64));
    sum + rounds
}

/// Waits for ever without getting anywhere.
#[handler]
async fn idle(ctx: Context<Wave>) -> u64 {
    let wave = ctx.state();
    loop {
        ctx.checkpoint(&wave).await;
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

/// Panics.
#[handler]
fn panics(why: String) -> u64 {
    panic!("{why}")
}

/// Refuses.
#[handler]
fn refuses(why: String) -> Result<u64> {
    Err(Error::msg(why))
}

/// Gives its input back.
#[handler]
fn echoes(text: String) -> String {
    text
}

fn now_us() -> u64 {
    let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_micros()).unwrap_or_default()
}

/// A microsecond or so of dependent arithmetic.
fn grind(mut x: u64) -> u64 {
    for _ in 0..1000 {
        x = x.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
    }
    x
}

/// Records `n` steps, `at_once` of them side by side, and tells of each when it began and ended: `[began_us, ended_us]`.
#[handler]
async fn records(ctx: Context, n: u32, at_once: u32) -> Result<Vec<(u64, u64)>> {
    let mut times = Vec::new();
    #[checkpoint]
    for round in 0..n / at_once {
        let steps = (0..at_once).map(async |i| {
            let began_us = now_us();
            ctx.step(format!("step-{round}-{i}"), async || Ok::<_, Error>(i)).await?;
            Ok::<_, Error>((began_us, now_us()))
        });
        times.extend(futures_util::future::try_join_all(steps).await?);
    }
    Ok(times)
}

/// Records `n` steps one after another, and tells when the effect of each was, in µs since 1970.
#[handler]
async fn stamps(ctx: Context, n: u32) -> Result<Vec<u64>> {
    let mut times = Vec::new();
    #[checkpoint]
    for i in 0..n {
        times.push(ctx.step(format!("step-{i}"), async || Ok::<_, Error>(now_us())).await?);
    }
    Ok(times)
}

/// Computes for `rounds` rounds, and nothing else.
#[handler]
fn grinds(rounds: u64) -> u64 {
    let mut x = rounds;
    #[checkpoint]
    for _ in 0..rounds {
        x = grind(x);
    }
    x
}

/// Computes, and tells of each new invocation when its first useful work was, and how long after the last of the one before:
/// `[at_us, gap_us]`.
#[handler]
fn gaps(rounds: u64) -> Vec<(u64, u64)> {
    let mut found = Vec::new();
    let (mut x, mut last_us, mut seen) = (rounds, now_us(), 0);
    #[rebuild]
    let invocation = now_us();
    #[checkpoint]
    for _ in 0..rounds {
        let at_us = now_us();
        if seen != invocation && seen != 0 {
            found.push((at_us, at_us.saturating_sub(last_us)));
        }
        seen = invocation;
        x = grind(x);
        last_us = now_us();
    }
    std::hint::black_box(x);
    found
}

/// The input less one, which no JSON number type but text holds.
#[handler]
fn wide(n: u128, xs: Vec<f64>) -> (u128, Vec<f64>) {
    (n - 1, xs)
}

fn main() {
    limitless_faas::serve!(
        grinds,
        records,
        stamps,
        gaps,
        squares,
        wide,
        relay,
        same,
        chain,
        scripted,
        scripts,
        breaks_once,
        doomed,
        breaks,
        ticks,
        fragile,
        patient,
        weighty,
        doubled,
        measured,
        beats,
        twins,
        heavy,
        blank,
        noted,
        sum,
        each,
        waves,
        stairs,
        ladder,
        visits,
        naps,
        dozes,
        awaits,
        races,
        asks,
        bids,
        passes_on,
        trusts,
        follows,
        lulls,
        hurries,
        contends,
        insists,
        dares,
        bulky_async,
        stumbles,
        bulky,
        drifts,
        swells,
        keeps,
        stuck,
        hangs,
        endless,
        unequal,
        idle,
        panics,
        refuses,
        echoes
    );
}
