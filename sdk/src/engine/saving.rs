//! Where the hook's bytes go: memory while they are few, a blob of the store when they are many.

use std::io::{self, Write};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use limitless_faas_core::checkpoint::{Header, Preamble};
use limitless_faas_core::log::{INLINE_LIMIT, Saved};
use limitless_faas_core::{Code, Failure, key};
use limitless_faas_store::pieces::PiecesWriter;
use limitless_faas_store::{BlobWriter, EnvelopeOptions, EnvelopeWriter, Key, Log, Sealed, StoreError};
use tokio::runtime::Handle;

use super::handler::lock;
use super::state::{Envelope, to_hex};
use super::{no_store, pieces};

/// An envelope up to this length is held in memory: it can be written again where the store fails once.
const HELD_BYTES: usize = 1 << 20;
/// How often such an envelope is offered to a store that fails, and how long it is given between.
const ATTEMPTS: u32 = 5;
const BETWEEN: Duration = Duration::from_millis(20);

/// One checkpoint on its way into the store.
pub(super) struct Saving {
    writer: Arc<Mutex<Option<EnvelopeWriter<Out>>>>,
    place: Place,
}

/// Where blobs go.
#[derive(Clone)]
struct Place {
    header: Header,
    log: Option<Log>,
    runtime: Handle,
}

/// The end that the hook writes into.
pub(super) struct Target(Arc<Mutex<Option<EnvelopeWriter<Out>>>>);

/// Where the envelope goes.
enum Out {
    Held(Vec<u8>, Box<Place>),
    Blob(Box<dyn BlobWriter>, String),
    /// Over a network only the pieces that the checkpoint before has not are moved.
    Pieces(Box<PiecesWriter>, String),
}

impl Saving {
    pub(super) fn new(header: Header, log: Option<Log>, runtime: Handle) -> Self {
        let place = Place { header, log, runtime };
        let out = Out::Held(Vec::new(), Box::new(place.clone()));
        let writer = EnvelopeWriter::new(out, place.header.clone(), EnvelopeOptions::default());
        Self { writer: Arc::new(Mutex::new(Some(writer))), place }
    }

    pub(super) fn target(&self) -> Target {
        Target(self.writer.clone())
    }

    /// Seals the envelope and makes it durable. A small one is for the log entry itself, and durable with it.
    ///
    /// # Errors
    /// [`Code::StoreAway`] where another try may help.
    pub(super) fn finish(self) -> Result<(Saved, Option<Envelope>), Failure> {
        let gone = || Failure::new(Code::SaveFailed, "the checkpoint was already taken");
        let writer = lock(&self.writer).take().ok_or_else(gone)?;
        let (out, sealed) = writer.finish().map_err(|error| io_failure(&error))?;
        let mut saved = described(&sealed);
        match out {
            Out::Held(bytes, _) => {
                if sealed.envelope_len <= INLINE_LIMIT {
                    saved.inline = to_hex(&bytes);
                } else {
                    saved.checkpoint = self.place.store(&bytes)?;
                }
                Ok((saved, Some(Envelope { hash: sealed.hash, bytes })))
            }
            Out::Blob(blob, name) => {
                blob.finish().map_err(|error| limitless_faas_store::log::failure(&error))?;
                saved.checkpoint = name;
                Ok((saved, None))
            }
            Out::Pieces(pieces, name) => {
                let written = pieces.finish().map_err(|error| limitless_faas_store::log::failure(&error))?;
                pieces::remember(&self.place.header.execution, &written.manifest);
                saved.checkpoint = name;
                Ok((saved, None))
            }
        }
    }
}

fn described(sealed: &Sealed) -> Saved {
    Saved {
        bytes: sealed.envelope_len,
        hash: sealed.hash.clone(),
        state: sealed.state_hash.clone(),
        ..Saved::default()
    }
}

impl Place {
    fn name(&self, attempt: u32) -> String {
        key::checkpoint_name(self.header.epoch, self.header.nonce, self.header.sequence, attempt)
    }

    fn begin(&self, attempt: u32) -> Result<(Box<dyn BlobWriter>, String), StoreError> {
        let missing = || StoreError::new(limitless_faas_store::StoreErrorKind::Terminal, no_store().message);
        let log = self.log.as_ref().ok_or_else(missing)?;
        let name = self.name(attempt);
        let key = Key::new(&key::checkpoint(log.id(), &name))?;
        Ok((self.wait(log.store().write_blob(&key))?, name))
    }

    /// Where a large envelope goes that begins with `held`.
    fn begin_large(&self, held: &[u8]) -> Result<Out, StoreError> {
        let Some(log) = self.log.as_ref().filter(|log| log.store().is_remote()) else {
            let (mut blob, name) = self.begin(0)?;
            blob.write_all(held).map_err(|error| temporary(&error))?;
            return Ok(Out::Blob(blob, name));
        };
        let name = self.name(0);
        let key = Key::new(&key::checkpoint(log.id(), &name))?;
        let base = pieces::base(log.id());
        let mut pieces = self.wait(pieces::of(log)?.write(&key, base.as_ref()))?;
        // The head's length varies; what follows it is cut as it was the last time.
        let (head, state) = held.split_at(head_len(held));
        let begun = pieces.write_all(head).and_then(|()| pieces.cut()).and_then(|()| pieces.write_all(state));
        begun.map_err(|error| temporary(&error))?;
        Ok(Out::Pieces(Box::new(pieces), name))
    }

    /// The thread may be one that polls an async handler, which can't wait for another runtime; a thread of its own can.
    fn wait<T: Send>(
        &self,
        begin: impl Future<Output = Result<T, StoreError>> + Send,
    ) -> Result<T, StoreError> {
        let begun = std::thread::scope(|scope| scope.spawn(|| self.runtime.block_on(begin)).join());
        begun.unwrap_or_else(|_| Err(StoreError::unknown_outcome("beginning a checkpoint was interrupted")))
    }

    /// Stores a held envelope; it is still there to be sent again where the store fails.
    fn store(&self, bytes: &[u8]) -> Result<String, Failure> {
        let mut attempt = 0;
        loop {
            let stored = self.begin(attempt).and_then(|(mut blob, name)| {
                blob.write_all(bytes).map_err(|error| temporary(&error))?;
                blob.finish()?;
                Ok(name)
            });
            attempt += 1;
            match stored {
                Ok(name) => return Ok(name),
                Err(error) if error.is_retryable() && attempt < ATTEMPTS => {
                    std::thread::sleep(BETWEEN * attempt);
                }
                Err(error) => return Err(limitless_faas_store::log::failure(&error)),
            }
        }
    }
}

impl Write for Out {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if let Self::Held(held, place) = self {
            if held.len() + bytes.len() <= HELD_BYTES {
                held.extend_from_slice(bytes);
                return Ok(bytes.len());
            }
            *self = place.begin_large(held)?;
        }
        match self {
            Self::Blob(blob, _) => blob.write(bytes),
            Self::Pieces(pieces, _) => pieces.write(bytes),
            Self::Held(..) => Ok(0),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Write for Target {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match &mut *lock(&self.0) {
            Some(writer) => writer.write(bytes),
            None => Err(io::Error::other("the checkpoint was already taken")),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// How long the envelope's head is.
fn head_len(envelope: &[u8]) -> usize {
    let preamble = envelope.first_chunk().and_then(|bytes| Preamble::from_bytes(bytes).ok());
    preamble.map_or(0, |preamble| Preamble::LEN + preamble.header_len as usize).min(envelope.len())
}

fn temporary(error: &io::Error) -> StoreError {
    StoreError::unknown_outcome(error.to_string())
}

fn io_failure(error: &io::Error) -> Failure {
    match error.get_ref().and_then(|inner| inner.downcast_ref::<StoreError>()) {
        Some(error) => limitless_faas_store::log::failure(error),
        None => Failure::new(Code::SaveFailed, format!("the state can't be saved: {error}")),
    }
}
