//! A function process by itself, spoken to as a platform does.

#![allow(dead_code, reason = "every test uses some of it")]

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::process::{Child, Command, Stdio};

use command_fds::{CommandFdExt, FdMapping};

pub(crate) const SUBJECT: &str = env!("CARGO_BIN_EXE_subject");

/// A function process that ends with this, even where it is stopped.
pub(crate) struct Process {
    pub(crate) child: Child,
    pub(crate) port: u16,
}

impl Process {
    /// Sends the process a signal by its name.
    pub(crate) fn signal(&self, name: &str) {
        let pid = self.child.id().to_string();
        assert!(Command::new("kill").args(["-s", name, &pid]).status().unwrap().success());
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// A process with a socket that listens before it does, so that nobody waits and no port is taken twice.
pub(crate) fn start(env: &[(&str, &str)]) -> Process {
    let listener = TcpListener::bind(("127.0.0.1", 0)).unwrap();
    let port = listener.local_addr().unwrap().port();
    let mut command = Command::new(SUBJECT);
    command.env("LISTEN_FDS", "1").env("LIMITLESS_HANDLER", "squares").envs(env.iter().copied());
    command.fd_mappings(vec![FdMapping { parent_fd: listener.into(), child_fd: 3 }]).unwrap();
    command.stdout(Stdio::piped()).stderr(Stdio::piped());
    Process { child: command.spawn().unwrap(), port }
}

/// One request as it goes over the wire: status, headers, body.
pub(crate) fn raw(port: u16, method: &str, path: &str, headers: &str, body: &str) -> (u16, String, String) {
    let mut stream = TcpStream::connect(("127.0.0.1", port)).unwrap();
    let length = body.len();
    write!(stream, "{method} {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n{headers}Content-Length: {length}\r\n\r\n{body}")
        .unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    let (head, body) = answer.split_once("\r\n\r\n").unwrap();
    let status = head.split(' ').nth(1).unwrap().parse().unwrap();
    (status, head.to_lowercase(), body.to_owned())
}
