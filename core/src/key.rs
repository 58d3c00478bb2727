//! Where an execution's records stand in a store.
//!
//! ```text
//! executions/<id>/log/00000000            the numbered, create-once entries
//!                /checkpoints/<name>      immutable checkpoint blobs
//!                /packs/<name>            pieces of large checkpoints, where the store is over a network
//!                /segments/<epoch>-<nonce> results of steps, appended by one owner
//!                /segments/large-<hash>  a node's or call's result that is too large to stand among those
//!                /input  /result          JSON too large for a log entry
//!                /events/<hash>           what executions wait for, each created once
//!                /end                     the mark that goes before any deletion
//! ```

use crate::{ExecutionId, Nonce};

/// The folder that holds all executions.
pub const EXECUTIONS: &str = "executions";

/// The folder of one execution.
pub fn execution(id: &ExecutionId) -> String {
    format!("{EXECUTIONS}/{id}")
}

/// The folder of an execution's log.
pub fn log(id: &ExecutionId) -> String {
    format!("{EXECUTIONS}/{id}/log")
}

/// The log entry with this number.
pub fn entry(id: &ExecutionId, number: u64) -> String {
    format!("{EXECUTIONS}/{id}/log/{number:08}")
}

/// The number that a name in the log's folder stands for.
pub fn entry_number(name: &str) -> Option<u64> {
    (name.len() >= 8 && name.bytes().all(|b| b.is_ascii_digit())).then(|| name.parse().ok()).flatten()
}

/// The record of an event, whatever its name is made of.
pub fn event(id: &ExecutionId, name: &str) -> String {
    let hash = blake3::hash(name.as_bytes()).to_hex();
    format!("{EXECUTIONS}/{id}/events/{}", &hash[..32])
}

/// A checkpoint blob; `name` comes from [`checkpoint_name`].
pub fn checkpoint(id: &ExecutionId, name: &str) -> String {
    format!("{EXECUTIONS}/{id}/checkpoints/{name}")
}

/// The folder of the packs that hold pieces of large checkpoints.
pub fn packs(id: &ExecutionId) -> String {
    format!("{EXECUTIONS}/{id}/packs")
}

/// A checkpoint's name: who wrote it, its place among that delivery's, and the attempt to store it, so that it is never
/// overwritten. The log says which content it must have.
pub fn checkpoint_name(epoch: u64, nonce: Nonce, sequence: u64, attempt: u32) -> String {
    format!("{epoch:06}-{nonce}-{sequence:04}-{attempt}")
}

/// The segment of step results that one owner appends to.
pub fn segment(id: &ExecutionId, epoch: u64, nonce: Nonce) -> String {
    format!("{EXECUTIONS}/{id}/segments/{epoch}-{nonce}")
}

/// What a node or a call came to, where that is too large for a record among those of steps: by its hash.
pub fn large_result(id: &ExecutionId, content: &str) -> String {
    format!("{EXECUTIONS}/{id}/segments/large-{content}")
}

/// The input, where it is too large for the log's first entry.
pub fn input(id: &ExecutionId, nonce: Nonce) -> String {
    format!("{EXECUTIONS}/{id}/input-{nonce}")
}

/// A result that is too large for a log entry.
pub fn result(id: &ExecutionId, nonce: Nonce) -> String {
    format!("{EXECUTIONS}/{id}/result-{nonce}")
}

/// The mark created before anything of an execution is deleted.
pub fn end(id: &ExecutionId) -> String {
    format!("{EXECUTIONS}/{id}/end")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn entry_names_read_back_as_numbers_in_order() {
        let id = ExecutionId::from_random([7; 16]);
        let name = entry(&id, 42);
        assert_eq!(entry_number(name.rsplit('/').next().unwrap()), Some(42));
        assert!(entry(&id, 9) < entry(&id, 10));
        assert_eq!(entry_number("0000000x"), None);
        assert_eq!(entry_number("42"), None);
    }
}
