//! A node in a process of the wrap's pool: this binary once more, which computes what it is sent over a socket.
//!
//! A process is started when the first node needs it and kept for the next ones. It ends when its socket does, so none
//! outlives the process that started it.

use std::collections::BTreeMap;
use std::io::{self, Read, Write};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use tokio::sync::oneshot;

use super::{Call, Ended, Runner, Saved, Started, Stop, compute};
use crate::checkpoint::{Request, Session};
use crate::error::Error;
use crate::handler::HandlerDef;

/// The argument that makes a function's binary a process of a pool.
pub(crate) const WORKER: &str = "node-worker";

/// As much stack as handlers have elsewhere.
const STACK_BYTES: usize = 8 << 20;

/// A process by its number.
pub(super) struct Process {
    pub(super) number: u32,
}

/// What a process of the pool is sent.
#[derive(Serialize, Deserialize)]
enum Order {
    Run { id: u64, handler: String, input: String, from: Option<Vec<u8>> },
    Suspend { id: u64 },
}

/// What it answers.
#[derive(Serialize, Deserialize)]
struct Answer {
    id: u64,
    ended: Ended,
}

/// A process that was started, and who waits for it.
struct Worker {
    socket: Mutex<UnixStream>,
    waiting: Mutex<Waiting>,
}

#[derive(Default)]
struct Waiting {
    calls: BTreeMap<u64, (oneshot::Sender<Ended>, tokio::sync::OwnedSemaphorePermit)>,
    /// How the process ended, if it did.
    gone: Option<String>,
}

static POOL: Mutex<BTreeMap<u32, Arc<Worker>>> = Mutex::new(BTreeMap::new());
static CALLS: AtomicU64 = AtomicU64::new(0);

/// What these locks guard is whole between any two statements.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Runner for Process {
    fn start(&self, call: Call) -> Result<Started, Error> {
        let worker = worker(self.number)
            .map_err(|error| Error::msg(format!("a process for the node could not be started: {error}")))?;
        let id = CALLS.fetch_add(1, Ordering::Relaxed);
        let (done, ended) = oneshot::channel();
        worker.expect(id, done, call.turn);
        let (handler, input) = (call.handler.name.to_owned(), call.input.get().to_owned());
        // A process that is gone is noticed by whoever listens to it, and told to those who wait.
        let _ = worker.send(&Order::Run { id, handler, input, from: call.from });
        let stop = move |why| {
            if why == Stop::Cancel {
                worker.forget(id);
            }
            let _ = worker.send(&Order::Suspend { id });
        };
        Ok(Started { ended, stop: Box::new(stop) })
    }
}

/// The process of this number; a new one where there is none or it has ended.
fn worker(number: u32) -> io::Result<Arc<Worker>> {
    let mut pool = lock(&POOL);
    if let Some(worker) = pool.get(&number)
        && lock(&worker.waiting).gone.is_none()
    {
        return Ok(worker.clone());
    }
    let (ours, theirs) = UnixStream::pair()?;
    let child =
        Command::new("/proc/self/exe").arg(WORKER).stdin(Stdio::from(OwnedFd::from(theirs))).spawn()?;
    let listening = ours.try_clone()?;
    let worker = Arc::new(Worker { socket: Mutex::new(ours), waiting: Mutex::default() });
    let listener = worker.clone();
    std::thread::Builder::new()
        .name("node-worker".to_owned())
        .spawn(move || listener.listen(listening, child))?;
    pool.insert(number, worker.clone());
    Ok(worker)
}

impl Worker {
    fn expect(&self, id: u64, done: oneshot::Sender<Ended>, turn: tokio::sync::OwnedSemaphorePermit) {
        let mut waiting = lock(&self.waiting);
        match &waiting.gone {
            Some(how) => drop(done.send(Ended::Lost(how.clone()))),
            None => drop(waiting.calls.insert(id, (done, turn))),
        }
    }

    fn forget(&self, id: u64) {
        lock(&self.waiting).calls.remove(&id);
    }

    fn send(&self, order: &Order) -> io::Result<()> {
        write(&mut *lock(&self.socket), order)
    }

    /// Passes answers on until the process ends, and then tells those who still wait.
    fn listen(&self, mut socket: UnixStream, mut child: Child) {
        while let Ok(Some(Answer { id, ended })) = read(&mut socket) {
            if let Some((done, _turn)) = lock(&self.waiting).calls.remove(&id) {
                // Nobody listens any more where the node was called off.
                let _ = done.send(ended);
            }
        }
        // It may have closed its socket and live on.
        let _ = child.kill();
        let how = match child.wait() {
            Ok(status) => format!("the process that ran it ended: {status}"),
            Err(error) => format!("the process that ran it is gone: {error}"),
        };
        let mut waiting = lock(&self.waiting);
        waiting.gone = Some(how.clone());
        for (_, (done, _turn)) in std::mem::take(&mut waiting.calls) {
            let _ = done.send(Ended::Lost(how.clone()));
        }
    }
}

/// What a process of the pool does until its socket ends.
///
/// # Errors
/// What the socket said.
pub(crate) fn work(handlers: &'static [&'static HandlerDef]) -> Result<(), String> {
    let broken = |error: io::Error| format!("the socket of a node's process: {error}");
    let stdin = io::stdin().as_fd().try_clone_to_owned().map_err(broken)?;
    let mut orders = UnixStream::from(stdin);
    let answers = Arc::new(Mutex::new(orders.try_clone().map_err(broken)?));
    let running: Arc<Mutex<BTreeMap<u64, Session>>> = Arc::default();
    while let Some(order) = read(&mut orders).map_err(broken)? {
        match order {
            Order::Suspend { id } => {
                if let Some(session) = lock(&running).get(&id) {
                    session.request(Request::Suspend);
                }
            }
            Order::Run { id, handler, input, from } => {
                let saved = Saved::default();
                let session = saved.session(from);
                lock(&running).insert(id, session.clone());
                let (answers, running) = (answers.clone(), running.clone());
                let run = move || {
                    let ended = called(handlers, &handler, input, &session, &saved);
                    lock(&running).remove(&id);
                    // Without the process that asked there is nobody to tell, and this one is about to end.
                    let _ = write(&mut *lock(&answers), &Answer { id, ended });
                };
                std::thread::Builder::new().stack_size(STACK_BYTES).spawn(run).map_err(broken)?;
            }
        }
    }
    Ok(())
}

fn called(
    handlers: &[&'static HandlerDef],
    name: &str,
    input: String,
    session: &Session,
    saved: &Saved,
) -> Ended {
    let Some(handler) = handlers.iter().find(|handler| handler.name == name) else {
        return Ended::Failed(format!(
            "`{name}` is not in `serve!`, so no other process can run it: add it there"
        ));
    };
    match RawValue::from_string(input) {
        Ok(input) => compute(session, handler, &input, saved),
        Err(error) => Ended::Failed(error.to_string()),
    }
}

/// A message after its length.
fn write(to: &mut impl Write, message: &impl Serialize) -> io::Result<()> {
    let body =
        bincode::serde::encode_to_vec(message, bincode::config::standard()).map_err(io::Error::other)?;
    let length = u32::try_from(body.len()).map_err(io::Error::other)?;
    let mut bytes = length.to_le_bytes().to_vec();
    bytes.extend_from_slice(&body);
    to.write_all(&bytes)
}

/// The next message, or none where the other side has ended.
fn read<T: DeserializeOwned>(from: &mut impl Read) -> io::Result<Option<T>> {
    let mut length = [0; 4];
    match from.read_exact(&mut length) {
        Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => return Ok(None),
        read => read?,
    }
    let mut body = vec![0; u32::from_le_bytes(length) as usize];
    from.read_exact(&mut body)?;
    let decoded = bincode::serde::decode_from_slice(&body, bincode::config::standard());
    decoded.map(|(message, _)| Some(message)).map_err(io::Error::other)
}
