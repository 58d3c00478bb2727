//! A node in a process of the wrap's pool: this binary once more, which computes what it is sent over a socket.
//!
//! A process is started when the first node needs it and kept for the next ones. It ends when its socket does, so none
//! outlives the process that started it.

use std::collections::BTreeMap;
use std::io::{self, BufReader, Read, Write};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, mpsc};

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use tokio::sync::oneshot;

use super::{Call, Ended, Runner, Saved, Started, Stop, compute};
use crate::checkpoint::{Request, Session};
use crate::error::Error;
use crate::handler::HandlerDef;
use crate::workflow::late::Turn;

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
    CallOff { id: u64 },
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
    calls: BTreeMap<u64, (oneshot::Sender<Ended>, Turn)>,
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
            let order = match why {
                Stop::Suspend => Order::Suspend { id },
                Stop::Leave | Stop::Cancel => {
                    worker.forget(id);
                    Order::CallOff { id }
                }
            };
            let _ = worker.send(&order);
        };
        Ok(Started { ended, far: None, stop: Box::new(stop) })
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
    fn expect(&self, id: u64, done: oneshot::Sender<Ended>, turn: Turn) {
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
    fn listen(&self, socket: UnixStream, mut child: Child) {
        let mut answers = BufReader::new(socket);
        while let Ok(Some(Answer { id, ended })) = read(&mut answers) {
            let waiting = lock(&self.waiting).calls.remove(&id);
            if let Some((done, turn)) = waiting {
                drop(turn);
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
    let orders = UnixStream::from(stdin);
    let answers = Mutex::new(orders.try_clone().map_err(broken)?);
    let (end, ended) = mpsc::channel();
    let desk = Desk {
        handlers,
        orders: Mutex::new(BufReader::new(orders)),
        answers,
        running: Mutex::default(),
        free: AtomicUsize::new(0),
        end,
    };
    Arc::new(desk).open().map_err(broken)?;
    // The desk is there as long as one of its threads is.
    ended.recv().unwrap_or(Ok(())).map_err(broken)
}

/// What the threads of a pool's process share. One of them reads the next order, and computes it itself while another one reads: so
/// no thread hands an order to another.
struct Desk {
    handlers: &'static [&'static HandlerDef],
    orders: Mutex<BufReader<UnixStream>>,
    answers: Mutex<UnixStream>,
    running: Mutex<BTreeMap<u64, Session>>,
    /// Threads that read or wait for that.
    free: AtomicUsize,
    end: mpsc::Sender<io::Result<()>>,
}

impl Desk {
    /// One more thread.
    fn open(self: Arc<Self>) -> io::Result<()> {
        self.free.fetch_add(1, Ordering::AcqRel);
        let serve = move || {
            let end = self.end.clone();
            // Nobody waits any more where another thread saw the end.
            let _ = end.send(self.serve());
        };
        std::thread::Builder::new().stack_size(STACK_BYTES).spawn(serve).map(drop)
    }

    /// Takes orders until there are none any more.
    fn serve(self: Arc<Self>) -> io::Result<()> {
        loop {
            let mut orders = lock(&self.orders);
            let Some(order) = read(&mut *orders)? else { return Ok(()) };
            let Order::Run { id, handler, input, from } = order else {
                self.stop(&order);
                continue;
            };
            let saved = Saved::default();
            let session = saved.session(from);
            lock(&self.running).insert(id, session.clone());
            drop(orders);
            if self.free.fetch_sub(1, Ordering::AcqRel) == 1 {
                self.clone().open()?;
            }
            let ended = called(self.handlers, &handler, input, &session, &saved);
            lock(&self.running).remove(&id);
            self.free.fetch_add(1, Ordering::AcqRel);
            // Without the process that asked there is nobody to tell, and its orders have ended too.
            let _ = write(&mut *lock(&self.answers), &Answer { id, ended });
        }
    }

    fn stop(&self, order: &Order) {
        let (Order::Suspend { id } | Order::CallOff { id } | Order::Run { id, .. }) = order;
        let Some(session) = lock(&self.running).get(id).cloned() else { return };
        match order {
            Order::Suspend { .. } => session.request(Request::Suspend),
            Order::CallOff { .. } => session.call_off(),
            Order::Run { .. } => {}
        }
    }
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
