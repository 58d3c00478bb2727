//! What a program prints: its lines go to the function's logs, its result is kept.
//!
//! Neither is lost or doubled by a suspension: what stands in a pipe when the program was saved is read to its end, and the part of a line
//! that has no end yet is saved and printed in the invocation that ends it.

use std::io::Write;
use std::sync::{Arc, Mutex};

use tokio::io::{AsyncRead, AsyncReadExt};
use tokio::sync::Notify;
use tokio::task::JoinHandle;

use crate::engine::lock;

/// The most bytes of standard output that can be a result.
pub(super) const MOST_BYTES: usize = 4 << 20;
/// A line that is longer is printed in parts.
const LONGEST_LINE: usize = 16 << 10;
/// So much of the end of standard error is quoted in errors.
const TAIL_BYTES: usize = 2000;

/// Where a stream goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum To {
    /// To the function's standard output or error, line by line.
    Stdout,
    Stderr,
    /// It is the result.
    Result,
}

/// One stream of the program's.
pub(super) struct Stream {
    kept: Arc<Mutex<Kept>>,
    reading: JoinHandle<()>,
}

#[derive(Default)]
struct Kept {
    /// What was not printed: a line without its end, or the result so far.
    bytes: Vec<u8>,
    /// The end of what was printed, for errors.
    tail: Vec<u8>,
    is_too_long: bool,
}

impl Stream {
    /// Reads to the end of `from`; `before` is what an earlier invocation left.
    pub(super) fn read(
        mut from: impl AsyncRead + Unpin + Send + 'static,
        to: To,
        before: Vec<u8>,
        too_long: Arc<Notify>,
    ) -> Self {
        let kept = Arc::new(Mutex::new(Kept { bytes: before, ..Kept::default() }));
        let shared = kept.clone();
        let reading = tokio::spawn(async move {
            let mut buffer = vec![0; 64 << 10];
            // A pipe that fails is at its end.
            while let Ok(count @ 1..) = from.read(&mut buffer).await {
                if lock(&shared).take(&buffer[..count], to) {
                    too_long.notify_one();
                }
            }
        });
        Self { kept, reading }
    }

    /// Waits for the stream's end, and gives what is not printed.
    pub(super) async fn end(&mut self) -> Vec<u8> {
        // Reading does not panic; were it to, what was read counts.
        let _ = (&mut self.reading).await;
        std::mem::take(&mut lock(&self.kept).bytes)
    }

    /// Whether it is a result that is too long.
    pub(super) fn is_too_long(&self) -> bool {
        lock(&self.kept).is_too_long
    }

    /// The end of what was printed.
    pub(super) fn tail(&self) -> String {
        String::from_utf8_lossy(&lock(&self.kept).tail).trim().to_owned()
    }
}

impl Kept {
    /// Answers whether the result has become too long.
    fn take(&mut self, bytes: &[u8], to: To) -> bool {
        if to == To::Result {
            let was_too_long = self.is_too_long;
            self.is_too_long |= self.bytes.len() + bytes.len() > MOST_BYTES;
            if !self.is_too_long {
                self.bytes.extend_from_slice(bytes);
            }
            return self.is_too_long && !was_too_long;
        }
        self.bytes.extend_from_slice(bytes);
        let end = self.bytes.iter().rposition(|byte| *byte == b'\n').map_or(0, |at| at + 1);
        let end = if self.bytes.len() - end > LONGEST_LINE { self.bytes.len() } else { end };
        let printed: Vec<u8> = self.bytes.drain(..end).collect();
        self.tail.extend_from_slice(&printed);
        let surplus = self.tail.len().saturating_sub(TAIL_BYTES);
        self.tail.drain(..surplus);
        print(&printed, to);
        false
    }
}

/// Prints what the last invocation has no line's end for.
pub(super) fn print(bytes: &[u8], to: To) {
    if bytes.is_empty() {
        return;
    }
    // A log that is gone is no reason to stop a program.
    let _ = match to {
        To::Stderr => std::io::stderr().write_all(bytes),
        To::Stdout => {
            let mut out = std::io::stdout();
            out.write_all(bytes).and_then(|()| out.flush())
        }
        To::Result => Ok(()),
    };
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_without_its_end_waits_for_it() {
        let mut kept = Kept::default();
        assert!(!kept.take(b"", To::Stderr));
        kept.take(b"half a li", To::Stderr);
        assert_eq!((kept.bytes.as_slice(), kept.tail.len()), (&b"half a li"[..], 0));
        kept.take(b"ne\nand", To::Stderr);
        assert_eq!((kept.bytes.as_slice(), kept.tail.as_slice()), (&b"and"[..], &b"half a line\n"[..]));
        kept.take(&vec![b'x'; LONGEST_LINE], To::Stderr);
        assert!(kept.bytes.is_empty() && kept.tail.len() == TAIL_BYTES);
    }

    #[test]
    fn a_result_has_a_limit_which_is_told_once() {
        let mut kept = Kept::default();
        assert!(!kept.take(&vec![1; MOST_BYTES], To::Result));
        assert!(kept.take(&[1], To::Result));
        assert!(!kept.take(&[1], To::Result) && kept.is_too_long && kept.bytes.len() == MOST_BYTES);
    }
}
