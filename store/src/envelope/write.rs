//! Writing an envelope.

use std::io::{self, Write};

use limitless_faas_core::checkpoint::{Compression, Header, Trailer};

use super::{BLOCK_BYTES, EnvelopeOptions, choose};
use crate::{StoreError, StoreErrorKind};

/// The fastest of zstd's ordinary levels: a checkpoint is written while somebody waits.
#[cfg(feature = "zstd")]
pub(super) const ZSTD_LEVEL: i32 = 1;

/// Wraps a state that is written into it: head, state, trailer.
///
/// It buffers one block, so small writes are fine; nothing else of the state is held. A state of up to that block stays raw;
/// for a larger one the first block decides whether compressing pays.
///
/// ```
/// use std::io::Write;
/// # use limitless_faas_core::{ExecutionId, Nonce, checkpoint::{Codec, Compression, Header, StateType}};
/// use limitless_faas_store::{EnvelopeOptions, EnvelopeReader, EnvelopeWriter};
/// # let header = Header { codec: Codec::BincodeLegacy, compression: Compression::None, handler: "count".into(),
/// #     fingerprint: String::new(), state: StateType::default(), execution: ExecutionId::from_random([1; 16]), epoch: 1,
/// #     nonce: Nonce::from_random([2; 8]), sequence: 0 };
/// # let execution = header.execution.clone();
///
/// let mut writer = EnvelopeWriter::new(Vec::new(), header, EnvelopeOptions::default());
/// writer.write_all(b"the encoded state")?;
/// let (envelope, sealed) = writer.finish()?;
/// assert_eq!(sealed.envelope_len, envelope.len() as u64);
///
/// let reader = EnvelopeReader::open(std::io::Cursor::new(envelope), &execution, 1 << 20)?;
/// assert_eq!(std::io::read_to_string(reader)?, "the encoded state");
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug)]
pub struct EnvelopeWriter<W: Write> {
    block: Vec<u8>,
    state_len: u64,
    options: EnvelopeOptions,
    header: Header,
    stage: Stage<W>,
}

/// What a finished envelope is known by.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Sealed {
    /// Length of the whole envelope.
    pub envelope_len: u64,
    /// Length of the encoded state in it.
    pub state_len: u64,
    /// The seal in hexadecimal: it stands for every byte of the envelope.
    pub hash: String,
    /// blake3 of the encoded state in hexadecimal: the same for the same state, whoever saved it.
    pub state_hash: String,
    /// Whether and how the state was compressed.
    pub compression: Compression,
}

enum Stage<W: Write> {
    /// Until the first block is full or the state ends.
    Sampling(W),
    Raw(Sink<W>),
    #[cfg(feature = "zstd")]
    Zstd {
        encoder: zstd::Encoder<'static, Sink<W>>,
        state: Box<blake3::Hasher>,
    },
    /// An error left the envelope unfinished.
    Broken,
}

/// Where the payload goes: hashed and counted on the way.
struct Sink<W> {
    inner: W,
    head: Vec<u8>,
    hash: Box<blake3::Hasher>,
    payload_len: u64,
}

impl<W: Write> EnvelopeWriter<W> {
    /// An envelope around the state that will be written, into `inner`. The header's compression is chosen on the way.
    pub fn new(inner: W, header: Header, options: EnvelopeOptions) -> Self {
        // A small state never grows the block to its full size, and a block is never reallocated afterwards.
        Self { block: Vec::new(), state_len: 0, options, header, stage: Stage::Sampling(inner) }
    }

    /// Ends the state and seals the envelope; answers where it was written to, which the caller makes durable.
    ///
    /// # Errors
    /// Those of the writer below; and the header may be too long.
    pub fn finish(mut self) -> io::Result<(W, Sealed)> {
        self.check_limit()?;
        let stage = self.take_stage(Compression::None)?;
        let (mut sink, state_hash) = match stage {
            Stage::Raw(mut sink) => {
                sink.write_all(&self.block)?;
                let hash = sink.hash.finalize();
                (sink, hash)
            }
            #[cfg(feature = "zstd")]
            Stage::Zstd { mut encoder, mut state } => {
                state.update(&self.block);
                encoder.write_all(&self.block)?;
                (encoder.finish()?, state.finalize())
            }
            Stage::Sampling(_) | Stage::Broken => return Err(broken()),
        };
        let payload_hash = sink.hash.finalize().into();
        let trailer = Trailer::new(&sink.head, self.state_len, sink.payload_len, payload_hash);
        sink.inner.write_all(&trailer.to_bytes())?;
        let sealed = Sealed {
            envelope_len: sink.head.len() as u64 + sink.payload_len + Trailer::LEN as u64,
            state_len: self.state_len,
            hash: blake3::Hash::from_bytes(trailer.seal).to_hex().to_string(),
            state_hash: state_hash.to_hex().to_string(),
            compression: self.header.compression,
        };
        Ok((sink.inner, sealed))
    }

    #[cold]
    fn write_past_block(&mut self, mut bytes: &[u8]) -> io::Result<()> {
        while !bytes.is_empty() {
            if self.block.is_empty()
                && bytes.len() >= BLOCK_BYTES
                && !matches!(self.stage, Stage::Sampling(_))
            {
                let whole = bytes.len() - bytes.len() % BLOCK_BYTES;
                self.pass_on(&bytes[..whole])?;
                bytes = &bytes[whole..];
                continue;
            }
            let fits = bytes.len().min(BLOCK_BYTES - self.block.len());
            self.reserve_block(fits);
            self.block.extend_from_slice(&bytes[..fits]);
            bytes = &bytes[fits..];
            if self.block.len() == BLOCK_BYTES {
                self.pass_block_on()?;
            }
        }
        Ok(())
    }

    fn reserve_block(&mut self, more: usize) {
        let wanted = (self.block.len() + more).next_power_of_two().clamp(4096, BLOCK_BYTES);
        self.block.reserve_exact(wanted.saturating_sub(self.block.len()));
    }

    fn pass_block_on(&mut self) -> io::Result<()> {
        let compression = match self.stage {
            Stage::Sampling(_) => choose::compression(&self.block, self.options.bandwidth_bytes_per_s),
            _ => self.header.compression,
        };
        self.stage = self.take_stage(compression)?;
        let block = std::mem::take(&mut self.block);
        let passed = self.pass_on(&block);
        self.block = block;
        self.block.clear();
        passed
    }

    fn pass_on(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.check_limit()?;
        let passed = match &mut self.stage {
            Stage::Raw(sink) => sink.write_all(bytes),
            #[cfg(feature = "zstd")]
            Stage::Zstd { encoder, state } => {
                state.update(bytes);
                encoder.write_all(bytes)
            }
            Stage::Sampling(_) | Stage::Broken => Err(broken()),
        };
        if passed.is_err() {
            // Nothing may be sealed that lacks bytes, also if nobody looked at the error.
            self.stage = Stage::Broken;
        }
        passed
    }

    fn check_limit(&self) -> io::Result<()> {
        let limit = self.options.limit_bytes;
        if self.state_len <= limit {
            return Ok(());
        }
        let message = format!("the state is larger than the limit of {limit} bytes");
        Err(StoreError::new(StoreErrorKind::TooLarge, message).into())
    }

    /// The stage, past sampling: the head is written. Until it is put back, the writer counts as broken.
    fn take_stage(&mut self, compression: Compression) -> io::Result<Stage<W>> {
        let inner = match std::mem::replace(&mut self.stage, Stage::Broken) {
            Stage::Sampling(inner) => inner,
            later => return Ok(later),
        };
        self.header.compression = compression;
        let sink = Sink::begin(inner, &self.header)?;
        match compression {
            #[cfg(feature = "zstd")]
            Compression::Zstd => {
                let encoder = zstd::Encoder::new(sink, ZSTD_LEVEL)?;
                Ok(Stage::Zstd { encoder, state: Box::default() })
            }
            _ => Ok(Stage::Raw(sink)),
        }
    }
}

fn broken() -> io::Error {
    io::Error::other("an earlier error left the checkpoint unfinished")
}

impl<W: Write> Write for EnvelopeWriter<W> {
    #[inline]
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.write_all(bytes)?;
        Ok(bytes.len())
    }

    /// An encoder calls this for every number, so the ordinary case is a copy and two additions.
    #[inline]
    fn write_all(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.state_len += bytes.len() as u64;
        if bytes.len() < self.block.capacity() - self.block.len() {
            self.block.extend_from_slice(bytes);
            return Ok(());
        }
        self.write_past_block(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl<W: Write> Sink<W> {
    fn begin(mut inner: W, header: &Header) -> io::Result<Self> {
        let head = header.to_head().map_err(io::Error::other)?;
        inner.write_all(&head)?;
        Ok(Self { inner, head, hash: Box::default(), payload_len: 0 })
    }
}

impl<W: Write> Write for Sink<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.write_all(bytes)?;
        Ok(bytes.len())
    }

    fn write_all(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.hash.update(bytes);
        self.payload_len += bytes.len() as u64;
        self.inner.write_all(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.inner.flush()
    }
}

impl<W: Write> std::fmt::Debug for Stage<W> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Sampling(_) => "Sampling",
            Self::Raw(_) => "Raw",
            #[cfg(feature = "zstd")]
            Self::Zstd { .. } => "Zstd",
            Self::Broken => "Broken",
        })
    }
}
