//! `SLApp`: seven functions of like latency that compute, use the disk or use the network.

use std::io::{Read as _, Seek as _, Write as _};

use limitless_faas::{Result, handler, workflow};
use serde::{Deserialize, Serialize};

use crate::loopback::exchange;

/// Sends so many kilobytes to a server and has them back; the digest of what came.
#[handler]
pub(crate) fn network_io(kilobytes: u32) -> Result<String> {
    let sent = vec![0x5a; kilobytes as usize * 1024];
    let echo = exchange(&sent, <[u8]>::to_vec)?;
    Ok(blake3::hash(&echo).to_hex().to_string())
}

/// Writes so many kilobytes to a file, a few at a time and each onto the disk, and reads them back; their digest.
#[handler]
pub(crate) fn disk_io(kilobytes: u32) -> Result<String> {
    let mut file = tempfile::tempfile()?;
    for at in 0..kilobytes.div_ceil(64) {
        file.write_all(&at.to_le_bytes().repeat(16 * 1024))?;
        file.sync_data()?;
    }
    file.rewind()?;
    let mut hasher = blake3::Hasher::new();
    let mut part = vec![0; 65_536];
    loop {
        let read = file.read(&mut part)?;
        if read == 0 {
            return Ok(hasher.finalize().to_hex().to_string());
        }
        hasher.update(&part[..read]);
    }
}

/// Digits of `n!`, and their sum.
#[handler]
pub(crate) fn factorial(n: u32) -> (usize, u64) {
    // Nine decimal digits a limb, lowest first.
    let mut limbs = vec![1u64];
    for factor in 2..=u64::from(n) {
        let mut carry = 0;
        for limb in &mut limbs {
            let product = *limb * factor + carry;
            *limb = product % 1_000_000_000;
            carry = product / 1_000_000_000;
        }
        while carry > 0 {
            limbs.push(carry % 1_000_000_000);
            carry /= 1_000_000_000;
        }
    }
    let text = limbs.iter().rev().map(|limb| format!("{limb:09}")).collect::<Vec<_>>().concat();
    let digits = text.trim_start_matches('0');
    (digits.len(), digits.bytes().map(|digit| u64::from(digit - b'0')).sum())
}

/// The n-th Fibonacci number, by its definition.
#[handler]
pub(crate) fn fibonacci(n: u32) -> u64 {
    fn number(n: u32) -> u64 {
        if n < 2 { u64::from(n) } else { number(n - 1) + number(n - 2) }
    }
    number(n)
}

/// So many digits of π, by the spigot of Rabinowitz and Wagon.
#[handler]
pub(crate) fn pi(digits: u32) -> String {
    let wanted = digits as usize;
    // The last digits of a spigot may be wrong for want of a carry: a few more are made and dropped.
    let mut remainders = vec![2u64; (wanted + 10) * 10 / 3 + 1];
    let (mut found, mut held, mut nines) = (String::new(), None, 0);
    while found.len() < wanted {
        let mut carry = 0;
        for at in (0..remainders.len()).rev() {
            let value = remainders[at] * 10 + carry;
            let (divisor, factor) = if at == 0 { (10, 1) } else { (2 * at as u64 + 1, at as u64) };
            remainders[at] = value % divisor;
            carry = value / divisor * factor;
        }
        match carry {
            9 => nines += 1,
            next => {
                let carried = next / 10;
                let first: Option<u64> = held.replace(next % 10);
                found.extend(first.map(|digit| digit_of(digit + carried)));
                found.extend(std::iter::repeat_n(if carried == 0 { '9' } else { '0' }, nines));
                nines = 0;
            }
        }
    }
    found.truncate(wanted);
    found
}

fn digit_of(digit: u64) -> char {
    u32::try_from(digit % 10).ok().and_then(|digit| char::from_digit(digit, 10)).unwrap_or('0')
}

/// A key from a password, by PBKDF2 with HMAC-SHA-256.
#[handler]
pub(crate) fn pbkdf2(password: String, salt: String, rounds: u32) -> String {
    let key: [u8; 32] =
        ::pbkdf2::pbkdf2_hmac_array::<sha2::Sha256, 32>(password.as_bytes(), salt.as_bytes(), rounds);
    key.iter().map(|byte| format!("{byte:02x}")).collect::<Vec<_>>().concat()
}

/// What the seven functions gave.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
pub(crate) struct Outcome {
    /// Digests of what came back from the server and from the disk.
    pub(crate) digests: [String; 3],
    /// How many digits the factorial has, and their sum.
    pub(crate) factorial: (usize, u64),
    pub(crate) fibonacci: u64,
    pub(crate) key: String,
    pub(crate) pi: String,
}

/// Four functions side by side and then three; `size` is 100 for the latencies of the paper, more or less.
#[workflow(slo_ms = 200)]
pub(crate) async fn slapp(size: u32) -> Result<Outcome> {
    let (sent, factorial, written, fibonacci) =
        join!(network_io(80 * size), factorial(30 * size), disk_io(2 * size), fibonacci(20 + size / 10));
    let (password, salt) = ("passwd".to_owned(), "salt".to_owned());
    let (again, pi, key) = join!(network_io(80 * size), pi(9 * size), pbkdf2(password, salt, 100 * size));
    Ok(Outcome { digests: [sent?, written?, again?], factorial, fibonacci, key, pi })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_computed_is_right() {
        assert_eq!(fibonacci(20), 6765);
        // 20! = 2432902008176640000
        assert_eq!(factorial(20), (19, 54));
        assert_eq!(factorial(1000), (2568, 10_539));
        assert!(pi(40).starts_with("3141592653589793238462643383279502884197"));
        assert_eq!(pi(1000).get(761..768), Some("4999999"), "Feynman's point");
        // RFC 7914, section 11.
        let key = pbkdf2("passwd".to_owned(), "salt".to_owned(), 1);
        assert_eq!(key, "55ac046e56e3089fec1691c22544b605f94185216dde0465e68b9d57c20dacbc");
    }

    #[tokio::test]
    async fn the_workflow_gives_what_its_handlers_give() {
        let outcome = slapp(1).await.unwrap();
        assert_eq!((outcome.factorial, outcome.fibonacci), (factorial(30), fibonacci(20)));
        assert_eq!((outcome.pi, outcome.key), (pi(9), pbkdf2("passwd".to_owned(), "salt".to_owned(), 100)));
        assert_eq!(outcome.digests[0], outcome.digests[2]);
    }

    #[test]
    fn what_is_sent_and_written_comes_back() {
        let sent = blake3::hash(&vec![0x5a; 64 * 1024]).to_hex().to_string();
        assert_eq!(network_io(64).unwrap(), sent);
        let written = blake3::hash(&0u32.to_le_bytes().repeat(16 * 1024)).to_hex().to_string();
        assert_eq!(disk_io(64).unwrap(), written);
    }
}
