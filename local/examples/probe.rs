//! The function that the platform's tests run: it does what its parameters say, well or badly.
//!
//! It speaks both platforms' contracts with the standard library alone, on the listening socket it inherits.

#![allow(clippy::print_stdout, clippy::print_stderr, reason = "what it prints is tested")]

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use serde_json::{Value, json};

static INITS: AtomicU64 = AtomicU64::new(0);
static RUNS: AtomicU64 = AtomicU64::new(0);
const SENTINEL: &str = "XXX_THE_END_OF_A_WHISK_ACTIVATION_XXX";

fn main() -> std::io::Result<()> {
    let socket = listenfd::ListenFd::from_env().take_tcp_listener(0)?;
    let socket: TcpListener = socket.ok_or_else(|| std::io::Error::other("no inherited socket"))?;
    match std::env::var("PROBE_START").as_deref() {
        Ok("exit") => std::process::exit(7),
        // What ignores SIGTERM before it starts the program still ignores it afterwards.
        Ok("deaf") => return Err(deaf(&socket)),
        _ => {}
    }
    loop {
        let (stream, _) = socket.accept()?;
        std::thread::spawn(move || serve(stream));
    }
}

/// Becomes a process that ignores SIGTERM.
fn deaf(socket: &TcpListener) -> std::io::Error {
    use command_fds::CommandFdExt as _;
    use std::os::fd::AsFd as _;
    use std::os::unix::process::CommandExt as _;
    let inherit = || -> std::io::Result<std::process::Command> {
        let mut shell = std::process::Command::new("/bin/sh");
        shell.args(["-c", "trap '' TERM; exec \"$0\""]).arg(std::env::current_exe()?);
        shell.env("LISTEN_FDS", "1").env_remove("PROBE_START");
        let parent_fd = socket.as_fd().try_clone_to_owned()?;
        let mapping = command_fds::FdMapping { parent_fd, child_fd: 3 };
        shell.fd_mappings(vec![mapping]).map_err(std::io::Error::other)?;
        Ok(shell)
    };
    inherit().map_or_else(|error| error, |mut shell| shell.exec())
}

struct Request {
    line: String,
    headers: BTreeMap<String, String>,
    body: Vec<u8>,
}

fn read(stream: &TcpStream) -> std::io::Result<Request> {
    let mut reader = BufReader::new(stream);
    let mut line = String::new();
    reader.read_line(&mut line)?;
    let mut headers = BTreeMap::new();
    loop {
        let mut header = String::new();
        reader.read_line(&mut header)?;
        let Some((name, value)) = header.split_once(':') else { break };
        headers.insert(name.to_lowercase(), value.trim().to_owned());
    }
    let length = headers.get("content-length").and_then(|length| length.parse().ok()).unwrap_or(0);
    let mut body = vec![0; length];
    reader.read_exact(&mut body)?;
    Ok(Request { line: line.trim().to_owned(), headers, body })
}

fn serve(mut stream: TcpStream) -> std::io::Result<()> {
    stream.set_nodelay(true)?;
    let request = read(&stream)?;
    let answer = match request.line.as_str() {
        "POST /init HTTP/1.1" => init(&request),
        "POST /run HTTP/1.1" => run(&request),
        _ => http(&request),
    };
    stream.write_all(&answer)?;
    drop(stream);
    if request.line.starts_with("POST /run") && !std::env::var("PROBE_SENTINEL").is_ok_and(|how| how == "no")
    {
        println!("{SENTINEL}");
        eprintln!("{SENTINEL}");
    }
    Ok(())
}

fn answer(status: u16, body: &str) -> Vec<u8> {
    let head = format!(
        "HTTP/1.1 {status} X\r\nContent-Type: application/json\r\nContent-Length: {}\r\n\r\n",
        body.len()
    );
    (head + body).into_bytes()
}

fn init(request: &Request) -> Vec<u8> {
    INITS.fetch_add(1, Ordering::SeqCst);
    match std::env::var("PROBE_INIT").as_deref() {
        Ok("fail") => answer(502, r#"{"error":"no way"}"#),
        Ok("exit") => std::process::exit(9),
        Ok("hang") => loop {
            std::thread::park();
        },
        _ if request.body.starts_with(b"{") => answer(200, r#"{"ok":true}"#),
        _ => answer(400, "{}"),
    }
}

fn run(request: &Request) -> Vec<u8> {
    RUNS.fetch_add(1, Ordering::SeqCst);
    let body: Value = serde_json::from_slice(&request.body).unwrap_or_default();
    act(&body["value"]).unwrap_or_else(|| {
        let told: BTreeMap<_, _> = std::env::vars().collect();
        let shown = json!({
            "body": body, "headers": request.headers, "env": told, "pid": std::process::id(),
            "inits": INITS.load(Ordering::SeqCst), "runs": RUNS.load(Ordering::SeqCst),
        });
        answer(200, &shown.to_string())
    })
}

/// Does what the parameters say, in a fixed order. None if the answer is to be the ordinary one.
fn act(params: &Value) -> Option<Vec<u8>> {
    let number = |name: &str| params[name].as_u64();
    if let Some(line) = params["print"].as_str() {
        println!("{line}");
        eprintln!("{line} (err)");
    }
    // Once: a process that is given the call again knows by the file that it is not the first.
    if let Some(path) = params["exit_once"].as_str()
        && std::fs::OpenOptions::new().write(true).create_new(true).open(path).is_ok()
    {
        std::process::exit(3);
    }
    if let Some(ms) = number("sleep_ms") {
        std::thread::sleep(Duration::from_millis(ms));
    }
    if let Some(path) = params["append"].as_str() {
        append(path);
    }
    if let Some(megabytes) = number("allocate_mb") {
        let mut held = vec![0_u8; usize::try_from(megabytes).ok()? << 20];
        held.iter_mut().step_by(4096).for_each(|byte| *byte = 1);
        std::thread::sleep(Duration::from_secs(60));
        println!("{}", held.len());
    }
    if let Some(script) = params["shell"].as_str() {
        let run = std::process::Command::new("/bin/sh").args(["-c", script]).status();
        println!("{script}: {run:?}");
    }
    if params["orphan"] == json!(true) {
        return Some(orphan());
    }
    if let Some(code) = number("exit") {
        std::process::exit(i32::try_from(code).unwrap_or(1));
    }
    if let Some(bytes) = number("big") {
        return Some(answer(200, &json!({ "big": "x".repeat(usize::try_from(bytes).ok()?) }).to_string()));
    }
    if params["chunked"] == json!(true) {
        let body = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\n{}\r\n0\r\n\r\n";
        return Some(body.as_bytes().to_vec());
    }
    if params["hang_up"] == json!(true) {
        return Some(Vec::new());
    }
    let body = params["body"].as_str()?;
    Some(answer(u16::try_from(number("status").unwrap_or(200)).ok()?, body))
}

fn append(path: &str) {
    let file = std::fs::OpenOptions::new().create(true).append(true).open(path);
    let written = file.and_then(|mut file| file.write_all(format!("{}\n", std::process::id()).as_bytes()));
    if let Err(error) = written {
        eprintln!("{path}: {error}");
    }
}

/// Starts a process that leaves the group, as a daemon would.
fn orphan() -> Vec<u8> {
    let child = std::process::Command::new("setsid").args(["sleep", "1000"]).spawn();
    child.map_or_else(
        |error| answer(200, &json!({ "error": error.to_string() }).to_string()),
        |child| answer(200, &json!({ "orphan": child.id() }).to_string()),
    )
}

/// An OpenFaaS call: the query is the parameters, as JSON in the body or by name.
fn http(request: &Request) -> Vec<u8> {
    let params: Value = serde_json::from_slice(&request.body).unwrap_or_default();
    act(&params).unwrap_or_else(|| {
        let env: BTreeMap<_, _> = std::env::vars().collect();
        let body = String::from_utf8_lossy(&request.body);
        let shown = json!({
            "line": request.line, "headers": request.headers, "body": body, "env": env, "pid": std::process::id(),
        });
        answer(200, &shown.to_string())
    })
}
