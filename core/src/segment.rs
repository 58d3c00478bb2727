//! Records of steps: what one owner appends to its segment.
//!
//! ```text
//! length u32 | checksum 8 bytes | sequence u64 | key length u32 | key | value
//! ```
//! Little-endian; the length counts what follows the checksum, the checksum is blake3 of it. An append that was sent
//! twice gives the same sequence number twice, and a crash may leave half a record at the end: readers drop the one and
//! stop at the other.

use std::collections::BTreeSet;

use crate::ExecutionId;

/// The most bytes one record's value may have.
pub const VALUE_LIMIT_BYTES: usize = 4 << 20;

const CHECKSUM: usize = 8;
const HEAD: usize = 4 + CHECKSUM;
const FIXED: usize = 8 + 4;

/// The result of one step.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Record {
    /// Its place in the segment, from 0.
    pub sequence: u64,
    /// The step's key.
    pub key: String,
    /// The encoded result.
    pub value: Vec<u8>,
}

/// A record with its end in the segment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Placed {
    /// The record.
    pub record: Record,
    /// The offset of the byte behind it.
    pub end: u64,
}

/// A step whose result can't be recorded.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "the result of step `{key}` has {bytes} bytes, and at most {VALUE_LIMIT_BYTES} are recorded; store it and return where"
)]
pub struct TooLarge {
    key: String,
    bytes: usize,
}

impl Record {
    /// The bytes to append.
    ///
    /// # Errors
    /// Where key and value together are too large.
    pub fn encode(&self) -> Result<Vec<u8>, TooLarge> {
        let length = FIXED + self.key.len() + self.value.len();
        let too_large = || TooLarge { key: self.key.clone(), bytes: self.value.len() };
        let (Ok(length32), Ok(key32)) = (u32::try_from(length), u32::try_from(self.key.len())) else {
            return Err(too_large());
        };
        if self.value.len() > VALUE_LIMIT_BYTES {
            return Err(too_large());
        }
        let mut bytes = Vec::with_capacity(HEAD + length);
        bytes.extend_from_slice(&length32.to_le_bytes());
        bytes.extend_from_slice(&[0; CHECKSUM]);
        bytes.extend_from_slice(&self.sequence.to_le_bytes());
        bytes.extend_from_slice(&key32.to_le_bytes());
        bytes.extend_from_slice(self.key.as_bytes());
        bytes.extend_from_slice(&self.value);
        let checksum = checksum(&bytes[HEAD..]);
        bytes[4..HEAD].copy_from_slice(&checksum);
        Ok(bytes)
    }
}

/// The records of a segment up to its sealed length, or to its torn tail.
pub fn decode(segment: &[u8], sealed: u64) -> Vec<Placed> {
    let sealed = usize::try_from(sealed).unwrap_or(usize::MAX).min(segment.len());
    let (mut placed, mut at) = (Vec::<Placed>::new(), 0);
    while let Some((record, length)) = first(&segment[at..sealed]) {
        at += length;
        if placed.last().is_none_or(|last| last.record.sequence < record.sequence) {
            placed.push(Placed { record, end: at as u64 });
        }
    }
    placed
}

const CALL: &str = "\0call ";

/// The key of the record that the call of this key has begun; its value is the id of the called execution and its handler, with a space
/// between.
pub fn begun_call(key: &str) -> String {
    format!("{CALL}{key}")
}

/// The calls that had begun by these records and whose end was not recorded: the id of each execution and its handler.
pub fn open_calls(records: &[Record]) -> Vec<(ExecutionId, String)> {
    let has_ended = |key: &str| records.iter().any(|record| record.key == key);
    let begun = records.iter().filter_map(|record| Some((record.key.strip_prefix(CALL)?, &record.value)));
    let open: BTreeSet<_> = begun
        .filter(|(key, _)| !has_ended(key))
        .filter_map(|(_, value)| {
            let (id, handler) = std::str::from_utf8(value).ok()?.split_once(' ')?;
            Some((id.parse().ok()?, handler.to_owned()))
        })
        .collect();
    open.into_iter().collect()
}

fn checksum(bytes: &[u8]) -> [u8; CHECKSUM] {
    let mut checksum = [0; CHECKSUM];
    checksum.copy_from_slice(&blake3::hash(bytes).as_bytes()[..CHECKSUM]);
    checksum
}

fn first(bytes: &[u8]) -> Option<(Record, usize)> {
    let (length, rest) = bytes.split_first_chunk::<4>()?;
    let (sum, rest) = rest.split_first_chunk::<CHECKSUM>()?;
    let length = usize::try_from(u32::from_le_bytes(*length)).ok()?;
    let body = rest.get(..length)?;
    if checksum(body) != *sum {
        return None;
    }
    let (sequence, body) = body.split_first_chunk::<8>()?;
    let (key_length, body) = body.split_first_chunk::<4>()?;
    let key_length = usize::try_from(u32::from_le_bytes(*key_length)).ok()?;
    let (key, value) = body.split_at_checked(key_length)?;
    let record = Record {
        sequence: u64::from_le_bytes(*sequence),
        key: String::from_utf8(key.to_vec()).ok()?,
        value: value.to_vec(),
    };
    Some((record, HEAD + length))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_call_is_open_from_its_beginning_to_its_recorded_end() {
        let id = |key| ExecutionId::derive("count", key);
        let record =
            |key: &str, value: String| Record { sequence: 0, key: key.to_owned(), value: value.into_bytes() };
        let begun = |key| record(&begun_call(key), format!("{} count", id(key)));
        let ended = record("one", "3".to_owned());
        assert_eq!(open_calls(&[begun("one"), ended]), []);
        // A call that was begun again, since nothing was recorded of it, is one call.
        assert_eq!(open_calls(&[begun("two"), begun("one"), begun("two")]).len(), 2);
        assert_eq!(open_calls(&[record(&begun_call("x"), "no id".to_owned())]), []);
    }

    fn segment() -> (Vec<Record>, Vec<u8>) {
        let records: Vec<_> = (0..4_u8)
            .map(|i| Record {
                sequence: i.into(),
                key: format!("step-{i}"),
                value: vec![i; usize::from(i) * 3],
            })
            .collect();
        let bytes = records.iter().flat_map(|record| record.encode().unwrap()).collect();
        (records, bytes)
    }

    fn read(bytes: &[u8], sealed: u64) -> Vec<Record> {
        decode(bytes, sealed).into_iter().map(|placed| placed.record).collect()
    }

    #[test]
    fn records_read_back() {
        let (records, bytes) = segment();
        assert_eq!(read(&bytes, u64::MAX), records);
        assert_eq!(decode(&bytes, u64::MAX)[3].end, bytes.len() as u64);
    }

    #[test]
    fn a_torn_tail_ends_the_segment_wherever_it_is_torn() {
        let (records, bytes) = segment();
        let last = bytes.len() - records[3].encode().unwrap().len();
        for cut in last..bytes.len() {
            assert_eq!(read(&bytes[..cut], u64::MAX), records[..3]);
        }
    }

    #[test]
    fn what_lies_past_the_seal_never_happened() {
        let (records, bytes) = segment();
        let seal = records[0].encode().unwrap().len() as u64;
        assert_eq!(read(&bytes, seal), records[..1]);
        assert_eq!(read(&bytes, seal + 5), records[..1]);
    }

    #[test]
    fn a_repeated_record_counts_once() {
        let (records, mut bytes) = segment();
        bytes.extend(records[3].encode().unwrap());
        assert_eq!(read(&bytes, u64::MAX), records);
    }

    #[test]
    fn hostile_lengths_end_the_segment() {
        assert!(decode(&[255; 64], u64::MAX).is_empty());
        let mut bytes = Record { sequence: 0, key: "k".into(), value: vec![] }.encode().unwrap();
        bytes[HEAD + 8] = 255;
        let sum = checksum(&bytes[HEAD..]);
        bytes[4..HEAD].copy_from_slice(&sum);
        assert!(decode(&bytes, u64::MAX).is_empty());
    }

    #[test]
    fn a_value_that_is_too_large_is_refused() {
        let record = Record { sequence: 0, key: "big".into(), value: vec![0; VALUE_LIMIT_BYTES + 1] };
        assert!(record.encode().unwrap_err().to_string().contains("step `big`"));
    }
}
