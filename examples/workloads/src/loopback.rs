//! A server on loopback for one exchange: what handlers of these workloads have instead of a market, a database or a
//! web service. The bytes really go through sockets, and the handler really waits for them.

use std::io::{self, Read as _, Write as _};
use std::net::{Ipv4Addr, Shutdown, TcpListener, TcpStream};
use std::thread;

/// Sends a request to a server that makes its answer from it, and returns the answer.
///
/// # Errors
///
/// What the sockets say; trying again may help.
pub(crate) fn exchange(request: &[u8], answer: impl FnOnce(&[u8]) -> Vec<u8> + Send) -> io::Result<Vec<u8>> {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
    let address = listener.local_addr()?;
    thread::scope(|scope| {
        let server = scope.spawn(move || -> io::Result<()> {
            let (mut stream, _) = listener.accept()?;
            let mut asked = Vec::new();
            stream.read_to_end(&mut asked)?;
            stream.write_all(&answer(&asked))
        });
        let mut stream = TcpStream::connect(address)?;
        stream.write_all(request)?;
        stream.shutdown(Shutdown::Write)?;
        let mut answered = Vec::new();
        stream.read_to_end(&mut answered)?;
        server.join().map_err(|_| io::Error::other("the server ended early"))??;
        Ok(answered)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_answer_is_made_from_the_request() {
        let large = vec![7; 1_000_000];
        let answer = exchange(&large, |asked| asked.len().to_string().into_bytes()).unwrap();
        assert_eq!(answer, b"1000000");
    }
}
