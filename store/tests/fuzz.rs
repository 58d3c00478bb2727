//! Broken bytes for everything that stores read: envelopes, manifests of pieces, sealed values, URLs, keys, faults.
//!
//! Bytes with a checksum are tried twice: as they are, and with a checksum that fits.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::io::{Cursor, Read};
use std::sync::Arc;

use limitless_faas_core::ExecutionId;
use limitless_faas_core::checkpoint::{Preamble, Trailer};
use limitless_faas_fuzz::Fuzz;
use limitless_faas_store::{EnvelopeReader, Faults, Key, MemoryStore, Pieces, Store, open};

fn fuzz(parser: &str) -> Fuzz {
    Fuzz::new(format!("{}/tests/corpus/{parser}", env!("CARGO_MANIFEST_DIR")))
}

/// No input has more state than this, and no corpus file comes near it.
const LIMIT_BYTES: u64 = 1 << 20;

/// The envelope with lengths and checksums that fit, as far as it has a head.
fn sealed(bytes: &[u8]) -> Option<Vec<u8>> {
    let head_len = Preamble::LEN + Preamble::from_bytes(bytes.first_chunk()?).ok()?.header_len as usize;
    let (head, rest) = bytes.split_at_checked(head_len)?;
    let (payload, trailer) = rest.split_at_checked(rest.len().checked_sub(Trailer::LEN)?)?;
    let state_len = Trailer::from_bytes(trailer.first_chunk()?).state_len;
    let hash = *blake3::hash(payload).as_bytes();
    let trailer = Trailer::new(head, state_len, payload.len() as u64, hash).to_bytes();
    Some([head, payload, &trailer].concat())
}

fn opened(bytes: &[u8]) -> String {
    let execution = ExecutionId::derive("squares", "k");
    match EnvelopeReader::open(Cursor::new(bytes), &execution, LIMIT_BYTES) {
        Ok(mut reader) => {
            let mut state = Vec::new();
            let read = (&mut reader).take(2 * LIMIT_BYTES).read_to_end(&mut state);
            assert!(state.len() as u64 <= reader.state_len(), "more than it says");
            match read {
                Ok(_) => assert_eq!(state.len() as u64, reader.state_len()),
                Err(error) => return error.to_string(),
            }
            reader.finish().unwrap();
            "accepted".to_owned()
        }
        Err(error) => error.to_string(),
    }
}

#[test]
fn envelopes() {
    fuzz("envelope").run(|bytes| {
        let resealed = sealed(bytes).map(|bytes| opened(&bytes));
        format!("{} {resealed:?}", opened(bytes))
    });
}

fn run<T>(test: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_current_thread().build().unwrap().block_on(test)
}

/// Reads what stands under a key in pieces, where that is what stands there.
async fn read_in_pieces(object: &[u8]) -> String {
    let store = MemoryStore::new();
    let key = Key::new("e/blob").unwrap();
    store.create(&key, object.to_vec().into()).await.unwrap();
    store.create(&Key::new("e/packs/p").unwrap(), vec![7; 64].into()).await.unwrap();
    let pieces = Pieces::new(Arc::new(store), Key::new("e/packs").unwrap());
    let mut reader = match pieces.open(&key).await {
        Ok(Some(reader)) => reader,
        Ok(None) => return "none".to_owned(),
        Err(error) => return error.to_string(),
    };
    let mut bytes = Vec::new();
    let read = tokio::task::spawn_blocking(move || (&mut reader).take(LIMIT_BYTES).read_to_end(&mut bytes));
    read.await.unwrap().map_or_else(|error| error.to_string(), |_| "accepted".to_owned())
}

#[test]
fn manifests_of_pieces() {
    fuzz("pieces").slow(3).run(|bytes| {
        // The last 32 bytes are the checksum of those before.
        let content = &bytes[..bytes.len().saturating_sub(32)];
        let resealed = [content, blake3::hash(content).as_bytes()].concat();
        run(async { format!("{} {}", read_in_pieces(bytes).await, read_in_pieces(&resealed).await) })
    });
}

#[test]
fn urls_keys_and_faults() {
    fuzz("settings").run(|bytes| {
        let text = String::from_utf8_lossy(bytes);
        let key = Key::new(&text);
        if let Ok(key) = &key {
            assert_eq!(key.as_str(), text);
            assert!(!text.split('/').any(|part| part.is_empty() || part == ".." || part == "."), "{text:?}");
        }
        // Opening connects to nothing; a folder is made by the first write.
        let opened = open(&text).map(drop).map_err(|error| error.to_string());
        let faults = text.parse::<Faults>().map(drop).map_err(|error| error.kind());
        format!("{:?} {opened:?} {faults:?}", key.map(drop).map_err(|error| error.to_string()))
    });
}

/// A sealed value or segment that was altered gives back the text that was sealed, the beginning of a segment's, or an error.
#[cfg(feature = "encryption")]
#[test]
fn sealed_values() {
    use limitless_faas_store::{Encrypted, Keys};
    let keys = "000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f";
    fuzz("sealed").slow(3).run(|bytes| {
        run(async {
            let below = MemoryStore::new();
            for name in ["value", "segment"] {
                below.create(&Key::new(name).unwrap(), bytes.to_vec().into()).await.unwrap();
            }
            let store = Encrypted::new(Arc::new(below), Keys::parse(keys).unwrap());
            let (mut said, text) = (Vec::new(), b"the patient's name is Erika");
            for name in ["value", "segment"] {
                let key = Key::new(name).unwrap();
                match store.read(&key).await {
                    Ok(Some(read)) => assert!(text.starts_with(&read), "{read:?} was never sealed"),
                    other => said.push(format!("{other:?}")),
                }
                if let Ok(Some(mut blob)) = store.read_blob(&key).await {
                    let mut read = Vec::new();
                    if blob.read_to_end(&mut read).is_ok() {
                        assert!(text.starts_with(&read[..]), "{read:?} was never sealed");
                    }
                }
            }
            said.concat()
        })
    });
}
