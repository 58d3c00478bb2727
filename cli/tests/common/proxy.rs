//! Stands before a platform, keeps what is asked of it, and answers for it where a test wants that.

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Mutex, PoisonError};

/// One request as it came.
#[derive(Clone, Debug)]
pub struct Request {
    pub method: String,
    /// With its query.
    pub target: String,
    pub body: Vec<u8>,
    head: Vec<u8>,
}

/// What happens to a request instead of the right thing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// It is answered with this status and goes no further.
    Status(u16),
    /// It is carried out, and the connection ends without an answer.
    HangUp,
    /// It is carried out, and the connection ends in the middle of the answer's body, or of its head where it has none.
    CutOff,
    /// It is not carried out, and nobody answers for as long as the client waits.
    Stall,
    /// It is carried out, half of the answer's body comes, and nothing more for as long as the client waits.
    Trickle,
}

type Script = Box<dyn FnMut(&Request) -> Option<Fault> + Send>;

#[derive(Default)]
struct Shared {
    script: Option<Script>,
    requests: Vec<Request>,
}

pub struct Proxy {
    address: SocketAddr,
    shared: Arc<Mutex<Shared>>,
}

impl Proxy {
    /// Before the platform at this URL, `http://ADDRESS`.
    pub fn before(url: &str) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let shared = Arc::<Mutex<Shared>>::default();
        let (platform, own) = (url.trim_start_matches("http://").to_owned(), Arc::clone(&shared));
        // Both threads end with the test's process.
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let (platform, shared) = (platform.clone(), Arc::clone(&own));
                std::thread::spawn(move || serve(stream, &platform, &shared));
            }
        });
        Self { address, shared }
    }

    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// From now on requests go wrong as `script` says.
    pub fn follow(&self, script: impl FnMut(&Request) -> Option<Fault> + Send + 'static) {
        lock(&self.shared).script = Some(Box::new(script));
    }

    /// Waits until something like this was asked.
    pub fn wait_for(&self, is_it: impl Fn(&Request) -> bool) {
        super::wait_until("nobody asks that", || self.requests().iter().any(&is_it));
    }

    /// What was asked so far.
    pub fn requests(&self) -> Vec<Request> {
        lock(&self.shared).requests.clone()
    }
}

fn lock(shared: &Mutex<Shared>) -> std::sync::MutexGuard<'_, Shared> {
    shared.lock().unwrap_or_else(PoisonError::into_inner)
}

/// One request a connection: the answer says that it is the last.
fn serve(mut client: TcpStream, platform: &str, shared: &Mutex<Shared>) -> Option<()> {
    let request = read(&client)?;
    let fault = {
        let mut shared = lock(shared);
        shared.requests.push(request.clone());
        shared.script.as_mut().and_then(|script| script(&request))
    };
    if let Some(Fault::Status(status)) = fault {
        let body = r#"{"error":"not \u001b[31mnow\nor ever","code":"x"}"#;
        let length = body.len();
        return write!(
            client,
            "HTTP/1.1 {status} No\r\ncontent-length: {length}\r\nconnection: close\r\n\r\n{body}"
        )
        .ok();
    }
    if fault == Some(Fault::Stall) {
        // Ends with the client.
        return client.read(&mut [0]).map(drop).ok();
    }
    let mut upstream = TcpStream::connect(platform).ok()?;
    upstream.write_all(&request.head).ok()?;
    upstream.write_all(b"connection: close\r\n\r\n").ok()?;
    upstream.write_all(&request.body).ok()?;
    let mut answer = Vec::new();
    upstream.read_to_end(&mut answer).ok()?;
    match fault {
        None => client.write_all(&answer).ok(),
        Some(Fault::CutOff) => client.write_all(&answer[..middle(&answer)]).ok(),
        Some(Fault::Trickle) => {
            client.write_all(&answer[..middle(&answer)]).ok()?;
            client.read(&mut [0]).map(drop).ok()
        }
        Some(_) => None,
    }
}

/// The middle of an answer's body.
fn middle(answer: &[u8]) -> usize {
    let head = answer.windows(4).position(|bytes| bytes == b"\r\n\r\n").map_or(0, |at| at + 4);
    if head == answer.len() { head / 2 } else { usize::midpoint(head, answer.len()) }
}

/// Its head keeps what is not about the connection.
fn read(client: &TcpStream) -> Option<Request> {
    let mut reader = BufReader::new(client);
    let (mut head, mut length) = (Vec::new(), 0);
    let mut line = String::new();
    reader.read_line(&mut line).ok()?;
    let mut words = line.split(' ').map(str::to_owned);
    let (method, target) = (words.next()?, words.next()?);
    while !line.trim().is_empty() {
        let lower = line.to_lowercase();
        if let Some(value) = lower.strip_prefix("content-length:") {
            length = value.trim().parse().ok()?;
        }
        if !lower.starts_with("connection:") {
            head.extend_from_slice(line.as_bytes());
        }
        line.clear();
        reader.read_line(&mut line).ok()?;
    }
    let mut body = vec![0; length];
    reader.read_exact(&mut body).ok()?;
    Some(Request { method, target, body, head })
}
