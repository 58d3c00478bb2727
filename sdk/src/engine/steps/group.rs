//! Group commit: what is at hand while one append is under way goes to the store together in the next.

use std::collections::VecDeque;
use std::sync::Mutex;

use limitless_faas_core::Failure;
use limitless_faas_core::segment::{Record, TooLarge};
use tokio::sync::oneshot;

use crate::engine::handler::lock;

/// At most so many bytes of keys and results go into one append; a single result may be larger.
const GROUP_LIMIT_BYTES: usize = 1 << 20;

/// The results that are at hand and not being appended yet, in the order in which they came.
#[derive(Default)]
pub(super) struct Queue(Mutex<VecDeque<Waiting>>);

/// A result whose step waits for its record.
pub(super) struct Waiting {
    key: String,
    value: Vec<u8>,
    told: oneshot::Sender<Result<(), Failure>>,
}

/// Records that one append makes durable, all of them or, after a crash, the first of them.
#[derive(Default)]
pub(super) struct Group {
    /// What is appended.
    pub(super) bytes: Vec<u8>,
    records: Vec<Grouped>,
}

struct Grouped {
    record: Record,
    /// Where it ends within the group's bytes.
    end: usize,
    told: oneshot::Sender<Result<(), Failure>>,
}

impl Queue {
    /// Puts a result behind the others; the receiver hears what became of it.
    pub(super) fn push(&self, key: &str, value: Vec<u8>) -> oneshot::Receiver<Result<(), Failure>> {
        let (told, outcome) = oneshot::channel();
        lock(&self.0).push_back(Waiting { key: key.to_owned(), value, told });
        outcome
    }

    /// Takes what one append is to hold. Those whose step was dropped meanwhile, as a race does, are left out.
    pub(super) fn take(&self) -> Vec<Waiting> {
        let mut queue = lock(&self.0);
        let (mut group, mut bytes) = (Vec::new(), 0);
        while let Some(first) = queue.pop_front() {
            if first.told.is_closed() {
                continue;
            }
            let len = first.key.len() + first.value.len();
            if !group.is_empty() && bytes + len > GROUP_LIMIT_BYTES {
                queue.push_front(first);
                break;
            }
            bytes += len;
            group.push(first);
        }
        group
    }
}

impl Group {
    /// Encodes the results, numbered from `sequence`. One that is too large is told so at once, as `refused` makes of it,
    /// and is no part of the group.
    pub(super) fn new(
        waiting: Vec<Waiting>,
        mut sequence: u64,
        refused: impl Fn(&TooLarge) -> Failure,
    ) -> Self {
        let mut group = Self::default();
        for Waiting { key, value, told } in waiting {
            let record = Record { sequence, key, value };
            match record.encode() {
                Ok(bytes) => {
                    group.bytes.extend_from_slice(&bytes);
                    group.records.push(Grouped { record, end: group.bytes.len(), told });
                    sequence += 1;
                }
                // A step that is gone need not be told.
                Err(error) => drop(told.send(Err(refused(&error)))),
            }
        }
        group
    }

    /// How many records it has.
    pub(super) fn len(&self) -> usize {
        self.records.len()
    }

    /// Each record with its end within the group's bytes.
    pub(super) fn records(&self) -> impl Iterator<Item = (&Record, usize)> {
        self.records.iter().map(|grouped| (&grouped.record, grouped.end))
    }

    /// Tells every step what became of its record; `outcome` is asked for each key.
    pub(super) fn tell(self, outcome: impl Fn(&str) -> Result<(), Failure>) {
        for Grouped { record, told, .. } in self.records {
            // A step that is gone need not be told.
            let _ = told.send(outcome(&record.key));
        }
    }
}
