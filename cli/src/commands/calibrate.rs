//! `cargo faas calibrate`: measures what starting, calling and switching cost on this machine.

use std::io::{self, Read as _, Write as _};
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::process::{Command, Stdio};
use std::sync::mpsc;
use std::thread;
use std::time::{Duration, Instant};

use limitless_faas_core::calibration::{Calibration, Fitted, Role, ThreadModel};
use serde_json::json;

use super::Session;
use super::plan::write;
use crate::args::Calibrate;
use crate::error::{Context as _, Error, Result};
use crate::exit::Exit;

/// What one cost is called, in which unit, and what it came to.
type Cost = (&'static str, f64);

pub(super) fn calibrate(session: &Session, args: &Calibrate) -> Result<()> {
    let measured =
        measure(args.runs).context(Exit::Platform, || "failed to measure this machine".to_owned())?;
    measured.check().map_err(|error| Error::bug(error.to_string()))?;
    let text =
        serde_json::to_string_pretty(&measured).map_err(|error| Error::bug("no JSON").because(error))?;
    for (name, ms) in costs(&measured) {
        session.ui.status("Measured", &format!("{name}: {:.1} µs", ms * 1e3));
    }
    session.ui.warn("the network between sandboxes is this machine's loopback: real ones are slower");
    match &args.out {
        Some(path) => {
            write(path, &text)?;
            if session.ui.is_json() {
                return session.ui.print_json(&json!({ "calibration": path, "source": measured.source }));
            }
            Ok(())
        }
        None => session.ui.print(&text),
    }
}

fn costs(measured: &Calibration) -> [Cost; 7] {
    [
        ("start of a thread", measured.thread_start_ms),
        ("context switch", measured.switch_ms),
        ("fork, for who forks", measured.fork_block_ms),
        ("start of a process", measured.fork_start_ms),
        ("a result through a pipe", measured.collect_ms),
        ("a request over HTTP", measured.remote_ms),
        ("a megabyte over the network", measured.remote_ms_per_mb),
    ]
}

/// Medians of every cost. What can't be measured without a platform keeps the published constants: memory of a
/// sandbox and protection keys.
fn measure(runs: u32) -> io::Result<Calibration> {
    let base = Calibration::chiron();
    let (fork_block, fork_start) = process(runs)?;
    let (switch, collect, pipe_mb) = pipe(runs)?;
    let (remote, send, network_mb) = http(runs)?;
    let plain = Role { load_ms: 0.0, factor: 1.0, base_ms: 0.0 };
    Ok(Calibration {
        source: format!("measured on this machine, medians of {runs} runs"),
        threads: ThreadModel::Fair,
        thread_start_ms: median(runs, thread_start)?,
        thread_load_ms: 0.0,
        switch_ms: switch,
        fork_block_ms: fork_block,
        fork_start_ms: fork_start,
        collect_ms: collect,
        remote_ms: remote,
        invoke_ms: send,
        remote_charge_ms: send,
        remote_ms_per_mb: network_mb,
        pipe_ms_per_mb: pipe_mb,
        pool_dispatch_ms: collect,
        pool_start_ms: 0.0,
        cold_start_ms: fork_start,
        fitted: Fitted { main: plain, fork: plain },
        ..base
    })
}

fn ms(duration: Duration) -> f64 {
    duration.as_secs_f64() * 1e3
}

fn median(runs: u32, mut run: impl FnMut() -> io::Result<f64>) -> io::Result<f64> {
    let mut times = (0..runs).map(|_| run()).collect::<io::Result<Vec<f64>>>()?;
    times.sort_by(f64::total_cmp);
    Ok(times[times.len() / 2])
}

/// From the call that starts a thread to its first instruction.
fn thread_start() -> io::Result<f64> {
    let begun = Instant::now();
    let started = thread::spawn(Instant::now).join().map_err(|_| io::Error::other("a thread ended early"))?;
    Ok(ms(started.duration_since(begun)))
}

/// How long starting a process takes who starts it, and until the process has run.
fn process(runs: u32) -> io::Result<(f64, f64)> {
    let mut blocked = Vec::new();
    let whole = median(runs, || {
        let begun = Instant::now();
        let mut child = Command::new("true").stdin(Stdio::null()).stdout(Stdio::null()).spawn()?;
        blocked.push(ms(begun.elapsed()));
        child.wait()?;
        Ok(ms(begun.elapsed()))
    })?;
    blocked.sort_by(f64::total_cmp);
    Ok((blocked[blocked.len() / 2], whole))
}

/// A switch between two threads, a round trip of a small message through pipes, and a megabyte through one.
fn pipe(runs: u32) -> io::Result<(f64, f64, f64)> {
    let (mut from_us, mut to_them) = io::pipe()?;
    let (mut from_them, mut to_us) = io::pipe()?;
    let echo = thread::spawn(move || -> io::Result<()> {
        let mut byte = [0];
        while from_us.read(&mut byte)? > 0 {
            to_us.write_all(&byte)?;
        }
        Ok(())
    });
    let round = median(runs.saturating_mul(10), || {
        let begun = Instant::now();
        to_them.write_all(&[1])?;
        from_them.read_exact(&mut [0])?;
        Ok(ms(begun.elapsed()))
    })?;
    drop(to_them);
    echo.join().map_err(|_| io::Error::other("the echo ended early"))??;
    let megabyte = median(runs, || {
        let (mut reader, mut writer) = io::pipe()?;
        let begun = Instant::now();
        let write = thread::spawn(move || writer.write_all(&vec![0; MEGABYTE]));
        io::copy(&mut reader, &mut io::sink())?;
        let took = ms(begun.elapsed());
        write.join().map_err(|_| io::Error::other("the writer ended early"))??;
        Ok(took)
    })?;
    Ok((round / 2.0, round, megabyte))
}

const MEGABYTE: usize = 1_000_000;

/// A small request with its answer over a new connection, the sending alone, and a megabyte.
fn http(runs: u32) -> io::Result<(f64, f64, f64)> {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
    let address = listener.local_addr()?;
    let (stop, stopped) = mpsc::channel::<()>();
    let server = thread::spawn(move || -> io::Result<()> {
        for stream in listener.incoming() {
            if stopped.try_recv().is_ok() {
                break;
            }
            serve(&mut stream?)?;
        }
        Ok(())
    });
    let mut sends = Vec::new();
    let request = |bytes: usize, sends: &mut Vec<f64>| -> io::Result<f64> {
        let begun = Instant::now();
        let mut stream = TcpStream::connect(address)?;
        let head = format!("POST / HTTP/1.1\r\nHost: x\r\nContent-Length: {bytes}\r\n\r\n");
        stream.write_all(head.as_bytes())?;
        stream.write_all(&vec![b'x'; bytes])?;
        sends.push(ms(begun.elapsed()));
        stream.read_to_end(&mut Vec::new())?;
        Ok(ms(begun.elapsed()))
    };
    let small = median(runs, || request(2, &mut sends))?;
    sends.sort_by(f64::total_cmp);
    let send = sends[sends.len() / 2];
    let large = median(runs, || request(MEGABYTE, &mut sends))?;
    // The server is told, and woken by one more connection. It may have ended over an error already.
    let _ended = stop.send(());
    drop(TcpStream::connect(address));
    server.join().map_err(|_| io::Error::other("the server ended early"))??;
    Ok((small, send, (large - small).max(0.0)))
}

/// Reads one request to its end and answers it.
fn serve(stream: &mut TcpStream) -> io::Result<()> {
    let mut seen = Vec::new();
    let mut part = vec![0; 65_536];
    let mut wanted = usize::MAX;
    while seen.len() < wanted {
        let read = stream.read(&mut part)?;
        if read == 0 {
            return Ok(());
        }
        seen.extend_from_slice(&part[..read]);
        if wanted == usize::MAX
            && let Some(end) = seen.windows(4).position(|four| four == b"\r\n\r\n")
        {
            let head = String::from_utf8_lossy(&seen[..end]);
            let length = head.lines().find_map(|line| line.strip_prefix("Content-Length: "));
            wanted = end + 4 + length.and_then(|length| length.parse::<usize>().ok()).unwrap_or(0);
        }
    }
    stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nConnection: close\r\n\r\n{}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn this_machine_can_be_measured() {
        let measured = measure(5).unwrap();
        measured.check().unwrap();
        assert!(measured.thread_start_ms > 0.0 && measured.remote_ms > measured.switch_ms);
        assert!(measured.fork_start_ms >= measured.fork_block_ms);
    }
}
