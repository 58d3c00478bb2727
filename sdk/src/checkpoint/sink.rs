//! Where a checkpoint goes, and how often it is offered.

use std::io::{self, Write};

/// Takes the state of one run, on the handler's thread.
pub trait Sink: Send {
    /// Begins a checkpoint. After an attempt that failed it begins another one.
    ///
    /// # Errors
    /// There is nowhere to save to, or not now.
    fn open(&mut self) -> io::Result<Box<dyn Target>>;

    /// Whether the state shall be written once more after this error. It may wait before it answers: the handler has
    /// stopped, and holds its state.
    fn wants_again(&mut self, failed: &io::Error) -> bool;
}

/// One checkpoint being written.
pub trait Target: Write + Send {
    /// The state ends here: makes it durable.
    ///
    /// # Errors
    /// It may or may not be; only another checkpoint decides that.
    fn seal(self: Box<Self>) -> io::Result<()>;
}

/// Writes a state, as often as the sink wants it after a failure.
pub(crate) fn offer(
    sink: &mut dyn Sink,
    first: Box<dyn Target>,
    write: &dyn Fn(Box<dyn Target>) -> io::Result<()>,
) -> io::Result<()> {
    let mut target = Ok(first);
    loop {
        match target.and_then(write) {
            Err(failed) if sink.wants_again(&failed) => target = sink.open(),
            done => return done,
        }
    }
}

/// A sink that takes one attempt.
pub(super) struct Once<F>(pub(super) Option<F>);

impl<F: FnOnce() -> io::Result<Box<dyn Write + Send>> + Send> Sink for Once<F> {
    fn open(&mut self) -> io::Result<Box<dyn Target>> {
        let open = self.0.take().ok_or_else(|| io::Error::other("this sink takes one attempt"))?;
        Ok(Box::new(Plain(open()?)))
    }

    fn wants_again(&mut self, _: &io::Error) -> bool {
        false
    }
}

/// A writer that is durable when it was flushed.
struct Plain(Box<dyn Write + Send>);

impl Write for Plain {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.0.flush()
    }
}

impl Target for Plain {
    fn seal(mut self: Box<Self>) -> io::Result<()> {
        self.0.flush()
    }
}
