//! Group commit: what is at hand while one append is under way goes to the store together in the next.

use std::collections::VecDeque;
use std::sync::Mutex;

use limitless_faas_core::Failure;
use limitless_faas_core::segment::{Record, TooLarge};
use tokio::sync::oneshot;

use crate::engine::handler::lock;

/// At most so many bytes of keys and results go into one append; a single result may be larger.
const GROUP_LIMIT_BYTES: usize = 1 << 20;

/// What became of a record.
type Outcome = Result<(), Failure>;

/// The results that are at hand and not being appended yet, in the order in which they came.
#[derive(Default)]
pub(super) struct Queue(Mutex<Queued>);

#[derive(Default)]
struct Queued {
    waiting: VecDeque<Waiting>,
    /// Somebody appends, and goes on until nothing is waiting: a segment has one writer, and it writes in order.
    is_appending: bool,
}

/// A result whose step waits for its record, or does not.
pub(super) struct Waiting {
    key: String,
    value: Vec<u8>,
    told: Option<oneshot::Sender<Outcome>>,
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
    told: Option<oneshot::Sender<Outcome>>,
}

impl Queue {
    /// Puts a result behind the others.
    pub(super) fn push(&self, key: &str, value: Vec<u8>, told: Option<oneshot::Sender<Outcome>>) {
        lock(&self.0).waiting.push_back(Waiting { key: key.to_owned(), value, told });
    }

    /// Whether whoever asks is to append now, and go on until nothing is left: something waits, and nobody else does.
    pub(super) fn begin(&self) -> bool {
        let mut queued = lock(&self.0);
        !queued.waiting.is_empty() && !std::mem::replace(&mut queued.is_appending, true)
    }

    /// Takes what one append is to hold; nothing where nobody appends any more. Those whose step was dropped meanwhile, as a race
    /// does, are left out.
    pub(super) fn take(&self) -> Option<Vec<Waiting>> {
        let mut queued = lock(&self.0);
        let (mut group, mut bytes) = (Vec::new(), 0);
        while let Some(first) = queued.waiting.pop_front() {
            if first.told.as_ref().is_some_and(oneshot::Sender::is_closed) {
                continue;
            }
            let len = first.key.len() + first.value.len();
            if !group.is_empty() && bytes + len > GROUP_LIMIT_BYTES {
                queued.waiting.push_front(first);
                break;
            }
            bytes += len;
            group.push(first);
        }
        queued.is_appending = !group.is_empty();
        queued.is_appending.then_some(group)
    }

    /// Whoever appended is gone before its time: those who wait are told by that, and the next result begins anew.
    pub(super) fn give_up(&self) {
        let mut queued = lock(&self.0);
        queued.waiting.clear();
        queued.is_appending = false;
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
                Err(error) => tell(told, Err(refused(&error))),
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
    pub(super) fn tell(self, outcome: impl Fn(&str) -> Outcome) {
        for Grouped { record, told, .. } in self.records {
            tell(told, outcome(&record.key));
        }
    }
}

fn tell(told: Option<oneshot::Sender<Outcome>>, outcome: Outcome) {
    if let Some(told) = told {
        // A step that is gone need not be told.
        let _ = told.send(outcome);
    }
}
