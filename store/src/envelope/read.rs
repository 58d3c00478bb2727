//! Reading an envelope.

use std::io::{self, BufRead, BufReader, Cursor, Read, Seek, SeekFrom};

use limitless_faas_core::ExecutionId;
use limitless_faas_core::checkpoint::{Compression, EnvelopeFlaw, Header, Preamble, Trailer};

use super::{BLOCK_BYTES, EnvelopeError};

/// A payload of at most so many bytes is kept from verification to decoding; a longer one is read a second time.
const HELD_LIMIT_BYTES: u64 = 8 << 20;

/// A verified envelope that gives out its state.
///
/// [`open`](EnvelopeReader::open) reads everything once and checks it; so it tells before a claim whether the checkpoint is good. Then
/// the state is read as a stream. A large one is read from the source again, and hashed again on the way.
#[derive(Debug)]
pub struct EnvelopeReader<R: Read> {
    header: Header,
    trailer: Trailer,
    state: BufReader<State<R>>,
}

impl<R: Read + Seek> EnvelopeReader<R> {
    /// Verifies the envelope that `source` holds from its beginning to its end: seal, lengths, that it is of `execution`, and
    /// that neither it nor its state has more than `limit_bytes`.
    ///
    /// # Errors
    /// [`EnvelopeError`] says what is wrong; [`EnvelopeError::is_damage`] whether to fall back to an earlier checkpoint.
    pub fn open(mut source: R, execution: &ExecutionId, limit_bytes: u64) -> Result<Self, EnvelopeError> {
        let envelope_len = source.seek(SeekFrom::End(0))?;
        check_limit(envelope_len, limit_bytes)?;
        source.rewind()?;
        let head = read_head(&mut source, envelope_len)?;
        let head_len = head.len() as u64;
        let payload_len = envelope_len - head_len - Trailer::LEN as u64;
        let (payload_hash, kept) = read_payload(&mut source, payload_len)?;
        let trailer = read_trailer(&mut source)?;
        trailer.check_lengths(head_len, envelope_len)?;
        trailer.check(&head, payload_hash)?;
        Self::checked(source, &head, kept, trailer, (execution, limit_bytes))
    }

    /// As [`open`](Self::open), for a source that verifies what it gives and whose whole was verified before: the payload is read
    /// and hashed only as the state is read, which fails where it is another.
    ///
    /// # Errors
    /// As [`open`](Self::open).
    pub fn open_known(
        mut source: R,
        execution: &ExecutionId,
        limit_bytes: u64,
    ) -> Result<Self, EnvelopeError> {
        let envelope_len = source.seek(SeekFrom::End(0))?;
        check_limit(envelope_len, limit_bytes)?;
        source.rewind()?;
        let head = read_head(&mut source, envelope_len)?;
        source.seek(SeekFrom::Start(envelope_len - Trailer::LEN as u64))?;
        let trailer = read_trailer(&mut source)?;
        trailer.check_lengths(head.len() as u64, envelope_len)?;
        trailer.check(&head, trailer.payload_hash)?;
        Self::checked(source, &head, None, trailer, (execution, limit_bytes))
    }

    fn checked(
        source: R,
        head: &[u8],
        kept: Option<Vec<u8>>,
        trailer: Trailer,
        (execution, limit_bytes): (&ExecutionId, u64),
    ) -> Result<Self, EnvelopeError> {
        let header = Header::from_json(&head[Preamble::LEN..])?;
        if header.execution != *execution {
            return Err(EnvelopeError::Foreign { found: header.execution, expected: execution.clone() });
        }
        check_limit(trailer.state_len, limit_bytes)?;
        let payload = match kept {
            Some(bytes) => Payload::Held(Cursor::new(bytes)),
            None => Payload::again(source, head.len() as u64, &trailer)?,
        };
        let state = State::new(payload, header.compression, trailer.state_len)?;
        Ok(Self { header, trailer, state: BufReader::with_capacity(buffer_len(&trailer), state) })
    }
}

impl<R: Read> EnvelopeReader<R> {
    /// What the checkpoint says of itself.
    pub fn header(&self) -> &Header {
        &self.header
    }

    /// Length of the encoded state.
    pub fn state_len(&self) -> u64 {
        self.trailer.state_len
    }

    /// The seal in hexadecimal, as [`Sealed::hash`](super::Sealed::hash) gave it.
    pub fn hash(&self) -> String {
        blake3::Hash::from_bytes(self.trailer.seal).to_hex().to_string()
    }

    /// Ends the reading, which must have reached the end of the state.
    ///
    /// # Errors
    /// [`EnvelopeError::LeftOver`] if the state's type took less than was saved: it was saved as another type.
    pub fn finish(mut self) -> Result<(), EnvelopeError> {
        let left_bytes = self.state.fill_buf()?.len() as u64;
        if left_bytes == 0 { Ok(()) } else { Err(EnvelopeError::LeftOver { left_bytes }) }
    }
}

impl<R: Read> Read for EnvelopeReader<R> {
    #[inline]
    fn read(&mut self, bytes: &mut [u8]) -> io::Result<usize> {
        self.state.read(bytes)
    }

    /// A decoder calls this for every number; the buffer answers most calls with a copy.
    #[inline]
    fn read_exact(&mut self, bytes: &mut [u8]) -> io::Result<()> {
        self.state.read_exact(bytes)
    }
}

fn check_limit(found_bytes: u64, limit_bytes: u64) -> Result<(), EnvelopeError> {
    if found_bytes <= limit_bytes {
        Ok(())
    } else {
        Err(EnvelopeError::TooLarge { found_bytes, limit_bytes })
    }
}

/// A small state needs no large buffer.
fn buffer_len(trailer: &Trailer) -> usize {
    usize::try_from(trailer.state_len).map_or(BLOCK_BYTES, |len| len.clamp(1, BLOCK_BYTES))
}

fn read_head(source: &mut impl Read, envelope_len: u64) -> Result<Vec<u8>, EnvelopeError> {
    let truncated = EnvelopeFlaw::Truncated { there: envelope_len };
    if envelope_len < (Preamble::LEN + Trailer::LEN) as u64 {
        return Err(truncated.into());
    }
    let mut bytes = [0; Preamble::LEN];
    source.read_exact(&mut bytes)?;
    let header_len = Preamble::from_bytes(&bytes)?.header_len as usize;
    if envelope_len < (Preamble::LEN + header_len + Trailer::LEN) as u64 {
        return Err(truncated.into());
    }
    let mut head = bytes.to_vec();
    head.resize(Preamble::LEN + header_len, 0);
    source.read_exact(&mut head[Preamble::LEN..])?;
    Ok(head)
}

/// Hashes the payload, and keeps it if it is small.
fn read_payload(source: &mut impl Read, len: u64) -> Result<([u8; 32], Option<Vec<u8>>), EnvelopeError> {
    let mut hash = blake3::Hasher::new();
    if len <= HELD_LIMIT_BYTES {
        let mut bytes = vec![0; usize::try_from(len).unwrap_or_default()];
        source.read_exact(&mut bytes)?;
        hash.update(&bytes);
        return Ok((hash.finalize().into(), Some(bytes)));
    }
    let mut block = vec![0; BLOCK_BYTES];
    let mut left = len;
    while left > 0 {
        let part = usize::try_from(left).map_or(BLOCK_BYTES, |left| left.min(BLOCK_BYTES));
        source.read_exact(&mut block[..part])?;
        hash.update(&block[..part]);
        left -= part as u64;
    }
    Ok((hash.finalize().into(), None))
}

fn read_trailer(source: &mut impl Read) -> Result<Trailer, EnvelopeError> {
    let mut bytes = [0; Trailer::LEN];
    source.read_exact(&mut bytes)?;
    Ok(Trailer::from_bytes(&bytes))
}

/// The payload's bytes, for the second time.
#[derive(Debug)]
enum Payload<R> {
    Held(Cursor<Vec<u8>>),
    Again { source: R, left: u64, hash: Box<blake3::Hasher>, expected: [u8; 32] },
}

impl<R: Read + Seek> Payload<R> {
    fn again(mut source: R, head_len: u64, trailer: &Trailer) -> io::Result<Self> {
        source.seek(SeekFrom::Start(head_len))?;
        Ok(Self::Again {
            source,
            left: trailer.payload_len,
            hash: Box::default(),
            expected: trailer.payload_hash,
        })
    }
}

impl<R: Read> Read for Payload<R> {
    fn read(&mut self, bytes: &mut [u8]) -> io::Result<usize> {
        let (source, left, hash, expected) = match self {
            Self::Held(held) => return held.read(bytes),
            Self::Again { source, left, hash, expected } => (source, left, hash, expected),
        };
        let wanted = usize::try_from(*left).map_or(bytes.len(), |left| left.min(bytes.len()));
        if wanted == 0 {
            return Ok(0);
        }
        let read = source.read(&mut bytes[..wanted])?;
        hash.update(&bytes[..read]);
        *left -= read as u64;
        // The last bytes are not given out if what was read now is not what was verified before.
        if read == 0 || *left == 0 && *hash.finalize().as_bytes() != *expected {
            return Err(flaw(EnvelopeFlaw::Checksum { part: "payload" }));
        }
        Ok(read)
    }
}

fn flaw(flaw: EnvelopeFlaw) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, EnvelopeError::from(flaw))
}

/// The state: the payload decompressed, of exactly the length that the trailer says.
struct State<R: Read> {
    decoded: Decoded<R>,
    len: u64,
    given: u64,
}

enum Decoded<R: Read> {
    Raw(Payload<R>),
    #[cfg(feature = "zstd")]
    Zstd(zstd::Decoder<'static, BufReader<Payload<R>>>),
}

impl<R: Read> State<R> {
    fn new(payload: Payload<R>, compression: Compression, state_len: u64) -> Result<Self, EnvelopeError> {
        let decoded = match compression {
            Compression::None => Decoded::Raw(payload),
            #[cfg(feature = "zstd")]
            Compression::Zstd => {
                let payload = BufReader::with_capacity(BLOCK_BYTES, payload);
                Decoded::Zstd(zstd::Decoder::with_buffer(payload)?)
            }
            _ => return Err(EnvelopeError::NoZstd),
        };
        Ok(Self { decoded, len: state_len, given: 0 })
    }
}

impl<R: Read> Read for State<R> {
    fn read(&mut self, bytes: &mut [u8]) -> io::Result<usize> {
        if bytes.is_empty() {
            return Ok(0);
        }
        let read = match &mut self.decoded {
            Decoded::Raw(payload) => payload.read(bytes)?,
            #[cfg(feature = "zstd")]
            Decoded::Zstd(decoder) => decoder.read(bytes)?,
        };
        self.given += read as u64;
        if self.given > self.len || read == 0 && self.given < self.len {
            let (says, there) = (self.len, self.given);
            return Err(flaw(EnvelopeFlaw::Length { part: "state", says, there }));
        }
        Ok(read)
    }
}

impl<R: Read> std::fmt::Debug for State<R> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("State").field("len", &self.len).field("given", &self.given).finish_non_exhaustive()
    }
}
