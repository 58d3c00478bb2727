//! A line to a server: it takes its time, carries so much a second, and counts.

use std::io::{self, Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

/// From a request to its answer, whatever the server itself takes.
pub(super) const ROUND_TRIP: Duration = Duration::from_millis(20);
/// In each direction, all connections together.
pub(super) const BYTES_PER_SECOND: f64 = 100e6;

const CHUNK_BYTES: usize = 64 << 10;
/// What is under way at most on one connection; who sends more waits, as with a socket whose window is full.
const CHUNKS_UNDER_WAY: usize = 64;

/// A port of this machine behind which the server is far away.
pub(super) struct Line {
    pub(super) port: u16,
    counts: Arc<Counts>,
}

/// What went over a line since it was last asked.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Carried {
    pub(super) up_bytes: u64,
    pub(super) down_bytes: u64,
    /// How often something was sent to the server while no answer was awaited.
    pub(super) round_trips: u64,
}

#[derive(Default)]
struct Counts {
    is_over: AtomicBool,
    up_bytes: AtomicU64,
    down_bytes: AtomicU64,
    round_trips: AtomicU64,
    awaits_answer: AtomicBool,
}

/// When a direction of the line is free again.
type FreeAt = Arc<Mutex<Instant>>;

impl Line {
    /// A line to the server at `port` of this machine.
    pub(super) fn to(port: u16) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let own = listener.local_addr().unwrap().port();
        let counts = Arc::<Counts>::default();
        let theirs = Arc::clone(&counts);
        let (up, down): (FreeAt, FreeAt) =
            (Arc::new(Mutex::new(Instant::now())), Arc::new(Mutex::new(Instant::now())));
        std::thread::spawn(move || {
            for near in listener.incoming().map_while(Result::ok) {
                if theirs.is_over.load(Ordering::Relaxed) {
                    return;
                }
                // A server that is gone shows as a connection that is closed at once.
                let _ = connect(near, port, &theirs, [&up, &down]);
            }
        });
        Self { port: own, counts }
    }

    /// What it carried since the last time.
    pub(super) fn carried(&self) -> Carried {
        let take = |count: &AtomicU64| count.swap(0, Ordering::Relaxed);
        Carried {
            up_bytes: take(&self.counts.up_bytes),
            down_bytes: take(&self.counts.down_bytes),
            round_trips: take(&self.counts.round_trips),
        }
    }
}

impl Drop for Line {
    fn drop(&mut self) {
        self.counts.is_over.store(true, Ordering::Relaxed);
        let _ = TcpStream::connect(("127.0.0.1", self.port));
    }
}

fn connect(near: TcpStream, port: u16, counts: &Arc<Counts>, free_at: [&FreeAt; 2]) -> io::Result<()> {
    let far = TcpStream::connect(("127.0.0.1", port))?;
    near.set_nodelay(true)?;
    far.set_nodelay(true)?;
    let (up, down) = (Arc::clone(counts), Arc::clone(counts));
    one_way(near.try_clone()?, far.try_clone()?, free_at[0].clone(), move |bytes| {
        up.up_bytes.fetch_add(bytes, Ordering::Relaxed);
        if !up.awaits_answer.swap(true, Ordering::Relaxed) {
            up.round_trips.fetch_add(1, Ordering::Relaxed);
        }
    });
    one_way(far, near, free_at[1].clone(), move |bytes| {
        down.down_bytes.fetch_add(bytes, Ordering::Relaxed);
        down.awaits_answer.store(false, Ordering::Relaxed);
    });
    Ok(())
}

/// Two threads: one takes in what was sent, the other gives it out when it arrives. Both end with either connection.
fn one_way(from: TcpStream, to: TcpStream, free_at: FreeAt, count: impl Fn(u64) + Send + 'static) {
    let (sender, receiver) = sync_channel(CHUNKS_UNDER_WAY);
    std::thread::spawn(move || take_in(from, &sender, &free_at, count));
    std::thread::spawn(move || give_out(to, &receiver));
}

fn take_in(
    mut from: TcpStream,
    sender: &SyncSender<(Instant, Vec<u8>)>,
    free_at: &FreeAt,
    count: impl Fn(u64),
) {
    let mut chunk = vec![0; CHUNK_BYTES];
    while let Ok(len @ 1..) = from.read(&mut chunk) {
        count(len as u64);
        let sent_at = {
            let mut free_at = free_at.lock().unwrap();
            *free_at =
                (*free_at).max(Instant::now()) + Duration::from_secs_f64(len as f64 / BYTES_PER_SECOND);
            *free_at
        };
        if sender.send((sent_at + ROUND_TRIP / 2, chunk[..len].to_vec())).is_err() {
            break;
        }
    }
}

fn give_out(mut to: TcpStream, receiver: &Receiver<(Instant, Vec<u8>)>) {
    while let Ok((at, bytes)) = receiver.recv() {
        std::thread::sleep(at.saturating_duration_since(Instant::now()));
        if to.write_all(&bytes).is_err() {
            break;
        }
    }
    let _ = to.shutdown(Shutdown::Both);
}
