//! One numbered entry, and its bytes in a store.

use serde::{Deserialize, Serialize};

use super::{Caller, Execution};
use crate::{ExecutionId, Failure, Nonce};

/// A state of at most so many bytes (in its envelope) stands in the log entry itself: one write less to suspend,
/// one read less to resume.
pub const INLINE_LIMIT: u64 = 4096;

/// JSON of at most so many bytes stands in the log entry itself.
pub const RESULT_INLINE_LIMIT: usize = 16 * 1024;

/// One entry of an execution's log.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Entry {
    /// The execution whose log this is.
    pub execution: ExecutionId,
    /// The handler that runs it.
    pub handler: String,
    /// The writer's epoch: 1 for the first owner, one more with each claim.
    pub epoch: u64,
    /// The writer's delivery.
    pub nonce: Nonce,
    /// The writer's clock in microseconds since 1970. For people, and to tell how much time a writer had: who may write
    /// what is not decided by it.
    pub at_us: u64,
    /// What happened.
    #[serde(rename = "entry")]
    pub kind: Kind,
}

/// What an entry says.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Kind {
    /// The first delivery reached its first checkpoint or step, and owns the execution.
    Started {
        /// What was asked for.
        origin: Origin,
        /// Nobody else may claim before this.
        lease_until_ms: u64,
        /// Who drives.
        driver: Driver,
        /// The first checkpoint, where that is why the log begins.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        saved: Option<Saved>,
    },
    /// A new owner goes on.
    Claimed {
        /// Nobody else may claim before this.
        lease_until_ms: u64,
        /// Who drives.
        driver: Driver,
        /// The entry whose checkpoint it goes on from; none: from the input.
        from: Option<u64>,
        /// The length of the former owner's segment where that owner crashed. What lies past it never happened.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        seal: Option<u64>,
    },
    /// The owner saved its state and goes on.
    Checkpointed {
        /// What was saved.
        saved: Saved,
    },
    /// The owner saved its state and stopped.
    Suspended {
        /// What was saved; none where it gave the execution back as it was.
        saved: Option<Saved>,
        /// Final length of the owner's segment of steps.
        steps: u64,
        /// A successor that has not claimed by then was lost.
        successor_by_ms: u64,
        /// What it waits for, where it is not to go on at once.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        wake: Option<Wake>,
        /// The fold of everything before this entry, so that a successor reads this entry alone.
        so_far: Box<Execution>,
    },
    /// The one result.
    Completed {
        /// What the handler returned.
        output: Output,
        /// What was asked for, where this is the first entry.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        origin: Option<Origin>,
        /// Who drove, where this is the first entry.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        driver: Option<Driver>,
    },
    /// The execution failed for good.
    Failed {
        /// Why.
        failure: Failure,
        /// What was asked for, where this is the first entry.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        origin: Option<Origin>,
        /// Who drove, where this is the first entry.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        driver: Option<Driver>,
    },
    /// Somebody called it off.
    Cancelled {
        /// Who.
        by: String,
    },
    /// The receiver acknowledged the result.
    Delivered {
        /// Where it was delivered to.
        to: String,
    },
}

impl Kind {
    /// The kind's name as it stands in the entry's JSON.
    pub fn name(&self) -> &'static str {
        match self {
            Self::Started { .. } => "started",
            Self::Claimed { .. } => "claimed",
            Self::Checkpointed { .. } => "checkpointed",
            Self::Suspended { .. } => "suspended",
            Self::Completed { .. } => "completed",
            Self::Failed { .. } => "failed",
            Self::Cancelled { .. } => "cancelled",
            Self::Delivered { .. } => "delivered",
        }
    }
}

/// What an execution that sleeps waits for: whichever comes first.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Wake {
    /// It goes on at this time, ms since 1970.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub at_ms: Option<u64>,
    /// It goes on once one of these events has happened.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub events: Vec<String>,
}

impl Wake {
    /// What two waits at once wait for.
    #[must_use]
    pub fn or(mut self, other: Self) -> Self {
        self.at_ms = self.at_ms.into_iter().chain(other.at_ms).min();
        self.events.extend(other.events);
        self
    }

    /// Whether the time has come.
    pub fn is_due(&self, now_ms: u64) -> bool {
        self.at_ms.is_some_and(|at_ms| now_ms >= at_ms)
    }
}

/// The call that an execution answers.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Origin {
    /// The input.
    pub input: Input,
    /// Where the result is to be posted.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub callback: Option<String>,
    /// The workflow that this is a node of, where that runs in another wrap.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub caller: Option<Caller>,
    /// How long after its end the result is to be kept, ms, where the caller asked for that.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub keep_ms: Option<u64>,
}

/// An input or where it stands.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Input {
    /// blake3 of the input's canonical JSON: the same key with another input is an error.
    pub digest: String,
    /// Its JSON, inline or by key.
    pub stored: Stored,
}

/// JSON that stands in the entry, or in the store under a key of its own.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Stored {
    /// The JSON itself, as text: it is passed on to the letter.
    Json(String),
    /// The key of the blob that holds it.
    Key(String),
}

/// A result or where it stands.
pub type Output = Stored;

/// Who drives: what the platform calls this invocation. For people, and for a platform that vouches that its
/// process is dead.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Driver {
    /// The platform's id of the delivery: activation id or call id.
    pub activation: String,
    /// When the delivery reached the function process, µs since 1970.
    pub received_us: u64,
    /// The platform's time limit for it.
    pub limit_ms: u64,
    /// Whether it was the process's first.
    pub cold: bool,
}

impl Driver {
    /// How much of the time limit was left at this time, by the same clock.
    pub fn left_ms(&self, at_us: u64) -> u64 {
        (self.received_us / 1000 + self.limit_ms).saturating_sub(at_us / 1000)
    }
}

/// A saved state and what is known of it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Saved {
    /// Name of the blob, unless the envelope stands inline.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub checkpoint: String,
    /// The whole envelope in hexadecimal, where it is small.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub inline: String,
    /// Length of the envelope in bytes.
    pub bytes: u64,
    /// blake3 of the envelope.
    pub hash: String,
    /// blake3 of the state within, which stays the same where nothing moved.
    pub state: String,
    /// Counts checkpoints whose state differed from the one before, or between which steps were recorded.
    pub progress: u64,
    /// The epoch of the owner that saved it.
    pub epoch: u64,
    /// Length of the owner's segment of steps.
    #[serde(default)]
    pub steps: u64,
    /// Keys of steps that were recorded by an earlier owner and are still ahead: this one went back to before them and has
    /// not come to them again.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub ahead: Vec<String>,
    /// It was saved at the very first hook of its run: whatever had eaten the time, the handler was left none to compute in.
    #[serde(default, skip_serializing_if = "is_false")]
    pub is_first_hook: bool,
    /// Where it was saved, for people: `line 12: for d in 2..=n.isqrt()`.
    pub site: String,
    /// What saving cost, from the hook to durable.
    pub cost_us: u64,
    /// The longest time between two hooks seen so far.
    pub hook_gap_us: u64,
    /// How many bytes of state the store had not yet; 0 where nobody counted.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub new_bytes: u64,
    /// How many bytes of state there are, before any compression; 0 where nobody counted.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub state_bytes: u64,
    /// What a MiB of new state takes in this store; 0 before that was measured.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub us_per_mib: u64,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde asks with a reference")]
fn is_zero(value: &u64) -> bool {
    *value == 0
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde asks with a reference")]
fn is_false(value: &bool) -> bool {
    !value
}

/// Bytes that are not an entry.
#[derive(Debug, thiserror::Error)]
pub enum EntryError {
    /// The line with the checksum is missing or does not match.
    #[error("the entry's checksum does not match its {length} bytes")]
    Checksum {
        /// Length of what was read.
        length: usize,
    },
    /// The JSON is not an entry of this version.
    #[error("the entry is not one this version can read: {0}")]
    Json(#[from] serde_json::Error),
}

const CHECKSUM_DIGITS: usize = 16;

impl Entry {
    /// The bytes to create: a line of JSON and a line with its checksum.
    ///
    /// # Errors
    /// Where the entry holds something that JSON can't express; nothing an entry holds can.
    pub fn encode(&self) -> Result<Vec<u8>, EntryError> {
        let mut bytes = serde_json::to_vec(self)?;
        let checksum = blake3::hash(&bytes).to_hex();
        bytes.push(b'\n');
        bytes.extend_from_slice(&checksum.as_bytes()[..CHECKSUM_DIGITS]);
        bytes.push(b'\n');
        Ok(bytes)
    }

    /// The entry in these bytes.
    ///
    /// # Errors
    /// Where they are damaged or of a version that this one can't read.
    pub fn decode(bytes: &[u8]) -> Result<Self, EntryError> {
        let damaged = || EntryError::Checksum { length: bytes.len() };
        let line = bytes.iter().position(|&b| b == b'\n').ok_or_else(damaged)?;
        let (json, rest) = (&bytes[..line], &bytes[line + 1..]);
        let expected = blake3::hash(json).to_hex();
        if rest.strip_suffix(b"\n") != Some(&expected.as_bytes()[..CHECKSUM_DIGITS]) {
            return Err(damaged());
        }
        Ok(serde_json::from_slice(json)?)
    }

    /// Whether `other` is this very entry, so that an "exists" means that our own create had gone through.
    pub fn is_same(&self, other: &Self) -> bool {
        self.nonce == other.nonce && self.epoch == other.epoch && self.kind == other.kind
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Code;

    fn failed() -> Entry {
        Entry {
            execution: ExecutionId::from_random([1; 16]),
            handler: "factors".to_owned(),
            epoch: 3,
            nonce: Nonce::from_random([2; 8]),
            at_us: 5,
            kind: Kind::Failed { failure: Failure::new(Code::Panicked, "no"), origin: None, driver: None },
        }
    }

    #[test]
    fn an_entry_reads_back() {
        let bytes = failed().encode().unwrap();
        assert_eq!(Entry::decode(&bytes).unwrap(), failed());
        let text = String::from_utf8(bytes).unwrap();
        assert!(text.contains(r#""entry":{"failed":"#), "{text}");
    }

    #[test]
    fn every_flipped_bit_and_every_cut_is_noticed() {
        let bytes = failed().encode().unwrap();
        for i in 0..bytes.len() {
            assert!(Entry::decode(&bytes[..i]).is_err(), "cut at {i}");
            for bit in 0..8 {
                let mut damaged = bytes.clone();
                damaged[i] ^= 1 << bit;
                assert!(Entry::decode(&damaged).is_err(), "bit {bit} of byte {i}");
            }
        }
        let mut longer = bytes.clone();
        longer.push(b' ');
        assert!(Entry::decode(&longer).is_err());
    }

    #[test]
    fn json_of_a_result_is_kept_as_it_is() {
        let output = Stored::Json(r#"{"b":1.0,  "a":18446744073709551615}"#.to_owned());
        let entry = Entry {
            kind: Kind::Completed { output: output.clone(), origin: None, driver: None },
            ..failed()
        };
        let back = Entry::decode(&entry.encode().unwrap()).unwrap();
        assert_eq!(back.kind, Kind::Completed { output, origin: None, driver: None });
    }
}
