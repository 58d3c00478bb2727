//! The envelope: whatever is written comes back, and whatever was damaged is refused with a reason.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::io::{Cursor, Read, Write};

use limitless_faas_core::checkpoint::{
    Codec, Compression, EnvelopeFlaw, Header, Preamble, StateType, Trailer,
};
use limitless_faas_core::{ExecutionId, Nonce};
use limitless_faas_store::{EnvelopeError, EnvelopeOptions, EnvelopeReader, EnvelopeWriter, Sealed};
use proptest::prelude::*;

const LIMIT: u64 = 64 << 20;

fn execution() -> ExecutionId {
    ExecutionId::from_random([7; 16])
}

fn header() -> Header {
    Header {
        codec: Codec::BincodeLegacy,
        compression: Compression::None,
        handler: "factors".to_owned(),
        fingerprint: "8d2c".to_owned(),
        state: StateType { name: "Progress".to_owned(), version: 1, ..StateType::default() },
        execution: execution(),
        epoch: 2,
        nonce: Nonce::from_random([9; 8]),
        sequence: 4,
    }
}

fn seal_in_pieces(state: &[u8], pieces: &[usize], options: EnvelopeOptions) -> (Vec<u8>, Sealed) {
    let mut writer = EnvelopeWriter::new(Vec::new(), header(), options);
    let mut left = state;
    for piece in pieces.iter().copied().cycle() {
        if left.is_empty() {
            break;
        }
        let (now, later) = left.split_at(piece.min(left.len()));
        writer.write_all(now).unwrap();
        left = later;
    }
    writer.finish().unwrap()
}

fn seal(state: &[u8]) -> (Vec<u8>, Sealed) {
    seal_in_pieces(state, &[usize::MAX], EnvelopeOptions::default())
}

fn open(envelope: &[u8]) -> Result<EnvelopeReader<Cursor<&[u8]>>, EnvelopeError> {
    EnvelopeReader::open(Cursor::new(envelope), &execution(), LIMIT)
}

fn state_of(envelope: &[u8]) -> Vec<u8> {
    let mut reader = open(envelope).unwrap();
    let mut state = Vec::new();
    reader.read_to_end(&mut state).unwrap();
    reader.finish().unwrap();
    state
}

/// Bytes that do not shrink.
fn noise(len: usize) -> Vec<u8> {
    let mut bytes = vec![0; len];
    blake3::Hasher::new().finalize_xof().fill(&mut bytes);
    bytes
}

fn slow_store() -> EnvelopeOptions {
    EnvelopeOptions { bandwidth_bytes_per_s: Some(1_000_000), ..EnvelopeOptions::default() }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn whatever_is_written_in_whatever_pieces_comes_back(
        len in prop_oneof![0..2_000_usize, 250_000..800_000_usize],
        pieces in proptest::collection::vec(prop_oneof![1..200_usize, 100_000..600_000_usize], 1..6),
        zeros in any::<bool>(),
        slow in any::<bool>(),
    ) {
        let state = if zeros { vec![0; len] } else { noise(len) };
        let options = if slow { slow_store() } else { EnvelopeOptions::default() };
        let (envelope, sealed) = seal_in_pieces(&state, &pieces, options);
        prop_assert_eq!(sealed.envelope_len, envelope.len() as u64);
        prop_assert_eq!(sealed.state_len, len as u64);
        prop_assert_eq!(&sealed.state_hash, &blake3::hash(&state).to_hex().to_string());
        prop_assert_eq!(open(&envelope).unwrap().hash(), sealed.hash);
        prop_assert!(state_of(&envelope) == state);
    }

    #[test]
    fn any_change_anywhere_is_refused(
        len in 0..600_000_usize, at in any::<prop::sample::Index>(), change in 1..=255_u8, slow in any::<bool>(),
    ) {
        let options = if slow { slow_store() } else { EnvelopeOptions::default() };
        let (mut envelope, _) = seal_in_pieces(&vec![3; len], &[usize::MAX], options);
        *at.get_mut(&mut envelope) ^= change;
        prop_assert!(open(&envelope).is_err());
    }

    #[test]
    fn arbitrary_bytes_are_refused_without_panic(mut bytes in proptest::collection::vec(any::<u8>(), 0..600)) {
        prop_assert!(open(&bytes).is_err());
        let start = Preamble { header_len: 40 }.to_bytes();
        let overwritten = start.len().min(bytes.len());
        bytes[..overwritten].copy_from_slice(&start[..overwritten]);
        prop_assert!(open(&bytes).is_err());
    }
}

#[test]
fn every_flipped_bit_is_refused() {
    let (good, _) = seal(b"a small state");
    for bit in 0..good.len() * 8 {
        let mut bad = good.clone();
        bad[bit / 8] ^= 1 << (bit % 8);
        assert!(matches!(open(&bad), Err(EnvelopeError::Flaw(_))), "bit {bit}");
    }
}

#[test]
fn every_truncation_and_every_addition_is_refused() {
    let (good, _) = seal(b"a small state");
    for len in 0..good.len() {
        assert!(matches!(open(&good[..len]), Err(EnvelopeError::Flaw(_))), "{len} bytes");
    }
    for more in [1, 80, 1000] {
        let longer = [good.clone(), vec![0; more]].concat();
        assert!(open(&longer).is_err(), "{more} more");
    }
    let twice = [good.clone(), good].concat();
    assert!(open(&twice).is_err());
}

#[test]
fn damage_is_named() {
    let (good, _) = seal(&noise(300_000));
    let reason = |change: fn(&mut Vec<u8>)| {
        let mut bad = good.clone();
        change(&mut bad);
        let error = open(&bad).unwrap_err();
        assert!(!matches!(error, EnvelopeError::Io(_)), "{error}");
        error.to_string()
    };
    assert!(reason(|bytes| bytes[0] = b'X').contains("mark of a checkpoint"));
    assert!(reason(|bytes| bytes[4] = 9).contains("format 9"));
    assert!(reason(|bytes| bytes[9] = 0x7f).contains("header has"));
    assert!(reason(|bytes| bytes[40] ^= 1).contains("header or trailer"));
    assert!(reason(|bytes| bytes[200_000] ^= 1).contains("payload does not match"));
    assert!(reason(|bytes| bytes.truncate(50)).contains("cut off"));
    assert!(reason(|bytes| bytes.truncate(200_000)).contains("payload has"));
}

#[test]
fn a_checkpoint_of_another_execution_is_refused() {
    let (good, _) = seal(b"state");
    let other = ExecutionId::from_random([8; 16]);
    let error = EnvelopeReader::open(Cursor::new(&good), &other, LIMIT).unwrap_err();
    assert!(matches!(error, EnvelopeError::Foreign { .. }) && error.is_damage(), "{error}");
}

#[test]
fn sizes_over_the_limit_are_refused_on_both_ways() {
    let (good, _) = seal(&[1; 2000]);
    let error = EnvelopeReader::open(Cursor::new(&good), &execution(), 1000).unwrap_err();
    assert!(matches!(error, EnvelopeError::TooLarge { limit_bytes: 1000, .. }), "{error}");
    // A small envelope whose state would fill the memory.
    let (bomb, _) = seal_in_pieces(&vec![0; 8 << 20], &[usize::MAX], slow_store());
    let error = EnvelopeReader::open(Cursor::new(&bomb), &execution(), 1 << 20).unwrap_err();
    assert!(matches!(error, EnvelopeError::TooLarge { .. }), "{error}");
    for len in [101, 1_000_000] {
        let options = EnvelopeOptions { limit_bytes: 100, ..EnvelopeOptions::default() };
        let mut writer = EnvelopeWriter::new(Vec::new(), header(), options);
        let written = writer.write_all(&vec![0; len]).and_then(|()| writer.finish());
        assert_eq!(written.unwrap_err().kind(), std::io::ErrorKind::FileTooLarge);
    }
}

#[test]
fn a_state_that_is_not_read_to_its_end_is_noticed() {
    let (envelope, _) = seal(b"12345678");
    let mut reader = open(&envelope).unwrap();
    reader.read_exact(&mut [0; 7]).unwrap();
    assert!(matches!(reader.finish(), Err(EnvelopeError::LeftOver { left_bytes: 1 })));
    let mut reader = open(&envelope).unwrap();
    assert!(reader.read_exact(&mut [0; 9]).is_err());
}

#[test]
fn a_sealed_lie_about_the_length_of_the_state_is_noticed() {
    let head = header().to_head().unwrap();
    for says in [4, 6] {
        let trailer = Trailer::new(&head, says, 5, *blake3::hash(b"state").as_bytes());
        let envelope = [&head[..], b"state", &trailer.to_bytes()].concat();
        let error = open(&envelope).unwrap().read_to_end(&mut Vec::new()).unwrap_err();
        assert!(error.to_string().contains("its state has"), "{error}");
    }
}

#[test]
fn what_changes_between_verifying_and_reading_is_noticed() {
    /// Gives other bytes the second time.
    struct Shifty(Cursor<Vec<u8>>, usize);
    impl Read for Shifty {
        fn read(&mut self, bytes: &mut [u8]) -> std::io::Result<usize> {
            self.0.read(bytes)
        }
    }
    impl std::io::Seek for Shifty {
        fn seek(&mut self, to: std::io::SeekFrom) -> std::io::Result<u64> {
            self.1 += 1;
            if self.1 == 3 {
                self.0.get_mut()[5_000_000] ^= 1;
            }
            self.0.seek(to)
        }
    }
    let (envelope, _) = seal(&noise(9 << 20));
    let mut reader = EnvelopeReader::open(Shifty(Cursor::new(envelope), 0), &execution(), LIMIT).unwrap();
    let error = reader.read_to_end(&mut Vec::new()).unwrap_err();
    assert!(error.to_string().contains("payload does not match"), "{error}");
}

#[test]
fn a_failing_writer_leaves_no_envelope() {
    /// Takes so many bytes and then no more.
    struct Full(usize);
    impl Write for Full {
        fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
            self.0 = self.0.checked_sub(bytes.len()).ok_or(std::io::ErrorKind::StorageFull)?;
            Ok(bytes.len())
        }
        fn flush(&mut self) -> std::io::Result<()> {
            Ok(())
        }
    }
    for takes in [0, 400, 300_000, 700_000] {
        let mut writer = EnvelopeWriter::new(Full(takes), header(), EnvelopeOptions::default());
        // Whether or not the caller looks at the error of a write, there is no seal.
        let _ = writer.write_all(&noise(700_000));
        assert!(writer.finish().is_err(), "{takes}");
    }
}

#[test]
fn formats_of_later_versions_are_no_damage() {
    let (mut envelope, _) = seal(b"state");
    envelope[4] = 2;
    let error = open(&envelope).unwrap_err();
    assert!(matches!(error, EnvelopeError::Flaw(EnvelopeFlaw::Format { found: 2 })) && !error.is_damage());
}

#[test]
fn an_envelope_that_is_known_is_verified_as_it_is_read() {
    let state = noise(9 << 20);
    let (envelope, sealed) = seal(&state);
    let known = |bytes: &[u8]| {
        let mut reader = EnvelopeReader::open_known(Cursor::new(bytes.to_vec()), &execution(), LIMIT)?;
        let mut found = Vec::new();
        reader.read_to_end(&mut found)?;
        Ok::<_, EnvelopeError>((reader.hash(), found))
    };
    assert_eq!(known(&envelope).unwrap(), (sealed.hash, state));
    let payload = envelope.len() / 2;
    for at in [0, 30, payload, envelope.len() - 1] {
        let mut damaged = envelope.clone();
        damaged[at] ^= 1;
        assert!(known(&damaged).is_err(), "the byte {at} was changed");
    }
    assert!(known(&envelope[..payload]).is_err());
}
