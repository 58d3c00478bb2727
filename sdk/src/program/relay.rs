//! Between DMTCP's processes and their coordinator, so that they don't wait for each other's acknowledgements.
//!
//! They send many small messages over connections with Nagle's algorithm on, so each waits until the one before it is acknowledged, and the
//! system delays that by 40 ms: nine tenths of what saving a small program takes. The relay acknowledges at once what it gets, and sends
//! at once what it has.

use std::io::{self, Read, Write};
use std::net::{Ipv4Addr, Shutdown, TcpListener, TcpStream};
use std::thread::Builder;

use rustix::net::sockopt::set_tcp_quickack;

const BUFFER_BYTES: usize = 16 << 10;
const STACK_BYTES: usize = 128 << 10;

/// Relays to the coordinator at `port` of this machine; answers the port to connect to instead. Ends with the process.
pub(super) fn start(port: u16) -> io::Result<u16> {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
    let own = listener.local_addr()?.port();
    thread("relay", move || {
        for worker in listener.incoming() {
            // One that could not be connected is told by its end; DMTCP then says what it misses.
            let _ = worker.and_then(|worker| connect(worker, port));
        }
    })?;
    Ok(own)
}

fn connect(worker: TcpStream, port: u16) -> io::Result<()> {
    let coordinator = TcpStream::connect((Ipv4Addr::LOCALHOST, port))?;
    for end in [&worker, &coordinator] {
        end.set_nodelay(true)?;
    }
    let (from, to) = (worker.try_clone()?, coordinator.try_clone()?);
    thread("to-coordinator", move || pump(&from, &to))?;
    thread("to-worker", move || pump(&coordinator, &worker))
}

fn thread(name: &str, run: impl FnOnce() + Send + 'static) -> io::Result<()> {
    Builder::new().name(name.to_owned()).stack_size(STACK_BYTES).spawn(run).map(drop)
}

fn pump(mut from: &TcpStream, mut to: &TcpStream) {
    let mut buffer = vec![0; BUFFER_BYTES];
    loop {
        // The system forgets it whenever data went the other way.
        let _ = set_tcp_quickack(from, true);
        let Ok(count @ 1..) = from.read(&mut buffer) else { break };
        let _ = set_tcp_quickack(from, true);
        if to.write_all(&buffer[..count]).is_err() {
            break;
        }
        let _ = set_tcp_quickack(to, true);
    }
    // The other end may have been closed already.
    let _ = to.shutdown(Shutdown::Write);
}
