//! Writing a file while the bytes that come next are being made.

use std::fs::File;
use std::io::{self, Write};
use std::sync::mpsc::{SyncSender, sync_channel};

const BUFFER_BYTES: usize = 1 << 20;
/// So many buffers wait to be written at most.
const BUFFERS: usize = 4;

/// Gives `make` where to write to, and writes that to `file` on a thread of its own; returns when all is written.
///
/// # Errors
/// Those of writing, else those of `make`.
pub(super) fn write_behind(file: &File, make: impl FnOnce(&mut Behind) -> io::Result<()>) -> io::Result<()> {
    std::thread::scope(|scope| {
        let (to, filled) = sync_channel::<Vec<u8>>(BUFFERS);
        let write = move || filled.into_iter().try_for_each(|bytes| (&*file).write_all(&bytes));
        let writing = std::thread::Builder::new().name("behind".to_owned()).spawn_scoped(scope, write)?;
        let mut behind = Behind { to, held: Vec::with_capacity(BUFFER_BYTES) };
        let made = make(&mut behind).and_then(|()| behind.flush());
        drop(behind);
        let interrupted = |_| Err(io::Error::other("writing was interrupted"));
        writing.join().unwrap_or_else(interrupted)?;
        made
    })
}

/// Where to write to. After a failure of the file nothing more is taken.
pub(super) struct Behind {
    to: SyncSender<Vec<u8>>,
    held: Vec<u8>,
}

impl Write for Behind {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.held.extend_from_slice(bytes);
        if self.held.len() >= BUFFER_BYTES {
            self.flush()?;
        }
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        let filled = std::mem::replace(&mut self.held, Vec::with_capacity(BUFFER_BYTES));
        self.to.send(filled).map_err(|_| io::ErrorKind::BrokenPipe.into())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_made_is_written_in_order_and_failures_are_told() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("file");
        let bytes: Vec<u8> = (0..10_000_000_u32).flat_map(u32::to_le_bytes).take(7 << 20).collect();
        write_behind(&File::create(&path).unwrap(), |to| {
            bytes.chunks(5000).try_for_each(|part| to.write_all(part))
        })
        .unwrap();
        assert!(std::fs::read(&path).unwrap() == bytes);

        let failed = write_behind(&File::create(&path).unwrap(), |_| Err(io::Error::other("no more")));
        assert_eq!(failed.unwrap_err().to_string(), "no more");
        let unwritable = File::open(&path).unwrap();
        let failed =
            write_behind(&unwritable, |to| bytes.chunks(5000).try_for_each(|part| to.write_all(part)));
        assert_ne!(failed.unwrap_err().kind(), io::ErrorKind::BrokenPipe);
    }
}
