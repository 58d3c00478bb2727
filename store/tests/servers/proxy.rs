//! A proxy before a server, which lies about what was done.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

/// Passes every request on to a server, and answers every third write with 503 once the server has done it.
pub(crate) struct Proxy {
    pub(crate) port: u16,
    state: Arc<State>,
}

#[derive(Default)]
struct State {
    is_over: AtomicBool,
    writes: AtomicUsize,
}

impl Proxy {
    /// A proxy before the server at this port of this machine.
    pub(crate) fn new(server: u16) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let (port, state) = (listener.local_addr().unwrap().port(), Arc::new(State::default()));
        let theirs = state.clone();
        std::thread::spawn(move || {
            for client in listener.incoming().map_while(Result::ok) {
                if theirs.is_over.load(Ordering::Relaxed) {
                    break;
                }
                let state = theirs.clone();
                // A client that goes away in the middle of a request asks again.
                std::thread::spawn(move || pass_on(client, server, &state).unwrap_or_default());
            }
        });
        Self { port, state }
    }

    /// How many answers it kept to itself.
    pub(crate) fn hidden(&self) -> usize {
        self.state.writes.load(Ordering::Relaxed) / 3
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.state.is_over.store(true, Ordering::Relaxed);
        let _ = TcpStream::connect(("127.0.0.1", self.port));
    }
}

/// One request and its answer; then the connection is closed.
fn pass_on(client: TcpStream, server: u16, state: &State) -> std::io::Result<()> {
    let mut reader = BufReader::new(client);
    let (mut head, mut length) = (String::new(), 0);
    loop {
        let mut line = String::new();
        if reader.read_line(&mut line)? == 0 {
            return Ok(());
        }
        let (name, value) = line.split_once(':').unwrap_or_default();
        match name.to_ascii_lowercase().as_str() {
            "content-length" => length = value.trim().parse().unwrap(),
            "connection" => continue,
            _ => {}
        }
        if line == "\r\n" {
            break;
        }
        head.push_str(&line);
    }
    let mut body = vec![0; length];
    reader.read_exact(&mut body)?;
    let mut upstream = TcpStream::connect(("127.0.0.1", server))?;
    upstream.write_all(format!("{head}Connection: close\r\n\r\n").as_bytes())?;
    upstream.write_all(&body)?;
    let mut answer = Vec::new();
    upstream.read_to_end(&mut answer)?;
    let is_write = ["PUT ", "POST ", "DELETE "].iter().any(|method| head.starts_with(method));
    let is_hidden = is_write && state.writes.fetch_add(1, Ordering::Relaxed) % 3 == 2;
    let hidden = &b"HTTP/1.1 503 Service Unavailable\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"[..];
    reader.get_mut().write_all(if is_hidden { hidden } else { &answer })
}
