//! What changed moves, what did not does not, and nothing damaged is given out.

use std::io::Write;

use super::*;
use crate::{MemoryStore, StoreErrorKind};

fn key(name: &str) -> Key {
    Key::new(&format!("e/{name}")).unwrap()
}

fn noise(seed: u64, len: usize) -> Vec<u8> {
    let mut bytes = vec![0; len];
    blake3::Hasher::new().update(&seed.to_le_bytes()).finalize_xof().fill(&mut bytes);
    bytes
}

fn pieces() -> (MemoryStore, Pieces) {
    let store = MemoryStore::new();
    (store.clone(), Pieces::new(Arc::new(store), key("packs")))
}

async fn write(pieces: &Pieces, name: &str, base: Option<&Written>, head: &[u8], state: &[u8]) -> Written {
    let mut writer = pieces.write(&key(name), base.map(|base| &base.manifest)).await.unwrap();
    writer.write_all(head).unwrap();
    writer.cut().unwrap();
    for part in state.chunks(100_000) {
        writer.write_all(part).unwrap();
    }
    writer.finish().unwrap()
}

async fn read(pieces: &Pieces, name: &str) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    pieces.open(&key(name)).await.unwrap().unwrap().read_to_end(&mut bytes)?;
    Ok(bytes)
}

#[tokio::test]
async fn of_a_hundred_pieces_one_that_changed_moves() {
    let (_, pieces) = pieces();
    let mut state = noise(1, 100 * PIECE_BYTES + 17);
    let first = write(&pieces, "1", None, b"head", &state).await;
    assert_eq!(first.len_bytes, state.len() as u64 + 4);
    state[50 * PIECE_BYTES + 3] ^= 1;
    // The head has another length, and shifts nothing.
    let second = write(&pieces, "2", Some(&first), b"another head", &state).await;
    assert!(second.moved_bytes < 2 * PIECE_BYTES as u64, "{} bytes moved", second.moved_bytes);
    assert_eq!(read(&pieces, "2").await.unwrap(), [b"another head", &state[..]].concat());
    state[50 * PIECE_BYTES + 3] ^= 1;
    assert_eq!(read(&pieces, "1").await.unwrap(), [b"head", &state[..]].concat());
}

#[tokio::test]
async fn pieces_that_are_added_together_are_as_those_one_by_one() {
    let (_, pieces) = pieces();
    let state = noise(1, 20 * PIECE_BYTES + 17);
    let first = write(&pieces, "1", None, b"head", &state).await;
    let mut writer = pieces.write(&key("2"), Some(&first.manifest)).await.unwrap();
    writer.write_all(b"head").unwrap();
    writer.write_pieces(&state.chunks(PIECE_BYTES).collect::<Vec<_>>()).unwrap();
    writer.write_pieces(&[]).unwrap();
    writer.write_pieces(&[b"and more"]).unwrap();
    let second = writer.finish().unwrap();
    assert_eq!(second.new_bytes, b"and more".len() as u64);
    assert_eq!(read(&pieces, "2").await.unwrap(), [b"head", &state[..], b"and more"].concat());
}

#[tokio::test]
async fn blobs_of_any_length_read_back_from_anywhere() {
    let (_, pieces) = pieces();
    for len in [0, 1, PIECE_BYTES - 1, PIECE_BYTES, PIECE_BYTES + 1, 3 * PIECE_BYTES] {
        let (name, state) = (format!("of-{len}"), noise(len as u64, len));
        write(&pieces, &name, None, b"", &state).await;
        assert_eq!(read(&pieces, &name).await.unwrap(), state);
        let mut reader = pieces.open(&key(&name)).await.unwrap().unwrap();
        assert_eq!(reader.len_bytes(), len as u64);
        reader.seek(io::SeekFrom::Start(len as u64 / 2)).unwrap();
        let mut half = Vec::new();
        reader.read_to_end(&mut half).unwrap();
        assert_eq!(half, state[len / 2..]);
    }
}

#[tokio::test]
async fn what_nobody_needs_is_not_carried_along_for_ever() {
    let (_, pieces) = pieces();
    let mut last = write(&pieces, "0", None, b"", &noise(0, 8 * PIECE_BYTES)).await;
    for number in 1..40 {
        // Half of it is new each time.
        let state = [noise(number, 4 * PIECE_BYTES), noise(number - 1, 4 * PIECE_BYTES)].concat();
        last = write(&pieces, &number.to_string(), Some(&last), b"", &state).await;
        assert!(last.manifest.packed_bytes() <= 3 * last.len_bytes, "{last:?}");
        assert_eq!(read(&pieces, &number.to_string()).await.unwrap(), state);
    }
}

#[tokio::test]
async fn damage_is_found_wherever_it_is() {
    let (store, pieces) = pieces();
    write(&pieces, "1", None, b"head", &noise(1, 3 * PIECE_BYTES)).await;
    let (pack, manifest) = (key("packs/1"), key("1"));
    for damaged in [&pack, &manifest] {
        let whole = store.read(damaged).await.unwrap().unwrap();
        let mut flipped = whole.to_vec();
        flipped[whole.len() / 2] ^= 1;
        for bad in [flipped, whole[..whole.len() - 1].to_vec()] {
            store.delete(damaged).await.unwrap();
            store.create(damaged, bad.into()).await.unwrap();
            match pieces.open(&manifest).await {
                Ok(Some(mut reader)) => {
                    let error = reader.read_to_end(&mut Vec::new()).unwrap_err();
                    assert_eq!(error.kind(), io::ErrorKind::InvalidData, "{error}");
                }
                opened => assert!(opened.is_err_and(|error| error.to_string().contains("damaged"))),
            }
        }
        store.delete(damaged).await.unwrap();
        store.create(damaged, whole).await.unwrap();
    }
    store.delete(&pack).await.unwrap();
    let error = read(&pieces, "1").await.unwrap_err();
    assert!(error.to_string().contains("pack 1 is missing"), "{error}");
}

#[tokio::test]
async fn a_plain_blob_is_told_from_a_manifest() {
    let (store, pieces) = pieces();
    write(&pieces, "1", None, b"", &noise(1, 10)).await;
    store.create(&key("plain"), "bytes".into()).await.unwrap();
    for (name, is_manifest) in [("1", true), ("plain", false)] {
        let blob = store.read_blob(&key(name)).await.unwrap().unwrap();
        let mut read = Vec::new();
        match pieces.open_if_manifest(blob, &key(name)).await.unwrap() {
            Ok(mut reader) => reader.read_to_end(&mut read).unwrap(),
            Err(mut blob) => blob.read_to_end(&mut read).unwrap(),
        };
        assert_eq!(read == b"bytes", !is_manifest);
    }
}

#[tokio::test]
async fn what_is_at_hand_is_not_fetched_and_verified_nevertheless() {
    let (store, pieces) = pieces();
    let state = noise(1, 20 * PIECE_BYTES + 17);
    write(&pieces, "1", None, b"head", &state).await;
    // One process reads it, and has it at hand from then on.
    let warm = pieces.clone().with_shelf(Some(Shelf::new().unwrap()));
    let whole = [b"head", &state[..]].concat();
    assert_eq!(read(&warm, "1").await.unwrap(), whole);
    store.delete(&key("packs/1")).await.unwrap();
    assert_eq!(read(&warm, "1").await.unwrap(), whole);
    assert_eq!(read(&pieces, "1").await.unwrap_err().kind(), io::ErrorKind::InvalidData);

    // What it writes it has at hand too; a byte that changed there is noticed, and the store asked.
    let shelf = Shelf::new().unwrap();
    let warm = pieces.clone().with_shelf(Some(shelf.clone()));
    write(&warm, "2", None, b"head", &state).await;
    shelf.damage(5 * PIECE_BYTES as u64);
    let error = read(&warm, "2").await.unwrap_err();
    assert!(error.to_string().contains("at hand is damaged"), "{error}");
    assert_eq!(read(&warm, "2").await.unwrap(), whole);
    store.delete(&key("packs/2")).await.unwrap();
    assert_eq!(read(&warm, "2").await.unwrap(), whole);
    assert!(shelf.len_bytes() < (22 * PIECE_BYTES) as u64 + whole.len() as u64);
}

#[test]
fn what_waits_is_read_here_and_later_by_all() {
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    let (store, pieces) = pieces();
    let shelf = Shelf::new().unwrap();
    let warm = pieces.clone().with_shelf(Some(shelf.clone()));
    assert!(pieces.write_later(&key("1"), None).is_none());

    let mut state = noise(1, 20 * PIECE_BYTES + 17);
    let first = runtime.block_on(write(&warm, "1", None, b"head", &state));
    state[5 * PIECE_BYTES + 3] ^= 1;
    let mut writer = warm.write_later(&key("2"), Some(&first.manifest)).unwrap();
    writer.write_all(b"another head").unwrap();
    writer.cut().unwrap();
    writer.write_all(&state).unwrap();
    let waiting = writer.finish().unwrap();
    let whole = [b"another head", &state[..]].concat();
    let read_here = |manifest: &Arc<Manifest>| {
        let mut found = Vec::new();
        runtime.block_on(warm.open_known(manifest)).unwrap().read_to_end(&mut found).unwrap();
        found
    };
    assert_eq!(read_here(waiting.manifest()), whole);
    assert!(runtime.block_on(store.read(&key("2"))).unwrap().is_none());

    let manifest = waiting.manifest().clone();
    let second = waiting.upload(runtime.handle()).unwrap();
    assert!(second.moved_bytes < 2 * PIECE_BYTES as u64, "{} bytes moved", second.moved_bytes);
    assert_eq!(runtime.block_on(read(&pieces, "2")).unwrap(), whole);
    assert_eq!(read_here(&manifest), whole);
    assert_eq!(read_here(&second.manifest), whole);
}

#[test]
fn what_was_lost_while_it_waited_is_not_uploaded() {
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    let (store, pieces) = pieces();
    let shelf = Shelf::new().unwrap();
    let mut writer = pieces.with_shelf(Some(shelf.clone())).write_later(&key("1"), None).unwrap();
    writer.write_all(&noise(1, 3 * PIECE_BYTES)).unwrap();
    let waiting = writer.finish().unwrap();
    shelf.damage(PIECE_BYTES as u64);
    let error = waiting.upload(runtime.handle()).unwrap_err();
    assert_eq!(error.kind(), StoreErrorKind::Damaged);
    assert!(runtime.block_on(store.read(&key("1"))).unwrap().is_none());
}
