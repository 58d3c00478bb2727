//! Saved states on their way back: verified before a claim, decoded after it.

use std::io::{Cursor, Read, Seek};
use std::sync::{Arc, Mutex};

use limitless_faas_core::checkpoint::{Codec, Compression, Header, StateType};
use limitless_faas_core::invocation::Verdict;
use limitless_faas_core::log::Saved;
use limitless_faas_core::{Code, ExecutionId, Failure, Nonce, key};
use limitless_faas_store::{EnvelopeError, EnvelopeReader, Key, Log, StoreError, StoreErrorKind};

use super::handler::lock;
use super::pieces;
use super::world::World;
#[cfg(feature = "programs")]
use crate::handler::Entry;
use crate::handler::HandlerDef;

/// The most bytes a state may have.
const LIMIT_BYTES: u64 = 4 << 30;

/// A small envelope in memory.
pub(super) struct Envelope {
    pub(super) hash: String,
    pub(super) bytes: Vec<u8>,
}

/// Where an envelope is read from.
trait Source: Read + Seek + Send {}
impl<T: Read + Seek + Send> Source for T {}

/// A verified state, ready to be decoded.
pub(super) struct State(Box<dyn Read + Send>);

impl Read for State {
    fn read(&mut self, bytes: &mut [u8]) -> std::io::Result<usize> {
        self.0.read(bytes)
    }

    fn read_exact(&mut self, bytes: &mut [u8]) -> std::io::Result<()> {
        self.0.read_exact(bytes)
    }
}

/// What was read and found good, so that going on does not read it again.
pub(super) struct Verified {
    world: Arc<dyn World>,
    opened: Arc<Mutex<Option<(String, State)>>>,
    held: Option<Envelope>,
}

impl Verified {
    pub(super) fn new(world: Arc<dyn World>) -> Self {
        Self { world, opened: Arc::default(), held: None }
    }

    /// Keeps an envelope that this process wrote itself.
    pub(super) fn remember(&mut self, envelope: Envelope) {
        self.held = Some(envelope);
    }

    /// Opens and verifies a checkpoint.
    pub(super) fn open(
        &mut self,
        log: Option<Log>,
        saved: Saved,
        handler: &'static HandlerDef,
    ) -> impl Future<Output = Verdict> + Send + use<> {
        let (opened, world) = (self.opened.clone(), self.world.clone());
        async move {
            let hash = saved.hash.clone();
            match open(&*world, log, saved, None, handler).await {
                Ok(state) => {
                    *lock(&opened) = Some((hash, state));
                    Verdict::Good
                }
                Err(verdict) => verdict,
            }
        }
    }

    /// The state to go on from: the one just verified, one written by this process, or read anew.
    pub(super) fn open_again(
        &mut self,
        log: Option<Log>,
        saved: Saved,
        handler: &'static HandlerDef,
    ) -> impl Future<Output = Result<State, Failure>> + Send + use<> {
        let opened = lock(&self.opened).take().filter(|(hash, _)| *hash == saved.hash);
        let held = self.held.take().filter(|envelope| envelope.hash == saved.hash);
        let world = self.world.clone();
        async move {
            if let Some((_, state)) = opened {
                return Ok(state);
            }
            open(&*world, log, saved, held, handler).await.map_err(|verdict| match verdict {
                Verdict::Incompatible(failure) | Verdict::Away(failure) => failure,
                Verdict::Damaged(why) => Failure::new(Code::Damaged, why),
                Verdict::Missing | Verdict::Good => {
                    Failure::new(Code::Damaged, "the checkpoint is not in the store")
                }
            })
        }
    }
}

async fn open(
    world: &dyn World,
    log: Option<Log>,
    saved: Saved,
    held: Option<Envelope>,
    handler: &'static HandlerDef,
) -> Result<State, Verdict> {
    let Some(log) = log else { return Err(Verdict::Away(super::no_store())) };
    let mut is_known = false;
    let source: Box<dyn Source> = match held {
        Some(envelope) => Box::new(Cursor::new(envelope.bytes)),
        None if !saved.inline.is_empty() => {
            let bytes = from_hex(&saved.inline);
            Box::new(Cursor::new(bytes.ok_or_else(|| Verdict::Damaged("it is not hexadecimal".into()))?))
        }
        None => match warm(&log, &saved).await {
            Some(source) => {
                is_known = true;
                source
            }
            None => stored(&log, &saved).await?,
        },
    };
    let execution = log.id().clone();
    // A large blob takes a while to read and hash, and health checks want their answers meanwhile.
    let (tell, verified) = tokio::sync::oneshot::channel();
    let verify = if is_known { known } else { verify };
    // Nobody listens any more where the delivery has ended.
    world.spawn(Box::new(move || drop(tell.send(verify(source, &execution, &saved, handler)))));
    let verified = verified
        .await
        .unwrap_or_else(|_| Err(Verdict::Away(Failure::new(Code::StoreAway, "verifying was interrupted"))))?;
    with_images(&log, verified, handler).await
}

/// The state of a program is a manifest; what it names is verified too.
#[cfg(feature = "programs")]
async fn with_images(log: &Log, mut state: State, handler: &HandlerDef) -> Result<State, Verdict> {
    if !matches!(handler.entry, Entry::Program(_)) {
        return Ok(state);
    }
    let mut manifest = Vec::new();
    state
        .read_to_end(&mut manifest)
        .map_err(|error| Verdict::Away(Failure::new(Code::StoreAway, error.to_string())))?;
    crate::program::verify(log, &manifest).await?;
    Ok(State(Box::new(Cursor::new(manifest))))
}

#[cfg(not(feature = "programs"))]
#[expect(clippy::unused_async, reason = "the images of programs are read")]
async fn with_images(_: &Log, state: State, _: &HandlerDef) -> Result<State, Verdict> {
    Ok(state)
}

/// A checkpoint that this process wrote or verified itself, where all of it that is not at hand can be had.
async fn warm(log: &Log, saved: &Saved) -> Option<Box<dyn Source>> {
    let manifest = pieces::known(log.id(), &saved.checkpoint)?;
    let reader = pieces::at_hand(log).ok()?.open_known(&manifest).await.ok()?;
    Some(Box::new(reader))
}

/// Opens it without reading it all before: its pieces are verified one by one as they are decoded.
fn known(
    source: Box<dyn Source>,
    execution: &ExecutionId,
    saved: &Saved,
    handler: &HandlerDef,
) -> Result<State, Verdict> {
    let reader = EnvelopeReader::open_known(source, execution, LIMIT_BYTES).map_err(|error| flaw(&error))?;
    fitting(reader, saved, handler)
}

async fn stored(log: &Log, saved: &Saved) -> Result<Box<dyn Source>, Verdict> {
    let key = Key::new(&key::checkpoint(log.id(), &saved.checkpoint))
        .map_err(|error| Verdict::Damaged(error.to_string()))?;
    let away = |error: &StoreError| match error.kind() {
        StoreErrorKind::Damaged => Verdict::Damaged(error.to_string()),
        _ => Verdict::Away(limitless_faas_store::log::failure(error)),
    };
    let blob = log.store().read_blob(&key).await.map_err(|error| away(&error))?.ok_or(Verdict::Missing)?;
    if !log.store().is_remote() {
        return Ok(Box::new(blob));
    }
    let of_execution = pieces::at_hand(log).map_err(|error| away(&error))?;
    Ok(match of_execution.open_if_manifest(blob, &key).await.map_err(|error| away(&error))? {
        Ok(reader) => {
            pieces::remember(log.id(), &saved.checkpoint, reader.manifest());
            Box::new(reader)
        }
        Err(blob) => Box::new(blob),
    })
}

fn verify(
    source: Box<dyn Source>,
    execution: &ExecutionId,
    saved: &Saved,
    handler: &HandlerDef,
) -> Result<State, Verdict> {
    let reader = EnvelopeReader::open(source, execution, LIMIT_BYTES).map_err(|error| flaw(&error))?;
    fitting(reader, saved, handler)
}

fn fitting(
    reader: EnvelopeReader<Box<dyn Source>>,
    saved: &Saved,
    handler: &HandlerDef,
) -> Result<State, Verdict> {
    if reader.hash() != saved.hash {
        return Err(Verdict::Damaged("it is not the checkpoint that the log names".to_owned()));
    }
    match misfit(reader.header(), handler) {
        Some(what) => {
            Err(Verdict::Incompatible(Failure::new(Code::Incompatible, incompatible(handler.name, &what))))
        }
        None => Ok(State(Box::new(reader))),
    }
}

fn flaw(error: &EnvelopeError) -> Verdict {
    match error {
        _ if error.is_damage() => Verdict::Damaged(error.to_string()),
        EnvelopeError::Io(_) => Verdict::Away(Failure::new(Code::StoreAway, error.to_string())),
        _ => Verdict::Incompatible(Failure::new(Code::Incompatible, error.to_string())),
    }
}

/// What an execution whose code has changed is told.
pub(super) fn incompatible(handler: &str, what: &str) -> String {
    format!(
        "handler `{handler}` can't go on from this checkpoint: {what}. The checkpoint is left as it is: deploy the \
         code that wrote it and resume, or cancel the execution and start anew"
    )
}

/// How the code that saved differs from this one. Named state has versions for that, and its own check.
fn misfit(header: &Header, handler: &HandlerDef) -> Option<String> {
    if header.handler != handler.name {
        return Some(format!("handler `{}` wrote it", header.handler));
    }
    if let Some(state) = &handler.state
        && !header.state.name.is_empty()
    {
        return (header.state.name != state.name).then(|| {
            format!("it holds state `{}`, and the handler's is `{}`", header.state.name, state.name)
        });
    }
    (header.fingerprint != fingerprint(handler)).then(|| {
        format!(
            "the handler's code has changed since (its fingerprint was {}, and is {})",
            header.fingerprint,
            fingerprint(handler)
        )
    })
}

/// The fingerprint of a handler's code, as text.
pub(crate) fn fingerprint(handler: &HandlerDef) -> String {
    format!("{:016x}", handler.fingerprint)
}

/// What a checkpoint of this handler says of itself.
pub(super) fn header(
    handler: &HandlerDef,
    execution: &ExecutionId,
    epoch: u64,
    nonce: Nonce,
    sequence: u64,
) -> Header {
    let named = handler.state.as_ref();
    Header {
        codec: codec(handler),
        compression: Compression::None,
        handler: handler.name.to_owned(),
        fingerprint: fingerprint(handler),
        state: StateType {
            name: named.map(|state| state.name.to_owned()).unwrap_or_default(),
            version: named.map_or(0, |state| state.version),
            ..StateType::default()
        },
        execution: execution.clone(),
        epoch,
        nonce,
        sequence,
    }
}

fn codec(handler: &HandlerDef) -> Codec {
    match handler.entry {
        #[cfg(feature = "programs")]
        Entry::Program(_) => Codec::Json,
        _ => Codec::BincodeLegacy,
    }
}

/// Two lowercase digits a byte.
pub(super) fn to_hex(bytes: &[u8]) -> String {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    let digit = |nibble: u8| char::from(DIGITS[usize::from(nibble)]);
    bytes.iter().flat_map(|byte| [digit(byte >> 4), digit(byte & 15)]).collect()
}

fn from_hex(text: &str) -> Option<Vec<u8>> {
    let digit = |byte: u8| char::from(byte).to_digit(16).and_then(|digit| u8::try_from(digit).ok());
    if !text.len().is_multiple_of(2) {
        return None;
    }
    text.as_bytes().chunks_exact(2).map(|pair| Some(digit(pair[0])? << 4 | digit(pair[1])?)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hexadecimal_reads_back() {
        let bytes: Vec<u8> = (0..=255).collect();
        assert_eq!(from_hex(&to_hex(&bytes)).unwrap(), bytes);
        assert!(from_hex("0").is_none());
        assert!(from_hex("0g").is_none());
    }
}
