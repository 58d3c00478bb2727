//! How an input is broken.

use fastrand::Rng;

use super::LONGEST_BYTES;

/// Text that formats give a meaning, and numbers at which arithmetic ends.
const TOKENS: [&str; 46] = [
    "{",
    "}",
    "[",
    "]",
    "[[[[[[[[",
    "\"",
    "\\",
    "\\u0000",
    "\\ud800",
    ":",
    ",",
    "null",
    "true",
    "0",
    "-1",
    "-0.0",
    "1e400",
    "255",
    "65536",
    "2147483648",
    "4294967296",
    "9223372036854775808",
    "18446744073709551615",
    "18446744073709551616",
    "1e-400",
    "\n",
    "\r\n",
    "\r\n\r\n",
    "\0",
    " ",
    "/",
    "..",
    "../",
    "//",
    "%",
    "%00",
    "%2f",
    "?",
    "&",
    "=",
    "#",
    "@",
    "é",
    "\u{202e}",
    "chunked",
    "NaN",
];

const BYTES: [u8; 8] = [0, 1, 0x7f, 0x80, 0xff, b'\n', b'"', b'{'];

/// Makes inputs of other inputs, always the same from the same seed.
pub(super) struct Mutator(Rng);

impl Mutator {
    pub(super) fn new(seed: u64) -> Self {
        Self(Rng::with_seed(seed))
    }

    /// One of `inputs`, broken in one or several places.
    pub(super) fn mutated(&mut self, inputs: &[(String, Vec<u8>)]) -> Vec<u8> {
        let mut bytes = self.any(inputs).to_vec();
        for _ in 0..1 << self.0.u32(0..4) {
            self.mutate(&mut bytes, inputs);
        }
        bytes.truncate(LONGEST_BYTES);
        bytes
    }

    fn any<'a>(&mut self, inputs: &'a [(String, Vec<u8>)]) -> &'a [u8] {
        &inputs[self.0.usize(..inputs.len())].1
    }

    fn mutate(&mut self, bytes: &mut Vec<u8>, inputs: &[(String, Vec<u8>)]) {
        match self.0.u32(0..11) {
            0 => self.change(bytes, |rng, byte| *byte ^= 1 << rng.u32(0..8)),
            1 => self.change(bytes, |rng, byte| *byte = BYTES[rng.usize(..BYTES.len())]),
            2 => self.change(bytes, |rng, byte| *byte = byte.wrapping_add(rng.u8(0..9)).wrapping_sub(4)),
            3 => self.overwrite_number(bytes),
            4 => {
                let (from, to) = self.range(bytes.len());
                bytes.drain(from..to);
            }
            5 => {
                let (from, to) = self.range(bytes.len());
                let repeated = bytes[from..to].repeat(self.0.usize(1..4));
                self.insert(bytes, &repeated);
            }
            6 => {
                let other = self.any(inputs);
                let (from, to) = self.range(other.len());
                self.insert(bytes, &other[from..to]);
            }
            7 => {
                let at = self.0.usize(..=bytes.len());
                bytes.truncate(at);
            }
            8 => self.replace_word(bytes),
            _ => {
                let token = TOKENS[self.0.usize(..TOKENS.len())];
                self.insert(bytes, token.as_bytes());
            }
        }
    }

    fn change(&mut self, bytes: &mut [u8], change: impl Fn(&mut Rng, &mut u8)) {
        if !bytes.is_empty() {
            let at = self.0.usize(..bytes.len());
            change(&mut self.0, &mut bytes[at]);
        }
    }

    /// A number of a binary format, little-endian: one of those at which arithmetic ends, or about as long as what is there.
    fn overwrite_number(&mut self, bytes: &mut [u8]) {
        let near = (bytes.len() as u64).wrapping_add(self.0.u64(0..9)).wrapping_sub(4);
        let number = self.0.choice([0, 1, u64::MAX, u64::MAX / 2, 1 << 31, 1 << 32, near]).unwrap_or(near);
        let len = 1 << self.0.u32(0..4);
        if let Some(last) = bytes.len().checked_sub(len) {
            let at = self.0.usize(..=last);
            bytes[at..at + len].copy_from_slice(&number.to_le_bytes()[..len]);
        }
    }

    /// A number or word of a text becomes another one, between the same signs.
    fn replace_word(&mut self, bytes: &mut Vec<u8>) {
        if bytes.is_empty() {
            return;
        }
        let at = self.0.usize(..bytes.len());
        let is_word = |byte: &u8| byte.is_ascii_alphanumeric() || *byte == b'.' || *byte == b'-';
        let from = bytes[..at].iter().rposition(|byte| !is_word(byte)).map_or(0, |before| before + 1);
        let to = bytes[at..].iter().position(|byte| !is_word(byte)).map_or(bytes.len(), |after| at + after);
        let token = TOKENS[self.0.usize(..TOKENS.len())];
        bytes.splice(from..to.max(from), token.bytes());
    }

    fn insert(&mut self, bytes: &mut Vec<u8>, inserted: &[u8]) {
        let at = self.0.usize(..=bytes.len());
        bytes.splice(at..at, inserted.iter().copied());
        bytes.truncate(2 * LONGEST_BYTES);
    }

    /// Mostly a short one.
    fn range(&mut self, len: usize) -> (usize, usize) {
        let from = self.0.usize(..=len);
        let longest = if self.0.bool() { 8 } else { len };
        (from, from + self.0.usize(..=(len - from).min(longest)))
    }
}
