//! Where the hook's bytes go: memory while they are few, a blob of the store when they are many.

use std::io::{self, Write};
use std::time::Duration;

use limitless_faas_core::Advice;
use limitless_faas_core::checkpoint::{Header, Preamble};
use limitless_faas_core::key;
use limitless_faas_core::log::{INLINE_LIMIT, Saved};
use limitless_faas_store::pieces::{LaterWriter, PiecesWriter};
use limitless_faas_store::{BlobWriter, EnvelopeOptions, EnvelopeWriter, Key, Log, Sealed, StoreError};
use tokio::runtime::Handle;

use super::handler::Run;
use super::state::{Envelope, to_hex};
use super::{no_store, pieces};
use crate::checkpoint::{Sink, Target};

/// An envelope up to this length is held in memory; longer ones stream into a blob.
const HELD_BYTES: usize = 1 << 20;
/// How long a store that failed is given before the state is offered again: so long at first, and longer each time.
const BETWEEN: Duration = Duration::from_millis(20);
const LONGEST_BETWEEN: Duration = Duration::from_millis(500);

/// Takes the state of one run: seals it in an envelope and stores that, and does so again where the store fails.
pub(super) struct Saving {
    run: Run,
    place: Place,
}

/// Where blobs go.
#[derive(Clone)]
struct Place {
    header: Header,
    log: Option<Log>,
    runtime: Handle,
    /// How often the state was offered before; each attempt has a blob of its own.
    attempt: u32,
    /// Whether the handler may go on before the store has it.
    may_follow: bool,
}

/// One attempt: the end that the hook writes into.
struct Attempt {
    writer: EnvelopeWriter<Out>,
    run: Run,
    place: Place,
}

/// Where the envelope goes.
enum Out {
    Held(Vec<u8>, Box<Place>),
    Blob(Box<dyn BlobWriter>, String),
    /// Over a network only the pieces that the checkpoint before has not are moved.
    Pieces(Box<PiecesWriter>, String),
    /// And later, where the handler goes on from what stays here.
    Later(Box<LaterWriter>, String),
}

impl Saving {
    pub(super) fn new(run: Run, header: Header, log: Option<Log>, runtime: Handle) -> Self {
        Self { run, place: Place { header, log, runtime, attempt: 0, may_follow: false } }
    }
}

impl Sink for Saving {
    fn open(&mut self) -> io::Result<Box<dyn Target>> {
        self.run.begins_to_save()?;
        // What did not stay here is offered to the store itself.
        self.place.may_follow = self.place.attempt == 0 && self.run.may_follow();
        let place = self.place.clone();
        self.place.attempt += 1;
        let out = Out::Held(Vec::new(), Box::new(place.clone()));
        let writer = EnvelopeWriter::new(out, place.header.clone(), EnvelopeOptions::default());
        Ok(Box::new(Attempt { writer, run: self.run.clone(), place }))
    }

    fn wants_again(&mut self, failed: &io::Error) -> bool {
        let helps = |error| limitless_faas_store::log::failure(error).code.advice() == Advice::Retry;
        if !store_error(failed).is_some_and(helps) {
            return false;
        }
        let wait = (BETWEEN * self.place.attempt).min(LONGEST_BETWEEN);
        let again_us = self.run.now_us().saturating_add(u64::try_from(wait.as_micros()).unwrap_or(u64::MAX));
        if again_us >= self.run.offer_until_us() {
            return false;
        }
        std::thread::sleep(wait);
        self.run.begins_to_save().is_ok()
    }
}

/// The store's own error, where it was one that failed.
pub(super) fn store_error(error: &io::Error) -> Option<&StoreError> {
    error.get_ref().and_then(|inner| inner.downcast_ref())
}

impl Target for Attempt {
    /// A small envelope is for the log entry itself, and durable with it.
    fn seal(self: Box<Self>) -> io::Result<()> {
        let (out, sealed) = self.writer.finish()?;
        let mut saved = described(&sealed);
        let mut held = None;
        match out {
            Out::Held(bytes, _) => {
                if sealed.envelope_len <= INLINE_LIMIT {
                    saved.inline = to_hex(&bytes);
                } else {
                    saved.checkpoint = self.place.store(&bytes)?;
                }
                held = Some(Envelope { hash: sealed.hash, bytes });
            }
            Out::Blob(blob, name) => {
                blob.finish()?;
                saved.checkpoint = name;
            }
            Out::Pieces(pieces, name) => {
                let written = pieces.finish()?;
                saved.new_bytes = saved.new_bytes.min(written.new_bytes);
                pieces::remember(&self.place.header.execution, &name, &written.manifest);
                saved.checkpoint = name;
            }
            Out::Later(pieces, name) => {
                let waiting = pieces.finish()?;
                saved.new_bytes = saved.new_bytes.min(waiting.new_bytes());
                pieces::remember_here(&self.place.header.execution, &name, waiting.manifest());
                self.run.waits(waiting);
                saved.checkpoint = name;
            }
        }
        self.run.has_saved(saved, held);
        Ok(())
    }
}

fn described(sealed: &Sealed) -> Saved {
    Saved {
        bytes: sealed.envelope_len,
        state_bytes: sealed.state_len,
        // Where nothing tells which parts the store has.
        new_bytes: sealed.state_len,
        hash: sealed.hash.clone(),
        state: sealed.state_hash.clone(),
        ..Saved::default()
    }
}

impl Place {
    fn name(&self) -> String {
        key::checkpoint_name(self.header.epoch, self.header.nonce, self.header.sequence, self.attempt)
    }

    fn begin(&self) -> Result<(Box<dyn BlobWriter>, String), StoreError> {
        let missing = || StoreError::new(limitless_faas_store::StoreErrorKind::Terminal, no_store().message);
        let log = self.log.as_ref().ok_or_else(missing)?;
        let name = self.name();
        let key = Key::new(&key::checkpoint(log.id(), &name))?;
        Ok((self.wait(log.store().write_blob(&key))?, name))
    }

    /// Where a large envelope goes that begins with `held`.
    fn begin_large(&self, held: &[u8]) -> io::Result<Out> {
        let Some(log) = self.log.as_ref().filter(|log| log.store().is_remote()) else {
            let (mut blob, name) = self.begin()?;
            blob.write_all(held)?;
            return Ok(Out::Blob(blob, name));
        };
        let name = self.name();
        let key = Key::new(&key::checkpoint(log.id(), &name)).map_err(StoreError::from)?;
        pieces::wait_for_upload();
        let base = pieces::base(log.id());
        let at_hand = pieces::at_hand(log)?;
        // The head's length varies; what follows it is cut as it was the last time.
        let (head, state) = held.split_at(head_len(held));
        if self.may_follow
            && let Some(mut later) = at_hand.write_later(&key, base.as_ref())
        {
            later.write_all(head)?;
            later.cut()?;
            later.write_all(state)?;
            return Ok(Out::Later(Box::new(later), name));
        }
        let mut pieces = self.wait(at_hand.write(&key, base.as_ref()))?;
        pieces.write_all(head)?;
        pieces.cut()?;
        pieces.write_all(state)?;
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

    /// Stores an envelope that was held.
    fn store(&self, bytes: &[u8]) -> io::Result<String> {
        let (mut blob, name) = self.begin()?;
        blob.write_all(bytes)?;
        blob.finish()?;
        Ok(name)
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
            Self::Later(pieces, _) => pieces.write(bytes),
            Self::Held(..) => Ok(0),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Write for Attempt {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.writer.write(bytes)
    }

    fn write_all(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.writer.write_all(bytes)
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
