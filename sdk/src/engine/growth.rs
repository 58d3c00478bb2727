//! How much larger a state may have become, from what the process holds.
//!
//! A state's size is not known before it is encoded, and encoding it to learn that costs as much as saving it. What the process holds
//! more than before is seen for nothing. It is a guess that may be too high, never the reason for more than a checkpoint that tells.

use std::sync::atomic::{AtomicU64, Ordering};

/// Growth worth telling, beyond what was told: an allocator's and a thread's doings are less.
const WORTH_TELLING_BYTES: u64 = 1 << 20;

/// Growth since a run began, or since the first hook after its state was restored.
#[derive(Debug)]
pub(super) struct Growth {
    /// What the process held then; [`UNKNOWN`] before the first hook.
    base_bytes: AtomicU64,
    told_bytes: AtomicU64,
}

const UNKNOWN: u64 = u64::MAX;

impl Growth {
    /// From what the process holds now; none: from what it holds at the first hook.
    pub(super) fn since(now_bytes: Option<u64>) -> Self {
        Self { base_bytes: AtomicU64::new(now_bytes.unwrap_or(UNKNOWN)), told_bytes: AtomicU64::new(0) }
    }

    /// By how much it has grown, where that is news. Called on the handler's thread alone.
    pub(super) fn news(&self, now_bytes: Option<u64>) -> Option<u64> {
        let now_bytes = now_bytes?;
        let base_bytes = self.base_bytes.load(Ordering::Relaxed);
        if base_bytes == UNKNOWN {
            self.base_bytes.store(now_bytes, Ordering::Relaxed);
            return None;
        }
        let grown = now_bytes.saturating_sub(base_bytes);
        if grown.abs_diff(self.told_bytes.load(Ordering::Relaxed)) < WORTH_TELLING_BYTES {
            return None;
        }
        self.told_bytes.store(grown, Ordering::Relaxed);
        Some(grown)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MIB: u64 = 1 << 20;

    #[test]
    fn what_was_there_before_is_no_growth() {
        let growth = Growth::since(Some(100 * MIB));
        assert_eq!(growth.news(Some(100 * MIB + 4096)), None);
        assert_eq!(growth.news(Some(140 * MIB)), Some(40 * MIB));
        assert_eq!(growth.news(Some(140 * MIB + 4096)), None, "told already");
        assert_eq!(growth.news(Some(90 * MIB)), Some(0), "given back");
        assert_eq!(growth.news(None), None);
    }

    #[test]
    fn a_restored_state_is_no_growth() {
        let growth = Growth::since(None);
        assert_eq!(growth.news(Some(500 * MIB)), None);
        assert_eq!(growth.news(Some(502 * MIB)), Some(2 * MIB));
    }
}
