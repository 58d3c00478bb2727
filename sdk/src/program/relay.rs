//! Between DMTCP's processes and their coordinator, so that they don't wait for each other's acknowledgements.
//!
//! They send many small messages over connections with Nagle's algorithm on, so each waits until the one before it is acknowledged, and the
//! system delays that by 40 ms: nine tenths of what saving a small program takes. The relay acknowledges at once what it gets, and sends
//! at once what it has. Every process of the program has a connection, so the relay also knows when there are too many of them.

use std::io::{self, Read, Write};
use std::net::{Ipv4Addr, Shutdown, TcpListener, TcpStream};
use std::rc::Rc;
use std::thread::Builder;

use rustix::event::{PollFd, PollFlags, poll};
use rustix::net::sockopt::set_tcp_quickack;

/// The most processes that a program may be at once. A container of OpenWhisk has 1,024 threads and open files, and each process takes
/// two of either.
pub(super) const MOST_PROCESSES: usize = 400;

const BUFFER_BYTES: usize = 16 << 10;
const STACK_BYTES: usize = 128 << 10;

/// Relays to the coordinator at `port` of this machine; answers the port to connect to instead. Ends with the process. `crowded` is told
/// once there are too many processes.
pub(super) fn start(port: u16, crowded: impl FnOnce() + Send + 'static) -> io::Result<u16> {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
    let own = listener.local_addr()?.port();
    let thread = Builder::new().name("relay".to_owned()).stack_size(STACK_BYTES);
    // Where it fails all connections end with it, and DMTCP says what it misses.
    thread.spawn(move || relay(&listener, port, crowded)).map(drop)?;
    Ok(own)
}

fn relay(listener: &TcpListener, port: u16, crowded: impl FnOnce()) -> io::Result<()> {
    let mut crowded = Some(crowded);
    let mut ways: Vec<Way> = Vec::new();
    let mut buffer = vec![0; BUFFER_BYTES];
    loop {
        let (has_new, ready) = wait(listener, &ways)?;
        let mut ready = ready.into_iter();
        ways.retain(|way| !ready.next().unwrap_or_default() || way.pass(&mut buffer));
        if !has_new {
            continue;
        }
        let connected = listener.accept().and_then(|(worker, _)| connect(worker, port));
        let has_room = connected.is_ok() && ways.len() / 2 < MOST_PROCESSES;
        // One that could not be connected is told by its end.
        ways.extend(connected.into_iter().flatten());
        if !has_room && let Some(crowded) = crowded.take() {
            crowded();
        }
    }
}

/// Waits until somebody connects or says something: whether the first, and which ways have something to pass on.
fn wait(listener: &TcpListener, ways: &[Way]) -> io::Result<(bool, Vec<bool>)> {
    let mut polled = vec![PollFd::new(listener, PollFlags::IN)];
    polled.extend(ways.iter().map(|way| PollFd::new(&*way.from, PollFlags::IN)));
    while let Err(error) = poll(&mut polled, None) {
        if error != rustix::io::Errno::INTR {
            return Err(error.into());
        }
    }
    let mut ready = polled.iter().map(|polled| !polled.revents().is_empty());
    Ok((ready.next().unwrap_or_default(), ready.collect()))
}

/// One direction of a connection.
struct Way {
    from: Rc<TcpStream>,
    to: Rc<TcpStream>,
}

fn connect(worker: TcpStream, port: u16) -> io::Result<[Way; 2]> {
    let coordinator = Rc::new(TcpStream::connect((Ipv4Addr::LOCALHOST, port))?);
    let worker = Rc::new(worker);
    for end in [&worker, &coordinator] {
        end.set_nodelay(true)?;
    }
    Ok([Way { from: worker.clone(), to: coordinator.clone() }, Way { from: coordinator, to: worker }])
}

impl Way {
    /// Passes on what there is; says whether there may be more.
    fn pass(&self, buffer: &mut [u8]) -> bool {
        let (mut from, mut to) = (&*self.from, &*self.to);
        // The system forgets it whenever data went the other way.
        let _ = set_tcp_quickack(from, true);
        let passed = match from.read(buffer) {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => return true,
            Ok(count @ 1..) => to.write_all(&buffer[..count]),
            _ => Err(io::ErrorKind::UnexpectedEof.into()),
        };
        let _ = set_tcp_quickack(from, true);
        let _ = set_tcp_quickack(to, true);
        if passed.is_err() {
            // The other end may have been closed already.
            let _ = to.shutdown(Shutdown::Write);
        }
        passed.is_ok()
    }
}
